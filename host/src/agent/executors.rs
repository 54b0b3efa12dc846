//! Executors: launched with their first task, connected by their process, and what is said between them and their scheduler.
//!
//! ```text
//! first task ─▶ Checkpointing ─▶ Preparing ─▶ Launching ─▶ Launched ─connected─▶ Running ─exited, all read─▶ Ended
//! ```
//!
//! An executor without tasks stays until its framework shuts it down or ends, and its resources count until then: only the
//! framework knows whether more is to come. What it was told and what it says is numbered on each way and kept until confirmed.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::{Kill, Numbered, Shutdown, numbered::Body};
use mesos_plugin_api::v1::{ExecutorId, ExecutorInfo, ExitStatus, FrameworkId, Reason, TaskState, TaskStatus};

use super::core::{After, Agent, SIGKILL};
use super::event::{Checkpoint, Effect, ExecutorLaunch, Launch, LocalId, Out};
use super::messages::{Inbox, Outbox};
use super::tasks::{Phase as TaskPhase, Verdict};
use super::timers::Timer;
use crate::protocol::{ExecutorEnded, agent_call};

/// How long an executor's process may take to connect.
pub const EXECUTOR_REGISTER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between Shutdown and KILL, where the executor doesn't say.
pub const EXECUTOR_SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// What an executor may take beyond a task's grace to say that a task whose time is over has ended.
pub const EXECUTOR_KILL_MARGIN: Duration = Duration::from_secs(5);
/// How long the last words of an executor may take to arrive after its end.
pub const EXECUTOR_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages to the scheduler that wait for its acknowledgement, beyond which the executor is not listened to.
pub const MESSAGES_PENDING_MAX: usize = 1024;
/// The same in bytes.
pub const MESSAGES_PENDING_BYTES_MAX: usize = 8 << 20;
/// Frames that wait for an executor's process, beyond which messages of the scheduler are left for it to send again.
pub const EXECUTOR_FRAMES_MAX: usize = 1024;
/// The same in bytes.
pub const EXECUTOR_FRAME_BYTES_MAX: usize = 16 << 20;
/// Frames that an executor may send before the first of them is confirmed.
pub const EXECUTOR_WINDOW: usize = 1024;
/// How long a message may stay unacknowledged before it is sent again; doubles with each time.
pub const MESSAGE_RETRY: Duration = Duration::from_secs(5);
/// As far as that doubles.
pub const MESSAGE_RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Executor {
    pub framework_id: FrameworkId,
    pub info: Arc<ExecutorInfo>,
    pub sandbox: PathBuf,
    pub phase: Phase,
    /// No new tasks: it was told to end.
    pub stopping: bool,
    pub connected: bool,
    /// How its process ended, until all that it had sent was read.
    pub exited: Option<ExitStatus>,
    last_words: Option<String>,
    /// Live tasks; those that it hasn't been told of too.
    pub tasks: BTreeSet<LocalId>,
    pub to_process: Outbox<ToProcess>,
    pub from_process: Inbox,
    /// Frames that can't be taken yet, in order.
    pub held: VecDeque<Numbered>,
    pub to_scheduler: Outbox<Vec<u8>>,
    pub from_scheduler: Inbox,
    pub retry: Duration,
    /// Why it ended, for its scheduler.
    pub ended: Option<(Option<ExitStatus>, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Checkpointing,
    Preparing,
    Launching,
    Launched,
    Running,
    Ended,
}

#[derive(Debug)]
pub(super) struct ToProcess {
    pub body: Body,
    /// The scheduler's incarnation and number, if it is a message.
    pub scheduler_seq: Option<(u64, u64)>,
    /// When it was numbered.
    pub at: Time,
    /// It is in a checkpoint, and may be told.
    pub durable: bool,
}

impl ToProcess {
    fn size(&self) -> usize {
        match &self.body {
            Body::Message(data) => data.len(),
            Body::Launch(task) => task.data().len(),
            Body::Update(_) | Body::Kill(_) | Body::Shutdown(_) => 0,
        }
    }
}

impl Executor {
    pub(super) fn new(framework_id: FrameworkId, info: Arc<ExecutorInfo>, sandbox: PathBuf, phase: Phase) -> Self {
        Self {
            framework_id,
            info,
            sandbox,
            phase,
            stopping: false,
            connected: false,
            exited: None,
            last_words: None,
            tasks: BTreeSet::new(),
            to_process: Outbox::new(ToProcess::size),
            from_process: Inbox::default(),
            held: VecDeque::new(),
            to_scheduler: Outbox::new(Vec::len),
            from_scheduler: Inbox::default(),
            retry: MESSAGE_RETRY,
            ended: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Ended
    }

    pub(super) fn takes_tasks(&self) -> bool {
        self.is_live() && !self.stopping && self.exited.is_none()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether it may be launched now.
    pub(super) fn prepared(&mut self) -> bool {
        let expected = self.phase == Phase::Preparing;
        if expected {
            self.phase = Phase::Launching;
        }
        expected
    }

    /// The scheduler has to catch up before more is taken from the process.
    pub(super) fn has_no_room(&self) -> bool {
        self.to_scheduler.len() >= MESSAGES_PENDING_MAX || self.to_scheduler.bytes() >= MESSAGES_PENDING_BYTES_MAX
    }

    pub(super) fn grace(&self) -> Duration {
        self.info.shutdown_grace_ms.map_or(EXECUTOR_SHUTDOWN_GRACE, Duration::from_millis)
    }
}

impl Agent {
    // ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn executor_problem(&self, framework_id: &FrameworkId, info: &ExecutorInfo) -> Option<Verdict> {
        let invalid = |reason, message: String| Some(Verdict::new(TaskState::TaskError, reason, message));
        if let Some(problem) = info.id.problem() {
            return invalid(Reason::InvalidTask, format!("the executor's id {:?} {problem}", info.id.as_str()));
        }
        if let Err(error) = info.resources.clone().checked() {
            return invalid(Reason::InvalidTask, format!("the executor's resources can't be used: {error}"));
        }
        let known = self.by_executor.get(&(framework_id.clone(), info.id.clone())).map(|id| &self.executors[id]);
        match known {
            Some(known) if known.takes_tasks() && *known.info != *info => invalid(
                Reason::InvalidTask,
                format!("the executor {} runs here with another description; give this one another id", info.id),
            ),
            _ => None,
        }
    }

    /// For the task that is the first to need it; its resources were found to be free.
    pub(super) fn new_executor(&mut self, task: LocalId, info: ExecutorInfo, out: &mut Out) -> LocalId {
        let id = self.next_id();
        let framework_id = self.tasks[&task].framework_id.clone();
        self.free = self.free.checked_sub(&info.resources).expect("checked by the caller");
        let folder = self.settings.work_dir.join("executors").join(framework_id.as_str());
        let sandbox = folder.join(info.id.as_str());
        let executor = Executor::new(framework_id.clone(), Arc::new(info), sandbox, Phase::Checkpointing);
        self.by_executor.insert((framework_id.clone(), executor.info.id.clone()), id);
        self.frameworks.get_mut(&framework_id).expect("its task is here").members.insert(id);
        self.executors.insert(id, executor);
        let launch = self.executor_launch(id);
        self.persist(Checkpoint::Launch { id, launch }, After::Start(id), out);
        id
    }

    /// Where an executor runs.
    pub(crate) fn sandbox_of(&self, executor: LocalId) -> Option<PathBuf> {
        self.executors.get(&executor).map(|executor| executor.sandbox.clone())
    }

    pub(super) fn executor_launch(&self, id: LocalId) -> Launch {
        let executor = &self.executors[&id];
        Launch::Executor(ExecutorLaunch {
            framework: self.frameworks[&executor.framework_id].info.clone(),
            executor: executor.info.clone(),
            agent_id: self.id().expect("tasks come after the registration").clone(),
            sandbox: executor.sandbox.clone(),
        })
    }

    pub(super) fn start_executor(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.phase == Phase::Checkpointing {
            executor.phase = Phase::Preparing;
            out.push(Effect::Prepare { id, launch: self.executor_launch(id) });
        }
    }

    pub(super) fn on_executor_launched(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.phase != Phase::Launching {
            return;
        }
        executor.phase = Phase::Launched;
        if executor.stopping {
            out.push(Effect::Signal { id, signal: SIGKILL });
        } else {
            self.timers.set(Timer::ExecutorRegister(id), out.now + EXECUTOR_REGISTER_TIMEOUT);
        }
    }

    pub(super) fn on_executor_not_launched(&mut self, id: LocalId, reason: Reason, message: String, out: &mut Out) {
        let Some(executor) = self.executors.get(&id) else { return };
        if matches!(executor.phase, Phase::Preparing | Phase::Launching) {
            let reason = if reason == Reason::CommandNotLaunched { Reason::ExecutorNotLaunched } else { reason };
            self.end_executor(id, None, Verdict::new(TaskState::TaskFailed, reason, message), out);
        }
    }

    pub(super) fn on_executor_register_timeout(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.is_live() && executor.exited.is_none() && !executor.connected {
            executor.stopping = true;
            out.push(Effect::Signal { id, signal: SIGKILL });
        }
    }

    // ── tasks ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The task has its resources; the executor hears of it as soon as its process is there.
    pub(super) fn give_to_executor(&mut self, id: LocalId, executor_id: LocalId, out: &mut Out) {
        let executor = self.executors.get_mut(&executor_id).expect("found or made by the caller");
        executor.tasks.insert(id);
        let sandbox = executor.sandbox.clone();
        let running = executor.phase == Phase::Running;
        let task = self.tasks.get_mut(&id).expect("the caller has it");
        task.phase = TaskPhase::WithExecutor { executor: executor_id, given: false };
        task.sandbox = sandbox;
        let (framework_id, task_id) = (task.framework_id.clone(), task.info.id.clone());
        out.push(Effect::ShareSandbox { id, framework_id, task_id, executor: executor_id });
        let task = self.task_launch(id);
        self.persist(Checkpoint::Task { id, executor: executor_id, task }, After::Nothing, out);
        if running {
            self.tell_of_task(id, executor_id, out);
        }
    }

    pub(super) fn tell_of_task(&mut self, id: LocalId, executor: LocalId, out: &mut Out) {
        if !self.has_volumes(id, out) {
            return;
        }
        let task = self.tasks.get_mut(&id).expect("live tasks are known");
        task.phase = TaskPhase::WithExecutor { executor, given: true };
        task.began = Some(out.now);
        let info = (*task.info).clone();
        if let Some(at) = task.time_is_over(out.now) {
            self.timers.set(Timer::MaxDuration(id), at);
        }
        self.to_process(executor, Body::Launch(info), None, out);
    }

    pub(super) fn kill_by_executor(&mut self, id: LocalId, executor: LocalId, grace: Duration, out: &mut Out) {
        let task = &self.tasks[&id];
        let grace_ms = Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let kill = Kill { task_id: task.info.id.clone(), grace_ms };
        let overdue = task.verdict.as_ref().is_some_and(|(verdict, _)| verdict.reason == Reason::MaxDurationReached);
        if overdue {
            self.timers.set(Timer::KillGrace(id), out.now + grace + EXECUTOR_KILL_MARGIN);
        }
        self.to_process(executor, Body::Kill(kill), None, out);
    }

    /// It did not end a task whose time is over: others count on the resources.
    pub(super) fn kill_executor_of(&mut self, _task: LocalId, executor: LocalId, out: &mut Out) {
        if let Some(known) = self.executors.get_mut(&executor) {
            known.stopping = true;
            out.push(Effect::Signal { id: executor, signal: SIGKILL });
        }
    }

    /// One of its tasks has ended. An executor that has not even connected isn't needed any more without one.
    pub(super) fn leave_executor(&mut self, task: LocalId, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        executor.tasks.remove(&task);
        if executor.tasks.is_empty() && executor.takes_tasks() && executor.phase != Phase::Running {
            self.stop_executor(id, out);
        }
    }

    // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_shutdown_executor(&mut self, framework_id: FrameworkId, executor_id: ExecutorId, out: &mut Out) {
        if let Some(&id) = self.by_executor.get(&(framework_id, executor_id)) {
            self.stop_executor(id, out);
        }
    }

    pub(super) fn stop_executor(&mut self, id: LocalId, out: &mut Out) {
        let executor = self.executors.get_mut(&id).expect("the caller has it");
        if std::mem::replace(&mut executor.stopping, true) {
            return;
        }
        match executor.phase {
            Phase::Ended | Phase::Launching => {}
            Phase::Checkpointing | Phase::Preparing => {
                out.push(Effect::Abandon { id });
                let message = "its executor was shut down before it was launched";
                let verdict = Verdict::new(TaskState::TaskKilled, Reason::ExecutorTerminated, message);
                self.end_executor(id, None, verdict, out);
            }
            Phase::Launched => out.push(Effect::Signal { id, signal: SIGKILL }),
            Phase::Running => self.shut_down(id, out),
        }
    }

    /// Shutdown now, KILL after the grace.
    pub(super) fn shut_down(&mut self, id: LocalId, out: &mut Out) {
        let grace = self.executors[&id].grace();
        self.to_process(id, Body::Shutdown(Shutdown {}), None, out);
        self.timers.set(Timer::KillGrace(id), out.now + grace);
    }

    /// Its last words may still be on their way through its connection.
    pub(super) fn on_executor_exited(
        &mut self,
        id: LocalId,
        exit: ExitStatus,
        last_words: Option<String>,
        out: &mut Out,
    ) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        executor.last_words = last_words;
        executor.exited = Some(exit);
        if executor.connected {
            self.timers.set(Timer::ExecutorDrain(id), out.now + EXECUTOR_DRAIN_TIMEOUT);
        } else {
            self.finish_executor(id, exit, out);
        }
    }

    pub(super) fn on_executor_disconnected(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        executor.connected = false;
        if let Some(exit) = executor.exited {
            self.finish_executor(id, exit, out);
        }
    }

    fn finish_executor(&mut self, id: LocalId, exit: ExitStatus, out: &mut Out) {
        let executor = &self.executors[&id];
        if !executor.is_live() {
            return;
        }
        let executor_id = &executor.info.id;
        let words = executor.last_words.as_ref().map_or(String::new(), |words| format!(": {words}"));
        let (reason, when) = match executor.phase {
            Phase::Running => (Reason::ExecutorTerminated, ""),
            _ => (Reason::ExecutorUnregistered, " before it connected"),
        };
        let message = format!("its executor {executor_id} ended with {exit}{when}{words}");
        let verdict = if exit.is_unknown() {
            let message = format!("its executor {executor_id} has ended, but the system no longer says how{words}");
            Verdict::new(TaskState::TaskLost, Reason::ExitUnknown, message)
        } else {
            Verdict::new(TaskState::TaskFailed, reason, message)
        };
        self.end_executor(id, Some(exit), verdict, out);
    }

    pub(super) fn lose_executor(&mut self, id: LocalId, reason: Reason, message: &str, out: &mut Out) {
        if self.executors.get(&id).is_some_and(Executor::is_live) {
            let verdict = Verdict::new(TaskState::TaskLost, reason, message);
            self.end_executor(id, None, verdict, out);
        }
    }

    /// The one way to its end: what it said counts, then its tasks end with it, then the scheduler hears of it.
    fn end_executor(&mut self, id: LocalId, exit: Option<ExitStatus>, verdict: Verdict, out: &mut Out) {
        self.take_all_from_executor(id, out);
        let executor = self.executors.get_mut(&id).expect("the caller has it");
        executor.phase = Phase::Ended;
        executor.connected = false;
        executor.ended = Some((exit, verdict.message.clone()));
        let tasks = std::mem::take(&mut executor.tasks);
        self.free += &executor.info.resources;
        for timer in [Timer::KillGrace(id), Timer::ExecutorRegister(id), Timer::ExecutorDrain(id)] {
            self.timers.cancel(timer);
        }
        out.push(Effect::Ended { id });
        for task in tasks {
            let own = self.tasks[&task].verdict.clone().map(|(verdict, _)| verdict);
            let status = self.verdict_status(task, own.unwrap_or_else(|| verdict.clone()), out.now);
            self.end(task, TaskStatus { exit, ..status }, out);
        }
        self.persist(Checkpoint::Ended { id, exit, message: verdict.message }, After::Nothing, out);
        self.tell_if_ended(id, out);
        self.place_queued(out);
    }

    /// The scheduler numbers anew for a new executor of this id, so it hears of the end after the last message.
    pub(super) fn tell_if_ended(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get(&id) else { return };
        let Some((exit, message)) = executor.ended.clone() else { return };
        let removed = self.is_removed(&executor.framework_id);
        if !removed && (!self.is_registered() || !executor.to_scheduler.is_empty()) {
            return;
        }
        let executor = self.executors.remove(&id).expect("looked at just now");
        let (framework_id, executor_id) = (executor.framework_id, executor.info.id.clone());
        self.by_executor.remove(&(framework_id.clone(), executor_id.clone()));
        self.timers.cancel(Timer::ResendMessages(id));
        if !removed {
            let ended = ExecutorEnded { framework_id: framework_id.clone(), executor_id, exit, message: Some(message) };
            self.send(agent_call::Call::ExecutorEnded(ended), out);
        }
        self.leave_framework(&framework_id, id);
        self.persist(Checkpoint::Forgotten { id }, After::Nothing, out);
    }
}
