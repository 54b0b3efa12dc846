//! A master with agents and schedulers that a test speaks for.

use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, ExecutorInfo, FrameworkId, FrameworkInfo, Offer, PluginRef, Reason, Resources,
    Source, TaskInfo, TaskState, TaskStatus,
};

use crate::master::{Caller, Effect, Event, LinkId, Master, MasterConfig};
use crate::protocol::{
    AgentCall, ListTasks, OperatorCall, OperatorReply, Register, StatusUpdate, TaskRecord, VolumeRecord, agent_call,
    agent_event, operator_call, operator_reply,
};
use crate::registry::Registry;

/// A master, whose invariants are checked after every event.
pub(super) struct TestEnv {
    pub(super) master: Master,
    pub(super) now: Time,
    pub(super) next_link: u64,
    pub(super) agents: Vec<LinkId>,
    /// As whom schedulers and operators connect.
    pub(super) caller: Caller,
    /// What was made durable.
    pub(super) registry: Registry,
    /// Records are durable at once.
    pub(super) persists: bool,
    pub(super) effects: Vec<Effect>,
    /// What the next agent that registers has on its disk.
    pub(super) volumes_found: Vec<VolumeRecord>,
}

impl TestEnv {
    pub(super) fn new() -> Self {
        let master = Master::new(MasterConfig::default());
        Self {
            master,
            now: Time(1_000_000_000),
            next_link: 1,
            agents: Vec::new(),
            caller: Caller::default(),
            registry: Registry::default(),
            persists: true,
            effects: Vec::new(),
            volumes_found: Vec::new(),
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        if let Event::Disconnected { link } = event {
            self.agents.retain(|agent| *agent != link);
        }
        self.master.handle(self.now, event, &mut self.effects);
        self.master.allocate(self.now, &mut self.effects);
        self.master.sanity_check();
        if self.persists {
            self.persist();
        }
    }

    /// Makes durable what waits for it.
    pub(super) fn persist(&mut self) {
        self.persist_first(usize::MAX);
    }

    /// Makes so many of those durable.
    pub(super) fn persist_first(&mut self, count: usize) {
        let records = self.effects.extract_if(.., |effect| matches!(effect, Effect::Persist { .. }));
        for record in records.take(count).collect::<Vec<_>>() {
            let Effect::Persist { id, operation } = record else { unreachable!() };
            self.registry.apply(operation);
            self.handle(Event::Persisted { id });
        }
    }

    pub(super) fn link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// An agent joins; its id is `M-A1`, `M-A2` …
    pub(super) fn agent(&mut self, hostname: &str, resources: &str) -> LinkId {
        let link = self.link();
        self.handle(Event::AgentConnected { link });
        self.register(link, hostname, resources, None, Vec::new());
        link
    }

    pub(super) fn register(
        &mut self,
        link: LinkId,
        hostname: &str,
        resources: &str,
        id: Option<&str>,
        tasks: Vec<TaskRecord>,
    ) {
        let agent = AgentInfo {
            hostname: hostname.into(),
            address: "127.0.0.1".into(),
            port: 1,
            resources: resources.parse().unwrap(),
            attributes: Vec::new(),
            id: id.map(AgentId::from),
        };
        let volumes = std::mem::take(&mut self.volumes_found);
        let register = Register { agent, version: "1".into(), secret: vec![1], tasks, volumes, ..Default::default() };
        self.agents.push(link);
        self.agent_says(link, agent_call::Call::Register(register));
    }

    pub(super) fn agent_says(&mut self, link: LinkId, call: agent_call::Call) {
        self.handle(Event::AgentCalled { link, call: AgentCall { call: Some(call) } });
    }

    /// A framework subscribes; its id is `M-F1`, `M-F2` …
    pub(super) fn framework(&mut self, name: &str) -> LinkId {
        self.framework_of(
            FrameworkInfo { name: name.into(), user: "u".into(), role: "r".into(), ..Default::default() },
            None,
        )
    }

    pub(super) fn framework_of(&mut self, framework: FrameworkInfo, secret: Option<String>) -> LinkId {
        let link = self.link();
        self.handle(Event::SchedulerConnected { link, caller: self.caller.clone() });
        self.call(link, Call::Subscribe(scheduler::Subscribe { framework, secret, incarnation: None }));
        link
    }

    pub(super) fn call(&mut self, link: LinkId, call: Call) {
        self.handle(Event::SchedulerCalled { link, call: scheduler::Call { call: Some(call) } });
    }

    pub(super) fn accept(&mut self, link: LinkId, offer: &Offer, tasks: Vec<TaskInfo>) {
        self.call(
            link,
            Call::Accept(scheduler::Accept { offer_ids: vec![offer.id.clone()], tasks, ..Default::default() }),
        );
    }

    pub(super) fn report(&mut self, agent: LinkId, task: &str, state: TaskState, seq: u64) {
        let mut status = TaskStatus::new(task.into(), state).because(Source::Agent, Reason::None, "");
        status.update_seq = Some(seq);
        status.agent_id = Some(AgentId::from("M-A1"));
        let framework_id = FrameworkId::from("M-F1");
        self.agent_says(
            agent,
            agent_call::Call::Update(StatusUpdate { framework_id, status, latest_state: state.into() }),
        );
    }

    pub(super) fn acknowledge(&mut self, link: LinkId, task: &str, update_seq: u64) {
        let call = scheduler::Acknowledge { task_id: task.into(), agent_id: "M-A1".into(), update_seq };
        self.call(link, Call::Acknowledge(call));
    }

    pub(super) fn operator(&mut self, call: operator_call::Call) -> Vec<Result<operator_reply::Reply, String>> {
        let link = self.link();
        self.handle(Event::OperatorCalled {
            link,
            caller: self.caller.clone(),
            call: OperatorCall { call: Some(call) },
        });
        let replies =
            self.effects.extract_if(.., |effect| matches!(effect, Effect::Reply { link: to, .. } if *to == link));
        replies
            .map(|effect| match effect {
                Effect::Reply { reply: Ok(OperatorReply { reply }), .. } => Ok(reply.unwrap()),
                Effect::Reply { reply: Err(error), .. } => Err(error),
                _ => unreachable!(),
            })
            .collect()
    }

    /// Time passes; agents that are connected have answered pings meanwhile.
    pub(super) fn after(&mut self, duration: Duration) {
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(MasterConfig::default().ping_interval);
            self.jump(step);
            left -= step;
        }
    }

