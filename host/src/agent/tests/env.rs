//! A core, a clock, and a shell that answers Persist and Prepare at once unless a test says otherwise.

use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::{Frame, Numbered, frame, numbered::Body};
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, ExecutorInfo, ExitStatus, FrameworkId, FrameworkInfo, PluginRef, Reason,
    Resources, TaskId, TaskInfo, TaskState, TaskStatus, scheduler,
};

use crate::agent::{Agent, Checkpoint, Effect, Event, LocalId, Refusal, Settings};
use crate::protocol::{
    ExecutorMessage, ExecutorMessageAcknowledge, KillTask, Registered, RunTasks, ShutdownExecutor, ShutdownFramework,
    StatusUpdate, UpdateAcknowledge, agent_call, agent_event,
};

pub(super) struct TestEnv {
    pub agent: Agent,
    pub now: Time,
    /// What the core wanted and no test has looked at.
    pub effects: Vec<Effect>,
    /// What it wanted to be kept, ever.
    pub records: Vec<Checkpoint>,
    /// The shell answers these at once.
    pub persists: bool,
    pub prepares: bool,
}

impl TestEnv {
    /// A registered agent with 4 cores.
    pub(super) fn new() -> Self {
        let mut env = Self::apart();
        env.registered(1);
        env.effects.clear();
        env
    }

    pub(super) fn apart() -> Self {
        let info = AgentInfo {
            hostname: "here".into(),
            address: "127.0.0.1".into(),
            port: 1,
            resources: "cpus:4;mem:1024".parse().expect("resources"),
            attributes: Vec::new(),
            id: None,
        };
        let (version, secret, boot_id, work_dir) = ("1".into(), b"secret".to_vec(), None, "/work".into());
        let agent = Agent::new(Settings { info, version, secret, boot_id, work_dir, volumes: Vec::new() });
        Self { agent, now: Time(1_000), effects: Vec::new(), records: Vec::new(), persists: true, prepares: true }
    }

    pub(super) fn registered(&mut self, epoch: u64) {
        self.on(Event::Connected);
        self.master(agent_event::Event::Registered(Registered {
            agent_id: agent(),
            master_epoch: epoch,
            silence_ms: None,
        }));
    }

