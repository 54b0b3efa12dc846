//! Agents that aren't there: from silence to the end of all that ran on them.
//!
//! ```text
//!            ┌──────────────────── comes back: its tasks run on ──────────────────┐
//!            ▼                                                                    │
//! connected ──silent──▶ pings missed ──recorded, at a limited rate──▶ unreachable ┴─time is over, recorded──▶ lost
//!     └──────────────────────────────── an operator says so, recorded ───────────────────────────────────▶ gone
//! ```
//!
//! Of an unreachable agent nobody knows whether its tasks run: they are `TASK_UNREACHABLE`, and their frameworks decide whether to
//! wait. What was reported lost or gone is killed if its agent comes back after all.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, VolumeState, event};
use mesos_plugin_api::v1::{AgentId, AgentInfo, FrameworkId, Reason, Source, TaskId, TaskState, TaskStatus};

use super::agents::Agent;
use super::recording::Pending;
use super::{Effect, LinkId, Master, Peer};
use crate::allocator;
use crate::protocol::{
    ForgetAgent, MarkLost, MarkUnreachable, Ping, Register, Registered, ShutdownFramework, TaskRecord, agent_event,
};
use crate::registry::{Operation, Presence};

/// Agents that aren't there and are still remembered; beyond, those that went first are forgotten.
const ABSENT_MAX: usize = 10_000;

/// How many agents may be marked unreachable in how long: a broken network doesn't empty the cluster at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalRate {
    /// So many at the most …
    pub count: u32,
    /// … within any such time.
    pub per: Duration,
}

impl Default for RemovalRate {
    fn default() -> Self {
        Self { count: 20, per: Duration::from_secs(60) }
    }
}

/// An agent that isn't there, and of which this master knows no tasks.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) info: AgentInfo,
    pub(super) presence: Presence,
}

// ── silence ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// How long an agent may be silent.
    pub(super) fn agent_patience(&self) -> Duration {
        self.config.ping_interval * self.config.pings_missed_max
    }

    pub(super) fn heard_from(&mut self, now: Time, id: &AgentId) {
        let patience = self.agent_patience();
        if let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.unreachable.is_none()) {
            agent.lost_at = now + patience;
        }
    }

    pub(super) fn ping_agents(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(due) = self.next_ping.filter(|due| *due <= now) else { return };
        // Whoever was asleep or stopped for so long itself can't tell who was silent: they have until the next ping.
        if now < due + self.config.ping_interval {
            self.leave_silent_agents(now, effects);
            self.give_up_unreachable_agents(now, effects);
        }
        self.next_ping = (!self.agents.is_empty() || self.awaits_absent()).then(|| now + self.config.ping_interval);
        for link in self.agents.values().filter_map(|agent| agent.link) {
            effects.push(Effect::ToAgent { link, event: agent_event::Event::Ping(Ping {}) });
        }
    }

    /// Offers nothing of those that were silent for too long, and marks as many of them as may be.
    fn leave_silent_agents(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let is_silent = |agent: &Agent| agent.unreachable.is_none() && agent.lost_at <= now;
        let silent = self.agents.iter().filter(|(id, agent)| is_silent(agent) && !self.losing.contains(*id));
        let mut silent: Vec<(Time, AgentId)> = silent.map(|(id, agent)| (agent.lost_at, id.clone())).collect();
        silent.sort();
        for (_, id) in silent {
            if let Some(link) = self.agents.get_mut(&id).and_then(|agent| agent.link.take()) {
                self.close(link, effects);
                self.withdraw(now, &id, effects);
            }
            if self.may_remove(now) {
                self.mark_unreachable(now, id, effects);
            }
        }
    }

    /// Whether one more agent may be marked now; counted if so.
    pub(super) fn may_remove(&mut self, now: Time) -> bool {
        let RemovalRate { count, per } = self.config.agent_removal_rate;
        while self.removals.front().is_some_and(|removed| *removed + per <= now) {
            self.removals.pop_front();
        }
        let may = self.removals.len() < count as usize;
        if may {
            self.removals.push_back(now);
        }
        may
    }

    /// Nothing of it is offered any more.
    pub(super) fn withdraw(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        self.rescind_on(now, id, effects);
        self.tell_allocator(now, allocator::Event::DeactivateAgent { id: id.clone() });
    }

    pub(super) fn agent_disconnected(&mut self, now: Time, id: &AgentId, link: LinkId, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get_mut(id).filter(|agent| agent.link == Some(link)) else { return };
        agent.link = None;
        self.withdraw(now, id, effects);
        if self.is_bare(id) {
            // Nothing is lost with it; it comes back as if it were new.
            self.lose_agent(now, id, TaskState::TaskLost, Reason::AgentRemoved, "was lost", effects);
            self.forget_agent(id, effects);
        }
        self.carry_out_allocation(now, effects);
    }

    /// Whether nothing runs on it, and operators want nothing of it.
    fn is_bare(&self, id: &AgentId) -> bool {
        self.agents[id].is_idle() && !self.plans.contains_key(id)
    }
}

