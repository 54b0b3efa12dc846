//! The agent's core: a master and executors that say anything, and a shell that keeps to its contract in any order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesos_host::agent::{Agent, Effect, Event, Launch, LocalId, Refusal, Settings};
use mesos_host::protocol::{
    AgentCall, ExecutorMessage, ExecutorMessageAcknowledge, KillTask, Registered, RunTasks, ShutdownExecutor,
    ShutdownFramework, UpdateAcknowledge, agent_call, agent_event,
};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::{Frame, Numbered, frame, numbered::Body};
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, ExecutorInfo, ExitStatus, FrameworkId, FrameworkInfo, PluginRef, Reason, TaskId,
    TaskInfo, TaskState, TaskStatus, scheduler,
};

use crate::input::{Input, goes_round};

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    world.handle(Event::Started);
    world.connect();
    world.register();
    while let Some(step) = input.step(20) {
        world.step(step, &mut input);
    }
}

/// How far the shell is with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Preparing,
    Prepared,
    Launching,
    Running,
    Gone,
}

struct World {
    agent: Agent,
    now: Time,
    connected: bool,
    shell: BTreeMap<LocalId, Shell>,
    executors: BTreeSet<LocalId>,
    /// Whose process is connected, and the next number that it uses.
    links: BTreeMap<LocalId, u64>,
    persisted: u64,
    /// What its disk will answer of volumes.
    disk: VecDeque<Event>,
    persist_last: u64,
    /// Of each task the last number that was told, and whether its end was.
    told: BTreeMap<(FrameworkId, TaskId), (u64, bool)>,
    exited: bool,
}

impl World {
    fn new() -> Self {
        let info = AgentInfo {
            hostname: "here".into(),
            address: "127.0.0.1".into(),
            port: 1,
            resources: "cpus:4;mem:1024;ports:[31000-31010];fpgas:{a,b}".parse().expect("resources"),
            attributes: Vec::new(),
            id: None,
            ..Default::default()
        };
        let settings = Settings {
            info,
            version: "1".into(),
            secret: b"s".to_vec(),
            boot_id: None,
            work_dir: "/work".into(),
            volumes: Vec::new(),
        };
        Self {
            agent: Agent::new(settings),
            now: Time(1_000_000_000),
            connected: false,
            shell: BTreeMap::new(),
            executors: BTreeSet::new(),
            links: BTreeMap::new(),
            persisted: 0,
            disk: VecDeque::new(),
            persist_last: 0,
            told: BTreeMap::new(),
            exited: false,
        }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step {
            0 => self.connect(),
            1 => self.register(),
            2 if input.seldom() => self.disconnect(),
            2 | 3 => self.persist(input),
            4..=11 => {
                if let Some(event) = master_event(step, input) {
                    self.master(event);
                }
            }
            12..=14 => self.advance(input),
            15 => self.connect_executor(input),
            16 | 17 => self.executor_says(input),
            18 => self.disconnect_executor(input),
            _ => self.pass(input),
        }
    }

    // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────────

    fn connect(&mut self) {
        if !std::mem::replace(&mut self.connected, true) {
            self.handle(Event::Connected);
        }
    }

    fn disconnect(&mut self) {
        if std::mem::replace(&mut self.connected, false) {
            self.handle(Event::Disconnected { cause: "gone".into() });
        }
    }

    fn register(&mut self) {
        let registered = Registered { agent_id: "a".into(), master_epoch: 1, ..Default::default() };
        self.master(agent_event::Event::Registered(registered));
    }

    fn master(&mut self, event: agent_event::Event) {
        // One that gives the agent another name in the middle is no master.
        let renames = matches!(&event, agent_event::Event::Registered(new) if new.agent_id != AgentId::from("a"));
        if self.connected && !renames {
            self.handle(Event::Master(event));
        }
    }

    /// Some of what waits is kept.
    fn persist(&mut self, input: &mut Input<'_>) {
        let waiting = self.persist_last - self.persisted;
        if waiting > 0 {
            self.persisted += if input.seldom() { 1 } else { waiting };
            self.handle(Event::Persisted { seq: self.persisted });
        }
        if let Some(answer) = self.disk.pop_front() {
            self.handle(answer);
        }
    }

