//! An agent from its checkpoints, and what it makes of what is left of its processes.
//!
//! ```text
//! checkpoints ─▶ recover ─▶ every task and executor as it was last known
//!                             │ Found: running · ended · never started · lost with the launcher or the machine
//!                             ▼
//!                           goes on · is reported · is started · is reported once
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::resources::Shortage;
use mesos_plugin_api::v1::executor::numbered::Body;
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo, Reason, Resources, TaskState, TaskStatus};

use super::core::{Agent, Framework, Settings};
use super::event::{Checkpoint, Found, Launch, LocalId, Others, Out, TaskLaunch};
use super::executors::{EXECUTOR_KILL_MARGIN, EXECUTOR_REGISTER_TIMEOUT, Executor, Phase, ToProcess};
use super::tasks::{Phase as TaskPhase, Task};
use super::timers::Timer;
use super::updates::Updates;
use super::volumes::Mounting;

/// Why an agent can't go on where the one before it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It has less than it had.
    #[error(
        "the tasks that run here hold {used}, and the agent would have {total}: {shortage}; drain it first (kill {tasks}), or \
         start it with as much as before"
    )]
    Resources {
        /// What the tasks and executors have.
        used: Box<Resources>,
        /// What there would be.
        total: Box<Resources>,
        /// What is missing.
        shortage: Box<Shortage>,
        /// Some of them.
        tasks: String,
    },
}

/// Names in the message above.
const NAMES_MAX: usize = 3;

impl Agent {
    /// The agent that these records are of, in their order. What is said of something unknown is passed over: its record was lost.
    /// The first event must be [`Event::Found`](super::Event::Found).
    ///
    /// # Errors
    /// The settings give less than what the tasks have.
    pub fn recover(
        settings: Settings,
        records: impl IntoIterator<Item = Checkpoint>,
    ) -> Result<Self, Box<RecoveryError>> {
        let mut agent = Self::new(settings);
        for record in records {
            agent.take_up(record);
        }
        agent.count_resources()?;
        Ok(agent)
    }

    /// What has processes of its own here, or will have.
    pub fn launches(&self) -> Vec<(LocalId, Launch)> {
        let executors = self.executors.iter().filter(|(_, executor)| executor.is_live());
        let executors = executors.map(|(id, _)| (*id, self.executor_launch(*id)));
        let tasks = self.tasks.iter().filter(|(_, task)| task.is_live() && task.executor().is_none());
        executors.chain(tasks.map(|(id, _)| (*id, Launch::Task(self.task_launch(*id))))).collect()
    }

    /// Live tasks within an executor: their own id, their executor's, and what they are.
    pub fn shared_launches(&self) -> Vec<(LocalId, LocalId, TaskLaunch)> {
        let tasks = self.tasks.iter().filter_map(|(id, task)| Some((*id, task.executor()?)));
        tasks.map(|(id, executor)| (id, executor, self.task_launch(id))).collect()
    }

