//! Tasks: updates on their way to the framework, acknowledgements back, kills, reconciliation, gangs that fail together.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, event};
use mesos_plugin_api::v1::{
    AgentId, ExecutorId, ExitStatus, FrameworkId, Reason, Source, TaskId, TaskInfo, TaskState, TaskStatus,
};

use super::description::Description;
use super::offers::Back;
use super::{Effect, Master, TASK_HISTORY_MAX};
use crate::protocol::{ExecutorEnded, KillTask, ShutdownFramework, StatusUpdate, UpdateAcknowledge, agent_event};

/// One task, until its framework has acknowledged its terminal update.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) info: Description,
    /// The latest that the master heard of.
    pub(super) status: TaskStatus,
    pub(super) gang_id: Option<String>,
    pub(super) launched: Time,
    pub(super) running: Option<Time>,
    pub(super) ended: Option<Time>,
    pub(super) resources_returned: bool,
    /// When it has ended at the latest, if that is known.
    pub(super) ends_at: Option<Time>,
    /// Sent again when its agent comes back.
    pub(super) kill_wanted: Option<Box<KillTask>>,
}

/// One line of the history.
#[derive(Debug)]
pub(super) struct EndedTask {
    pub(super) framework_id: FrameworkId,
    pub(super) framework_name: String,
    pub(super) hostname: String,
    pub(super) task: Task,
}

impl Task {
    pub(super) fn new(now: Time, task: &TaskInfo, gang_id: Option<&str>) -> Self {
        let info = Description::of(task);
        let mut status = TaskStatus::new(info.id.clone(), TaskState::TaskStaging).at(now);
        status.agent_id = Some(info.agent_id.clone());
        Self {
            info,
            status,
            gang_id: gang_id.map(str::to_string),
            launched: now,
            running: None,
            ended: None,
            resources_returned: false,
            ends_at: task.over_within().map(|over| now + over),
            kill_wanted: None,
        }
    }

    /// Whether it was told to end because its agent is being drained.
    pub(super) fn is_drained(&self) -> bool {
        let draining = Some(i32::from(Reason::AgentDraining));
        self.kill_wanted.as_ref().is_some_and(|kill| kill.reason == draining)
    }
}

impl Master {
    pub(super) fn task(&self, framework_id: &FrameworkId, task_id: &TaskId) -> Option<&Task> {
        self.frameworks.get(framework_id)?.tasks.get(task_id).map(Box::as_ref)
    }

    /// An agent reports the oldest unacknowledged update of a task, and how far the task has come meanwhile.
    pub(super) fn task_updated(&mut self, now: Time, agent: &AgentId, update: StatusUpdate, effects: &mut Vec<Effect>) {
        let framework_id = &update.framework_id;
        if !self.frameworks.contains_key(framework_id) {
            let event = ShutdownFramework { framework_id: framework_id.clone() };
            return self.tell_agent(agent, agent_event::Event::ShutdownFramework(event), effects);
        }
        let task_id = update.status.task_id.clone();
        let latest = update.latest_state();
        if let Some(task) =
            self.frameworks.get_mut(framework_id).and_then(|framework| framework.tasks.get_mut(&task_id))
        {
            if !task.status.state().is_terminal() {
                if update.status.state() == TaskState::TaskRunning {
                    task.running.get_or_insert(now);
                }
                task.status = update.status.clone();
            }
            if latest.is_terminal() {
                self.return_resources(now, framework_id, &task_id);
                self.fail_gang_of(framework_id, &task_id, effects);
            }
        }
        if self.frameworks[framework_id].ending.is_some() || *framework_id == self.schedulers {
            self.acknowledge_for(agent, framework_id, &update.status, effects);
            self.acknowledge_if_ended(now, framework_id, &task_id);
            self.finish_teardown(now, framework_id, effects);
        } else {
            self.tell(framework_id, event::Event::Update(scheduler::Update { status: update.status }), effects);
        }
        self.carry_out_allocation(now, effects);
    }

    pub(super) fn acknowledge(
        &mut self,
        now: Time,
        id: &FrameworkId,
        call: &scheduler::Acknowledge,
        effects: &mut Vec<Effect>,
    ) {
        let event =
            UpdateAcknowledge { framework_id: id.clone(), task_id: call.task_id.clone(), update_seq: call.update_seq };
        self.tell_agent(&call.agent_id, agent_event::Event::UpdateAcknowledge(event), effects);
        let acknowledged = |task: &Task| {
            task.status.update_seq == Some(call.update_seq) && task.status.agent_id.as_ref() == Some(&call.agent_id)
        };
        if self.task(id, &call.task_id).is_some_and(acknowledged) {
            self.acknowledge_if_ended(now, id, &call.task_id);
        }
    }

