//! The environment of the tests: carries calls and events between the halves, and plays the processes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::framework::Event as FrameworkEvent;
use mesos_plugin_api::v1::executor::{
    Kill, Knock, Launch, Message as ToExecutor, ProcessExited, ProcessFailed, ProcessStarted, Spawn, Started,
    StreamData, Timer, Written, call::Call,
};
use mesos_plugin_api::v1::framework::{Signal, Stdin, call::Call as FrameworkCall};
use mesos_plugin_api::v1::scheduler::{Failure, Message as ToFramework};
use mesos_plugin_api::v1::{AgentId, AgentInfo, ExecutorId, ExitStatus, FrameworkInfo, TaskInfo, TaskState};
use mesos_plugin_api::{Executor, ExecutorCalls, FakeMaster, Time};
use prost::Message;

use crate::messages::input::From;
use crate::messages::inspected::Found;
use crate::messages::{Input, Inspected, Job, OpenMpiFound, Pmi1, Problem};
use crate::shared_memory::Segments;
use crate::{JobFramework, NodeExecutor};

/// What a scripted process does next, given what it has heard.
pub enum Step {
    Write(Vec<u8>),
    Exit(ExitStatus),
}

/// Plays all processes of a test.
pub trait Script {
    /// A process was launched.
    fn launched(&mut self, node: usize, spawn: &Spawn) -> Vec<Step>;
    /// It was written to.
    fn written(&mut self, node: usize, process: u64, stream: u32, data: &[u8]) -> Vec<Step>;
    /// It got a signal; by default it dies of it, but for CONT and STOP.
    fn signalled(&mut self, _node: usize, _process: u64, signal: i32) -> Vec<Step> {
        if matches!(signal, 18 | 19) { Vec::new() } else { vec![Step::Exit(ExitStatus::signal(signal))] }
    }
}

struct NodeWorld {
    agent: AgentId,
    executor_id: ExecutorId,
    task: TaskInfo,
    executor: NodeExecutor,
    live: BTreeMap<u64, Spawn>,
    kill_at: Option<Time>,
    exited: bool,
    state: Option<TaskState>,
}

/// A job on a fake cluster.
pub struct World<S> {
    pub master: FakeMaster,
    nodes: Vec<NodeWorld>,
    pub script: S,
    events: VecDeque<(usize, Event)>,
    pub found: BTreeMap<usize, Inspected>,
    pub kind: Found,
    pub written_is_told: bool,
    pub signals: Vec<(usize, u64, i32)>,
    pub answers: Vec<(u64, i32)>,
    pub launched: BTreeSet<(usize, u64)>,
    pub closed: Vec<(usize, u64, u32)>,
}

/// A job of so many ranks.
pub fn job(ranks: u32) -> Job {
    Job {
        name: "mpi-test".into(),
        ranks,
        cpus_per_rank: 1000,
        mem_per_rank: 64_000,
        input: Some(Input { from: Some(From::None(true)) }),
        argv: vec![b"./prog".to_vec()],
        working_directory: b"/work".to_vec(),
        ..Job::default()
    }
}

pub fn openmpi() -> Found {
    Found::Openmpi(OpenMpiFound { major: 4, mpirun: "/usr/bin/mpirun".into() })
}

impl<S: Script> World<S> {
    /// Agents `a0`, `a1` … with so many cores each, and the job's gang offered.
    pub fn start(job: &Job, agents: usize, cpus: u32, kind: Found, script: S) -> Self {
        let mut world = Self::forming(job, agents, cpus, kind, script);
        world.master.offer();
        world.run();
        world
    }

    /// The same before anything is offered.
    pub fn forming(job: &Job, agents: usize, cpus: u32, kind: Found, script: S) -> Self {
        let framework = JobFramework::new(&job.encode_to_vec()).unwrap();
        let mut master = FakeMaster::new(Box::new(framework));
        for agent in 0..agents {
            master.add_agent(&format!("a{agent}"), &format!("cpus:{cpus};mem:65536"));
        }
        Self {
            master,
            nodes: Vec::new(),
            script,
            events: VecDeque::new(),
            found: BTreeMap::new(),
            kind,
            written_is_told: true,
            signals: Vec::new(),
            answers: Vec::new(),
            launched: BTreeSet::new(),
            closed: Vec::new(),
        }
    }

    /// Until nothing is under way any more.
    pub fn run(&mut self) {
        loop {
            let calls = std::mem::take(&mut self.master.calls);
            if calls.is_empty() && self.events.is_empty() {
                return;
            }
            calls.into_iter().for_each(|call| self.framework_call(call));
            if let Some((node, event)) = self.events.pop_front() {
                self.executor_event(node, event);
            }
        }
    }

