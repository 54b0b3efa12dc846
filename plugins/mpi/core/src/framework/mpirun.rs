//! What the framework knows of `mpirun` and its daemons.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::v1::ExitStatus;
use mesos_plugin_api::{Calls, Time};

use super::nodes::NodeState;
use super::{JobFramework, Phase, Timer};
use crate::messages::order::Order as Do;
use crate::messages::{
    AnswerDaemon, DaemonEnded, DaemonWanted, Job, MpirunEnded, OpenMpi, RankEnded, StartDaemon, Stop,
};
use crate::openmpi::{daemon_line, node_of_name, subnet, subnet_suits_daemons};
use crate::outcome::{MpirunRecords, Verdict};

/// By when each node must have its ranks: `mpirun` waits without end for a daemon that doesn't call back.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long `mpirun` may go on after a daemon has ended.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How long daemons may stay after `mpirun` has ended.
const DAEMON_GRACE: Duration = Duration::from_secs(2);

/// `mpirun` runs on node 0.
const MPIRUN_NODE: usize = 0;

/// One run of `mpirun`.
#[derive(Debug)]
pub(super) struct Mpirun {
    major: u32,
    subnet: Option<String>,
    subnet_for_daemons: bool,
    shared_machine: bool,
    /// Nodes whose ranks haven't started.
    awaited: BTreeSet<usize>,
    ended: bool,
    records: MpirunRecords,
}

impl Mpirun {
    pub(super) fn new(major: u32, nodes: &[NodeState]) -> Self {
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        let inspected = || nodes.iter().filter_map(|node| node.inspected.as_ref());
        let has_ipv6 = inspected().any(|inspected| inspected.has_ipv6());
        let machines: BTreeSet<&str> = inspected().map(|inspected| inspected.machine()).collect();
        // One node has nobody to talk to.
        let subnet = subnet(&addresses).filter(|_| nodes.len() > 1);
        Self {
            major,
            subnet_for_daemons: subnet.as_ref().is_some_and(|subnet| subnet_suits_daemons(major, subnet, has_ipv6)),
            subnet,
            shared_machine: machines.len() < nodes.len(),
            awaited: (0..nodes.len()).collect(),
            ended: false,
            records: MpirunRecords::default(),
        }
    }

    /// What this version can't do: its daemons find their ranks by the machine's name, and with several of that name they take
    /// the first one's number of ranks for their own.
    pub(super) fn refusal(&self, nodes: &[NodeState]) -> Option<String> {
        let uneven = nodes.iter().any(|node| node.slots != nodes[0].slots);
        (self.major >= 5 && self.shared_machine && uneven).then(|| {
            "Open MPI 5 needs as many ranks on each agent where several agents lie on one machine; choose them with -n and -N, \
             or start the cluster with one agent a machine"
                .to_string()
        })
    }

    /// One node's part of the start.
    pub(super) fn share(&self, job: &Job, node: u32, slots: impl Fn() -> Vec<u32>) -> OpenMpi {
        OpenMpi {
            major: self.major,
            slots: if node as usize == MPIRUN_NODE { slots() } else { Vec::new() },
            distribution: job.distribution,
            subnet: self.subnet.clone(),
            subnet_for_daemons: Some(self.subnet_for_daemons),
            shared_machine: Some(self.shared_machine),
        }
    }

    /// What went wrong, also what came to light when all seemed well.
    pub(super) fn first_failure(&self) -> Option<Verdict> {
        self.records.first()
    }

    pub(super) fn rank_ended(&mut self, ended: &RankEnded, host: &str) {
        self.records.rank_ended(ended, host);
    }
}

impl JobFramework {
    pub(super) fn daemon_wanted(&mut self, from: usize, wanted: DaemonWanted, calls: &mut Calls) {
        let name = wanted.argv.first().map(Vec::as_slice).unwrap_or_default();
        let node = node_of_name(name).map(|node| node as usize).filter(|node| *node < self.nodes.len());
        match node.filter(|_| self.phase == Phase::Running) {
            Some(node) => {
                let line = daemon_line(&wanted.argv);
                self.nodes[node].send(Do::StartDaemon(StartDaemon { knock: wanted.knock, line }), calls);
            }
            None => {
                let message = format!("{} is no node of this job", String::from_utf8_lossy(name));
                let answer = AnswerDaemon { knock: wanted.knock, exit_code: 1, message: Some(message) };
                self.nodes[from].send(Do::AnswerDaemon(answer), calls);
            }
        }
    }