    fn acknowledge_for(
        &self,
        agent: &AgentId,
        framework_id: &FrameworkId,
        status: &TaskStatus,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(update_seq) = status.update_seq {
            let event =
                UpdateAcknowledge { framework_id: framework_id.clone(), task_id: status.task_id.clone(), update_seq };
            self.tell_agent(agent, agent_event::Event::UpdateAcknowledge(event), effects);
        }
    }

    /// Forgets a task whose terminal state is acknowledged, or whose framework is past caring.
    pub(super) fn acknowledge_if_ended(&mut self, now: Time, id: &FrameworkId, task_id: &TaskId) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if !framework.tasks.get(task_id).is_some_and(|task| task.status.state().is_terminal()) {
            return;
        }
        let mut task = *framework.tasks.remove(task_id).expect("it was found above");
        task.ended.get_or_insert(now);
        let framework_name = framework.info.name.clone();
        let agent = self.agents.get_mut(&task.info.agent_id);
        let hostname = agent.map(|agent| {
            agent.tasks.remove(&(id.clone(), task_id.clone()));
            agent.info.hostname.clone()
        });
        let hostname = hostname.unwrap_or_default();
        self.ended_tasks.push_back(EndedTask { framework_id: id.clone(), framework_name, hostname, task });
        if self.ended_tasks.len() > TASK_HISTORY_MAX {
            self.ended_tasks.pop_front();
        }
    }

    fn return_resources(&mut self, now: Time, framework_id: &FrameworkId, task_id: &TaskId) {
        let Some(task) = self.frameworks.get_mut(framework_id).and_then(|state| state.tasks.get_mut(task_id)) else {
            return;
        };
        task.ended.get_or_insert(now);
        if !std::mem::replace(&mut task.resources_returned, true) {
            let back = Back { by: task.ends_at, refuse: None };
            let (agent, resources, volumes) =
                (task.info.agent_id.clone(), task.info.ordinary(), task.info.volumes.clone());
            self.recover(now, framework_id, &agent, resources, back);
            self.return_to_volumes(now, framework_id, &agent, &volumes);
        }
    }

    /// The master itself says that a task is over: its agent is gone, or never had it.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one status")]
    pub(super) fn end_task(
        &mut self,
        now: Time,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        state: TaskState,
        reason: Reason,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        self.return_resources(now, framework_id, task_id);
        let Some(task) = self.frameworks.get_mut(framework_id).and_then(|state| state.tasks.get_mut(task_id)) else {
            return;
        };
        if !task.status.state().is_terminal() {
            let mut status = TaskStatus::new(task_id.clone(), state).because(Source::Master, reason, message).at(now);
            status.agent_id = Some(task.info.agent_id.clone());
            status.executor_id = task.info.executor_id();
            task.status = status.clone();
            self.tell(framework_id, event::Event::Update(scheduler::Update { status }), effects);
        }
        self.fail_gang_of(framework_id, task_id, effects);
        // Nobody is left to resend it: a scheduler that is away learns it by reconciling.
        self.acknowledge_if_ended(now, framework_id, task_id);
        self.finish_teardown(now, framework_id, effects);
    }

    /// A gang whose launch fails somewhere is killed everywhere.
    fn fail_gang_of(&mut self, framework_id: &FrameworkId, task_id: &TaskId, effects: &mut Vec<Effect>) {
        let Some(task) = self.task(framework_id, task_id) else { return };
        let Some(gang) = task.gang_id.clone().filter(|_| task.running.is_none()) else { return };
        let why = format!("the task {task_id} of the same gang was not launched");
        let others = self.frameworks[framework_id].tasks.iter();
        let others = others.filter(|(id, other)| *id != task_id && other.gang_id.as_ref() == Some(&gang));
        for other in others.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.kill_because(framework_id, &other, Reason::GangFailed, &why, effects);
        }
    }

    pub(super) fn kill(&mut self, now: Time, id: &FrameworkId, call: &scheduler::Kill, effects: &mut Vec<Effect>) {
        let kill = KillTask {
            framework_id: id.clone(),
            task_id: call.task_id.clone(),
            grace_ms: call.grace_ms,
            reason: None,
            message: None,
        };
        match self.frameworks.get_mut(id).and_then(|framework| framework.tasks.get_mut(&call.task_id)) {
            Some(task) => {
                task.kill_wanted = Some(Box::new(kill.clone()));
                let agent = task.info.agent_id.clone();
                self.tell_agent(&agent, agent_event::Event::KillTask(kill), effects);
            }
            None => {
                let task_ids = vec![call.task_id.clone()];
                if !self.hold(id, &task_ids, Some(kill)) {
                    self.reconcile(now, id, &scheduler::Reconcile { task_ids }, effects);
                }
            }
        }
    }

    pub(super) fn kill_because(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        reason: Reason,
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(task) = self.frameworks.get_mut(framework_id).and_then(|state| state.tasks.get_mut(task_id)) else {
            return;
        };
        if task.status.state().is_terminal() {
            return;
        }
        let kill = KillTask {
            framework_id: framework_id.clone(),
            task_id: task_id.clone(),
            grace_ms: None,
            reason: Some(reason.into()),
            message: Some(message.to_string()),
        };
        task.kill_wanted = Some(Box::new(kill.clone()));
        let agent = task.info.agent_id.clone();
        self.tell_agent(&agent, agent_event::Event::KillTask(kill), effects);
    }

    /// Says how tasks are; of those that may be on agents that aren't back yet, later.
    pub(super) fn reconcile(
        &mut self,
        now: Time,
        id: &FrameworkId,
        call: &scheduler::Reconcile,
        effects: &mut Vec<Effect>,
    ) {
        let known = |task_id: &&TaskId| self.frameworks[id].tasks.contains_key(*task_id);
        let (mut asked, unknown): (Vec<TaskId>, Vec<TaskId>) = match call.task_ids.is_empty() {
            true => (self.frameworks[id].tasks.keys().cloned().collect(), Vec::new()),
            false => call.task_ids.iter().cloned().partition(|task_id| known(&task_id)),
        };
        let held = (call.task_ids.is_empty() || !unknown.is_empty()) && self.hold(id, &unknown, None);
        if !held {
            asked.extend(unknown);
        } else if self.recovering.is_empty() {
            unknown.into_iter().for_each(|task_id| self.may_be_unreachable(now, id, task_id, effects));
        }
        let all = &self.frameworks[id].tasks;
        for task_id in asked {
            let status = match all.get(&task_id) {
                Some(task) => TaskStatus { update_seq: None, ..task.status.clone() },
                None => {
                    let message = "the master knows no such task: it never started, or its end was acknowledged";
                    TaskStatus::new(task_id, TaskState::TaskUnknown).because(
                        Source::Master,
                        Reason::TaskUnknown,
                        message,
                    )
                }
            };
            let status = TaskStatus { reason: status.reason.or(Some(Reason::Reconciliation.into())), ..status.at(now) };
            self.tell(id, event::Event::Update(scheduler::Update { status }), effects);
        }
    }

    /// An earlier master may have launched it on an agent that is out of reach.
    fn may_be_unreachable(&self, now: Time, id: &FrameworkId, task_id: TaskId, effects: &mut Vec<Effect>) {
        let message = "it may run on an agent that is out of reach";
        let status = TaskStatus::new(task_id, TaskState::TaskUnreachable);
        let status = status.because(Source::Master, Reason::Reconciliation, message).at(now);
        self.tell(id, event::Event::Update(scheduler::Update { status }), effects);
    }

    pub(super) fn executor_ended(
        &mut self,
        now: Time,
        agent: &AgentId,
        ended: ExecutorEnded,
        effects: &mut Vec<Effect>,
    ) {
        let (framework_id, executor_id) = (ended.framework_id, ended.executor_id);
        self.executor_gone(now, agent, &framework_id, &executor_id, ended.exit, ended.message, effects);
        self.carry_out_allocation(now, effects);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one failure")]
    pub(super) fn executor_gone(
        &mut self,
        now: Time,
        agent: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        exit: Option<ExitStatus>,
        message: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let key = (framework_id.clone(), executor_id.clone());
        let Some(executor) = self.agents.get_mut(agent).and_then(|agent| agent.executors.remove(&key)) else { return };
        self.recover(now, framework_id, agent, executor.resources, Back::default());
        let failure = scheduler::Failure { agent_id: agent.clone(), executor_id: Some(key.1), exit, message };
        self.tell(framework_id, event::Event::Failure(failure), effects);
        self.finish_teardown(now, framework_id, effects);
    }
}
