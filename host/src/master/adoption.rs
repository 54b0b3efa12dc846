//! A new master: it begins with the registry, and the agents that come back bring what they run and whose that is.
//!
//! ```text
//! registry ──▶ recovering agents ──register──▶ adopt: frameworks, tasks, executors ──▶ as if this master had launched them
//!          │                     └─deadline──▶ unreachable
//!          └─▶ frameworks without a scheduler ──subscribe / deadline──▶
//! ```
//!
//! A task that this master doesn't know may be on an agent that isn't back yet: until all are back or given up, nobody is told
//! that there is no such task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{
    AgentId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, TaskId, TaskState, scheduler,
};

use super::absence::Absent;
use super::frameworks::Framework;
use super::tasks::Task;
use super::validation::check_framework;
use super::{Effect, Master, id_prefix};
use crate::allocator::{self, Used};
use crate::protocol::{KillTask, Register, TaskRecord};
use crate::registry::{AgentRecord, FrameworkRecord, Presence, Registry};

/// What a framework wants to know or done of tasks that may be on agents that aren't back yet.
#[derive(Debug, Default)]
pub(super) struct HeldQuestions {
    /// It asked for all of its tasks.
    all: bool,
    tasks: BTreeSet<TaskId>,
    kills: BTreeMap<TaskId, KillTask>,
}

/// What an agent brought with it.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    pub(super) tasks: BTreeSet<(FrameworkId, TaskId)>,
    pub(super) executors: BTreeMap<(FrameworkId, ExecutorId), ExecutorInfo>,
    pub(super) used: Vec<Used>,
}

impl Master {
    pub(super) fn take_over(&mut self, now: Time, registry: Registry) {
        for (id, record) in registry.agents {
            let AgentRecord { info, presence, plan } = record;
            if !plan.is_active() {
                self.plans.insert(id.clone(), plan.into());
            }
            match presence {
                Presence::Admitted => drop(self.recovering.insert(id, info)),
                _ => drop(self.absent.insert(id, Absent { info, presence })),
            }
        }
        for (id, record) in registry.frameworks {
            self.restore_framework(now, id, record);
        }
        self.recovery_ends = (!self.recovering.is_empty()).then(|| now + self.config.recovery_timeout);
        self.next_ping = self.awaits_absent().then(|| now + self.config.ping_interval);
    }

    fn restore_framework(&mut self, now: Time, id: FrameworkId, record: FrameworkRecord) {
        let patience = self.patience(&record.info);
        // It could not come back while no master led.
        let earliest = now + self.config.recovery_timeout;
        let deadline = record.deadline.map_or(now + patience, |deadline| deadline.max(earliest));
        let framework = Framework {
            deadline: record.ending.is_none().then_some(deadline),
            registered: record.registered,
            ending: record.ending,
            recorded: true,
            state: record.state,
            incarnation: record.incarnation,
            written: record.written,
            ..Framework::new(id, record.info, record.principal, now)
        };
        self.insert_framework(now, framework);
    }

    /// How long a framework of an earlier master is waited for.
    fn patience(&self, info: &FrameworkInfo) -> Duration {
        Duration::from_millis(info.failover_timeout_ms.unwrap_or(0)).max(self.config.recovery_timeout)
    }

    /// Whether an earlier master may have known this framework, and this one has nothing against it.
    pub(super) fn may_be_earlier(&self, id: &FrameworkId) -> bool {
        !id.as_str().starts_with(&id_prefix(&self.config, 'F')) && !self.ended_before.contains(id)
    }

    /// Takes over what an agent runs that earlier masters launched. The rest it is told to end.
    pub(super) fn adopt(&mut self, now: Time, agent: &AgentId, register: &Register) -> Adopted {
        let mut adopted = Adopted::default();
        for info in &register.frameworks {
            self.adopt_framework(now, info);
        }
        for record in &register.tasks {
            if let Some(task) = self.adopt_task(now, agent, record) {
                if !task.resources_returned {
                    let used = |resources, back_by| Used { framework: record.framework_id.clone(), resources, back_by };
                    adopted.used.push(used(task.info.ordinary(), task.ends_at));
                    adopted.used.push(used(task.info.reserved(), None));
                }
                adopted.tasks.insert((record.framework_id.clone(), record.task.id.clone()));
            }
        }
        for record in &register.executors {
            let Some(framework) = self.frameworks.get_mut(&record.framework_id) else { continue };
            framework.touched.insert(agent.clone());
            let (framework, resources) = (record.framework_id.clone(), record.executor.resources.clone());
            let key = (framework.clone(), record.executor.id.clone());
            if adopted.executors.insert(key, record.executor.clone()).is_none() {
                adopted.used.push(Used { framework, resources, back_by: None });
            }
        }
        adopted
    }

    fn adopt_framework(&mut self, now: Time, info: &FrameworkInfo) {
        let Some(id) = info.id.clone().filter(|id| self.may_be_earlier(id)) else { return };
        if !self.frameworks.contains_key(&id) && check_framework(info).is_ok() {
            let deadline = Some(now + self.patience(info));
            let framework = Framework { deadline, ..Framework::new(id, info.clone(), String::new(), now) };
            self.insert_framework(now, framework);
        }
    }