    pub(super) fn ranks_started(&mut self, node: usize, calls: &mut Calls) {
        let Some(mpirun) = &mut self.mpirun else { return };
        mpirun.awaited.remove(&node);
        if mpirun.awaited.is_empty() {
            calls.cancel_timer(Timer::MpirunStart as u64);
        }
    }

    /// The launch agent of this daemon returns, and `mpirun` sees it end.
    pub(super) fn daemon_ended(&mut self, now: Time, node: usize, ended: DaemonEnded, calls: &mut Calls) {
        let host = self.nodes[node].name();
        let Some(mpirun) = &mut self.mpirun else { return };
        let answer = AnswerDaemon { knock: ended.knock, exit_code: ended.exit.shell_code(), message: None };
        let running = !mpirun.ended && self.phase == Phase::Running;
        // Nodes are heard in no order: this one may have ended before mpirun, which says 0 whatever happened.
        let killed = ended.exit.shell_code() > 128 && !ended.stopped();
        if (running && !ended.exit.success()) || (mpirun.ended && killed) {
            mpirun.records.daemon_ended(daemon_failed(&ended, &host));
        }
        self.nodes[MPIRUN_NODE].send(Do::AnswerDaemon(answer), calls);
        if running {
            self.set_timer(Timer::MpirunEnd, now + END_TIMEOUT, calls);
        }
    }

    pub(super) fn mpirun_ended(&mut self, now: Time, node: usize, ended: MpirunEnded, calls: &mut Calls) {
        let host = self.nodes[node].name();
        let Some(mpirun) = &mut self.mpirun else { return };
        mpirun.ended = true;
        if self.phase != Phase::Running {
            return;
        }
        let launch_failed =
            ended.message.map(|message| Verdict::new(ended.exit.shell_code(), format!("mpirun on {host}: {message}")));
        // `mpirun` says 1 after an interrupt.
        let interrupted = self.ended_by.map(|signal| {
            Verdict::new(128 + signal, format!("ended by {}, as was wanted", ExitStatus::signal(signal)))
        });
        match interrupted.or(launch_failed).or_else(|| mpirun.records.verdict(&ended.exit, &host)) {
            Some(verdict) => self.fail(now, verdict, calls),
            None => self.stop_daemons(calls),
        }
    }

    /// All went well; daemons go by themselves, and each node's task with them.
    fn stop_daemons(&self, calls: &mut Calls) {
        let grace_ms = u64::try_from(DAEMON_GRACE.as_millis()).expect("a few seconds");
        for node in self.nodes.iter().filter(|node| !node.over) {
            node.send(Do::Stop(Stop { grace_ms, finished: Some(true) }), calls);
        }
    }

    pub(super) fn mpirun_start_timeout(&mut self, now: Time, calls: &mut Calls) {
        let Some(mpirun) = &self.mpirun else { return };
        let hosts: Vec<String> = mpirun.awaited.iter().map(|node| self.nodes[*node].name()).collect();
        let line = format!(
            "mpirun has started no ranks on {} within {START_TIMEOUT:?}; what its daemons said is in daemon.stderr in their \
             sandboxes",
            hosts.join(", ")
        );
        self.fail(now, Verdict::new(1, line), calls);
    }

    pub(super) fn mpirun_end_timeout(&mut self, now: Time, calls: &mut Calls) {
        let Some(mpirun) = &self.mpirun else { return };
        if !mpirun.ended {
            let host = self.nodes[MPIRUN_NODE].name();
            let hangs =
                || Verdict::new(1, format!("mpirun on {host} did not end after its daemons had; it was killed"));
            let verdict = mpirun.records.first().unwrap_or_else(hangs);
            self.fail(now, verdict, calls);
        }
    }
}

fn daemon_failed(ended: &DaemonEnded, host: &str) -> Verdict {
    let because = ended.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let code = if ended.exit == ExitStatus::unknown() { 1 } else { ended.exit.shell_code() };
    Verdict::new(code, format!("Open MPI's daemon on {host} ended with {}{because}", ended.exit))
}