    /// One container comes a step further.
    fn advance(&mut self, input: &mut Input<'_>) {
        let open: Vec<LocalId> = self
            .shell
            .iter()
            .filter(|(_, at)| !matches!(at, Shell::Gone | Shell::Prepared))
            .map(|(id, _)| *id)
            .collect();
        let Some(&id) = input.pick(&open) else { return };
        let refusal = Refusal { reason: Reason::FetchFailed, message: "no".into() };
        let fails = input.seldom();
        let (next, event) = match self.shell[&id] {
            Shell::Preparing if fails => (Shell::Gone, Event::Prepared { id, outcome: Err(refusal) }),
            Shell::Preparing => (Shell::Prepared, Event::Prepared { id, outcome: Ok(()) }),
            Shell::Launching if fails => (Shell::Gone, Event::LaunchFailed { id, refusal }),
            Shell::Launching => (Shell::Running, Event::Launched { id }),
            Shell::Running => {
                let exit = match input.byte() % 3 {
                    0 => ExitStatus::code(i32::from(input.byte())),
                    1 => ExitStatus::signal(9),
                    _ => ExitStatus::unknown(),
                };
                (Shell::Gone, Event::Exited { id, exit, last_words: None, output_bytes: None })
            }
            Shell::Prepared | Shell::Gone => unreachable!("left out above"),
        };
        self.shell.insert(id, next);
        self.handle(event);
    }

    fn connect_executor(&mut self, input: &mut Input<'_>) {
        let up = |id: &&LocalId| self.shell.get(id) == Some(&Shell::Running);
        let up: Vec<LocalId> = self.executors.iter().filter(up).copied().collect();
        if let Some(&id) = input.pick(&up) {
            self.links.entry(id).or_insert(1);
            self.handle(Event::ExecutorConnected { id });
        }
    }

    fn executor_says(&mut self, input: &mut Input<'_>) {
        let linked: Vec<LocalId> = self.links.keys().copied().collect();
        let Some(&id) = input.pick(&linked) else { return };
        let next = self.links.get_mut(&id).expect("picked from them");
        let seq = if input.seldom() { input.number() } else { *next };
        let mut numbered = |body| {
            *next = seq.saturating_add(1);
            Some(frame::Frame::Numbered(Numbered { seq, body: Some(body) }))
        };
        let frame = match input.byte() % 5 {
            0 => Some(frame::Frame::Confirm(input.number())),
            1 => input.message::<Frame>().and_then(|frame| frame.frame),
            2 => numbered(Body::Message(input.bytes().to_vec())),
            _ => {
                let mut status = TaskStatus::new(task_id(input), TaskState::TaskRunning);
                status.state = i32::from(input.byte() % 16);
                numbered(Body::Update(status))
            }
        };
        self.handle(Event::ExecutorFrame { id, frame: Frame { frame } });
    }

    fn disconnect_executor(&mut self, input: &mut Input<'_>) {
        let linked: Vec<LocalId> = self.links.keys().copied().collect();
        if let Some(&id) = input.pick(&linked) {
            self.links.remove(&id);
            self.handle(Event::ExecutorDisconnected { id });
        }
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let at = self.agent.deadline();
        self.now = input.later(self.now, at);
        self.handle(Event::Tick);
    }

    // ── what the agent does ────────────────────────────────────────────────────────────────────────────────────────────

    fn handle(&mut self, event: Event) {
        if self.exited {
            return;
        }
        let mut effects = Vec::new();
        self.agent.handle(self.now, event, &mut effects);
        self.agent.sanity_check();
        effects.into_iter().for_each(|effect| self.observe(effect));
    }

    fn observe(&mut self, effect: Effect) {
        match effect {
            Effect::Disconnect => self.connected = false,
            Effect::Send(call) => self.sent(call),
            Effect::Persist { seq, .. } => {
                assert_eq!(seq, self.persist_last + 1, "what is kept is numbered");
                self.persist_last = seq;
            }
            Effect::Prepare { id, launch } => {
                assert_eq!(self.shell.insert(id, Shell::Preparing), None, "{id:?} is prepared once");
                if matches!(launch, Launch::Executor(_)) {
                    self.executors.insert(id);
                }
            }
            Effect::MakeVolume { record } => {
                self.disk.push_back(Event::VolumeMade { id: record.id, outcome: Ok(()) });
            }
            Effect::RemoveVolume { id } => self.disk.push_back(Event::VolumeRemoved { id, outcome: Ok(()) }),
            Effect::Mount { id, .. } => self.disk.push_back(Event::Mounted { id, outcome: Ok(()) }),
            Effect::Abandon { id } => drop(self.shell.insert(id, Shell::Gone)),
            Effect::Launch { id } => {
                assert_eq!(self.shell.insert(id, Shell::Launching), Some(Shell::Prepared), "{id:?} is launched once");
            }
            Effect::SendExecutor { frame, .. } => goes_round(&frame),
            Effect::Signal { id, signal } => {
                assert!([9, 15].contains(&signal) && self.shell.contains_key(&id), "{id:?} can be signalled");
            }
            Effect::Exit { .. } => self.exited = true,
            // A disk that never answers.
            Effect::Connect | Effect::ShareSandbox { .. } | Effect::Ended { .. } | Effect::Warn { .. } => {}
        }
    }

