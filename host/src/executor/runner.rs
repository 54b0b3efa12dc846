//! The loop of an executor's process: gives the half what happens and carries out its calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use mesos_plugin_api::v1::executor::{
    AnswerKnock, Frame, Hello, Injected, Kill, Knock, KnockClosed, Launch, Message, Numbered, ProcessExited,
    ProcessFailed, ProcessStarted, Shutdown, Started, StreamData, Timer, Written, call::Call, event::Event, frame,
    numbered::Body,
};
use mesos_plugin_api::v1::exit_status::How;
use mesos_plugin_api::v1::{ExitStatus, TaskId};
use mesos_plugin_api::{Injector, Time};
use tokio::sync::{mpsc, oneshot};

use super::children::{self, Child, Piece, Place, Streams};
use super::knock::{self, Door, Knocking};
use super::link::{self, FromAgent};
use super::{Factory, Half, Identity};
use crate::agent::EXECUTOR_WINDOW;
use crate::agent::shell::bounds::Outputs;
use crate::launcher::{self, Connection, LauncherClient, LauncherEvents, Request, Scope};
use crate::time::Clock;

/// Bytes that wait for the agent, beyond which the plugin gets no events.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The same in frames.
const WAITING_FRAMES_MAX: usize = 64 << 10;
/// Pieces of streams that wait for the plugin; then the processes wait.
const PIECES_MAX: usize = 64;
/// How long the last words may take to reach the agent.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of a process waits for the ends of its streams, which something else may hold.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until the half exits, with `Ok`, or fails.
pub(super) async fn run(identity: Identity, factory: Factory) -> Result<(), String> {
    let connection = Connection::inherited().map_err(|error| error.to_string())?;
    let (launcher, launched) = LauncherClient::new(connection).map_err(|error| error.to_string())?;
    let mut agent = link::open(&identity.socket);
    let (inject, injected) = mpsc::unbounded_channel();
    let mut state = Link { identity, out: None, seq_last: 0, waiting: VecDeque::new(), bytes: 0, sent: 0, taken: 0 };
    let (welcome, held) = welcome(&mut agent, &mut state).await;
    let injector = Injector::new(move |data| {
        // The half has ended, otherwise.
        let _ = inject.send(data);
    });
    let half = factory(&state.identity.plugin, welcome.executor.config(), injector)?;
    let sandbox = PathBuf::from(&welcome.sandbox);
    let door = knock::open(&sandbox).map_err(|error| format!("cannot listen in the sandbox: {error}"))?;
    let place = Place { sandbox, knock_socket: Some(door.socket.clone()) };
    let (piece_sender, pieces) = mpsc::channel(PIECES_MAX);
    let (written_sender, written) = mpsc::unbounded_channel();
    let (late_sender, late) = mpsc::unbounded_channel();
    let output_bytes_max = state.identity.output_bytes_max;
    let runner = Runner {
        clock: Clock::default(),
        half,
        link: state,
        launcher,
        requests: Vec::new(),
        place,
        children: BTreeMap::new(),
        knocks: BTreeMap::new(),
        knock_last: 0,
        timers: BTreeMap::new(),
        tasks: BTreeSet::new(),
        held,
        outputs: Outputs::watch(output_bytes_max),
        streams: Streams { pieces: piece_sender, written: written_sender },
        late_sender,
        exit: None,
    };
    runner.run(welcome, Inputs { agent, launched, injected, pieces, written, late, door }).await
}

/// The half needs to know who it is before it can be made.
async fn welcome(agent: &mut mpsc::Receiver<FromAgent>, link: &mut Link) -> (Started, VecDeque<Numbered>) {
    let mut held = VecDeque::new();
    loop {
        match agent.recv().await.expect("the link lives as long as its receiver") {
            FromAgent::Connected(out) => link.connected(out, Vec::new()),
            FromAgent::Frame(Frame { frame: Some(frame::Frame::Welcome(welcome)) }) => return (welcome, held),
            FromAgent::Frame(Frame { frame: Some(frame::Frame::Numbered(numbered)) }) => held.push_back(numbered),
            FromAgent::Frame(_) => {}
        }
    }
}

/// What is said to the agent: numbered, kept until confirmed, so many at a time.
struct Link {
    identity: Identity,
    out: Option<mpsc::UnboundedSender<Frame>>,
    seq_last: u64,
    waiting: VecDeque<Numbered>,
    bytes: usize,
    /// Of those that wait, how many were sent on this connection.
    sent: usize,
    taken: u64,
}

