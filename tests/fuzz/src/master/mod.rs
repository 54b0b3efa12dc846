//! The master's core, with agents, schedulers and operators that say anything in any order.

mod words;

use std::collections::BTreeSet;

use mesos_host::master::{Caller, Effect, Event, LinkId, Master, MasterConfig};
use mesos_host::protocol::{AgentCall, OperatorCall, agent_event};
use mesos_host::registry::{Operation, Registry};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId, Offer, TaskInfo};

use crate::input::{Input, goes_round};

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    // There is somebody from the start, so that each input gets somewhere.
    world.connect_agent();
    world.connect_scheduler();
    while let Some(step) = input.step(STEPS) {
        world.step(step, &mut input);
    }
}

const STEPS: u8 = 23;
const LINKS_MAX: usize = 12;
const KEPT_MAX: usize = 40;

/// The master, and what those who speak to it remember.
struct World {
    master: Master,
    now: Time,
    link_last: u64,
    agents: Vec<LinkId>,
    schedulers: Vec<LinkId>,
    /// Neither broken nor closed.
    open: BTreeSet<LinkId>,
    agent_ids: Vec<AgentId>,
    frameworks: Vec<(FrameworkId, String)>,
    /// Also those that are rescinded, answered or another's.
    offers: Vec<Offer>,
    offer_ids: BTreeSet<String>,
    tasks: Vec<(FrameworkId, TaskInfo)>,
    persists: Vec<(u64, Operation)>,
    registry: Registry,
    requests: Vec<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            master: Master::new(MasterConfig::default()),
            now: Time(1_000_000_000),
            link_last: 0,
            agents: Vec::new(),
            schedulers: Vec::new(),
            open: BTreeSet::new(),
            agent_ids: Vec::new(),
            frameworks: Vec::new(),
            offers: Vec::new(),
            offer_ids: BTreeSet::new(),
            tasks: Vec::new(),
            persists: Vec::new(),
            registry: Registry::default(),
            requests: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step {
            0 => self.connect_agent(),
            1 => self.connect_scheduler(),
            2 => self.disconnect(input),
            3..=5 => {
                let call = match step {
                    3 => self.register(input),
                    4 => self.report(input),
                    _ => return self.raw_agent_call(input),
                };
                self.agent_says(call, input);
            }
            6 => self.raw_scheduler_call(input),
            7..=16 => {
                let call = self.scheduler_call(step, input);
                self.scheduler_says(call, input);
            }
            17 => self.operate(input),
            18 => self.pass(input),
            19 => self.persisted(),
            20 => {
                let ended = self.executor_ended(input);
                self.agent_says(ended, input);
            }
            21 => {
                let message = self.message_of_agent(input);
                self.agent_says(message, input);
            }
            _ => self.next_master(),
        }
    }

    // ── connections ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn connect(&mut self) -> Option<LinkId> {
        if self.open.len() >= LINKS_MAX {
            return None;
        }
        self.link_last += 1;
        let link = LinkId(self.link_last);
        self.open.insert(link);
        Some(link)
    }

    fn connect_agent(&mut self) {
        let Some(link) = self.connect() else { return };
        self.agents.push(link);
        self.handle(Event::AgentConnected { link });
    }

    fn connect_scheduler(&mut self) {
        let Some(link) = self.connect() else { return };
        self.schedulers.push(link);
        let caller = Caller { principal: "p".into(), user: None };
        self.handle(Event::SchedulerConnected { link, caller });
    }

    fn disconnect(&mut self, input: &mut Input<'_>) {
        let all: Vec<LinkId> = self.agents.iter().chain(&self.schedulers).copied().collect();
        if let Some(&link) = input.pick(&all) {
            self.forget(link);
            self.handle(Event::Disconnected { link });
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.open.remove(&link);
        self.agents.retain(|other| *other != link);
        self.schedulers.retain(|other| *other != link);
    }

    fn agent_says(&mut self, call: AgentCall, input: &mut Input<'_>) {
        if let Some(&link) = input.pick(&self.agents) {
            goes_round(&call);
            self.handle(Event::AgentCalled { link, call });
        }
    }

    fn scheduler_says(&mut self, call: scheduler::Call, input: &mut Input<'_>) {
        if let Some(&link) = input.pick(&self.schedulers) {
            goes_round(&call);
            self.handle(Event::SchedulerCalled { link, call });
        }
    }

    fn raw_agent_call(&mut self, input: &mut Input<'_>) {
        if let Some(call) = input.message() {
            self.agent_says(call, input);
        }
    }

    fn raw_scheduler_call(&mut self, input: &mut Input<'_>) {
        if let Some(call) = input.message() {
            self.scheduler_says(call, input);
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let call: Option<OperatorCall> = if input.seldom() { input.message() } else { Some(self.operator_call(input)) };
        let (Some(call), Some(link)) = (call, self.connect()) else { return };
        let user = input.seldom().then(|| "u".to_string());
        self.handle(Event::OperatorCalled { link, caller: Caller { principal: "o".into(), user }, call });
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let at = self.master.deadline();
        self.now = input.later(self.now, at);
        self.handle(Event::DeadlinePassed);
    }

    fn persisted(&mut self) {
        if self.persists.is_empty() {
            return;
        }
        let (id, operation) = self.persists.remove(0);
        self.registry.apply(operation);
        self.handle(Event::Persisted { id });
    }

    /// What isn't recorded yet is lost with the master; everybody connects anew.
    fn next_master(&mut self) {
        for link in std::mem::take(&mut self.open) {
            self.forget(link);
        }
        self.persists.clear();
        self.requests.clear();
        let config = MasterConfig { epoch: self.master.epoch() + 1, ..MasterConfig::default() };
        self.master = Master::resume(self.now, config, self.registry.clone());
        self.master.sanity_check();
        self.connect_agent();
        self.connect_scheduler();
    }

    // ── what the master does ───────────────────────────────────────────────────────────────────────────────────────────

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.master.handle(self.now, event, &mut effects);
        self.master.sanity_check();
        self.master.allocate(self.now, &mut effects);
        self.master.sanity_check();
        effects.into_iter().for_each(|effect| self.observe(effect));
    }

    fn observe(&mut self, effect: Effect) {
        match effect {
            Effect::ToAgent { link, event } => {
                assert!(self.open.contains(&link), "{event:?} goes to a link that is open");
                goes_round(&mesos_host::protocol::AgentEvent { event: Some(event.clone()) });
                self.agent_hears(event);
            }
            Effect::ToScheduler { link, event } => {
                assert!(self.open.contains(&link), "{event:?} goes to a link that is open");
                goes_round(&scheduler::Event { event: Some(event.clone()) });
                self.scheduler_hears(event);
            }
            Effect::Reply { link, reply } => {
                assert!(self.open.contains(&link), "{reply:?} goes to a link that is open");
                reply.iter().for_each(goes_round);
            }
            Effect::Close { link } => self.forget(link),
            Effect::Persist { id, operation } => self.persists.push((id, operation)),
            Effect::StepDown { .. } => panic!("nobody has spoken of another master"),
        }
    }

    fn agent_hears(&mut self, event: agent_event::Event) {
        match event {
            agent_event::Event::Registered(registered) => keep(&mut self.agent_ids, registered.agent_id),
            agent_event::Event::RunTasks(run) => {
                let framework_id = run.framework.id.expect("the master names it");
                for task in run.tasks {
                    keep(&mut self.tasks, (framework_id.clone(), task));
                }
            }
            _ => {}
        }
    }

    fn scheduler_hears(&mut self, event: event::Event) {
        match event {
            event::Event::Subscribed(subscribed) => {
                keep(&mut self.frameworks, (subscribed.framework_id, subscribed.secret));
            }
            event::Event::Offers(offers) => {
                for offer in offers.offers {
                    assert!(self.offer_ids.insert(offer.id.to_string()), "no two offers are called {}", offer.id);
                    assert!(!offer.parts.is_empty() && offer.parts.iter().all(|part| !part.resources.is_empty()));
                    keep(&mut self.offers, offer);
                }
            }
            event::Event::Request(request) => keep(&mut self.requests, request.request_id),
            _ => {}
        }
    }
}

/// Once, and the latest ones.
fn keep<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if !all.contains(&new) {
        all.push(new);
    }
    if all.len() > KEPT_MAX {
        all.remove(0);
    }
}
