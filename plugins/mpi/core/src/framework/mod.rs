//! The scheduler half: one job from its gang request to its exit code.
//!
//! ```text
//! Forming ──gang offer──▶ Inspecting ──all nodes agree──▶ Running ──all nodes over──▶ finish
//!    │                        │                              │
//!    └── refused, signal ─────┴── problem, node lost ────────┴── rank failed, node lost, signal ──▶ Ending ──▶ finish
//! ```
//! One file an arrow or two: `start` (Inspecting to Running), `ends` (of tasks, executors, agents), `ending`, `mpirun`, `input`.
//! It knows nothing of files, sockets and processes; those are the executors' (one a node) and the runner's.

mod ending;
mod ends;
mod input;
mod mpirun;
mod nodes;
mod start;

use std::time::Duration;

use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::framework::{Progress, Started};
use mesos_plugin_api::v1::scheduler::GangStatus;
use mesos_plugin_api::v1::{Offer, PluginRef};
use mesos_plugin_api::{Calls, Framework, Time};
use prost::Message;

use crate::barrier::Barriers;
use crate::messages::inspected::Found;
use crate::messages::order::Order as Do;
use crate::messages::report::Report as Tell;
use crate::messages::{Inspected, Job, Report, Signal};
use crate::outcome::{Outcome, Verdict};
use crate::placement::Placement;
use input::InputFlow;
use mpirun::Mpirun;
use nodes::{GANG, NodeState, gang, tasks};

/// Between TERM and KILL when the job ends for a failure.
const FAILURE_GRACE: Duration = Duration::from_secs(2);
/// How long ranks have to heed TERM or HUP that the command got.
const SIGNAL_GRACE: Duration = Duration::from_secs(10);
/// After which the command ends though nodes haven't said that they are done; the master kills what is left.
const GIVE_UP: Duration = Duration::from_secs(15);
/// The same after the person forced the end.
const GIVE_UP_FORCED: Duration = Duration::from_secs(3);
/// An offer that isn't the gang's is of no use.
const REFUSE: Duration = Duration::from_secs(3600);

/// As `timeout` has it.
const EXIT_TIME_LIMIT: i32 = 124;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    GiveUp = 1,
    TimeLimit,
    SignalGrace,
    MpirunStart,
    MpirunEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Forming,
    Inspecting,
    Running,
    /// Whatever runs is to end.
    Ending,
    Done,
}

/// The state machine of one job.
#[derive(Debug)]
pub struct JobFramework {
    job: Job,
    job_id: String,
    plugin: Option<PluginRef>,
    phase: Phase,
    gang_requested: bool,
    shows_progress: bool,
    nodes: Vec<NodeState>,
    placement: Placement,
    barriers: Barriers,
    mpirun: Option<Mpirun>,
    input: InputFlow,
    outcome: Outcome,
    interrupts: u32,
    /// The first signal by which the person wanted it to end.
    ended_by: Option<i32>,
}

impl JobFramework {
    /// Made from what the command gave.
    ///
    /// # Errors
    /// Bytes that are no job.
    pub fn new(config: &[u8]) -> Result<Self, String> {
        let job = Job::decode(config).map_err(|error| format!("the mpi job can't be read: {error}"))?;
        if job.argv.is_empty() || job.ranks == 0 {
            return Err("the mpi job has no program or no ranks".into());
        }
        Ok(Self {
            job_id: job.name.clone(),
            job,
            plugin: None,
            phase: Phase::Forming,
            gang_requested: false,
            shows_progress: false,
            nodes: Vec::new(),
            placement: Placement::new(&[], crate::messages::Distribution::Block),
            barriers: Barriers::new(0),
            mpirun: None,
            input: InputFlow::default(),
            outcome: Outcome::default(),
            interrupts: 0,
            ended_by: None,
        })
    }