impl Link {
    fn connected(&mut self, out: mpsc::UnboundedSender<Frame>, task_ids: Vec<TaskId>) {
        self.out = Some(out);
        self.sent = 0;
        let Identity { framework_id, executor_id, token, .. } = self.identity.clone();
        self.send(frame::Frame::Hello(Hello { framework_id, executor_id, token, task_ids }));
        self.send(frame::Frame::Confirm(self.taken));
        self.send_window();
    }

    fn push(&mut self, body: Body) {
        self.seq_last += 1;
        self.bytes += size(&body);
        self.waiting.push_back(Numbered { seq: self.seq_last, body: Some(body) });
        self.send_window();
    }

    fn confirmed(&mut self, seq: u64) {
        while self.waiting.front().is_some_and(|first| first.seq <= seq) {
            let first = self.waiting.pop_front().expect("looked at just now");
            self.bytes -= first.body.as_ref().map_or(0, size);
            self.sent = self.sent.saturating_sub(1);
        }
        self.send_window();
    }

    fn send_window(&mut self) {
        while self.sent < self.waiting.len().min(EXECUTOR_WINDOW) {
            let numbered = self.waiting[self.sent].clone();
            self.sent += 1;
            self.send(frame::Frame::Numbered(numbered));
        }
    }

    /// Lost with the connection; what matters is numbered and sent again.
    fn send(&self, frame: frame::Frame) {
        if let Some(out) = &self.out {
            let _ = out.send(Frame { frame: Some(frame) });
        }
    }

    fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX || self.waiting.len() > WAITING_FRAMES_MAX
    }
}

fn size(body: &Body) -> usize {
    match body {
        Body::Message(data) => data.len(),
        Body::Update(status) => status.data().len(),
        Body::Launch(_) | Body::Kill(_) | Body::Shutdown(_) => 0,
    }
}

struct Inputs {
    agent: mpsc::Receiver<FromAgent>,
    launched: LauncherEvents,
    injected: mpsc::UnboundedReceiver<Vec<u8>>,
    pieces: mpsc::Receiver<Piece>,
    written: mpsc::UnboundedReceiver<Written>,
    /// Processes whose streams have had their time, and knocks whose process has gone.
    late: mpsc::UnboundedReceiver<Late>,
    door: Door,
}

enum Late {
    Streams(u64),
    KnockClosed(u64),
}

struct Runner {
    clock: Clock,
    half: Box<dyn Half>,
    link: Link,
    launcher: LauncherClient,
    /// Requests for the next batch.
    requests: Vec<Request>,
    place: Place,
    children: BTreeMap<u64, Child>,
    knocks: BTreeMap<u64, oneshot::Sender<AnswerKnock>>,
    knock_last: u64,
    timers: BTreeMap<u64, Time>,
    /// Tasks that have not ended, for the agent.
    tasks: BTreeSet<TaskId>,
    /// Frames of the agent that the half has not seen.
    held: VecDeque<Numbered>,
    streams: Streams,
    /// Who keeps output files small.
    outputs: Outputs,
    late_sender: mpsc::UnboundedSender<Late>,
    exit: Option<Result<(), String>>,
}

impl Runner {
    async fn run(mut self, welcome: Started, mut inputs: Inputs) -> Result<(), String> {
        let knock_program = Some(inputs.door.program.display().to_string());
        self.give(Event::Started(Started { knock_program, ..welcome }));
        while self.exit.is_none() {
            self.flush();
            let room = !self.link.is_full();
            let timer = self.timers.values().min().copied();
            tokio::select! {
                biased;
                from = inputs.agent.recv() => self.on_agent(from.expect("the link lives as long as its receiver")),
                events = inputs.launched.next_batch() => match events {
                    Ok(events) => events.into_iter().for_each(|event| self.on_launcher(event)),
                    Err(error) => self.exit = Some(Err(error.to_string())),
                },
                Some(written) = inputs.written.recv() => {
                    if self.children.contains_key(&written.process) {
                        self.give(Event::Written(written));
                    }
                }
                Some(late) = inputs.late.recv() => self.on_late(late),
                () = self.clock.sleep_until(timer), if room => self.on_time(),
                Some(data) = inputs.injected.recv(), if room => self.give(Event::Injected(Injected { data })),
                Some(knocking) = inputs.door.knocks.recv(), if room => self.on_knock(knocking),
                Some(piece) = inputs.pieces.recv(), if room => self.on_piece(piece),
            }
            self.take_held();
        }
        self.flush();
        self.say_last_words(&mut inputs.agent).await;
        self.exit.expect("the loop ends with it")
    }

