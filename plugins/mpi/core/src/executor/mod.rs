//! The executor half: one node's share of a job.
//!
//! ```text
//! Launch ─▶ (the shell looks at the program) ─▶ Inspected ─▶ Start ─▶ ranks, or mpirun and its daemons ─▶ terminal update, exit
//!                                                              ▲ Stop, Kill: TERM, then KILL
//! ```
//! It knows its own node only: nothing of other nodes' ranks, of output, or of why the framework wants it to stop.

mod daemons;
mod input;
mod processes;
mod ranks;

use std::time::Duration;

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::v1::executor::Started;
use mesos_plugin_api::v1::{ExitStatus, TaskId, TaskState, TaskStatus};
use mesos_plugin_api::{Executor, ExecutorCalls, Time};
use prost::Message;

use crate::environment::scrubbed;
use crate::messages::order::Order as Do;
use crate::messages::report::Report as Tell;
use crate::messages::{Inspected, Node, Order, RankEnded, Report, Start, Stop};
use crate::shared_memory::Segments;
use daemons::Daemons;
use input::InputReaders;
use processes::Processes;
use ranks::Ranks;

/// Between TERM and KILL when a job ends for a failure; `mpirun` gives its ranks about as much.
const FAILURE_GRACE: Duration = Duration::from_secs(2);
/// Between TERM and KILL when the task is killed and nobody says how long.
const KILL_GRACE: Duration = Duration::from_secs(3);
/// The one timer: KILL to what is still there.
const KILL_TIMER: u64 = 1;

/// The state machine of one node.
#[derive(Debug)]
pub struct NodeExecutor {
    node: Node,
    started: Option<Started>,
    task: Option<TaskId>,
    program: Option<Program>,
    work: Option<Work>,
    processes: Processes,
    end: End,
}

/// What the shell found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    path: Vec<u8>,
    mpirun: Option<String>,
    /// The sandbox if missing.
    working_directory: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Work {
    Ranks(Ranks),
    Daemons(Daemons),
}

/// How the task will have ended.
#[derive(Debug, Default)]
struct End {
    /// The framework, or the agent, wants it to end.
    wanted: Option<TaskState>,
    first_failure: Option<ExitStatus>,
    told: bool,
}

/// What launching needs to know.
struct Site<'a> {
    node: &'a Node,
    host: &'a Started,
    program: &'a Program,
    start: &'a Start,
}

impl NodeExecutor {
    /// Made from `ExecutorInfo.config`.
    ///
    /// # Errors
    /// Bytes that are no such config.
    pub fn new(config: &[u8]) -> Result<Self, String> {
        let node = Node::decode(config).map_err(|error| format!("the mpi executor's config can't be read: {error}"))?;
        Ok(Self {
            node,
            started: None,
            task: None,
            program: None,
            work: None,
            processes: Processes::default(),
            end: End::default(),
        })
    }

    /// What is to be looked at, for the shell; and the sandbox, once it is known.
    pub fn node(&self) -> (&Node, Option<&str>) {
        (&self.node, self.started.as_ref().map(|started| started.sandbox.as_str()))
    }

    /// The shell has looked: the program's absolute path, if it found one, and what it is.
    pub fn inspected(&mut self, path: Option<Vec<u8>>, inspected: Inspected, calls: &mut ExecutorCalls) {
        use crate::messages::inspected::Found;
        let mpirun = match &inspected.found {
            Some(Found::Openmpi(found)) => Some(found.mpirun.clone()),
            _ => None,
        };
        let missing = inspected.working_directory_missing();
        let working_directory = (!missing).then(|| self.node.working_directory.clone());
        self.program = path.map(|path| Program { path, mpirun, working_directory });
        tell(calls, Tell::Inspected(inspected));
    }

    /// The shared memory that ranks of this node may use: from their launch to the end of the last one.
    pub fn segments(&self) -> Option<&Segments> {
        match &self.work {
            Some(Work::Ranks(ranks)) if !self.end.told => ranks.segments(),
            _ => None,
        }
    }