    // ── forming ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn started(&mut self, started: Started, now: Time, calls: &mut Calls) {
        self.job_id = started.framework.name.clone();
        let recovered = started.recovered();
        self.plugin = started.plugin;
        self.input.hold(calls);
        if recovered {
            self.fail(now, Verdict::new(1, "the job's scheduler was restarted; its ranks can't be taken over"), calls);
        }
    }

    fn request_gang(&mut self, calls: &mut Calls) {
        if self.phase == Phase::Forming && !self.gang_requested {
            self.gang_requested = true;
            calls.request_gang(gang(&self.job));
        }
    }

    fn gang_status(&mut self, now: Time, status: GangStatus, calls: &mut Calls) {
        if self.phase != Phase::Forming || status.id != GANG {
            return;
        }
        if let Some(reason) = status.refused {
            self.gang_requested = false;
            return self.fail(now, Verdict::new(1, format!("no place for {} ranks: {reason}", self.job.ranks)), calls);
        }
        self.shows_progress = true;
        calls.progress(Progress {
            id: GANG.into(),
            message: status.waiting_for.map(|reason| format!("waiting for {reason}")),
            done: status.slots_held.map(u64::from),
            total: Some(u64::from(self.job.ranks)),
            end: None,
        });
    }

    fn offers(&mut self, offers: Vec<Offer>, calls: &mut Calls) {
        for offer in offers {
            let slots: u32 = offer.parts.iter().map(|part| part.slots()).sum();
            let is_gang = offer.gang_id.as_deref() == Some(GANG) && slots == self.job.ranks;
            match &self.plugin {
                Some(plugin) if is_gang && self.phase == Phase::Forming => {
                    let plugin = plugin.clone();
                    self.launch(offer, &plugin, calls);
                }
                _ => calls.decline(offer.id, REFUSE),
            }
        }
    }

    fn launch(&mut self, offer: Offer, plugin: &PluginRef, calls: &mut Calls) {
        self.end_progress(calls);
        self.nodes = nodes::nodes(&offer);
        let slots: Vec<u32> = self.nodes.iter().map(|node| node.slots).collect();
        self.placement = Placement::new(&slots, self.job.distribution());
        self.barriers = Barriers::new(u32::try_from(slots.len()).expect("a gang has fewer than 2^32 agents"));
        calls.accept([offer.id], tasks(&self.job, plugin, &self.nodes, &self.placement));
        self.phase = Phase::Inspecting;
    }

    fn end_progress(&mut self, calls: &mut Calls) {
        if std::mem::take(&mut self.shows_progress) {
            calls.progress(Progress { id: GANG.into(), end: Some(true), ..Progress::default() });
        }
    }

    // ── inspecting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    fn inspected(&mut self, now: Time, node: usize, inspected: Inspected, calls: &mut Calls) {
        if self.phase != Phase::Inspecting {
            return;
        }
        if let Some(Found::Problem(problem)) = &inspected.found {
            let line = format!("{}: {}", self.nodes[node].name(), problem.message);
            return self.fail(now, Verdict::new(problem.exit_code, line), calls);
        }
        self.nodes[node].inspected = Some(inspected);
        if self.nodes.iter().all(|node| node.inspected.is_some()) {
            match self.agreement() {
                Ok(major) => self.start(now, major, calls),
                Err(line) => self.fail(now, Verdict::new(1, line), calls),
            }
        }
    }

    // ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn report(&mut self, now: Time, node: usize, report: Tell, calls: &mut Calls) {
        let host = self.nodes[node].name();
        match report {
            Tell::Inspected(inspected) => self.inspected(now, node, inspected, calls),
            Tell::Barrier(barrier) => {
                if let Some(release) = self.barriers.arrive(self.nodes[node].index, barrier) {
                    self.nodes.iter().for_each(|node| node.send(Do::Release(release.clone()), calls));
                }
            }
            Tell::InputTaken(taken) => self.input.taken(self.nodes[node].index, &taken, calls),
            Tell::RankEnded(ended) => {
                let verdict = Verdict::rank_ended(&ended, &host);
                match &mut self.mpirun {
                    Some(mpirun) => mpirun.rank_ended(&ended, &host),
                    None if ended.fatal() => self.fail(now, verdict, calls),
                    None => self.outcome.fail(verdict),
                }
            }
            Tell::Aborted(aborted) => self.fail(now, Verdict::aborted(&aborted, &host), calls),
            Tell::DaemonWanted(wanted) => self.daemon_wanted(node, wanted, calls),
            Tell::RanksStarted(_) => self.ranks_started(node, calls),
            Tell::DaemonEnded(ended) => self.daemon_ended(now, node, ended, calls),
            Tell::MpirunEnded(ended) => self.mpirun_ended(now, node, ended, calls),
            Tell::Warning(line) => self.say(&format!("{host}: {line}"), calls),
        }
    }

    fn signal(&mut self, now: Time, number: i32, calls: &mut Calls) {
        let ends = matches!(number, SIGHUP | SIGINT | SIGTERM);
        let verdict = |line: &str| Verdict::new(128 + number, line);
        if number == SIGINT {
            self.interrupts += 1;
        }
        match self.phase {
            Phase::Forming | Phase::Inspecting if ends => {
                self.fail(now, verdict("interrupted before it started"), calls)
            }
            Phase::Running | Phase::Ending if number == SIGINT && self.interrupts > 1 => {
                self.outcome.force(verdict("killed at the second interrupt"));
                self.end(now, Duration::ZERO, GIVE_UP_FORCED, calls);
            }
            Phase::Running => {
                if ends {
                    self.ended_by.get_or_insert(number);
                }
                self.nodes.iter().for_each(|node| node.send(Do::Signal(Signal { number }), calls));
                if number == SIGINT {
                    self.say("interrupt sent to all ranks; once more kills them", calls);
                } else if ends {
                    self.set_timer(Timer::SignalGrace, now + SIGNAL_GRACE, calls);
                }
            }
            Phase::Forming | Phase::Inspecting | Phase::Ending | Phase::Done => {}
        }
    }

    // ── what all use ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn timer(&mut self, now: Time, id: u64, calls: &mut Calls) {
        match (self.phase, id) {
            (Phase::Done, _) => {}
            (Phase::Ending, id) if id == Timer::GiveUp as u64 => self.give_up(calls),
            (Phase::Running, id) if id == Timer::TimeLimit as u64 => self.fail(now, self.time_limit(), calls),
            (Phase::Running, id) if id == Timer::SignalGrace as u64 => {
                self.fail(now, Verdict::new(128 + SIGTERM, "ranks did not heed the signal and were killed"), calls);
            }
            (Phase::Running, id) if id == Timer::MpirunStart as u64 => self.mpirun_start_timeout(now, calls),
            (Phase::Running, id) if id == Timer::MpirunEnd as u64 => self.mpirun_end_timeout(now, calls),
            _ => {}
        }
    }

    fn set_timer(&self, timer: Timer, at: Time, calls: &mut Calls) {
        calls.set_timer(timer as u64, at);
    }

    fn say(&self, line: &str, calls: &mut Calls) {
        if !self.job.detached() {
            calls.stderr(format!("mesos run-mpi: {line}\n"));
        }
    }

    fn message(&mut self, now: Time, message: mesos_plugin_api::v1::scheduler::Message, calls: &mut Calls) {
        let is_it = |node: &NodeState| node.agent_id == message.agent_id && node.executor_id == message.executor_id;
        let Some(node) = self.nodes.iter().position(is_it) else { return };
        match Report::decode(message.data.as_slice()) {
            Ok(Report { report: Some(report) }) => self.report(now, node, report, calls),
            // A newer executor's report that this one doesn't know.
            Ok(Report { report: None }) => {}
            Err(error) => {
                let line = format!("a report from {} can't be read: {error}", self.nodes[node].name());
                self.fail(now, Verdict::new(1, line), calls);
            }
        }
    }
}

