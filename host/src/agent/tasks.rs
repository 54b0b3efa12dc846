//! Tasks: from the master's word to the last acknowledged state.
//!
//! ```text
//! RunTasks ─check─▶ Queued ─▶ Checkpointing ─▶ Preparing ─▶ Launching ─▶ Running ─▶ Ended ─acknowledged─▶ forgotten
//!                     │                           WithExecutor ────────────────────▲
//!                     └─ only while a framework that was shut down still holds what it needs
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::resources::Shortage;
use mesos_plugin_api::v1::{
    ExecutorId, ExitStatus, FrameworkId, FrameworkInfo, Reason, Resources, TaskId, TaskInfo, TaskState, TaskStatus,
    VolumeMount,
};

use super::core::{After, Agent, Framework};
use super::event::{Checkpoint, Effect, Launch, LocalId, Out, TaskLaunch};
use super::timers::Timer;
use super::updates::Updates;
use super::volumes::Mounting;
use crate::protocol::{ExecutorEnded, RunTasks, agent_call};

/// How soon the master hears that a task has ended whose earlier states wait for an acknowledgement.
pub const LATEST_STATE_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Task {
    pub framework_id: FrameworkId,
    pub info: Arc<TaskInfo>,
    pub gang_id: Option<String>,
    pub sandbox: PathBuf,
    pub phase: Phase,
    pub updates: Updates,
    /// Why it is being killed, and how long it has.
    pub verdict: Option<(Verdict, Duration)>,
    /// It runs on what a gang gets then: it is killed so that nothing is left of it, in whatever phase it is.
    pub over_by: Option<Time>,
    pub mounting: Mounting,
    /// When it ran, or was given to its executor; its time counts from then on.
    pub began: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Checkpointing,
    Preparing,
    Launching,
    Running,
    /// `given`: the executor has been told of it.
    WithExecutor {
        executor: LocalId,
        given: bool,
    },
    Ended,
}

/// What a task comes to that is ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its last state.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

impl Verdict {
    pub(super) fn new(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into() }
    }
}

/// What a task takes, and the executor that is launched for it.
struct Asked {
    task: Resources,
    executor: Option<Resources>,
}

impl Asked {
    /// What is left of `free`. One is taken after the other: a port that both ask for is there once.
    fn of(&self, free: &Resources) -> Result<Resources, Shortage> {
        let rest = free.checked_sub(&self.task)?;
        self.executor.as_ref().map_or(Ok(rest.clone()), |executor| rest.checked_sub(executor))
    }
}

impl Task {
    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Ended
    }

    pub(super) fn executor(&self) -> Option<LocalId> {
        match self.phase {
            Phase::WithExecutor { executor, .. } => Some(executor),
            _ => None,
        }
    }

    fn wants(&self, executor: &ExecutorId) -> bool {
        self.info.executor.as_ref().is_some_and(|wanted| wanted.id == *executor)
    }

    pub(super) fn is_preparing(&self) -> bool {
        self.phase == Phase::Preparing
    }

    /// Whether it may be launched now.
    pub(super) fn prepared(&mut self) -> bool {
        let expected = self.phase == Phase::Preparing;
        if expected {
            self.phase = Phase::Launching;
        }
        expected
    }

    pub(super) fn grace(&self, asked_ms: Option<u64>) -> Duration {
        asked_ms.map_or(self.info.kill_grace(), Duration::from_millis)
    }

    /// When its time is over; counted from now as far as its max_duration goes.
    pub(super) fn time_is_over(&self, now: Time) -> Option<Time> {
        let by_itself = self.info.max_duration_ms.map(|max| now + Duration::from_millis(max));
        by_itself.into_iter().chain(self.over_by.map(|by| by - self.grace(None))).min()
    }
}