    /// Updates are told in order, and none follows an end.
    fn sent(&mut self, call: agent_call::Call) {
        goes_round(&AgentCall { call: Some(call.clone()) });
        let agent_call::Call::Update(update) = call else { return };
        let seq = update.status.update_seq.expect("updates are numbered");
        let terminal = update.status.state().is_terminal();
        let told = self.told.entry((update.framework_id, update.status.task_id)).or_insert((0, false));
        // A number of 1 may be the first of a task that took an old name.
        if seq > 1 {
            assert!(seq <= told.0 + 1 && (seq == told.0 || !told.1), "{seq} after {told:?}");
        }
        *told = (seq, terminal);
    }
}

fn master_event(step: u8, input: &mut Input<'_>) -> Option<agent_event::Event> {
    use agent_event::Event;
    let framework_id = framework_id(input);
    Some(match step {
        4..=6 => {
            let framework = FrameworkInfo { id: Some(framework_id), name: "f".into(), ..FrameworkInfo::default() };
            let tasks = (0..=input.byte() % 2).map(|_| task(input)).collect();
            Event::RunTasks(RunTasks { framework, tasks, gang_id: None, ..Default::default() })
        }
        7 => {
            let (task_id, grace_ms) = (task_id(input), input.seldom().then(|| input.number()));
            Event::KillTask(KillTask {
                framework_id,
                task_id,
                grace_ms,
                reason: None,
                message: None,
                ..Default::default()
            })
        }
        8 if input.seldom() => Event::ShutdownFramework(ShutdownFramework { framework_id }),
        8 => Event::ShutdownExecutor(ShutdownExecutor { framework_id, executor_id: executor_id(input).into() }),
        9 => {
            let (task_id, update_seq) = (task_id(input), input.number());
            Event::UpdateAcknowledge(UpdateAcknowledge { framework_id, task_id, update_seq, ..Default::default() })
        }
        10 => {
            let (agent_id, executor_id) = ("a".into(), executor_id(input).into());
            if input.seldom() {
                let acknowledge =
                    scheduler::MessageAcknowledge { agent_id, executor_id, seq: input.number(), ..Default::default() };
                Event::MessageAcknowledge(ExecutorMessageAcknowledge {
                    framework_id,
                    acknowledge,
                    ..Default::default()
                })
            } else {
                let (data, seq) = (input.bytes().to_vec(), (!input.seldom()).then(|| input.number()));
                let message = scheduler::Message { agent_id, executor_id, data, seq, ..Default::default() };
                Event::Message(ExecutorMessage { framework_id, message, ..Default::default() })
            }
        }
        _ => return input.message::<mesos_host::protocol::AgentEvent>()?.event,
    })
}

fn task(input: &mut Input<'_>) -> TaskInfo {
    let (id, resources) = (task_id(input), input.resources());
    let agent: AgentId = if input.byte() == 255 { "other".into() } else { "a".into() };
    let mut task = TaskInfo::command(id.clone(), agent.clone(), resources.clone(), CommandInfo::argv(["true"]));
    if input.byte() % 2 == 1 {
        let plugin = PluginRef { name: "p".into(), version: "1".into(), sha256: "0".repeat(64), size: 1 };
        let executor = ExecutorInfo {
            id: executor_id(input).into(),
            plugin,
            resources: if input.seldom() { input.resources() } else { "cpus:0.5".parse().expect("resources") },
            config: None,
            command: None,
            shutdown_grace_ms: input.seldom().then(|| input.number()),
            ..Default::default()
        };
        task = TaskInfo::executor(id, agent, resources, executor, Vec::new());
    }
    task.max_duration_ms = input.seldom().then(|| input.number());
    task.kill_grace_ms = input.seldom().then(|| input.number());
    task
}

fn framework_id(input: &mut Input<'_>) -> FrameworkId {
    ["f", "g"][usize::from(input.byte() % 2)].into()
}

fn task_id(input: &mut Input<'_>) -> TaskId {
    match input.byte() {
        255 => input.text().into(),
        at => format!("t{}", at % 6).into(),
    }
}

fn executor_id(input: &mut Input<'_>) -> &'static str {
    ["e", "x"][usize::from(input.byte() % 2)]
}