impl Framework for JobFramework {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => self.started(started, now, calls),
            Event::Connected(_) => self.request_gang(calls),
            // Tasks run on; a rank waits in MPI at the worst.
            Event::Disconnected(_) => {}
            Event::GangStatus(status) => self.gang_status(now, status, calls),
            Event::Offers(offers) => self.offers(offers.offers, calls),
            // Offers are answered at once.
            Event::Rescind(_) => {}
            Event::Update(update) => self.task_update(now, update.status, calls),
            Event::Message(message) => self.message(now, message, calls),
            Event::Failure(failure) => self.failure(now, failure, calls),
            Event::Error(error) => {
                self.fail(now, Verdict::new(1, format!("the master refused: {}", error.message)), calls);
            }
            Event::Timer(timer) => self.timer(now, timer.id, calls),
            Event::Signal(signal) => self.signal(now, signal.number, calls),
            Event::Stdin(stdin) => {
                for (node, data) in self.input.give(stdin, calls) {
                    self.nodes[node as usize].send(Do::Input(data), calls);
                }
            }
            Event::Request(request) => calls.reply_error(request.request_id, "an mpi job takes no requests"),
            Event::InverseOffers(offers) => self.agent_drained(offers.inverse_offers, calls),
            Event::RescindInverseOffer(_) => {}
            // It makes no volumes.
            Event::VolumeStatus(_) => {}
            Event::RequestCancelled(_) | Event::StateStored(_) | Event::Injected(_) => {}
        }
        self.finish_if_over(calls);
    }
}
