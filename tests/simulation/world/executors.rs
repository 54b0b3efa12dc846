//! Executors' processes: what host/src/executor does with sockets and threads is done here with the world's queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mesos_host::agent::{EXECUTOR_WINDOW, Event, ExecutorLaunch, LocalId};
use mesos_plugin_api::v1::executor::event::Event as HalfEvent;
use mesos_plugin_api::v1::executor::{
    Frame, Kill, Launch, Message, Numbered, ProcessExited, ProcessStarted, Shutdown, Started, StreamData, Timer,
    Written, call::Call, frame, numbered::Body,
};
use mesos_plugin_api::v1::{ExitStatus, FrameworkId, TaskId, TaskInfo};
use mesos_plugin_api::{ExecutorCalls, Time};

use super::{Happening, Kind, Lane, World};
use crate::sight::Sight;
use crate::workload::executor::Half;
use crate::workload::ranks::{Rank, Step};

/// How long last words may take to reach the agent.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An executor's process.
pub struct ExecutorProcess {
    launch: ExecutorLaunch,
    half: Option<Half>,
    connection: Option<u64>,
    /// What was on its way on these is lost.
    lost: BTreeSet<u64>,
    seq_last: u64,
    waiting: VecDeque<Numbered>,
    sent: usize,
    taken: u64,
    /// The half's.
    pub timers: BTreeMap<u64, Time>,
    children: BTreeMap<u64, Rank>,
    tasks: BTreeSet<TaskId>,
    going: Option<i32>,
}

impl ExecutorProcess {
    /// One that has just been launched.
    pub fn new(launch: ExecutorLaunch) -> Self {
        Self {
            launch,
            half: None,
            connection: None,
            lost: BTreeSet::new(),
            seq_last: 0,
            waiting: VecDeque::new(),
            sent: 0,
            taken: 0,
            timers: BTreeMap::new(),
            children: BTreeMap::new(),
            tasks: BTreeSet::new(),
            going: None,
        }
    }

    /// Whose it is.
    pub fn framework(&self) -> FrameworkId {
        self.launch.framework.id.clone().expect("always with an id")
    }