    fn order(&mut self, now: Time, order: Do, calls: &mut ExecutorCalls) {
        match (order, &mut self.work) {
            (Do::Start(start), None) => self.start(start, calls),
            (Do::Release(release), Some(Work::Ranks(ranks))) => ranks.release(release, calls),
            (Do::Input(data), Some(work)) => work.input().give(data, calls),
            (Do::Signal(signal), Some(Work::Ranks(_))) => self.processes.signal_ranks(signal.number, calls),
            (Do::Signal(signal), Some(Work::Daemons(daemons))) => daemons.signal(signal.number, calls),
            (Do::StartDaemon(daemon), Some(Work::Daemons(daemons))) if !self.processes.stopping() => {
                daemons.launch(daemon, &mut self.processes, calls);
            }
            (Do::AnswerDaemon(answer), Some(Work::Daemons(_))) => {
                calls.answer_knock(answer.knock, answer.exit_code, answer.message);
            }
            (Do::Stop(stop), _) => self.stop(now, stop, calls),
            // What comes too late, or again: a start when it runs, a release when it doesn't.
            _ => {}
        }
    }

    fn start(&mut self, mut start: Start, calls: &mut ExecutorCalls) {
        let (Some(host), Some(program), None) = (&self.started, &self.program, &self.end.wanted) else { return };
        start.environment = scrubbed(&start.environment);
        let site = Site { node: &self.node, host, program, start: &start };
        self.work = Some(match &start.openmpi {
            None => Work::Ranks(Ranks::launch(&site, &mut self.processes, calls)),
            Some(openmpi) => Work::Daemons(Daemons::start(&site, openmpi, &mut self.processes, calls)),
        });
        self.update(TaskState::TaskRunning, calls);
    }

    fn stop(&mut self, now: Time, stop: Stop, calls: &mut ExecutorCalls) {
        let state = if stop.finished() { TaskState::TaskFinished } else { TaskState::TaskKilled };
        self.end_with(now, state, Duration::from_millis(stop.grace_ms), calls);
    }

    fn end_with(&mut self, now: Time, state: TaskState, grace: Duration, calls: &mut ExecutorCalls) {
        self.end.wanted.get_or_insert(state);
        self.processes.stop(now, grace, calls);
    }

    /// A rank failed in a way that ends the job: the others of this node end at once, whether or not the framework is in reach.
    fn fail(&mut self, now: Time, ended: RankEnded, calls: &mut ExecutorCalls) {
        let collateral = self.processes.stopping();
        if collateral {
            return;
        }
        self.end.first_failure.get_or_insert(ended.exit);
        let fatal = ended.fatal();
        tell(calls, Tell::RankEnded(ended));
        if fatal {
            self.processes.stop(now, FAILURE_GRACE, calls);
        }
    }