    pub(super) fn on(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.agent.handle(self.now, event, &mut effects);
            self.agent.sanity_check();
            for effect in effects {
                if let Effect::Persist { checkpoint, .. } = &effect {
                    self.records.push(checkpoint.clone());
                }
                match &effect {
                    Effect::Persist { seq, .. } if self.persists => events.push(Event::Persisted { seq: *seq }),
                    Effect::Prepare { id, .. } if self.prepares => {
                        events.push(Event::Prepared { id: *id, outcome: Ok(()) })
                    }
                    _ => {}
                }
                self.effects.push(effect);
            }
            // In the order in which they were wanted.
            events.sort_by_key(|event| match event {
                Event::Persisted { seq } => std::cmp::Reverse(*seq),
                _ => std::cmp::Reverse(0),
            });
        }
    }

    pub(super) fn master(&mut self, event: agent_event::Event) {
        self.on(Event::Master(event));
    }

    /// Lets time pass, with a tick at each deadline on the way.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.agent.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.on(Event::Tick);
        }
        self.now = end;
    }

    // ── what the master says ───────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn run(&mut self, tasks: Vec<TaskInfo>) {
        self.run_for("f", tasks);
    }

    pub(super) fn run_for(&mut self, framework: &str, tasks: Vec<TaskInfo>) {
        let framework =
            FrameworkInfo { id: Some(framework.into()), name: framework.into(), ..FrameworkInfo::default() };
        let gang_id = Some("gang".to_string());
        self.master(agent_event::Event::RunTasks(RunTasks { framework, tasks, gang_id, ..RunTasks::default() }));
    }

    /// Tasks for the executor `e`, which runs as far as the master knows.
    pub(super) fn run_on_running(&mut self, tasks: Vec<TaskInfo>) {
        let framework = FrameworkInfo { id: Some(framework()), name: "f".into(), ..FrameworkInfo::default() };
        let running_executors = vec!["e".into()];
        self.master(agent_event::Event::RunTasks(RunTasks {
            framework,
            tasks,
            running_executors,
            ..RunTasks::default()
        }));
    }

    pub(super) fn kill(&mut self, task: &str, grace_ms: Option<u64>) {
        let (framework_id, task_id) = (framework(), TaskId::from(task));
        let kill = KillTask { framework_id, task_id, grace_ms, reason: None, message: None };
        self.master(agent_event::Event::KillTask(kill));
    }

    pub(super) fn acknowledge(&mut self, task: &str, update_seq: u64) {
        let (framework_id, task_id) = (framework(), TaskId::from(task));
        self.master(agent_event::Event::UpdateAcknowledge(UpdateAcknowledge { framework_id, task_id, update_seq }));
    }

    pub(super) fn shut_down_framework(&mut self) {
        self.master(agent_event::Event::ShutdownFramework(ShutdownFramework { framework_id: framework() }));
    }

    pub(super) fn shut_down_executor(&mut self) {
        let shutdown = ShutdownExecutor { framework_id: framework(), executor_id: "e".into() };
        self.master(agent_event::Event::ShutdownExecutor(shutdown));
    }

    pub(super) fn say(&mut self, seq: u64, text: &str) {
        let (agent_id, executor_id) = (agent(), "e".into());
        let message =
            scheduler::Message { agent_id, executor_id, data: text.into(), seq: Some(seq), ..Default::default() };
        self.master(agent_event::Event::Message(ExecutorMessage { framework_id: framework(), message }));
    }

    pub(super) fn acknowledge_messages(&mut self, seq: u64) {
        let acknowledge =
            scheduler::MessageAcknowledge { agent_id: agent(), executor_id: "e".into(), seq, incarnation: None };
        let acknowledge = ExecutorMessageAcknowledge { framework_id: framework(), acknowledge };
        self.master(agent_event::Event::MessageAcknowledge(acknowledge));
    }

    // ── what the shell says ────────────────────────────────────────────────────────────────────────────────────────────

    /// The task that was given this number runs.
    pub(super) fn launched(&mut self, id: u64) {
        self.on(Event::Launched { id: LocalId(id) });
    }

    pub(super) fn exited(&mut self, id: u64, exit: ExitStatus) {
        self.on(Event::Exited { id: LocalId(id), exit, last_words: None, output_bytes: None });
    }

    pub(super) fn refused(&mut self, id: u64, reason: Reason) {
        let refusal = Refusal { reason, message: "no".into() };
        self.on(Event::Prepared { id: LocalId(id), outcome: Err(refusal) });
    }

    pub(super) fn frame(&mut self, id: u64, frame: frame::Frame) {
        self.on(Event::ExecutorFrame { id: LocalId(id), frame: Frame { frame: Some(frame) } });
    }

    pub(super) fn numbered(&mut self, id: u64, seq: u64, body: Body) {
        self.frame(id, frame::Frame::Numbered(Numbered { seq, body: Some(body) }));
    }

    pub(super) fn executor_update(&mut self, id: u64, seq: u64, task: &str, state: TaskState) {
        self.numbered(id, seq, Body::Update(TaskStatus::new(task.into(), state)));
    }

    // ── what the core wants ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Updates since the last look.
    pub(super) fn updates(&mut self) -> Vec<StatusUpdate> {
        let is_update = |effect: Effect| match effect {
            Effect::Send(agent_call::Call::Update(update)) => Some(update),
            _ => None,
        };
        self.take().into_iter().filter_map(is_update).collect()
    }

    /// Their task, number and state.
    pub(super) fn states(&mut self) -> Vec<(String, u64, TaskState)> {
        let told = |update: StatusUpdate| {
            let status = update.status;
            (status.task_id.to_string(), status.update_seq.expect("a number"), status.state())
        };
        self.updates().into_iter().map(told).collect()
    }

    /// The last update; there is one.
    pub(super) fn last(&mut self) -> TaskStatus {
        self.updates().pop().expect("an update").status
    }

    /// Containers and signals.
    pub(super) fn signals(&mut self) -> Vec<(u64, i32)> {
        let is_signal = |effect: Effect| match effect {
            Effect::Signal { id, signal } => Some((id.0, signal)),
            _ => None,
        };
        self.take().into_iter().filter_map(is_signal).collect()
    }

    /// Frames to executors.
    pub(super) fn frames(&mut self) -> Vec<frame::Frame> {
        let is_frame = |effect: Effect| match effect {
            Effect::SendExecutor { frame, .. } => frame.frame,
            _ => None,
        };
        self.take().into_iter().filter_map(is_frame).collect()
    }

    pub(super) fn calls(&mut self) -> Vec<agent_call::Call> {
        let is_call = |effect: Effect| match effect {
            Effect::Send(call) => Some(call),
            _ => None,
        };
        self.take().into_iter().filter_map(is_call).collect()
    }
}

pub(super) fn agent() -> AgentId {
    "a".into()
}

pub(super) fn framework() -> FrameworkId {
    "f".into()
}

pub(super) fn task(id: &str) -> TaskInfo {
    TaskInfo::command(id, agent(), Resources::new(1.0, 16.0), CommandInfo::argv(["true"]))
}

pub(super) fn executor_task(id: &str) -> TaskInfo {
    let plugin = PluginRef { name: "p".into(), version: "1".into(), sha256: "0".repeat(64), size: 1 };
    let executor = ExecutorInfo {
        id: "e".into(),
        plugin,
        resources: Resources::new(0.5, 16.0),
        config: None,
        command: None,
        shutdown_grace_ms: None,
    };
    TaskInfo::executor(id, agent(), Resources::new(1.0, 16.0), executor, Vec::new())
}
