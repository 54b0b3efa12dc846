//! Offers: made from what the allocator gives, rescinded, timed out, declined, accepted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, VolumeState, event};
use mesos_plugin_api::v1::{
    AgentId, ExecutorId, FrameworkId, Offer, OfferId, OfferPart, Reason, Resources, Source, TaskInfo, TaskState,
    TaskStatus, VolumeMount,
};

use super::tasks::Task;
use super::validation::{Terms, check_task};
use super::volumes::{State, VolumeKey};
use super::{Effect, Master, authorise, make_id};
use crate::allocator;
use crate::protocol::{RunTasks, agent_event};

/// An offer that was neither answered nor taken back.
#[derive(Debug)]
pub(super) struct OpenOffer {
    pub(super) framework_id: FrameworkId,
    pub(super) parts: Vec<OfferPart>,
    pub(super) gang: Option<Gang>,
    /// A gang gets it then.
    pub(super) available_until: Option<Time>,
    pub(super) expires: Time,
}

/// The gang that an offer is for.
#[derive(Debug, Clone)]
pub(super) struct Gang {
    pub(super) id: String,
    /// No task of it runs longer.
    max_duration_ms: Option<u64>,
}

/// What accepted offers hold that nothing has taken yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    pub(super) ordinary: BTreeMap<AgentId, Resources>,
    /// For what mounts these volumes.
    pub(super) reserved: BTreeMap<VolumeKey, Resources>,
}

impl Left {
    /// Takes of what isn't reserved, one after the other: a port that two ask for is there once.
    pub(super) fn take<'a>(
        &mut self,
        agent: &AgentId,
        mut all: impl Iterator<Item = &'a Resources>,
    ) -> Result<(), String> {
        let left = self.ordinary.get_mut(agent).ok_or_else(|| format!("the agent {agent} is not in the offer"))?;
        let rest = all.try_fold(left.clone(), |rest, resources| rest.checked_sub(resources));
        *left = rest.map_err(|shortage| format!("more is asked than was offered: {shortage}"))?;
        Ok(())
    }
}

/// How resources come back to the allocator.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Back {
    /// When they were said to come back at the latest.
    pub(super) by: Option<Time>,
    /// Their framework doesn't want them again for so long.
    pub(super) refuse: Option<Duration>,
}

/// After a rescind by time-out, the hoarder isn't offered the same again for so long.
const HOARDER_FILTER: Duration = Duration::from_secs(5);
/// A task on what is held for a gang is over so long before the gang's start: its launch travels to the agent, its end back.
const BACKFILL_MARGIN: Duration = Duration::from_millis(500);

impl Master {
    /// Turns what the allocator decided into offers and words for frameworks.
    pub(super) fn carry_out_allocation(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let mut offers: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        for effect in std::mem::take(&mut self.allocator_effects) {
            match effect {
                allocator::Effect::Offers { framework, parts, available_until } => {
                    for part in parts {
                        let part = self.offer_part(part);
                        let offer = self.open_offer(now, &framework, vec![part], None, available_until);
                        offers.entry(framework.clone()).or_default().push(offer);
                    }
                }
                allocator::Effect::GangOffer { framework, id, parts } => {
                    let parts = parts.into_iter().map(|part| self.offer_part(part)).collect();
                    let offer = self.open_offer(now, &framework, parts, Some(id), None);
                    offers.entry(framework).or_default().push(offer);
                }
                allocator::Effect::GangStatus { framework, id, held, asked, waiting_for, planned_start, refused } => {
                    if refused.is_some() {
                        self.frameworks.get_mut(&framework).map(|state| state.gangs.remove(&id));
                    }
                    let (slots_held, slots_asked) = (Some(held), Some(asked));
                    let planned_start_ns = planned_start.map(Time::as_nanos);
                    let status =
                        scheduler::GangStatus { id, slots_held, slots_asked, waiting_for, refused, planned_start_ns };
                    self.tell(&framework, event::Event::GangStatus(status), effects);
                }
            }
        }
        for (framework, offers) in offers {
            self.tell(&framework, event::Event::Offers(scheduler::Offers { offers }), effects);
        }
    }