    // ── records ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn take_up(&mut self, record: Checkpoint) {
        self.id_last = self.id_last.max(record.id().map_or(0, |id| id.0));
        match record {
            Checkpoint::Registered { agent_id, epoch } => {
                self.settings.info.id = Some(agent_id);
                self.restore_epoch(epoch);
            }
            Checkpoint::Counted { id } => self.id_last = self.id_last.max(id.0),
            Checkpoint::Launch { id, launch: Launch::Task(task) } => self.take_up_task(id, task, TaskPhase::Launching),
            Checkpoint::Launch { id, launch: Launch::Executor(launch) } => {
                let framework_id = self.member(id, &launch.framework);
                self.by_executor.insert((framework_id.clone(), launch.executor.id.clone()), id);
                let executor = Executor::new(framework_id, launch.executor, launch.sandbox, Phase::Launching);
                self.executors.insert(id, executor);
            }
            Checkpoint::Task { id, executor, task } => {
                // One whose executor was lost with its record is lost too: its master hears that it isn't here.
                if let Some(known) = self.executors.get_mut(&executor) {
                    known.tasks.insert(id);
                    self.take_up_task(id, task, TaskPhase::WithExecutor { executor, given: false });
                }
            }
            Checkpoint::Refused { id, task } => self.take_up_task(id, task, TaskPhase::Ended),
            Checkpoint::Began { id, at } => match self.tasks.get(&id).map(|task| task.phase) {
                Some(TaskPhase::WithExecutor { executor, .. }) => self.take_up_given(id, executor, at),
                Some(TaskPhase::Launching) => {
                    self.tasks.get_mut(&id).expect("looked at just now").phase = TaskPhase::Running;
                    self.count_time(id, at);
                }
                _ => {}
            },
            Checkpoint::Update { id, status, taken } => self.take_up_update(id, status, taken),
            Checkpoint::Acknowledged { id, update_seq } => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.updates.acknowledge(update_seq);
                }
            }
            Checkpoint::Kill { id, verdict, grace_ms } => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.verdict = Some((verdict, Duration::from_millis(grace_ms)));
                }
            }
            Checkpoint::Forgotten { id } => self.take_away(id),
            of_executor => self.take_up_exchange(of_executor),
        }
    }

    fn take_up_exchange(&mut self, record: Checkpoint) {
        let Some(executor) = record.id().and_then(|id| self.executors.get_mut(&id)) else { return };
        match record {
            Checkpoint::Tell { id, seq, body, scheduler_seq, at } => {
                executor.phase = executor.phase.max_connected(matches!(body, Body::Launch(_)));
                executor.stopping |= matches!(body, Body::Shutdown(_));
                let (incarnation, heard) = scheduler_seq.unwrap_or_default();
                executor.from_scheduler.restore(incarnation, heard);
                let given = if let Body::Launch(task) = &body { Some(task.id.clone()) } else { None };
                executor.to_process.restore(seq, ToProcess { body, scheduler_seq, at, durable: true });
                let key = given.map(|task| (executor.framework_id.clone(), task));
                if let Some(task) = key.and_then(|key| self.by_task.get(&key).copied()) {
                    self.take_up_given(task, id, at);
                }
            }
            Checkpoint::Confirmed { seq, .. } => drop(executor.to_process.confirm(seq)),
            Checkpoint::Taken { seq, .. } => executor.from_process.restore(0, seq),
            Checkpoint::Message { taken, seq, data, .. } => {
                executor.from_process.restore(0, taken);
                executor.to_scheduler.restore(seq, data);
            }
            Checkpoint::MessageAcknowledged { seq, .. } => drop(executor.to_scheduler.confirm(seq)),
            Checkpoint::Position { position, .. } => {
                executor.from_process.restore(0, position.taken);
                executor.to_process.restore_last(position.told);
                executor.to_scheduler.restore_last(position.said);
                executor.from_scheduler.restore(position.heard.0, position.heard.1);
                executor.phase = executor.phase.max_connected(position.was_connected);
                executor.stopping |= position.is_stopping;
            }
            Checkpoint::Ended { id, exit, message } => {
                executor.phase = Phase::Ended;
                executor.ended = Some((exit, message));
                // Each has said its own end before.
                for task in std::mem::take(&mut executor.tasks) {
                    assert_ne!(task, id, "an executor is no task");
                    self.take_away(task);
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, id: LocalId, info: &Arc<FrameworkInfo>) -> FrameworkId {
        let framework_id = info.id.clone().unwrap_or_default();
        let new = || Framework { info: info.clone(), removed: false, members: Default::default() };
        let framework = self.frameworks.entry(framework_id.clone()).or_insert_with(new);
        framework.members.insert(id);
        framework_id
    }

    fn take_up_task(&mut self, id: LocalId, launch: TaskLaunch, phase: TaskPhase) {
        let framework_id = self.member(id, &launch.framework);
        self.by_task.insert((framework_id.clone(), launch.task.id.clone()), id);
        if let (Some(by), true) = (launch.over_by, phase != TaskPhase::Ended) {
            self.timers.set(Timer::MaxDuration(id), by - launch.task.kill_grace());
        }
        let first = TaskStatus::new(launch.task.id.clone(), TaskState::TaskStaging);
        let task = Task {
            framework_id,
            info: launch.task,
            gang_id: launch.gang_id,
            sandbox: launch.sandbox,
            phase,
            updates: Updates::new(first),
            verdict: None,
            over_by: launch.over_by,
            mounting: Mounting::Not,
            began: None,
        };
        self.tasks.insert(id, task);
    }

    fn take_up_given(&mut self, id: LocalId, executor: LocalId, at: Time) {
        let task = self.tasks.get_mut(&id).expect("indexed");
        if task.is_live() {
            task.phase = TaskPhase::WithExecutor { executor, given: true };
            task.mounting = Mounting::Done;
            self.count_time(id, at);
        }
    }

    fn count_time(&mut self, id: LocalId, began: Time) {
        let task = self.tasks.get_mut(&id).expect("the caller has it");
        task.began = Some(began);
        if let Some(at) = task.time_is_over(began) {
            self.timers.set(Timer::MaxDuration(id), at);
        }
    }

    fn take_up_update(&mut self, id: LocalId, status: TaskStatus, taken: Option<u64>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (state, began, executor) = (status.state(), status.timestamp_ns.map(Time), task.executor());
        task.updates.restore(status);
        let executor = executor.and_then(|executor| self.executors.get_mut(&executor));
        if state.is_terminal() {
            task.phase = TaskPhase::Ended;
            self.timers.cancel(Timer::MaxDuration(id));
        } else if task.phase == TaskPhase::Launching && state != TaskState::TaskStarting {
            task.phase = TaskPhase::Running;
        }
        let is_running = task.phase == TaskPhase::Running && state == TaskState::TaskRunning;
        if let Some(executor) = executor {
            executor.from_process.restore(0, taken.unwrap_or(0));
            if state.is_terminal() {
                executor.tasks.remove(&id);
            }
        }
        if let (true, Some(began)) = (is_running, began) {
            self.count_time(id, began);
        }
    }

    fn take_away(&mut self, id: LocalId) {
        let framework_id = if let Some(task) = self.tasks.remove(&id) {
            self.by_task.remove(&(task.framework_id.clone(), task.info.id.clone()));
            if let Some(executor) = task.executor().and_then(|executor| self.executors.get_mut(&executor)) {
                executor.tasks.remove(&id);
            }
            self.timers.cancel(Timer::MaxDuration(id));
            task.framework_id
        } else if let Some(executor) = self.executors.remove(&id) {
            self.by_executor.remove(&(executor.framework_id.clone(), executor.info.id.clone()));
            for task in executor.tasks {
                self.take_away(task);
            }
            executor.framework_id
        } else {
            return;
        };
        self.leave_framework(&framework_id, id);
    }

    fn count_resources(&mut self) -> Result<(), Box<RecoveryError>> {
        let tasks = self.tasks.values().filter(|task| task.is_live());
        let names: Vec<&str> = tasks.clone().map(|task| task.info.id.as_str()).take(NAMES_MAX).collect();
        let executors = self.executors.values().filter(|executor| executor.is_live());
        let used = tasks.map(|task| &task.info.resources).chain(executors.map(|executor| &executor.info.resources));
        let used = used.sum::<Resources>();
        let total = &self.settings.info.resources;
        self.free = total.checked_sub(&used).map_err(|shortage| {
            Box::new(RecoveryError::Resources {
                tasks: names.join(", "),
                total: Box::new(total.clone()),
                shortage: Box::new(shortage),
                used: Box::new(used),
            })
        })?;
        Ok(())
    }

    // ── what is left ───────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_found(&mut self, mut containers: BTreeMap<LocalId, Found>, others: Others, out: &mut Out) {
        for id in self.executors.keys().copied().collect::<Vec<_>>() {
            let asked = |executor: &Executor| {
                executor.exited.is_none()
                    && matches!(executor.phase, Phase::Launching | Phase::Launched | Phase::Running)
            };
            if self.executors.get(&id).is_some_and(asked) {
                self.on_executor_found(id, containers.remove(&id), others, out);
            }
        }
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            match self.tasks.get(&id).map(|task| task.phase) {
                Some(TaskPhase::Launching | TaskPhase::Running) => {
                    self.on_task_found(id, containers.remove(&id), others, out);
                }
                Some(TaskPhase::WithExecutor { given: true, .. }) => self.mind_overdue(id, out),
                _ => {}
            }
        }
    }

    fn on_task_found(&mut self, id: LocalId, found: Option<Found>, others: Others, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("looked at by the caller");
        match found {
            Some(Found::Launching) => {}
            Some(Found::Running) if task.phase == TaskPhase::Launching => self.on_task_launched(id, out),
            Some(Found::Running) => {
                if let Some((_, grace)) = task.verdict {
                    self.terminate(id, grace, out);
                }
            }
            Some(Found::Exited { exit, output_bytes, .. }) => self.on_task_exited(id, &exit, output_bytes, out),
            Some(Found::Failed(refusal)) => self.on_task_not_launched(id, refusal.reason, refusal.message, out),
            None if others == Others::Unstarted && task.phase == TaskPhase::Launching => match task.verdict.clone() {
                Some((verdict, _)) => self.end(id, self.verdict_status(id, verdict, out.now), out),
                None => {
                    task.phase = TaskPhase::Checkpointing;
                    self.start_task(id, out);
                }
            },
            None => {
                let may_have_run = task.phase == TaskPhase::Launching;
                let (reason, message) = lost(others, may_have_run);
                self.lose_task(id, reason, message, out);
            }
        }
    }

    fn on_executor_found(&mut self, id: LocalId, found: Option<Found>, others: Others, out: &mut Out) {
        let executor = self.executors.get_mut(&id).expect("looked at by the caller");
        match found {
            Some(Found::Launching) => {}
            Some(Found::Running) => {
                let (grace, stopping) = (executor.grace(), executor.stopping);
                if executor.phase == Phase::Launching {
                    self.on_executor_launched(id, out);
                } else if !executor.connected {
                    self.timers.set(Timer::ExecutorRegister(id), out.now + EXECUTOR_REGISTER_TIMEOUT);
                }
                if stopping {
                    self.timers.set(Timer::KillGrace(id), out.now + grace);
                }
            }
            Some(Found::Exited { exit, last_words, .. }) => self.on_executor_exited(id, exit, last_words, out),
            Some(Found::Failed(refusal)) => self.on_executor_not_launched(id, refusal.reason, refusal.message, out),
            None if others == Others::Unstarted && executor.phase == Phase::Launching => {
                executor.phase = Phase::Checkpointing;
                self.start_executor(id, out);
            }
            None => {
                let (reason, message) = lost(others, executor.phase == Phase::Launching);
                self.lose_executor(id, reason, message, out);
            }
        }
    }

    /// Its executor was told to end it, and is ended with it if it doesn't.
    fn mind_overdue(&mut self, id: LocalId, out: &mut Out) {
        let verdict = self.tasks[&id].verdict.as_ref();
        let overdue = verdict.filter(|(verdict, _)| verdict.reason == Reason::MaxDurationReached);
        if let Some((_, grace)) = overdue
            && self.timers.at(Timer::KillGrace(id)).is_none()
        {
            self.timers.set(Timer::KillGrace(id), out.now + *grace + EXECUTOR_KILL_MARGIN);
        }
    }
}

fn lost(others: Others, may_have_run: bool) -> (Reason, &'static str) {
    match (others, may_have_run) {
        (Others::Rebooted, _) => {
            (Reason::MachineRebooted, "the agent's machine was started anew, and it ended with it")
        }
        (_, true) => (Reason::ExitUnknown, "its launcher died as it was about to start; whether it ran is unknown"),
        (_, false) => (
            Reason::ExitUnknown,
            "it has ended without its launcher, so that the system no longer says how; look at its output",
        ),
    }
}

impl Phase {
    fn max_connected(self, was_connected: bool) -> Self {
        if was_connected && self != Self::Ended { Self::Running } else { self }
    }
}