    /// What is lost here is reported by the agent as the end of the executor.
    async fn say_last_words(&mut self, agent: &mut mpsc::Receiver<FromAgent>) {
        let confirmed = async {
            while !self.link.waiting.is_empty() {
                match agent.recv().await {
                    Some(FromAgent::Connected(out)) => self.link.connected(out, Vec::new()),
                    Some(FromAgent::Frame(Frame { frame: Some(frame::Frame::Confirm(seq)) })) => {
                        self.link.confirmed(seq)
                    }
                    Some(FromAgent::Frame(_)) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, confirmed).await;
    }

    /// What doesn't go now goes after the launcher's next word.
    fn flush(&mut self) {
        if !self.requests.is_empty() {
            match self.launcher.try_send(std::mem::take(&mut self.requests)) {
                Ok(rest) => self.requests = rest.unwrap_or_default(),
                Err(error) => self.exit = Some(Err(error.to_string())),
            }
        }
    }

    // ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn give(&mut self, event: Event) {
        if self.exit.is_some() {
            return;
        }
        match self.half.handle(self.clock.now(), event) {
            Ok(calls) => calls.into_iter().for_each(|call| self.carry_out(call)),
            Err(error) => self.exit = Some(Err(error)),
        }
    }

    fn on_agent(&mut self, from: FromAgent) {
        match from {
            FromAgent::Connected(out) => self.link.connected(out, self.tasks.iter().cloned().collect()),
            FromAgent::Frame(Frame { frame: Some(frame::Frame::Confirm(seq)) }) => self.link.confirmed(seq),
            FromAgent::Frame(Frame { frame: Some(frame::Frame::Numbered(numbered)) }) => self.held.push_back(numbered),
            // Again, after the agent came back.
            FromAgent::Frame(Frame { frame: Some(frame::Frame::Welcome(_) | frame::Frame::Hello(_)) | None }) => {}
        }
    }

    /// In order and once: an agent sends again what it has no confirmation of.
    fn take_held(&mut self) {
        while self.exit.is_none() && !self.link.is_full() {
            let Some(numbered) = self.held.pop_front() else { return };
            if numbered.seq != self.link.taken + 1 {
                if numbered.seq <= self.link.taken {
                    self.link.send(frame::Frame::Confirm(self.link.taken));
                }
                continue;
            }
            self.link.taken = numbered.seq;
            match numbered.body {
                Some(Body::Launch(task)) => {
                    self.tasks.insert(task.id.clone());
                    self.give(Event::Launch(Launch { task }));
                }
                Some(Body::Kill(Kill { task_id, grace_ms })) => self.give(Event::Kill(Kill { task_id, grace_ms })),
                Some(Body::Message(data)) => self.give(Event::Message(Message { data })),
                Some(Body::Shutdown(Shutdown {})) => self.give(Event::Shutdown(Shutdown {})),
                Some(Body::Update(_)) | None => {}
            }
            self.link.send(frame::Frame::Confirm(self.link.taken));
        }
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        let due: Vec<u64> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            // One that came before it may have taken it back.
            if self.timers.get(&id).is_some_and(|at| *at <= now) {
                self.timers.remove(&id);
                self.give(Event::Timer(Timer { id }));
            }
        }
    }

    fn on_knock(&mut self, knocking: Knocking) {
        let Knocking::Knocked { argv, answer, closed } = knocking;
        self.knock_last += 1;
        let knock = self.knock_last;
        self.knocks.insert(knock, answer);
        let late = self.late_sender.clone();
        tokio::spawn(async move {
            let _ = closed.await;
            let _ = late.send(Late::KnockClosed(knock));
        });
        self.give(Event::Knock(Knock { knock, argv }));
    }

    fn on_late(&mut self, late: Late) {
        match late {
            Late::KnockClosed(knock) => {
                if self.knocks.remove(&knock).is_some() {
                    self.give(Event::KnockClosed(KnockClosed { knock }));
                }
            }
            Late::Streams(process) => self.end_child(process),
        }
    }

    fn on_piece(&mut self, piece: Piece) {
        let Piece { process, stream, data } = piece;
        let Some(child) = self.children.get_mut(&process) else { return };
        let end = data.is_empty();
        if end {
            child.open -= 1;
        }
        let over = child.open == 0 && child.exit.is_some();
        self.give(Event::StreamData(StreamData { process, stream, data }));
        if over {
            self.end_child(process);
        }
    }

