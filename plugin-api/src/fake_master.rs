//! A master without a cluster, for the tests of framework halves.

#[cfg(test)]
mod tests;
mod drains;
mod volumes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::framework::{Event, Started};
use crate::v1::framework::{Connected, call::Call};
use crate::v1::scheduler::{Accept, GangStatus, Message, Offers, StateEntry, StateStored, Update, VolumeState};
use crate::v1::{
    AgentId, Attribute, FrameworkId, FrameworkInfo, GangRequest, Offer, OfferId, OfferPart, PluginRef, Reason,
    Resources, Source, TaskId, TaskInfo, TaskState, TaskStatus,
};
use crate::{Calls, Framework, Time};

/// Plays master and agents to one framework half: offers what its agents have, launches what is accepted, and lets the test say
/// how tasks go on. Nothing runs; time stands still until [`advance_to`](Self::advance_to).
///
/// Every call is kept in [`calls`](Self::calls); a call that a real master would refuse (an offer that isn't open, more than
/// was offered, a task id twice) is an assertion.
pub struct FakeMaster {
    framework: Box<dyn Framework>,
    now: Time,
    agents: BTreeMap<AgentId, (String, Resources)>,
    draining: BTreeSet<AgentId>,
    offers: BTreeMap<OfferId, Offer>,
    tasks: BTreeMap<TaskId, (TaskInfo, TaskState)>,
    gangs: VecDeque<GangRequest>,
    /// What is reserved by each volume of the framework.
    volumes: BTreeMap<(AgentId, String), Resources>,
    timers: BTreeMap<u64, Time>,
    state: BTreeMap<String, Vec<u8>>,
    suppressed: bool,
    next_offer: u64,
    /// All calls of the framework, in order.
    pub calls: Vec<Call>,
    /// Exit code and message, once the framework has called finish.
    pub finished: Option<(i32, Option<String>)>,
}

impl FakeMaster {
    /// Starts the framework half and connects it.
    pub fn new(framework: Box<dyn Framework>) -> Self {
        Self::with_state(framework, BTreeMap::new())
    }

    /// Starts the framework half with state that an earlier one stored.
    pub fn with_state(framework: Box<dyn Framework>, state: BTreeMap<String, Vec<u8>>) -> Self {
        let mut master = Self {
            framework,
            now: Time(1_000_000_000),
            agents: BTreeMap::new(),
            draining: BTreeSet::new(),
            offers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            gangs: VecDeque::new(),
            volumes: BTreeMap::new(),
            timers: BTreeMap::new(),
            state,
            suppressed: false,
            next_offer: 1,
            calls: Vec::new(),
            finished: None,
        };
        let recovered = !master.state.is_empty();
        master.start(recovered);
        master
    }

    /// The scheduler's process has died, and another one takes over: offers are void, timers gone, tasks run on.
    pub fn replace(&mut self, framework: Box<dyn Framework>) {
        self.framework = framework;
        self.offers.clear();
        self.timers.clear();
        self.gangs.clear();
        self.suppressed = false;
        self.start(true);
        for (task, state) in self.tasks.values().filter(|(_, state)| !state.is_terminal()).cloned().collect::<Vec<_>>()
        {
            let status = self.status_of(&task, TaskStatus::new(task.id.clone(), state));
            self.send(Event::Update(Update { status }));
        }
    }

    fn start(&mut self, recovered: bool) {
        let framework = FrameworkInfo {
            name: "test".into(),
            user: "test".into(),
            role: "default".into(),
            id: Some(FrameworkId::from("F1")),
            ..FrameworkInfo::default()
        };
        let plugin = PluginRef { name: "test".into(), version: "0.1.0".into(), sha256: "0".repeat(64), size: 1 };
        let entry = |(key, value): (&String, &Vec<u8>)| StateEntry { key: key.clone(), value: value.clone() };
        let state = self.state.iter().map(entry).collect();
        self.send(Event::Started(Started { framework, state, recovered: Some(recovered), plugin: Some(plugin) }));
        self.send(Event::Connected(Connected {}));
    }