    /// The shared memory that the node's ranks may use now.
    pub fn segments(&self, node: usize) -> Option<&Segments> {
        self.nodes[node].executor.segments()
    }

    /// Lets time pass, with the timers of all halves.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.master.now() + duration;
        let due: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].kill_at.is_some_and(|at| at <= end)).collect();
        for node in due {
            self.nodes[node].kill_at = None;
            self.events.push_back((node, Event::Timer(Timer { id: 1 })));
        }
        self.run();
        self.master.advance_to(end);
        self.run();
    }

    pub fn signal(&mut self, number: i32) {
        self.master.send(FrameworkEvent::Signal(Signal { number }));
        self.run();
    }

    pub fn stdin(&mut self, data: &[u8], end: bool) {
        self.master.send(FrameworkEvent::Stdin(Stdin { data: data.to_vec(), end: end.then_some(true) }));
        self.run();
    }

    /// The exit code and the line of the finished job.
    pub fn finished(&self) -> (i32, String) {
        let (code, line) = self.master.finished.clone().expect("the job has finished");
        (code, line.unwrap_or_default())
    }

    pub fn is_finished(&self) -> bool {
        self.master.finished.is_some()
    }

    /// Processes that haven't ended.
    pub fn live(&self) -> Vec<(usize, u64)> {
        let of = |(node, world): (usize, &NodeWorld)| world.live.keys().map(|p| (node, *p)).collect::<Vec<_>>();
        self.nodes.iter().enumerate().flat_map(of).collect()
    }

    pub fn states(&self) -> Vec<Option<TaskState>> {
        self.nodes.iter().map(|node| node.state).collect()
    }

    pub fn spawn_of(&self, node: usize, process: u64) -> &Spawn {
        &self.nodes[node].live[&process]
    }

    pub fn exit(&mut self, node: usize, process: u64, exit: ExitStatus) {
        self.step(node, process, Step::Exit(exit));
        self.run();
    }

    /// All of these before anybody hears of one; in this order.
    pub fn exits_at_once(&mut self, exits: &[(usize, u64, ExitStatus)]) {
        exits.iter().for_each(|(node, process, exit)| self.step(*node, *process, Step::Exit(*exit)));
        self.run();
    }

    /// The host could not launch it.
    pub fn launch_failed(&mut self, node: usize, process: u64, message: &str, errno: i32) {
        self.nodes[node].live.remove(&process);
        let failed = ProcessFailed { process, message: message.into(), errno: Some(errno) };
        self.event(node, Event::ProcessFailed(failed));
    }

    pub fn knock(&mut self, node: usize, knock: u64, argv: &[&str]) {
        let argv = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.events.push_back((node, Event::Knock(Knock { knock, argv })));
        self.run();
    }

    pub fn event(&mut self, node: usize, event: Event) {
        self.events.push_back((node, event));
        self.run();
    }

    /// A machine burns down.
    pub fn lose(&mut self, node: usize) {
        self.nodes[node].live.clear();
        self.nodes[node].exited = true;
        let agent = self.nodes[node].agent.clone();
        self.master.lose_agent(&agent);
        self.run();
    }

    /// An executor's process dies, and all that it launched.
    pub fn lose_executor(&mut self, node: usize) {
        self.nodes[node].live.clear();
        self.nodes[node].exited = true;
        let failure = Failure {
            agent_id: self.nodes[node].agent.clone(),
            executor_id: Some(self.nodes[node].executor_id.clone()),
            exit: Some(ExitStatus::signal(9)),
            message: None,
        };
        self.master.send(FrameworkEvent::Failure(failure));
        self.run();
    }

    fn framework_call(&mut self, call: FrameworkCall) {
        match call {
            FrameworkCall::Accept(accept) => accept.tasks.into_iter().for_each(|task| self.launch(task)),
            FrameworkCall::Message(message) => {
                let node = self.nodes.iter().position(|node| node.executor_id == message.executor_id).unwrap();
                self.events.push_back((node, Event::Message(ToExecutor { data: message.data })));
            }
            FrameworkCall::Kill(kill) => {
                let node = self.nodes.iter().position(|node| node.task.id == kill.task_id).unwrap();
                let event = Event::Kill(Kill { task_id: kill.task_id, grace_ms: kill.grace_ms });
                self.events.push_back((node, event));
            }
            FrameworkCall::ShutdownExecutor(shutdown) => {
                let node = self.nodes.iter().position(|node| node.executor_id == shutdown.executor_id).unwrap();
                self.nodes[node].live.clear();
            }
            _ => {}
        }
    }

    fn launch(&mut self, task: TaskInfo) {
        let info = task.executor.clone().unwrap();
        let node = self.nodes.len();
        let executor = NodeExecutor::new(info.config.as_deref().unwrap()).unwrap();
        self.nodes.push(NodeWorld {
            agent: task.agent_id.clone(),
            executor_id: info.id.clone(),
            task: task.clone(),
            executor,
            live: BTreeMap::new(),
            kill_at: None,
            exited: false,
            state: None,
        });
        let started = Started {
            framework: FrameworkInfo::default(),
            executor: info,
            agent: AgentInfo { hostname: format!("host-a{node}"), ..AgentInfo::default() },
            sandbox: format!("/sandbox/{node}"),
            knock_program: Some("/host/knock".into()),
        };
        self.events.push_back((node, Event::Started(started)));
        self.events.push_back((node, Event::Launch(Launch { task })));
    }

    fn executor_event(&mut self, node: usize, event: Event) {
        if self.nodes[node].exited {
            return;
        }
        let mut calls = ExecutorCalls::default();
        let launched = matches!(event, Event::Launch(_));
        let now = self.master.now();
        self.nodes[node].executor.on_event(now, event, &mut calls);
        if launched {
            let plain =
                Inspected { found: Some(self.kind.clone()), machine: Some("machine".into()), ..Inspected::default() };
            let found = self.found.get(&node).cloned().unwrap_or(plain);
            let path = (!matches!(found.found, Some(Found::Problem(_)))).then(|| b"/work/prog".to_vec());
            self.nodes[node].executor.inspected(path, found, &mut calls);
        }
        calls.take().into_iter().for_each(|call| self.executor_call(node, call));
    }

    fn executor_call(&mut self, node: usize, call: Call) {
        match call {
            Call::UpdateTask(update) => {
                self.nodes[node].state = Some(update.status.state());
                self.master.update_with(update.status);
            }
            Call::Message(message) => {
                let world = &self.nodes[node];
                let (agent_id, executor_id) = (world.agent.clone(), world.executor_id.clone());
                let message = ToFramework { agent_id, executor_id, data: message.data, ..Default::default() };
                self.master.send(FrameworkEvent::Message(message));
            }
            Call::Spawn(spawn) => self.spawn(node, spawn),
            Call::SignalProcess(signal) => {
                self.signals.push((node, signal.process, signal.signal));
                if self.nodes[node].live.contains_key(&signal.process) {
                    let steps = match signal.signal {
                        9 => vec![Step::Exit(ExitStatus::signal(9))],
                        number => self.script.signalled(node, signal.process, number),
                    };
                    steps.into_iter().for_each(|step| self.step(node, signal.process, step));
                }
            }
            Call::Write(write) => {
                if self.nodes[node].live.contains_key(&write.process) {
                    if self.written_is_told {
                        let bytes = write.data.len() as u64;
                        let written = Written { process: write.process, stream: write.stream, bytes };
                        self.events.push_back((node, Event::Written(written)));
                    }
                    let steps = self.script.written(node, write.process, write.stream, &write.data);
                    steps.into_iter().for_each(|step| self.step(node, write.process, step));
                }
            }
            Call::CloseStream(close) => self.closed.push((node, close.process, close.stream)),
            Call::AnswerKnock(answer) => self.answers.push((answer.knock, answer.exit_code)),
            Call::SetTimer(timer) => self.nodes[node].kill_at = Some(Time(timer.at_ns)),
            Call::CancelTimer(_) => self.nodes[node].kill_at = None,
            Call::ToShell(_) => panic!("this half has no shell"),
            Call::Exit(_) => {
                assert!(self.nodes[node].live.is_empty(), "an executor goes after its processes");
                self.nodes[node].exited = true;
            }
        }
    }

    fn spawn(&mut self, node: usize, spawn: Spawn) {
        let process = spawn.process;
        self.launched.insert((node, process));
        let started = Event::ProcessStarted(ProcessStarted { process, pid: 1000 + process as u32 });
        self.events.push_back((node, started));
        let steps = self.script.launched(node, &spawn);
        let before = self.nodes[node].live.insert(process, spawn);
        assert!(before.is_none(), "process {process} is new");
        steps.into_iter().for_each(|step| self.step(node, process, step));
    }

    fn step(&mut self, node: usize, process: u64, step: Step) {
        match step {
            Step::Write(data) => {
                self.events.push_back((node, Event::StreamData(StreamData { process, stream: 1, data })));
            }
            Step::Exit(exit) => {
                if self.nodes[node].live.remove(&process).is_some() {
                    self.events.push_back((node, Event::ProcessExited(ProcessExited { process, exit })));
                }
            }
        }
    }
}

pub fn pmi1() -> Found {
    Found::Pmi1(Pmi1 {})
}

pub fn problem(exit_code: i32, message: &str) -> Inspected {
    let problem = Problem { message: message.into(), exit_code };
    Inspected { found: Some(Found::Problem(problem)), ..Inspected::default() }
}