    fn on_launcher(&mut self, event: launcher::Event) {
        match event {
            launcher::Event::Launched(launched) => {
                if let Some(process) = children::process_of(&launched.container) {
                    let pid = u32::try_from(launched.pid).unwrap_or(0);
                    self.give(Event::ProcessStarted(ProcessStarted { process, pid }));
                }
            }
            launcher::Event::LaunchFailed(failed) => {
                self.requests.push(Request::Release { container: failed.container.clone() });
                if let Some(process) = children::process_of(&failed.container) {
                    let errno = (failed.errno != 0).then_some(failed.errno);
                    self.fail_child(process, failed.message, errno);
                }
            }
            launcher::Event::Exited(exited) => {
                self.requests.push(Request::Release { container: exited.container.clone() });
                if let Some(process) = children::process_of(&exited.container) {
                    self.on_exited(process, exited.status);
                }
            }
            launcher::Event::Refused { container, message } => tracing::debug!("process {container}: {message}"),
            launcher::Event::Welcome { .. } | launcher::Event::Listing { .. } => {}
        }
    }

    /// The half sees the end of a process after all that it had written.
    fn on_exited(&mut self, process: u64, status: launcher::ExitStatus) {
        let Some(child) = self.children.get_mut(&process) else { return };
        child.exit = Some(match status {
            launcher::ExitStatus::Code(code) => ExitStatus { how: Some(How::Code(code)) },
            launcher::ExitStatus::Signal { signal, .. } => ExitStatus { how: Some(How::Signal(signal)) },
            launcher::ExitStatus::Unknown => ExitStatus::unknown(),
        });
        if child.open == 0 {
            return self.end_child(process);
        }
        let late = self.late_sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(STREAMS_TIMEOUT).await;
            let _ = late.send(Late::Streams(process));
        });
    }

    fn end_child(&mut self, process: u64) {
        self.outputs.ended(process);
        if let Some(exit) = self.children.remove(&process).and_then(|child| child.exit) {
            self.give(Event::ProcessExited(ProcessExited { process, exit }));
        }
    }

    fn fail_child(&mut self, process: u64, message: String, errno: Option<i32>) {
        self.outputs.ended(process);
        self.children.remove(&process);
        self.give(Event::ProcessFailed(ProcessFailed { process, message, errno }));
    }

    // ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn carry_out(&mut self, call: Call) {
        match call {
            Call::UpdateTask(update) => {
                if update.status.state().is_terminal() {
                    self.tasks.remove(&update.status.task_id);
                }
                self.link.push(Body::Update(update.status));
            }
            Call::Message(message) => self.link.push(Body::Message(message.data)),
            Call::Spawn(spawn) => {
                let process = spawn.process;
                if self.children.contains_key(&process) {
                    self.exit = Some(Err(format!("the plugin launched two processes with the number {process}")));
                    return;
                }
                match children::prepare(spawn, &self.place, &self.streams) {
                    Ok((spec, child)) => {
                        let files = [&spec.stdout, &spec.stderr].into_iter().flatten();
                        let files = files.map(|file| self.place.sandbox.join(file)).collect();
                        self.outputs.started(process, files);
                        self.children.insert(process, child);
                        self.requests.push(Request::Launch(Box::new(spec)));
                    }
                    Err(message) => self.fail_child(process, message, None),
                }
            }
            Call::SignalProcess(signal) => {
                let scope = if signal.group() { Scope::WholeContainer } else { Scope::MainProcess };
                if self.children.contains_key(&signal.process) {
                    let container = children::container(signal.process);
                    self.requests.push(Request::Signal { container, signal: signal.signal, scope });
                }
            }
            Call::Write(write) => {
                let child = self.children.get_mut(&write.process);
                if child.is_some_and(|child| !child.write(write.stream, write.data)) {
                    let max = children::STREAM_BYTES_MAX >> 20;
                    tracing::warn!(
                        "process {} doesn't read: {max} MB wait for it, its stream is closed",
                        write.process
                    );
                }
            }
            Call::CloseStream(close) => {
                if let Some(child) = self.children.get_mut(&close.process) {
                    child.close(close.stream);
                }
            }
            Call::AnswerKnock(answer) => {
                if let Some(knock) = self.knocks.remove(&answer.knock) {
                    // It is gone, otherwise.
                    let _ = knock.send(answer);
                }
            }
            Call::SetTimer(timer) => drop(self.timers.insert(timer.id, Time(timer.at_ns))),
            Call::CancelTimer(timer) => drop(self.timers.remove(&timer.id)),
            // The plugin has no shell that wants it.
            Call::ToShell(_) => {}
            Call::Exit(exit) => self.exit = Some(exit.message.map_or(Ok(()), Err)),
        }
    }
}