impl Agent {
    // ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_run_tasks(&mut self, run: RunTasks, out: &mut Out) {
        let Some(framework_id) = run.framework.id.clone() else {
            return out.warn("the master sent tasks of a framework without an id; they are left out".to_string());
        };
        if let Some(problem) = TaskId::new(framework_id.as_str()).problem() {
            return out.warn(format!("the master sent tasks of the framework {framework_id:?}, whose id {problem}"));
        }
        if self.frameworks.get(&framework_id).is_some_and(|framework| framework.removed) {
            return out.warn(format!("the master sent tasks of {framework_id}, which it has shut down"));
        }
        let framework = Arc::new(run.framework);
        let over_by = run.over_within_ms.map(|within| out.now + Duration::from_millis(within));
        let gone = self.gone_executors(&framework_id, run.running_executors);
        let mut admitted = Vec::new();
        for task in run.tasks {
            if !self.by_task.contains_key(&(framework_id.clone(), task.id.clone())) {
                admitted.push(self.admit(&framework_id, &framework, task, run.gang_id.clone(), over_by, out));
            }
        }
        // All are known by then: an executor that one of them is refused may be launched for another.
        for id in admitted {
            let info = self.tasks[&id].info.clone();
            match self.problem(&framework_id, &info) {
                Some(verdict) => self.refuse(id, verdict, out),
                None if info.executor.as_ref().is_some_and(|executor| gone.contains(&executor.id)) => {
                    let message = "its executor had ended when it came; launch the task again";
                    self.drop_task(id, Verdict::new(TaskState::TaskDropped, Reason::ExecutorTerminated, message), out);
                }
                None => self.place(id, out),
            }
        }
    }

    /// Executors that the master has counted and that have ended since. It hears of it, and counts them no more: were they launched
    /// again, nobody would know what they use.
    fn gone_executors(&self, framework_id: &FrameworkId, counted: Vec<ExecutorId>) -> BTreeSet<ExecutorId> {
        let wanted = |executor: &ExecutorId| {
            let queued = self.queue.iter().filter_map(|id| self.tasks.get(id));
            queued.filter(|task| task.framework_id == *framework_id).any(|task| task.wants(executor))
        };
        let is_here = |executor: &ExecutorId| {
            self.by_executor.contains_key(&(framework_id.clone(), executor.clone())) || wanted(executor)
        };
        counted.into_iter().filter(|executor| !is_here(executor)).collect()
    }

    fn admit(
        &mut self,
        framework_id: &FrameworkId,
        info: &Arc<FrameworkInfo>,
        task: TaskInfo,
        gang_id: Option<String>,
        over_by: Option<Time>,
        out: &Out,
    ) -> LocalId {
        let id = self.next_id();
        // An id that is no name for a folder gets none.
        let folder = if task.id.problem().is_some() { "" } else { task.id.as_str() };
        let sandbox = self.settings.work_dir.join("sandboxes").join(framework_id.as_str()).join(folder);
        let first = TaskStatus::new(task.id.clone(), TaskState::TaskStaging).at(out.now);
        self.by_task.insert((framework_id.clone(), task.id.clone()), id);
        let framework = self.frameworks.entry(framework_id.clone()).or_insert_with(|| Framework {
            info: info.clone(),
            removed: false,
            members: Default::default(),
        });
        framework.members.insert(id);
        let framework_id = framework_id.clone();
        let updates = Updates::new(first);
        let (info, phase) = (Arc::new(task), Phase::Queued);
        let (verdict, mounting) = (None, Mounting::Not);
        let task =
            Task { framework_id, info, gang_id, sandbox, phase, updates, verdict, over_by, mounting, began: None };
        if let Some(by) = over_by {
            self.timers.set(Timer::MaxDuration(id), by - task.grace(None));
        }
        self.tasks.insert(id, task);
        id
    }

    /// What no agent can do, whatever is free.
    fn problem(&self, framework_id: &FrameworkId, task: &TaskInfo) -> Option<Verdict> {
        let invalid = |reason, message: String| Some(Verdict::new(TaskState::TaskError, reason, message));
        if let Some(problem) = task.id.problem() {
            return invalid(Reason::TaskInvalidId, format!("the task's id {:?} {problem}", task.id.as_str()));
        }
        if self.id() != Some(&task.agent_id) {
            let own = self.id().map_or("without an id", |id| id.as_str());
            return invalid(
                Reason::InvalidTask,
                format!("the task is for agent {} but came to agent {own}", task.agent_id),
            );
        }
        if let Err(error) = task.resources.clone().checked() {
            return invalid(Reason::InvalidTask, format!("the task's resources can't be used: {error}"));
        }
        if let Some(problem) = task.volumes.iter().find_map(VolumeMount::path_problem) {
            return invalid(Reason::InvalidTask, problem);
        }
        match (&task.command, &task.executor) {
            (Some(command), None) if command.argv.is_empty() && command.shell.is_none() => {
                invalid(Reason::InvalidTask, "the task's command is empty".to_string())
            }
            (Some(_), None) => None,
            (None, Some(executor)) => self.executor_problem(framework_id, executor),
            _ => invalid(Reason::InvalidTask, "a task has either a command or an executor".to_string()),
        }
    }

    /// Takes the task's resources if they are free, and goes on. Never trusts the master's sums.
    fn place(&mut self, id: LocalId, out: &mut Out) {
        let task = &self.tasks[&id];
        let executor = task.info.executor.clone();
        let key = executor.as_ref().map(|executor| (task.framework_id.clone(), executor.id.clone()));
        let launched = key.and_then(|key| self.by_executor.get(&key).copied());
        if launched.is_some_and(|executor| !self.executors[&executor].takes_tasks()) {
            let message = "the executor is ending; launch the task again";
            return self.refuse(id, Verdict::new(TaskState::TaskDropped, Reason::ExecutorTerminated, message), out);
        }
        let asked = Asked {
            task: task.info.resources.clone(),
            executor: executor.as_ref().filter(|_| launched.is_none()).map(|executor| executor.resources.clone()),
        };
        if let Err(shortage) = asked.of(&self.free) {
            let message = format!("agent {} refused the task: {shortage}", self.settings.info.hostname);
            return self.wait_or_refuse(id, &asked, message, out);
        }
        self.free = self.free.checked_sub(&asked.task).expect("checked just now");
        match executor {
            None => self.checkpoint_task(id, out),
            Some(executor) => {
                let executor = launched.unwrap_or_else(|| self.new_executor(id, executor, out));
                self.give_to_executor(id, executor, out);
            }
        }
    }

    /// A master offers the resources of a framework that was shut down before its last process has gone: such tasks wait.
    fn wait_or_refuse(&mut self, id: LocalId, asked: &Asked, message: String, out: &mut Out) {
        let leaving = self.tasks.values().filter(|task| self.is_leaving(task)).map(|task| &task.info.resources);
        let executors = self.executors.values().filter(|e| e.is_live() && self.is_removed(&e.framework_id));
        let soon =
            self.free.clone() + &leaving.chain(executors.map(|executor| &executor.info.resources)).sum::<Resources>();
        if asked.of(&soon).is_ok() {
            if !self.queue.contains(&id) {
                self.queue.push_back(id);
            }
        } else {
            self.refuse(id, Verdict::new(TaskState::TaskDropped, Reason::InvalidOffers, message), out);
        }
    }

    fn is_leaving(&self, task: &Task) -> bool {
        task.is_live() && task.phase != Phase::Queued && self.is_removed(&task.framework_id)
    }

    /// Something has become free.
    pub(super) fn place_queued(&mut self, out: &mut Out) {
        let waiting: Vec<LocalId> = std::mem::take(&mut self.queue).into();
        for id in waiting {
            if self.tasks.get(&id).is_some_and(|task| task.phase == Phase::Queued) {
                self.place(id, out);
            }
        }
    }

    fn checkpoint_task(&mut self, id: LocalId, out: &mut Out) {
        let launch = self.task_launch(id);
        self.tasks.get_mut(&id).expect("admitted").phase = Phase::Checkpointing;
        self.persist(Checkpoint::Launch { id, launch: Launch::Task(launch) }, After::Start(id), out);
    }

    pub(super) fn task_launch(&self, id: LocalId) -> TaskLaunch {
        let task = &self.tasks[&id];
        TaskLaunch {
            framework: self.frameworks[&task.framework_id].info.clone(),
            task: task.info.clone(),
            gang_id: task.gang_id.clone(),
            agent_id: task.info.agent_id.clone(),
            sandbox: task.sandbox.clone(),
            over_by: task.over_by,
        }
    }

    pub(super) fn start_task(&mut self, id: LocalId, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("looked at by the caller");
        if task.phase != Phase::Checkpointing {
            return;
        }
        task.phase = Phase::Preparing;
        let fetches = task.info.command.as_ref().is_some_and(|command| !command.uris.is_empty());
        out.push(Effect::Prepare { id, launch: Launch::Task(self.task_launch(id)) });
        // Worth telling only where it takes a while.
        if fetches {
            self.publish(
                id,
                TaskStatus {
                    message: Some("fetching files".into()),
                    ..self.status(id, TaskState::TaskStarting, out.now)
                },
                out,
            );
        }
    }

    pub(super) fn on_task_launched(&mut self, id: LocalId, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("looked at by the caller");
        if task.phase != Phase::Launching {
            return;
        }
        task.phase = Phase::Running;
        task.began = Some(out.now);
        if let Some((_, grace)) = task.verdict {
            return self.terminate(id, grace, out);
        }
        if let Some(at) = task.time_is_over(out.now) {
            self.timers.set(Timer::MaxDuration(id), at);
        }
        self.publish(id, self.status(id, TaskState::TaskRunning, out.now), out);
    }

    pub(super) fn on_task_not_launched(&mut self, id: LocalId, reason: Reason, message: String, out: &mut Out) {
        let task = &self.tasks[&id];
        if !matches!(task.phase, Phase::Preparing | Phase::Launching) {
            return;
        }
        let failed = Verdict::new(TaskState::TaskFailed, reason, message);
        let verdict = task.verdict.clone().map_or(failed, |(verdict, _)| verdict);
        self.end(id, self.verdict_status(id, verdict, out.now), out);
    }

    // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_task_exited(&mut self, id: LocalId, exit: &ExitStatus, output_bytes: Option<u64>, out: &mut Out) {
        let task = &self.tasks[&id];
        if !matches!(task.phase, Phase::Launching | Phase::Running) {
            return;
        }
        let verdict = task.verdict.clone().map(|(verdict, _)| verdict).unwrap_or_else(|| by_exit(exit));
        let status = TaskStatus { exit: Some(*exit), output_bytes, ..self.verdict_status(id, verdict, out.now) };
        self.end(id, status, out);
    }

    pub(super) fn lose_task(&mut self, id: LocalId, reason: Reason, message: &str, out: &mut Out) {
        if self.tasks.get(&id).is_some_and(Task::is_live) {
            let verdict = Verdict::new(TaskState::TaskLost, reason, message);
            self.end(id, self.verdict_status(id, verdict, out.now), out);
        }
    }

    fn refuse(&mut self, id: LocalId, verdict: Verdict, out: &mut Out) {
        self.drop_task(id, verdict, out);
        self.tell_if_never_launched(id, out);
    }

    fn drop_task(&mut self, id: LocalId, verdict: Verdict, out: &mut Out) {
        let status = self.verdict_status(id, verdict, out.now);
        let task = self.tasks.get_mut(&id).expect("admitted");
        assert_eq!(task.phase, Phase::Queued, "only what has no resources is refused");
        task.phase = Phase::Ended;
        self.timers.cancel(Timer::MaxDuration(id));
        self.persist(Checkpoint::Refused { id, task: self.task_launch(id) }, After::Nothing, out);
        self.publish(id, status, out);
    }

    /// The master counts an executor from its first task on: if that is refused and no other wants it, there is none.
    fn tell_if_never_launched(&self, refused: LocalId, out: &mut Out) {
        let task = &self.tasks[&refused];
        let Some(executor) = &task.info.executor else { return };
        let key = (task.framework_id.clone(), executor.id.clone());
        let wants = |other: &Task| other.phase == Phase::Queued && other.framework_id == key.0 && other.wants(&key.1);
        if !self.is_registered() || self.by_executor.contains_key(&key) || self.tasks.values().any(wants) {
            return;
        }
        let message = format!("its executor {} was not launched: its task {} was refused", key.1, task.info.id);
        let (framework_id, executor_id) = key;
        let ended = ExecutorEnded { framework_id, executor_id, exit: None, message: Some(message) };
        self.send(agent_call::Call::ExecutorEnded(ended), out);
    }

    /// The one way to the end of what had resources.
    pub(super) fn end(&mut self, id: LocalId, status: TaskStatus, out: &mut Out) {
        self.end_taken(id, status, None, out);
    }

    /// As an executor said in this frame.
    pub(super) fn end_taken(&mut self, id: LocalId, status: TaskStatus, taken: Option<u64>, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("the caller has it");
        assert!(task.is_live() && status.state().is_terminal(), "a task ends once");
        let was = std::mem::replace(&mut task.phase, Phase::Ended);
        if was != Phase::Queued {
            self.free += &task.info.resources;
        }
        let (framework_id, executor) = (task.framework_id.clone(), task.info.executor.is_some());
        self.timers.cancel(Timer::MaxDuration(id));
        self.timers.cancel(Timer::KillGrace(id));
        out.push(Effect::Ended { id });
        self.publish_taken(id, status, taken, out);
        if let (true, Phase::WithExecutor { executor, .. }) = (executor, was) {
            self.leave_executor(id, executor, out);
        }
        if self.is_removed(&framework_id) {
            self.forget_task(id, out);
        }
        self.place_queued(out);
    }

    pub(super) fn forget_task(&mut self, id: LocalId, out: &mut Out) {
        let task = self.tasks.remove(&id).expect("the caller has it");
        self.timers.cancel(Timer::ResendUpdate(id));
        self.by_task.remove(&(task.framework_id.clone(), task.info.id.clone()));
        self.leave_framework(&task.framework_id, id);
        self.persist(Checkpoint::Forgotten { id }, After::Nothing, out);
    }
}

fn by_exit(exit: &ExitStatus) -> Verdict {
    let (state, message) = if exit.success() {
        (TaskState::TaskFinished, "the command ended with exit code 0".to_string())
    } else if exit.is_unknown() {
        let message =
            "the command has ended, but the system no longer says how: its launcher was gone; look at its output";
        return Verdict::new(TaskState::TaskLost, Reason::ExitUnknown, message);
    } else {
        (TaskState::TaskFailed, format!("the command ended with {exit}"))
    };
    Verdict::new(state, Reason::CommandExited, message)
}