    /// The same at once: the master hears of nothing in between, and of the answers only then.
    pub(super) fn jump(&mut self, duration: Duration) {
        self.now = self.now + duration;
        for link in self.agents.clone() {
            let call = Some(agent_call::Call::Pong(crate::protocol::Pong {}));
            self.master.handle(self.now, Event::AgentCalled { link, call: AgentCall { call } }, &mut self.effects);
        }
        self.handle(Event::DeadlinePassed);
    }

    /// What a scheduler was told since the last look.
    pub(super) fn events(&mut self, to: LinkId) -> Vec<event::Event> {
        let told =
            self.effects.extract_if(.., |effect| matches!(effect, Effect::ToScheduler { link, .. } if *link == to));
        told.map(|effect| match effect {
            Effect::ToScheduler { event, .. } => event,
            _ => unreachable!(),
        })
        .collect()
    }

    pub(super) fn offers(&mut self, to: LinkId) -> Vec<Offer> {
        let offers = self.events(to).into_iter().filter_map(|event| match event {
            event::Event::Offers(offers) => Some(offers.offers),
            _ => None,
        });
        offers.flatten().collect()
    }

    pub(super) fn updates(&mut self, to: LinkId) -> Vec<(String, TaskState)> {
        let updates = self.events(to).into_iter().filter_map(|event| match event {
            event::Event::Update(update) => Some((update.status.task_id.to_string(), update.status.state())),
            _ => None,
        });
        updates.collect()
    }

    /// What an agent was told since the last look.
    pub(super) fn told(&mut self, to: LinkId) -> Vec<agent_event::Event> {
        let told = self.effects.extract_if(.., |effect| matches!(effect, Effect::ToAgent { link, .. } if *link == to));
        told.map(|effect| match effect {
            Effect::ToAgent { event, .. } => event,
            _ => unreachable!(),
        })
        .collect()
    }

    pub(super) fn launched(&mut self, on: LinkId) -> Vec<String> {
        let runs = self.told(on).into_iter().filter_map(|event| match event {
            agent_event::Event::RunTasks(run) => Some(run.tasks),
            _ => None,
        });
        runs.flatten().map(|task| task.id.to_string()).collect()
    }

    pub(super) fn live_tasks(&mut self) -> usize {
        self.operator(operator_call::Call::ListTasks(ListTasks::default())).len()
    }
}

/// A task for the executor `e` on `M-A1`, which takes as much again.
pub(super) fn executor_task(id: &str, resources: &str) -> TaskInfo {
    let resources: Resources = resources.parse().unwrap();
    let plugin = PluginRef { name: "p".into(), version: "0.1.0".into(), sha256: "0".repeat(64), size: 1 };
    let executor = ExecutorInfo { plugin, ..ExecutorInfo::new("e", resources.clone()) };
    TaskInfo::executor(id, "M-A1".into(), resources, executor, Vec::new())
}

/// A framework that is waited for when its scheduler is away.
pub(super) fn patient() -> FrameworkInfo {
    FrameworkInfo {
        name: "f".into(),
        user: "u".into(),
        role: "r".into(),
        failover_timeout_ms: Some(60_000),
        ..Default::default()
    }
}

pub(super) fn task(id: &str, agent: &str, resources: &str) -> TaskInfo {
    TaskInfo::command(id, agent.into(), resources.parse().unwrap(), CommandInfo::argv(["true"]))
}

/// How a scheduler was welcomed, if it was.
pub(super) fn subscribed(events: &[event::Event]) -> Option<scheduler::Subscribed> {
    events.iter().find_map(|event| match event {
        event::Event::Subscribed(subscribed) => Some(subscribed.clone()),
        _ => None,
    })
}

pub(super) fn refused(events: Vec<event::Event>) -> String {
    let message = events.into_iter().find_map(|event| match event {
        event::Event::Error(error) => Some(error.message),
        event::Event::Update(update) => update.status.message,
        _ => None,
    });
    message.expect("something was refused")
}