    pub(super) fn open_offer(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        parts: Vec<OfferPart>,
        gang_id: Option<String>,
        available_until: Option<Time>,
    ) -> Offer {
        let id = OfferId::new(make_id(&self.config, 'O', &mut self.next_offer));
        let gang = gang_id.clone().map(|id| {
            let asked = self.frameworks.get_mut(framework).and_then(|state| state.gangs.remove(&id));
            Gang { id, max_duration_ms: asked.and_then(|gang| gang.max_duration_ms) }
        });
        let timeout = now + self.config.offer_timeout;
        let open = OpenOffer {
            framework_id: framework.clone(),
            parts: parts.clone(),
            gang,
            available_until,
            expires: available_until.map_or(timeout, |until| timeout.min(until - BACKFILL_MARGIN)),
        };
        self.expiries.insert((open.expires, id.clone()));
        self.offers.insert(id.clone(), open);
        Offer {
            id,
            framework_id: framework.clone(),
            parts,
            gang_id,
            available_until_ns: available_until.map(|until| (until - BACKFILL_MARGIN).as_nanos()),
        }
    }

    pub(super) fn offer_part(&self, part: allocator::Part) -> OfferPart {
        let info = &self.agents[&part.agent].info;
        OfferPart {
            agent_id: part.agent,
            hostname: info.hostname.clone(),
            address: info.address.clone(),
            resources: part.resources,
            attributes: info.attributes.clone(),
            slots: part.slots,
            volume: None,
        }
    }

    pub(super) fn expire_offers(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while let Some((_, id)) = self.expiries.first().filter(|(expires, _)| *expires <= now).cloned() {
            self.rescind(now, &id, Some(HOARDER_FILTER), effects);
        }
        self.carry_out_allocation(now, effects);
    }

    /// Takes back all that was offered on an agent.
    pub(super) fn rescind_on(&mut self, now: Time, agent: &AgentId, effects: &mut Vec<Effect>) {
        self.rescind_where(now, |offer| offer.parts.iter().any(|part| part.agent_id == *agent), effects);
    }

    /// Takes back all that a framework was offered.
    pub(super) fn rescind_of(&mut self, now: Time, framework: &FrameworkId, effects: &mut Vec<Effect>) {
        self.rescind_where(now, |offer| offer.framework_id == *framework, effects);
    }

    fn rescind_where(&mut self, now: Time, which: impl Fn(&OpenOffer) -> bool, effects: &mut Vec<Effect>) {
        let ids: Vec<OfferId> =
            self.offers.iter().filter(|(_, offer)| which(offer)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.rescind(now, &id, None, effects);
        }
    }

    pub(super) fn rescind(&mut self, now: Time, id: &OfferId, refuse: Option<Duration>, effects: &mut Vec<Effect>) {
        let offer = self.close_offer(id).expect("only open offers are rescinded");
        let event = event::Event::Rescind(scheduler::Rescind { offer_id: id.clone() });
        self.tell(&offer.framework_id, event, effects);
        self.give_back(now, offer, refuse);
    }

    fn give_back(&mut self, now: Time, offer: OpenOffer, refuse: Option<Duration>) {
        for part in offer.parts {
            if let Some(volume) = &part.volume {
                let key = self.volume_key(&offer.framework_id, &part.agent_id, &volume.name);
                self.volume_comes_back(now, &key, part.resources, refuse);
                continue;
            }
            let back = Back { by: offer.available_until, refuse };
            self.recover(now, &offer.framework_id, &part.agent_id, part.resources, back);
        }
    }

    pub(super) fn recover(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: Resources,
        back: Back,
    ) {
        if !resources.is_empty() {
            let (framework, agent) = (framework.clone(), agent.clone());
            let event =
                allocator::Event::Recover { framework, agent, resources, back_by: back.by, refuse: back.refuse };
            self.tell_allocator(now, event);
        }
    }

    pub(super) fn decline(&mut self, now: Time, framework: &FrameworkId, decline: &scheduler::Decline) {
        let filter = decline.filters.unwrap_or_default().duration();
        for id in &decline.offer_ids {
            if let Some(offer) = self.take_offer(framework, id) {
                self.give_back(now, offer, Some(filter));
            }
        }
    }

    /// The offer, if it is open and this framework's. One that isn't was rescinded while the answer was on its way.
    fn take_offer(&mut self, framework: &FrameworkId, id: &OfferId) -> Option<OpenOffer> {
        self.offers.get(id).filter(|offer| offer.framework_id == *framework)?;
        self.close_offer(id)
    }

    fn close_offer(&mut self, id: &OfferId) -> Option<OpenOffer> {
        let offer = self.offers.remove(id)?;
        self.expiries.remove(&(offer.expires, id.clone()));
        for (part, volume) in offer.parts.iter().filter_map(|part| Some((part, part.volume.as_ref()?))) {
            let key = self.volume_key(&offer.framework_id, &part.agent_id, &volume.name);
            self.volumes.get_mut(&key).expect("a volume's offer goes before it").offer = None;
        }
        Some(offer)
    }