    /// Adds an agent; its resources are offered by the next [`offer`](Self::offer).
    pub fn add_agent(&mut self, id: &str, resources: &str) {
        let resources = resources.parse().expect("the test gives proper resources");
        self.agents.insert(AgentId::from(id), (format!("host-{id}"), resources));
    }

    /// The time that the framework is told.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Moves time on and fires the timers that fall due, in order.
    pub fn advance_to(&mut self, now: Time) {
        while let Some((&id, &at)) =
            self.timers.iter().min_by_key(|(id, at)| (**at, **id)).filter(|(_, at)| **at <= now)
        {
            self.timers.remove(&id);
            self.now = self.now.max(at);
            self.send(Event::Timer(crate::v1::framework::Timer { id }));
        }
        self.now = self.now.max(now);
    }

    /// Offers everything that is free, one offer an agent and one a volume, unless the framework suppressed offers; then tries the
    /// gangs.
    pub fn offer(&mut self) {
        if !self.suppressed {
            let mut parts: Vec<OfferPart> = self.agents.keys().map(|id| self.part(id, self.free(id), None)).collect();
            parts.extend(self.volume_parts());
            let mut offers = Vec::new();
            let usable = |part: &OfferPart| !part.resources.is_empty() && !self.draining.contains(&part.agent_id);
            parts.retain(usable);
            for part in parts {
                offers.push(self.open_offer(vec![part], None));
            }
            if !offers.is_empty() {
                self.send(Event::Offers(Offers { offers }));
            }
        }
        self.offer_gangs();
    }

    /// Takes back an open offer.
    pub fn rescind(&mut self, offer: &OfferId) {
        assert!(self.offers.remove(offer).is_some(), "offer {offer} is open");
        self.send(Event::Rescind(crate::v1::scheduler::Rescind { offer_id: offer.clone() }));
    }

    /// Open offers.
    pub fn open_offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// Tasks that were launched and haven't ended.
    pub fn live_tasks(&self) -> Vec<&TaskInfo> {
        self.tasks.values().filter(|(_, state)| !state.is_terminal()).map(|(task, _)| task).collect()
    }

    /// What the framework stored.
    pub fn state(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.state
    }

    /// Reports a task's new state as its agent would.
    pub fn update(&mut self, task: &TaskId, state: TaskState) {
        self.update_with(TaskStatus::new(task.clone(), state));
    }

    /// Reports a task's new state with its details.
    pub fn update_with(&mut self, status: TaskStatus) {
        let (task, state) = self.tasks.get_mut(&status.task_id).expect("the test updates a task that was launched");
        assert!(!state.is_terminal(), "task {} has ended before", status.task_id);
        *state = status.state();
        let task = task.clone();
        let status = self.status_of(&task, status);
        self.send(Event::Update(Update { status }));
    }

    fn status_of(&self, task: &TaskInfo, status: TaskStatus) -> TaskStatus {
        TaskStatus {
            agent_id: Some(task.agent_id.clone()),
            executor_id: task.executor.as_ref().map(|executor| executor.id.clone()),
            timestamp_ns: Some(self.now.as_nanos()),
            ..status
        }
    }

    /// Says something as the executor of a live task.
    pub fn message(&mut self, task: &TaskId, data: impl Into<Vec<u8>>) {
        let (task, state) = &self.tasks[task];
        assert!(!state.is_terminal(), "task {} has ended before", task.id);
        let executor_id = task.executor.as_ref().expect("the task has an executor").id.clone();
        let message = Message { agent_id: task.agent_id.clone(), executor_id, data: data.into(), ..Message::default() };
        self.send(Event::Message(message));
    }