    /// What it has been given and has not ended.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.iter()
    }

    fn push(&mut self, body: Body) {
        self.seq_last += 1;
        self.waiting.push_back(Numbered { seq: self.seq_last, body: Some(body) });
    }

    fn confirmed(&mut self, seq: u64) {
        while self.waiting.front().is_some_and(|first| first.seq <= seq) {
            self.waiting.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    /// What may be sent now.
    fn window(&mut self) -> Vec<Numbered> {
        let end = self.waiting.len().min(EXECUTOR_WINDOW).max(self.sent);
        let window = self.waiting.range(self.sent..end).cloned().collect();
        self.sent = end;
        window
    }
}

impl World {
    fn executor(&mut self, pid: u64) -> Option<&mut ExecutorProcess> {
        match &mut self.processes.get_mut(&pid)?.kind {
            Kind::Executor(executor) => Some(executor),
            Kind::Command { .. } => None,
        }
    }

    // ── its connection to the agent ────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn executor_connects(&mut self, pid: u64) {
        let Some(process) = self.processes.get(&pid).filter(|process| !process.orphan) else { return };
        let (agent, container) = (process.agent, process.container);
        if process.launcher != self.agents[agent].launcher || self.agents[agent].core.is_none() {
            let wait = self.chance.ms(100, 1000);
            return self.after(wait, Happening::ExecutorConnects { pid });
        }
        let connection = self.next_pid();
        let executor = self.executor(pid).expect("it is one");
        if executor.connection.replace(connection).is_some() {
            return;
        }
        executor.sent = 0;
        let taken = executor.taken;
        self.tell_agent_of(pid, agent, Event::ExecutorConnected { id: container });
        self.frame_to_agent(pid, frame::Frame::Confirm(taken));
        self.send_window(pid);
    }

    fn tell_agent_of(&mut self, pid: u64, agent: usize, event: Event) {
        let (wait, incarnation) = (self.chance.wait(1, 200), self.agents[agent].incarnation);
        self.follow(Lane::FromExecutor(pid), wait, Happening::AgentHears { agent, incarnation, event });
    }

    fn frame_to_agent(&mut self, pid: u64, frame: frame::Frame) {
        let Some(connection) = self.executor(pid).and_then(|executor| executor.connection) else { return };
        let (wait, frame) = (self.chance.wait(1, 200), Frame { frame: Some(frame) });
        self.follow(Lane::FromExecutor(pid), wait, Happening::Frame { pid, connection, to_process: false, frame });
    }

    fn send_window(&mut self, pid: u64) {
        let Some(executor) = self.executor(pid).filter(|executor| executor.connection.is_some()) else { return };
        for numbered in executor.window() {
            self.frame_to_agent(pid, frame::Frame::Numbered(numbered));
        }
    }

    pub(super) fn frame_to_executor(&mut self, agent: usize, id: LocalId, frame: Frame) {
        let launcher = self.agents[agent].launcher;
        let of_container = self.processes.iter().find_map(|(pid, process)| {
            (process.agent == agent && process.container == id && process.launcher == launcher).then_some(*pid)
        });
        let Some(pid) = of_container else { return };
        let Some(connection) = self.executor(pid).and_then(|executor| executor.connection) else { return };
        let wait = self.chance.wait(1, 200);
        self.follow(Lane::ToExecutor(pid), wait, Happening::Frame { pid, connection, to_process: true, frame });
    }

    pub(super) fn frame_arrives(&mut self, pid: u64, connection: u64, to_process: bool, frame: Frame) {
        let Some(process) = self.processes.get(&pid) else { return };
        let (agent, id) = (process.agent, process.container);
        let stale = process.launcher != self.agents[agent].launcher;
        let Some(executor) = self.executor(pid).filter(|executor| !executor.lost.contains(&connection)) else { return };
        if !to_process {
            let incarnation = self.agents[agent].incarnation;
            if !stale {
                self.agent_hears(agent, incarnation, Event::ExecutorFrame { id, frame });
            }
            return;
        }
        match frame.frame {
            Some(frame::Frame::Welcome(welcome)) if executor.half.is_none() => self.executor_begins(pid, welcome),
            Some(frame::Frame::Confirm(seq)) => {
                executor.confirmed(seq);
                let gone = executor.going.filter(|_| executor.waiting.is_empty());
                self.send_window(pid);
                if let Some(code) = gone {
                    self.executor_goes(pid, code);
                }
            }
            Some(frame::Frame::Numbered(numbered)) => self.executor_takes(pid, numbered),
            _ => {}
        }
    }

    /// Its socket breaks while it and its agent live.
    pub fn break_executor(&mut self, pid: u64) -> bool {
        let lost = self.chance.percent(50);
        let Some(executor) = self.executor(pid) else { return false };
        let Some(connection) = executor.connection.take() else { return false };
        if lost {
            executor.lost.insert(connection);
        }
        let (agent, id) = (self.processes[&pid].agent, self.processes[&pid].container);
        self.tell_agent_of(pid, agent, Event::ExecutorDisconnected { id });
        let wait = self.chance.ms(1, 1000);
        self.follow(Lane::FromExecutor(pid), wait, Happening::ExecutorConnects { pid });
        true
    }

    pub(super) fn executors_lose_agent(&mut self, agent: usize) {
        let pids: Vec<u64> = self.processes.iter().filter(|(_, p)| p.agent == agent).map(|(pid, _)| *pid).collect();
        for pid in pids {
            let Some(connection) = self.executor(pid).and_then(|executor| executor.connection.take()) else { continue };
            self.executor(pid).expect("found above").lost.insert(connection);
            let wait = self.chance.ms(1, 1000);
            self.after(wait, Happening::ExecutorConnects { pid });
        }
    }

    // ── its half ───────────────────────────────────────────────────────────────────────────────────────────────────────

    fn executor_begins(&mut self, pid: u64, welcome: Started) {
        let chance = self.chance.fork();
        let executor = self.executor(pid).expect("found by the caller");
        executor.half = Some(Half::new(&executor.launch.executor, chance));
        let started = Started { knock_program: Some("/knock".into()), ..welcome };
        self.executor_hears(pid, HalfEvent::Started(started));
    }

    fn executor_takes(&mut self, pid: u64, numbered: Numbered) {
        let executor = self.executor(pid).expect("found by the caller");
        if executor.half.is_none() || executor.going.is_some() {
            return;
        }
        if numbered.seq == executor.taken + 1 {
            executor.taken = numbered.seq;
            match numbered.body {
                Some(Body::Launch(task)) => self.executor_gets_task(pid, task),
                Some(Body::Kill(Kill { task_id, grace_ms })) => {
                    self.executor_hears(pid, HalfEvent::Kill(Kill { task_id, grace_ms }));
                }
                Some(Body::Message(data)) => {
                    if matches!(executor.half, Some(Half::Random(_))) {
                        self.watch.see(self.now, &Sight::ExecutorHeard { pid, data: &data });
                    }
                    self.executor_hears(pid, HalfEvent::Message(Message { data }));
                }
                Some(Body::Shutdown(Shutdown {})) => self.executor_hears(pid, HalfEvent::Shutdown(Shutdown {})),
                Some(Body::Update(_)) | None => {}
            }
        }
        if let Some(taken) = self.executor(pid).map(|executor| executor.taken) {
            self.frame_to_agent(pid, frame::Frame::Confirm(taken));
        }
    }

    fn executor_gets_task(&mut self, pid: u64, task: TaskInfo) {
        let agent = self.processes[&pid].agent;
        let executor = self.executor(pid).expect("found by the caller");
        executor.tasks.insert(task.id.clone());
        let framework = executor.framework();
        let inspects = matches!(executor.half, Some(Half::Mpi(_)));
        let sight = Sight::TaskStarted { agent, framework: &framework, task: &task.id, resources: &task.resources };
        self.watch.see(self.now, &sight);
        self.executor_hears(pid, HalfEvent::Launch(Launch { task }));
        if inspects {
            let wait = self.chance.wait(50, 3000);
            self.after(wait, Happening::ExecutorInspects { pid });
        }
    }

    pub(super) fn executor_hears(&mut self, pid: u64, event: HalfEvent) {
        let now = self.now;
        let lives = |executor: &&mut ExecutorProcess| executor.going.is_none() && executor.half.is_some();
        if self.executor(pid).filter(lives).is_none() {
            return;
        }
        self.events += 1;
        self.watch.log(now, format_args!("executor {pid} ◀"), &event);
        let mut calls = ExecutorCalls::default();
        let half = self.executor(pid).and_then(|executor| executor.half.as_mut()).expect("looked at just now");
        half.on_event(now, event, &mut calls);
        self.executor_carries_out(pid, calls.take());
    }

    pub(super) fn executor_inspects(&mut self, pid: u64) {
        let Some(executor) = self.executor(pid).filter(|executor| executor.going.is_none()) else { return };
        let mut calls = ExecutorCalls::default();
        if let Some(Half::Mpi(half)) = &mut executor.half {
            half.inspected(Some(b"/bin/prog".to_vec()), crate::workload::ranks::inspected(), &mut calls);
        }
        self.executor_carries_out(pid, calls.take());
    }

    pub(super) fn executor_timers(&mut self, pid: u64) {
        let now = self.now;
        let Some(executor) = self.executor(pid) else { return };
        let Some(id) = executor.timers.iter().find_map(|(id, at)| (*at <= now).then_some(*id)) else { return };
        executor.timers.remove(&id);
        self.executor_hears(pid, HalfEvent::Timer(Timer { id }));
    }

    fn executor_carries_out(&mut self, pid: u64, calls: Vec<Call>) {
        for call in calls {
            self.watch.log(self.now, format_args!("executor {pid} ▶"), &call);
            match call {
                Call::UpdateTask(update) => {
                    let terminal = update.status.state().is_terminal();
                    let task = update.status.task_id.clone();
                    self.executor(pid).expect("it calls").push(Body::Update(update.status));
                    if terminal {
                        self.executor_task_ends(pid, &task);
                    }
                }
                Call::Message(message) => {
                    self.executor(pid).expect("it calls").push(Body::Message(message.data));
                }
                Call::SetTimer(timer) => {
                    self.executor(pid).expect("it calls").timers.insert(timer.id, Time(timer.at_ns));
                }
                Call::ToShell(_) => unreachable!("this half has no shell"),
                Call::CancelTimer(timer) => drop(self.executor(pid).expect("it calls").timers.remove(&timer.id)),
                Call::Exit(exit) => {
                    let code = i32::from(exit.message.is_some());
                    let executor = self.executor(pid).expect("it calls");
                    executor.going = Some(code);
                    executor.timers.clear();
                    let wait = if executor.waiting.is_empty() { Duration::ZERO } else { LAST_WORDS };
                    self.after(wait, Happening::ExecutorGoes { pid, code });
                }
                Call::Spawn(spawn) => {
                    let slow = self.chance.wait(2000, 20_000);
                    let stubborn = self.chance.percent(10);
                    let (rank, steps) = Rank::new(&spawn, slow, stubborn);
                    self.executor(pid).expect("it calls").children.insert(spawn.process, rank);
                    let started = ProcessStarted { process: spawn.process, pid: 100 + (pid % 50) as u32 };
                    self.child_says(pid, HalfEvent::ProcessStarted(started));
                    self.rank_steps(pid, spawn.process, steps);
                }
                Call::Write(write) => {
                    let bytes = write.data.len() as u64;
                    let Some(rank) = self.executor(pid).expect("it calls").children.get_mut(&write.process) else {
                        continue;
                    };
                    let steps = if write.stream == 1 { rank.written(&write.data) } else { Vec::new() };
                    let written = Written { process: write.process, stream: write.stream, bytes };
                    self.child_says(pid, HalfEvent::Written(written));
                    self.rank_steps(pid, write.process, steps);
                }
                Call::SignalProcess(signal) => {
                    let children = &mut self.executor(pid).expect("it calls").children;
                    let steps = children.get_mut(&signal.process).map(|rank| rank.signalled(signal.signal));
                    self.rank_steps(pid, signal.process, steps.unwrap_or_default());
                }
                Call::CloseStream(_) | Call::AnswerKnock(_) => {}
            }
        }
        self.send_window(pid);
    }

    fn child_says(&mut self, pid: u64, event: HalfEvent) {
        let wait = self.chance.wait(2, 100);
        self.follow(Lane::Children(pid), wait, Happening::ExecutorHears { pid, event });
    }

    fn rank_steps(&mut self, pid: u64, process: u64, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Write(data) => {
                    self.child_says(pid, HalfEvent::StreamData(StreamData { process, stream: 1, data }));
                }
                Step::Later(wait, data) => {
                    self.after(wait, Happening::RankSays { pid, process, data });
                }
                Step::Exit(exit) => {
                    self.executor(pid).expect("its child ends").children.remove(&process);
                    let end = StreamData { process, stream: 1, data: Vec::new() };
                    self.child_says(pid, HalfEvent::StreamData(end));
                    self.child_says(pid, HalfEvent::ProcessExited(ProcessExited { process, exit }));
                }
            }
        }
    }

    /// It has worked for so long, unless it has ended meanwhile.
    pub(super) fn rank_says(&mut self, pid: u64, process: u64, data: Vec<u8>) {
        if self.executor(pid).is_some_and(|executor| executor.children.contains_key(&process)) {
            self.rank_steps(pid, process, vec![Step::Write(data)]);
        }
    }

    // ── its end ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn executor_task_ends(&mut self, pid: u64, task: &TaskId) {
        let (agent, orphan) = (self.processes[&pid].agent, self.processes[&pid].orphan);
        let executor = self.executor(pid).expect("found by the caller");
        let framework = executor.framework();
        if executor.tasks.remove(task) && !orphan {
            self.watch.see(self.now, &Sight::TaskStopped { agent, framework: &framework, task });
        }
    }

    pub(super) fn executor_goes(&mut self, pid: u64, code: i32) {
        if self.executor(pid).is_some_and(|executor| executor.going == Some(code)) {
            self.process_ends(pid, ExitStatus::code(code));
        }
    }

    pub(super) fn executor_ended(&mut self, agent: usize, pid: u64, container: LocalId, executor: ExecutorProcess) {
        let framework = executor.framework();
        for task in &executor.tasks {
            self.watch.see(self.now, &Sight::TaskStopped { agent, framework: &framework, task });
        }
        self.watch.see(self.now, &Sight::Executor { agent, pid, resources: None });
        if executor.connection.is_some() {
            self.tell_agent_of(pid, agent, Event::ExecutorDisconnected { id: container });
        }
    }
}