    pub(super) fn accept(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        accept: scheduler::Accept,
        effects: &mut Vec<Effect>,
    ) {
        let wanted = accept.offer_ids.len();
        let offers: Vec<OpenOffer> = accept.offer_ids.iter().filter_map(|id| self.take_offer(framework, id)).collect();
        let mut left = self.sum_up(framework, &offers);
        let gang = offers.iter().find_map(|offer| offer.gang.clone());
        let until = offers.first().and_then(|offer| offer.available_until);
        let refuse = Some(accept.filters.unwrap_or_default().duration());
        let problem = if offers.len() < wanted || self.frameworks[framework].ending.is_some() {
            Some("an offer it was to run on had been rescinded or used before")
        } else if offers.iter().any(|offer| offer.available_until != until) {
            Some("its offers end at different times; accept those together that have the same available_until")
        } else {
            None
        };
        let no_volumes = match problem {
            None if gang.is_some() => Some("a gang's offer makes no volumes; make them on ordinary offers"),
            None if until.is_some() => Some("what is held for a gang makes no volumes; wait for an ordinary offer"),
            problem => problem,
        };
        match no_volumes {
            None => self.create_volumes(now, framework, accept.create_volumes, &mut left, effects),
            Some(message) => {
                for create in accept.create_volumes {
                    let key = self.volume_key(framework, &create.agent_id, &create.name);
                    let message = Some(message.to_string());
                    self.tell_of_volume(framework, &key, VolumeState::VolumeRefused, message, effects);
                }
            }
        }
        let tasks = if let Some(message) = problem {
            for offer in offers {
                self.give_back(now, offer, refuse);
            }
            left = Left::default();
            self.refuse_all(
                now,
                framework,
                accept.tasks,
                TaskState::TaskDropped,
                Reason::InvalidOffers,
                message,
                effects,
            );
            Vec::new()
        } else {
            self.check_tasks(now, framework, accept.tasks, &mut left, until, gang.as_ref(), effects)
        };
        self.launch(now, framework, tasks, gang.map(|gang| gang.id), until, effects);
        for (agent, resources) in left.ordinary {
            self.recover(now, framework, &agent, resources, Back { by: until, refuse });
        }
        for (key, resources) in left.reserved {
            // What was made just now, nobody was offered yet.
            let is_new = self.volumes.get(&key).is_some_and(|volume| volume.state == State::Creating);
            self.volume_comes_back(now, &key, resources, refuse.filter(|_| !is_new));
        }
    }

    fn sum_up(&self, framework: &FrameworkId, offers: &[OpenOffer]) -> Left {
        let mut left = Left::default();
        for part in offers.iter().flat_map(|offer| &offer.parts) {
            if let Some(volume) = &part.volume {
                let key = self.volume_key(framework, &part.agent_id, &volume.name);
                left.reserved.insert(key, part.resources.clone());
                // What a volume holds may be all that its task needs.
                left.ordinary.entry(part.agent_id.clone()).or_default();
            } else {
                *left.ordinary.entry(part.agent_id.clone()).or_default() += &part.resources;
            }
        }
        left
    }