    /// Loses an agent: its offers are rescinded, its tasks lost, its volumes out of reach.
    pub fn lose_agent(&mut self, id: &AgentId) {
        let (hostname, _) = self.agents.remove(id).expect("the test loses an agent that is there");
        let gone = |offer: &&Offer| offer.parts.iter().any(|part| part.agent_id == *id);
        let offers: Vec<OfferId> = self.offers.values().filter(gone).map(|offer| offer.id.clone()).collect();
        offers.iter().for_each(|offer| self.rescind(offer));
        let on_it: Vec<TaskId> =
            self.live_tasks().iter().filter(|task| task.agent_id == *id).map(|task| task.id.clone()).collect();
        for task in on_it {
            let status = TaskStatus::new(task, TaskState::TaskLost);
            self.update_with(status.because(Source::Master, Reason::AgentRemoved, "agent lost"));
        }
        let failure = crate::v1::scheduler::Failure { agent_id: id.clone(), ..Default::default() };
        self.send(Event::Failure(failure));
        self.lose_volumes(id, &hostname);
    }

    /// Gives the framework any event, and carries out its calls.
    pub fn send(&mut self, event: Event) {
        let mut calls = Calls::default();
        self.framework.on_event(self.now, event, &mut calls);
        for call in calls.take() {
            self.calls.push(call.clone());
            self.carry_out(call);
        }
    }

    fn carry_out(&mut self, call: Call) {
        match call {
            Call::Accept(accept) => self.accept(accept),
            Call::Decline(decline) => {
                for id in decline.offer_ids {
                    assert!(self.offers.remove(&id).is_some(), "declined offer {id} is open");
                }
            }
            Call::Suppress(_) => self.suppressed = true,
            Call::Revive(_) => self.suppressed = false,
            Call::RequestGang(gang) => self.gangs.push_back(gang.request),
            Call::CancelGang(cancel) => self.gangs.retain(|gang| gang.id != cancel.id),
            Call::SetTimer(timer) => {
                self.timers.insert(timer.id, Time(timer.at_ns));
            }
            Call::CancelTimer(timer) => {
                self.timers.remove(&timer.id);
            }
            Call::PutState(put) => {
                match put.value {
                    Some(value) => self.state.insert(put.key, value),
                    None => self.state.remove(&put.key),
                };
                self.send(Event::StateStored(StateStored { seq: put.seq.unwrap_or(0), error: None }));
            }
            Call::DestroyVolume(destroy) => self.destroy_volume(destroy),
            Call::Finish(finish) => self.finished = Some((finish.exit_code, finish.message)),
            // Seen in `calls`; the test answers them.
            Call::Kill(_) | Call::ShutdownExecutor(_) | Call::Reconcile(_) | Call::Message(_) | Call::Reply(_) => {}
            Call::AcceptInverseOffers(_) | Call::DeclineInverseOffers(_) => {}
            Call::ToShell(_) | Call::Output(_) | Call::Follow(_) | Call::Progress(_) | Call::PauseStdin(_) => {}
        }
    }

    fn accept(&mut self, accept: Accept) {
        let mut offered: BTreeMap<AgentId, Resources> = BTreeMap::new();
        let mut reserved: BTreeMap<(AgentId, String), Resources> = BTreeMap::new();
        for id in &accept.offer_ids {
            let offer = self.offers.remove(id).unwrap_or_else(|| panic!("accepted offer {id} is open"));
            assert!(offer.gang_id.is_none() || accept.create_volumes.is_empty(), "a gang's offer makes no volumes");
            for part in offer.parts {
                let ordinary = offered.entry(part.agent_id.clone()).or_default();
                match part.volume {
                    Some(volume) => drop(reserved.insert((part.agent_id, volume.name), part.resources)),
                    None => *ordinary += &part.resources,
                }
            }
        }
        for create in &accept.create_volumes {
            self.create_volume(create, &mut offered);
            reserved.insert((create.agent_id.clone(), create.name.clone()), create.reserve.clone());
        }
        let mut executors = BTreeSet::new();
        for mut task in accept.tasks {
            let mut needed = self.take_reserved(&mut task, &mut reserved);
            let left =
                offered.get_mut(&task.agent_id).unwrap_or_else(|| panic!("task {} is on an offered agent", task.id));
            if let Some(executor) = task.executor.as_ref().filter(|executor| !self.runs(&task.agent_id, &executor.id))
                && executors.insert((task.agent_id.clone(), executor.id.clone()))
            {
                needed += &executor.resources;
            }
            *left = left.checked_sub(&needed).unwrap_or_else(|shortage| panic!("task {}: {shortage}", task.id));
            let before = self.tasks.insert(task.id.clone(), (task.clone(), TaskState::TaskStaging));
            assert!(before.is_none(), "task id {} is new", task.id);
        }
        for create in accept.create_volumes {
            self.tell_of_volume(&create.agent_id, &create.name, VolumeState::VolumeReady, None);
        }
    }