// ── unreachable ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// It is unreachable once that is recorded: no master will tell otherwise.
    pub(super) fn mark_unreachable(&mut self, now: Time, id: AgentId, effects: &mut Vec<Effect>) {
        self.losing.insert(id.clone());
        let mark = MarkUnreachable { agent_id: id.clone(), since_ns: now.as_nanos() };
        self.record(Operation::MarkUnreachable(mark), Pending::Unreachable(id), effects);
    }

    pub(super) fn unreachable_recorded(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        self.losing.remove(id);
        if let Some(info) = self.recovering.get(id).cloned() {
            self.remember_absent(id, Absent { info, presence: Presence::Unreachable(now) }, effects);
            return self.recovered(now, id, effects);
        }
        let timeout = self.config.agent_reregister_timeout;
        let Some(agent) = self.agents.get_mut(id) else { return };
        (agent.unreachable, agent.lost_at) = (Some(now), now + timeout);
        if self.is_bare(id) {
            self.lose_agent(now, id, TaskState::TaskLost, Reason::AgentRemoved, "was lost", effects);
            return self.forget_agent(id, effects);
        }
        for framework_id in self.frameworks_on(id) {
            match self.frameworks.get(&framework_id) {
                Some(framework) if framework.ending.is_some() => self.abandon(now, &framework_id, id, effects),
                _ => self.report_unreachable(now, &framework_id, id, effects),
            }
        }
        let message = format!("the agent {id} is out of reach");
        for key in self.agents.get(id).map(|agent| agent.volumes.clone()).unwrap_or_default() {
            self.tell_owner(&key, VolumeState::VolumeUnreachable, Some(message.clone()), effects);
        }
    }

    /// Those that have tasks or executors there.
    pub(super) fn frameworks_on(&self, id: &AgentId) -> BTreeSet<FrameworkId> {
        let Some(agent) = self.agents.get(id) else { return BTreeSet::new() };
        agent.tasks.iter().map(|(id, _)| id).chain(agent.executors.keys().map(|(id, _)| id)).cloned().collect()
    }

    fn report_unreachable(&mut self, now: Time, framework_id: &FrameworkId, id: &AgentId, effects: &mut Vec<Effect>) {
        let message = format!("the agent {id} on {} is out of reach", self.agents[id].info.hostname);
        let tasks = self.agents[id].tasks.iter().filter(|(owner, _)| owner == framework_id);
        for task_id in tasks.map(|(_, task_id)| task_id.clone()).collect::<Vec<TaskId>>() {
            let framework = self.frameworks.get_mut(framework_id).expect("it has tasks there");
            let task = framework.tasks.get_mut(&task_id).expect("its agent has it");
            if task.status.state().is_terminal() {
                continue;
            }
            let status = TaskStatus::new(task_id, TaskState::TaskUnreachable);
            let mut status = status.because(Source::Master, Reason::AgentRemoved, message.clone()).at(now);
            status.agent_id = Some(id.clone());
            status.executor_id = task.info.executor_id();
            task.status = status.clone();
            self.tell(framework_id, event::Event::Update(scheduler::Update { status }), effects);
        }
    }

    /// A framework that is over doesn't wait for an agent that is out of reach.
    pub(super) fn abandon(&mut self, now: Time, framework_id: &FrameworkId, id: &AgentId, effects: &mut Vec<Effect>) {
        let Some(agent) = self.agents.get(id).filter(|agent| agent.unreachable.is_some()) else { return };
        let tasks = agent.tasks.iter().filter(|(owner, _)| owner == framework_id).map(|(_, task)| task.clone());
        let tasks: Vec<TaskId> = tasks.collect();
        let executors = agent.executors.keys().filter(|(owner, _)| owner == framework_id).map(|(_, id)| id.clone());
        let executors: Vec<_> = executors.collect();
        let message = format!("the agent {id} is out of reach, and its framework ends");
        for task_id in tasks {
            let (state, reason) = (TaskState::TaskLost, Reason::AgentRemoved);
            self.end_task(now, framework_id, &task_id, state, reason, message.clone(), effects);
        }
        for executor_id in executors {
            self.executor_gone(now, id, framework_id, &executor_id, None, Some(message.clone()), effects);
        }
    }

    /// Its agent is back with it. One that has ended meanwhile is told of by the agent.
    pub(super) fn task_is_back(&mut self, now: Time, record: &TaskRecord, effects: &mut Vec<Effect>) {
        let framework = self.frameworks.get_mut(&record.framework_id);
        let Some(task) = framework.and_then(|framework| framework.tasks.get_mut(&record.task.id)) else { return };
        if task.status.state() != TaskState::TaskUnreachable || record.status.state().is_terminal() {
            return;
        }
        let agent_id = Some(task.info.agent_id.clone());
        task.status = TaskStatus { agent_id, ..record.status.clone() };
        if task.status.state() == TaskState::TaskRunning {
            task.running.get_or_insert(now);
        }
        let status = TaskStatus { update_seq: None, ..task.status.clone() };
        let status = TaskStatus { reason: Some(Reason::Reconciliation.into()), ..status.at(now) };
        self.tell(&record.framework_id, event::Event::Update(scheduler::Update { status }), effects);
    }

    /// Volumes that were reported out of reach are there again.
    pub(super) fn volumes_are_back(&self, id: &AgentId, effects: &mut Vec<Effect>) {
        for key in &self.agents[id].volumes {
            self.tell_owner(key, VolumeState::VolumeReady, None, effects);
        }
    }
}