    /// The tasks that may run; of a gang all or none, and one at least on each agent. What they use is gone from `left`.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one call")]
    fn check_tasks(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        tasks: Vec<TaskInfo>,
        left: &mut Left,
        until: Option<Time>,
        gang: Option<&Gang>,
        effects: &mut Vec<Effect>,
    ) -> Vec<TaskInfo> {
        let before = left.clone();
        let starting: RefCell<BTreeSet<(AgentId, ExecutorId)>> = RefCell::default();
        let mut ids = BTreeSet::new();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for mut task in tasks {
            let longest = gang.and_then(|gang| gang.max_duration_ms);
            task.max_duration_ms = task.max_duration_ms.into_iter().chain(longest).min();
            let runs = |agent: &AgentId, executor: &ExecutorId| {
                let running = self
                    .agents
                    .get(agent)
                    .is_some_and(|state| state.executors.contains_key(&(framework.clone(), executor.clone())));
                running || starting.borrow().contains(&(agent.clone(), executor.clone()))
            };
            let id_in_use = !ids.insert(task.id.clone()) || self.frameworks[framework].tasks.contains_key(&task.id);
            let until = until.map(|until| until - BACKFILL_MARGIN);
            let may = authorise::run(self.frameworks[framework].acts_for.as_deref(), &task);
            let volume = |mount: &VolumeMount, agent: &AgentId| {
                let key = self.volume_key(framework, agent, &mount.name);
                let volume = self.volumes.get(&key)?;
                (!matches!(volume.state, State::Destroying { .. })).then_some(key)
            };
            let terms = Terms { now, left, until, runs: &runs, volume: &volume, id_in_use };
            match may.and_then(|()| check_task(&mut task, terms)) {
                Ok(()) => {
                    if let Some(executor) = &task.executor {
                        starting.borrow_mut().insert((task.agent_id.clone(), executor.id.clone()));
                    }
                    good.push(task);
                }
                Err(problem) => bad.push((task, problem)),
            }
        }
        let used: BTreeSet<&AgentId> = good.iter().map(|task| &task.agent_id).collect();
        if let Some(unused) = before.ordinary.keys().find(|agent| gang.is_some() && !used.contains(agent)) {
            let problem = format!("a gang is accepted whole, and no proper task was for the agent {unused}");
            bad.extend(good.drain(..).map(|task| (task, problem.clone())));
        } else if let Some((task, problem)) = bad.first().filter(|_| gang.is_some()) {
            let problem = format!("the task {} of the same gang was refused: {problem}", task.id);
            bad.extend(good.drain(..).map(|task| (task, problem.clone())));
        }
        if good.is_empty() {
            *left = before;
        }
        for (task, problem) in bad {
            self.refuse(now, framework, &task, TaskState::TaskError, Reason::InvalidTask, problem, effects);
        }
        good
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one status")]
    fn refuse_all(
        &self,
        now: Time,
        framework: &FrameworkId,
        tasks: Vec<TaskInfo>,
        state: TaskState,
        reason: Reason,
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        for task in tasks {
            self.refuse(now, framework, &task, state, reason, message.to_string(), effects);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one status")]
    fn refuse(
        &self,
        now: Time,
        framework: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        reason: Reason,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let mut status = TaskStatus::new(task.id.clone(), state).because(Source::Master, reason, message).at(now);
        status.agent_id = Some(task.agent_id.clone());
        self.tell(framework, event::Event::Update(scheduler::Update { status }), effects);
    }

    fn launch(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        tasks: Vec<TaskInfo>,
        gang_id: Option<String>,
        until: Option<Time>,
        effects: &mut Vec<Effect>,
    ) {
        let usable_until = until.map(|until| until - BACKFILL_MARGIN);
        let over_within = usable_until.map(|until| until.since(now));
        let over_within_ms = over_within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let mut by_agent: BTreeMap<AgentId, Vec<TaskInfo>> = BTreeMap::new();
        for task in tasks {
            by_agent.entry(task.agent_id.clone()).or_default().push(task);
        }
        for (agent, tasks) in by_agent {
            let running_executors = self.running_executors(framework, &agent, &tasks);
            for task in &tasks {
                self.record_launch(now, framework, task, gang_id.as_deref(), until);
            }
            let state = self.frameworks.get_mut(framework).expect("the caller has it");
            state.touched.insert(agent.clone());
            let (framework, gang_id) = (state.info.clone(), gang_id.clone());
            let run = RunTasks { framework, tasks, gang_id, over_within_ms, running_executors };
            self.tell_agent(&agent, agent_event::Event::RunTasks(run), effects);
        }
    }

    fn running_executors(&self, framework: &FrameworkId, agent: &AgentId, tasks: &[TaskInfo]) -> Vec<ExecutorId> {
        let known = &self.agents[agent].executors;
        let wanted: BTreeSet<&ExecutorId> = tasks.iter().filter_map(|task| Some(&task.executor.as_ref()?.id)).collect();
        wanted.into_iter().filter(|id| known.contains_key(&(framework.clone(), (*id).clone()))).cloned().collect()
    }

    fn record_launch(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        task: &TaskInfo,
        gang_id: Option<&str>,
        offered_until: Option<Time>,
    ) {
        let agent = self.agents.get_mut(&task.agent_id).expect("its offers were rescinded if it were lost");
        agent.tasks.insert((framework.clone(), task.id.clone()));
        if let Some(executor) = &task.executor {
            let executors = &mut agent.executors;
            executors.entry((framework.clone(), executor.id.clone())).or_insert_with(|| executor.clone());
        }
        self.use_volumes(now, framework, &task.agent_id, &task.volumes);
        let record = Box::new(Task::new(now, task, gang_id));
        let (ends_at, resources) = (record.ends_at, record.info.ordinary());
        self.frameworks.get_mut(framework).expect("the caller has it").tasks.insert(task.id.clone(), record);
        if offered_until.is_some() || ends_at.is_some() {
            let (framework, agent) = (framework.clone(), task.agent_id.clone());
            self.tell_allocator(
                now,
                allocator::Event::Launched { framework, agent, resources, offered_until, ends_at },
            );
        }
    }
}