    fn runs(&self, agent: &AgentId, executor: &crate::v1::ExecutorId) -> bool {
        let same =
            |task: &&TaskInfo| task.agent_id == *agent && task.executor.as_ref().is_some_and(|e| e.id == *executor);
        self.live_tasks().iter().any(same)
    }

    fn free(&self, agent: &AgentId) -> Resources {
        if self.draining.contains(agent) {
            return Resources::default();
        }
        let mut free = self.agents[agent].1.clone();
        for (_, reserved) in self.volumes.iter().filter(|((on, _), _)| on == agent) {
            free = free.checked_sub(reserved).expect("only free resources are reserved");
        }
        let mut executors = BTreeSet::new();
        for task in self.live_tasks().into_iter().filter(|task| task.agent_id == *agent) {
            let ordinary = task.resources.checked_sub(&task.reserved()).expect("a part of them is reserved");
            free = free.checked_sub(&ordinary).expect("accept has checked it");
            if let Some(executor) = task.executor.as_ref().filter(|executor| executors.insert(executor.id.clone())) {
                free = free.checked_sub(&executor.resources).expect("accept has checked it");
            }
        }
        let open = self.offers.values().flat_map(|offer| &offer.parts);
        for part in open.filter(|part| part.agent_id == *agent && part.volume.is_none()) {
            free = free.checked_sub(&part.resources).expect("only free resources are offered");
        }
        free
    }

    fn part(&self, agent: &AgentId, resources: Resources, slots: Option<u32>) -> OfferPart {
        OfferPart {
            agent_id: agent.clone(),
            hostname: self.agents[agent].0.clone(),
            address: "127.0.0.1".into(),
            resources,
            attributes: vec![Attribute::text("rack", "r1")],
            slots,
            volume: None,
        }
    }

    fn open_offer(&mut self, parts: Vec<OfferPart>, gang_id: Option<String>) -> Offer {
        let id = OfferId::new(format!("O{}", self.next_offer));
        self.next_offer += 1;
        let offer =
            Offer { id: id.clone(), framework_id: FrameworkId::from("F1"), parts, gang_id, available_until_ns: None };
        self.offers.insert(id, offer.clone());
        offer
    }

    /// Fills agents one after the other; a gang that doesn't fit is told how far it came.
    fn offer_gangs(&mut self) {
        for gang in std::mem::take(&mut self.gangs) {
            let mut missing = gang.slots;
            let mut parts = Vec::new();
            let per_agent = gang.per_agent.clone().unwrap_or_default();
            for id in self.agents.keys() {
                let Ok(free) = self.free(id).checked_sub(&per_agent) else { continue };
                let slots = free.times(&gang.per_slot).min(missing).min(gang.max_slots_per_agent.unwrap_or(u32::MAX));
                if slots > 0 {
                    parts.push(self.part(id, gang.per_slot.scalars_times(slots) + &per_agent, Some(slots)));
                    missing -= slots;
                }
            }
            if missing == 0 {
                let offer = self.open_offer(parts, Some(gang.id));
                self.send(Event::Offers(Offers { offers: vec![offer] }));
            } else {
                let (slots_held, slots_asked) = (Some(gang.slots - missing), Some(gang.slots));
                let waiting_for = Some(format!("{missing} more slots"));
                self.send(Event::GangStatus(GangStatus {
                    id: gang.id.clone(),
                    slots_held,
                    slots_asked,
                    waiting_for,
                    refused: None,
                    planned_start_ns: None,
                }));
                self.gangs.push_back(gang);
            }
        }
    }
}