// ── lost and gone ───────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// Whether an agent that earlier masters found unreachable may still bring tasks that this one doesn't know.
    pub(super) fn awaits_absent(&self) -> bool {
        self.absent.values().any(|absent| matches!(absent.presence, Presence::Unreachable(_)))
    }

    /// Those that were unreachable for too long are lost once that is recorded.
    fn give_up_unreachable_agents(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let here = self.agents.iter().filter(|(_, agent)| agent.unreachable.is_some() && agent.lost_at <= now);
        let timeout = self.config.agent_reregister_timeout;
        // Their masters may have died with them: they have had no one to come back to.
        let earliest = self.started.unwrap_or(now) + timeout;
        let over =
            |presence| matches!(presence, Presence::Unreachable(since) if (since + timeout).max(earliest) <= now);
        let elsewhere = self.absent.iter().filter(|(_, absent)| over(absent.presence));
        let lost = here.map(|(id, _)| id).chain(elsewhere.map(|(id, _)| id));
        let lost: Vec<AgentId> =
            lost.filter(|id| !self.losing.contains(*id) && !self.is_joining(id)).cloned().collect();
        for id in lost {
            self.losing.insert(id.clone());
            let mark = MarkLost { agent_id: id.clone(), since_ns: now.as_nanos() };
            self.record(Operation::MarkLost(mark), Pending::Loss(id), effects);
        }
    }

    pub(super) fn loss_recorded(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        self.losing.remove(id);
        if let Some(agent) = self.agents.get(id) {
            let info = agent.info.clone();
            self.lose_agent(now, id, TaskState::TaskLost, Reason::AgentRemoved, "was lost", effects);
            self.remember_absent(id, Absent { info, presence: Presence::Lost(now) }, effects);
        } else if let Some(absent) = self.absent.get_mut(id) {
            absent.presence = Presence::Lost(now);
        }
        self.settle_held(now, effects);
    }

    /// An operator has said that it won't come back.
    pub(super) fn gone_recorded(&mut self, now: Time, id: &AgentId, by: &str, effects: &mut Vec<Effect>) {
        self.plans.remove(id);
        let info = self.known_agent(id).cloned();
        if let Some(link) = self.agents.get_mut(id).and_then(|agent| agent.link.take()) {
            self.shut_down_for_good(link, self.frameworks_on(id), effects);
        }
        if self.agents.contains_key(id) {
            self.withdraw(now, id, effects);
            let (state, reason) = (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator);
            self.lose_agent(now, id, state, reason, &format!("was marked as gone by {by}"), effects);
        }
        if let Some(info) = info {
            self.remember_absent(id, Absent { info, presence: Presence::Gone(now) }, effects);
        }
        self.recovered(now, id, effects);
        self.settle_held(now, effects);
    }

    /// One that is gone has registered: what it runs is killed first, and when it comes again without that, it is refused.
    pub(super) fn refuse_gone(&mut self, link: LinkId, id: &AgentId, register: &Register, effects: &mut Vec<Effect>) {
        let tasks = register.tasks.iter().filter(|task| !task.status.state().is_terminal());
        let tasks = tasks.map(|task| task.framework_id.clone());
        let executors = register.executors.iter().map(|executor| executor.framework_id.clone());
        let frameworks: BTreeSet<FrameworkId> = tasks.chain(executors).collect();
        if frameworks.is_empty() {
            let message = format!(
                "an operator marked the agent {id} as gone; remove its work folder to let this machine join as a new agent"
            );
            return self.refuse_agent(link, message, effects);
        }
        let registered = self.registered(id);
        effects.push(Effect::ToAgent { link, event: agent_event::Event::Registered(registered) });
        self.shut_down_for_good(link, frameworks, effects);
    }

    /// Nothing more is said on this link: the agent has that long to kill what it runs, takes it for broken, and comes again.
    fn shut_down_for_good(&mut self, link: LinkId, frameworks: BTreeSet<FrameworkId>, effects: &mut Vec<Effect>) {
        if frameworks.is_empty() {
            return self.close(link, effects);
        }
        self.links.insert(link, Peer::Waiting);
        for framework_id in frameworks {
            let event = agent_event::Event::ShutdownFramework(ShutdownFramework { framework_id });
            effects.push(Effect::ToAgent { link, event });
        }
    }

    pub(super) fn registered(&self, id: &AgentId) -> Registered {
        let silence = u64::try_from(self.agent_patience().as_millis()).unwrap_or(u64::MAX);
        Registered { agent_id: id.clone(), master_epoch: self.config.epoch, silence_ms: Some(silence) }
    }

    /// `what` has become of it and of all that it ran.
    pub(super) fn lose_agent(
        &mut self,
        now: Time,
        id: &AgentId,
        state: TaskState,
        reason: Reason,
        what: &str,
        effects: &mut Vec<Effect>,
    ) {
        let message = format!("the agent {id} on {} {what}", self.agents[id].info.hostname);
        let concerned = self.frameworks_on(id);
        for (framework_id, task_id) in self.agents[id].tasks.clone() {
            self.end_task(now, &framework_id, &task_id, state, reason, message.clone(), effects);
        }
        for (framework_id, executor_id) in self.agents[id].executors.keys().cloned().collect::<Vec<_>>() {
            self.executor_gone(now, id, &framework_id, &executor_id, None, Some(message.clone()), effects);
        }
        for framework_id in concerned {
            let failure =
                scheduler::Failure { agent_id: id.clone(), message: Some(message.clone()), ..Default::default() };
            self.tell(&framework_id, event::Event::Failure(failure), effects);
        }
        self.lose_volumes(now, id, &message, effects);
        self.agents.remove(id);
        self.tell_allocator(now, allocator::Event::RemoveAgent { id: id.clone() });
        self.carry_out_allocation(now, effects);
    }

    pub(super) fn remember_absent(&mut self, id: &AgentId, absent: Absent, effects: &mut Vec<Effect>) {
        self.absent.insert(id.clone(), absent);
        if self.absent.len() > ABSENT_MAX {
            let since = |absent: &Absent| match absent.presence {
                Presence::Admitted => Time::default(),
                Presence::Unreachable(since) | Presence::Lost(since) | Presence::Gone(since) => since,
            };
            let oldest = self.absent.iter().min_by_key(|(_, absent)| since(absent)).map(|(id, _)| id.clone());
            self.forget_agent(&oldest.expect("there are many"), effects);
        }
    }

    pub(super) fn forget_agent(&mut self, id: &AgentId, effects: &mut Vec<Effect>) {
        self.absent.remove(id);
        self.plans.remove(id);
        let forget = ForgetAgent { agent_id: id.clone() };
        self.record(Operation::ForgetAgent(forget), Pending::Nothing, effects);
    }

    /// As it described itself, wherever it is.
    pub(super) fn known_agent(&self, id: &AgentId) -> Option<&AgentInfo> {
        let absent = || self.absent.get(id).map(|absent| &absent.info);
        self.agents.get(id).map(|agent| &agent.info).or_else(|| self.recovering.get(id)).or_else(absent)
    }
}