    fn process_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls) {
        let (process, exit, message) = match event {
            Event::ProcessExited(exited) => (exited.process, exited.exit, None),
            Event::ProcessFailed(failed) => {
                let code = if failed.errno == Some(ENOENT) { 127 } else { 126 };
                (failed.process, ExitStatus::code(code), Some(failed.message))
            }
            _ => return,
        };
        self.processes.ended(process);
        let ended = match &mut self.work {
            Some(Work::Ranks(ranks)) => ranks.ended(process, exit, message, calls),
            Some(Work::Daemons(daemons)) => {
                daemons.ended(process, exit, message, self.processes.stopping(), calls);
                None
            }
            None => None,
        };
        if let Some(ended) = ended {
            self.fail(now, ended, calls);
        }
    }

    fn stream(&mut self, now: Time, process: u64, stream: u32, data: &[u8], calls: &mut ExecutorCalls) {
        if let Some(Work::Ranks(ranks)) = &mut self.work {
            for ended in ranks.stream(process, stream, data, calls) {
                match ended {
                    ranks::Trouble::Ended(ended) => self.fail(now, ended, calls),
                    ranks::Trouble::Aborted(aborted) if !self.processes.stopping() => {
                        self.end.first_failure.get_or_insert(ExitStatus::code(aborted.exit_code));
                        tell(calls, Tell::Aborted(aborted));
                        self.processes.stop(now, FAILURE_GRACE, calls);
                    }
                    ranks::Trouble::Aborted(_) => {}
                }
            }
        }
    }

    /// Once nothing runs and nothing more will: the last update, and the executor goes.
    fn end_if_over(&mut self, calls: &mut ExecutorCalls) {
        let over = self.processes.none_left()
            && (self.end.wanted.is_some() || self.work.as_ref().is_some_and(Work::ends_by_itself));
        if !over || self.end.told || self.task.is_none() {
            return;
        }
        self.end.told = true;
        let state = match (&self.end.first_failure, self.end.wanted) {
            (Some(_), _) => TaskState::TaskFailed,
            (None, Some(state)) => state,
            (None, None) => TaskState::TaskFinished,
        };
        self.update(state, calls);
        calls.exit(None);
    }

    fn update(&self, state: TaskState, calls: &mut ExecutorCalls) {
        let Some(task) = &self.task else { return };
        let mut status = TaskStatus::new(task.clone(), state);
        if state == TaskState::TaskFailed {
            status.exit = self.end.first_failure;
        }
        calls.update(status);
    }
}

const ENOENT: i32 = 2;

impl Work {
    fn input(&mut self) -> &mut InputReaders {
        match self {
            Self::Ranks(ranks) => ranks.input(),
            Self::Daemons(daemons) => daemons.input(),
        }
    }

    /// Direct ranks end by themselves; a node of daemons can't know whether another one comes.
    fn ends_by_itself(&self) -> bool {
        matches!(self, Self::Ranks(_))
    }
}

impl Executor for NodeExecutor {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls) {
        match event {
            Event::Started(started) => self.started = Some(started),
            Event::Launch(launch) => {
                self.task = Some(launch.task.id);
                self.update(TaskState::TaskStarting, calls);
            }
            Event::Message(message) => match Order::decode(message.data.as_slice()) {
                Ok(Order { order: Some(order) }) => self.order(now, order, calls),
                // A newer framework's order that this one doesn't know.
                Ok(Order { order: None }) => {}
                Err(error) => tell(calls, Tell::Warning(format!("an order could not be read: {error}"))),
            },
            Event::ProcessStarted(started) => self.processes.started(started.process, calls),
            Event::ProcessFailed(_) | Event::ProcessExited(_) => self.process_event(now, event, calls),
            Event::StreamData(data) => self.stream(now, data.process, data.stream, &data.data, calls),
            Event::Written(written) => {
                if let Some(work) = &mut self.work {
                    work.input().written(&written, calls);
                }
            }
            Event::Knock(knock) => match &mut self.work {
                Some(Work::Daemons(daemons)) if !self.processes.stopping() => {
                    if let Some(ended) = daemons.knock(knock, calls) {
                        self.fail(now, ended, calls);
                    }
                }
                _ => calls.answer_knock(knock.knock, 1, None),
            },
            Event::KnockClosed(_) | Event::Injected(_) => {}
            Event::Timer(_) => self.processes.kill_now(calls),
            Event::Kill(kill) => {
                let grace = kill.grace_ms.map_or(KILL_GRACE, Duration::from_millis);
                self.end_with(now, TaskState::TaskKilled, grace, calls);
            }
            Event::Shutdown(_) => {
                self.end.wanted.get_or_insert(TaskState::TaskKilled);
                self.processes.kill_now(calls);
            }
        }
        self.end_if_over(calls);
    }
}

fn tell(calls: &mut ExecutorCalls, report: Tell) {
    calls.message(Report { report: Some(report) }.encode_to_vec());
}