    fn adopt_task(&mut self, now: Time, agent: &AgentId, record: &TaskRecord) -> Option<&Task> {
        let framework = self.frameworks.get_mut(&record.framework_id)?;
        let launched_elsewhere = framework.tasks.contains_key(&record.task.id);
        if launched_elsewhere || record.task.resources.checked_sub(&record.task.reserved()).is_err() {
            return None;
        }
        let mut task = Task::adopted(now, agent, record);
        task.kill_wanted =
            self.held.get_mut(&record.framework_id).and_then(|held| held.kills.remove(&record.task.id)).map(Box::new);
        framework.touched.insert(agent.clone());
        Some(framework.tasks.entry(record.task.id.clone()).or_insert_with(|| Box::new(task)))
    }

    /// A framework asks for tasks, or wants one killed, that aren't known. Whether an agent that isn't back may have them.
    pub(super) fn hold(&mut self, id: &FrameworkId, tasks: &[TaskId], kill: Option<KillTask>) -> bool {
        if (self.recovering.is_empty() && !self.awaits_absent()) || !self.may_be_earlier(id) {
            return false;
        }
        let held = self.held.entry(id.clone()).or_default();
        held.all |= tasks.is_empty();
        held.tasks.extend(tasks.iter().cloned());
        held.kills.extend(kill.map(|kill| (kill.task_id.clone(), kill)));
        true
    }

    /// Of what an agent brought, tells frameworks what they have asked for.
    pub(super) fn answer_held(
        &mut self,
        now: Time,
        tasks: &BTreeSet<(FrameworkId, TaskId)>,
        effects: &mut Vec<Effect>,
    ) {
        for (framework_id, task_id) in tasks {
            let asked = |held: &mut HeldQuestions| held.tasks.remove(task_id) || held.all;
            if self.held.get_mut(framework_id).is_some_and(asked) {
                let call = scheduler::Reconcile { task_ids: vec![task_id.clone()] };
                self.reconcile(now, framework_id, &call, effects);
            }
        }
    }

    /// An agent of before is back, or won't be waited for any more.
    pub(super) fn recovered(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        if self.recovering.remove(id).is_none() || !self.recovering.is_empty() {
            return;
        }
        self.recovery_ends = None;
        self.settle_held(now, effects);
        for id in self.frameworks.keys().cloned().collect::<Vec<_>>() {
            self.finish_teardown(now, &id, effects);
        }
    }

    /// Answers what was asked of tasks that nobody has brought, once all agents that may have them are here or given up; while
    /// some are out of reach, so may the tasks be.
    pub(super) fn settle_held(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if !self.recovering.is_empty() {
            return;
        }
        let held = match self.awaits_absent() {
            true => self.held.iter().map(|(id, held)| (id.clone(), held.tasks.clone())).collect(),
            false => std::mem::take(&mut self.held).into_iter().map(|(id, held)| (id, held.tasks)).collect::<Vec<_>>(),
        };
        for (framework_id, tasks) in held {
            if self.frameworks.contains_key(&framework_id) && !tasks.is_empty() {
                let call = scheduler::Reconcile { task_ids: tasks.into_iter().collect() };
                self.reconcile(now, &framework_id, &call, effects);
            }
        }
    }

    /// Those that are not back are unreachable, at the rate at which agents may be removed.
    pub(super) fn end_recovery(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.recovery_ends.is_none_or(|ends| ends > now) {
            return;
        }
        let missing = self.recovering.keys().filter(|id| !self.losing.contains(*id)).cloned();
        for id in missing.collect::<Vec<_>>() {
            if !self.may_remove(now) {
                self.recovery_ends = Some(now + self.config.ping_interval);
                return;
            }
            self.mark_unreachable(now, id, effects);
        }
        self.recovery_ends = None;
    }

    pub(super) fn insert_framework(&mut self, now: Time, framework: Framework) {
        let (id, role) = (framework.id.clone(), framework.info.role.clone());
        self.tell_allocator(now, allocator::Event::AddFramework { id: id.clone(), role });
        // Until its scheduler is there.
        self.tell_allocator(now, allocator::Event::DeactivateFramework { id: id.clone() });
        self.frameworks.insert(id, framework);
    }
}

impl Task {
    /// As an agent describes it to a master that hasn't launched it.
    fn adopted(now: Time, agent: &AgentId, record: &TaskRecord) -> Self {
        let state = record.status.state();
        let said = record.status.timestamp_ns.map_or(now, Time);
        // What has ended has run, as far as its gang is concerned, unless it says otherwise.
        let ran = !matches!(
            state,
            TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskDropped | TaskState::TaskError
        );
        let mut task = Self::new(now, &record.task, record.gang_id.as_deref());
        task.info.agent_id = agent.clone();
        task.status = record.status.clone();
        task.status.agent_id = Some(agent.clone());
        task.launched = said;
        task.running = ran.then_some(said);
        task.ended = state.is_terminal().then_some(said);
        task.resources_returned = state.is_terminal();
        task
    }
}
