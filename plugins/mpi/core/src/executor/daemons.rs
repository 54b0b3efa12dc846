//! Open MPI on one node: `mpirun` on the first, its daemons on every one.

use mesos_plugin_api::ExecutorCalls;
use mesos_plugin_api::executor::Pipe;
use mesos_plugin_api::v1::executor::{Knock, Spawn};
use mesos_plugin_api::v1::{CommandInfo, ExitStatus};

use super::input::{InputReaders, STDIN_STREAM};
use super::processes::Processes;
use super::{Site, tell};
use crate::messages::report::Report as Tell;
use crate::messages::{DaemonEnded, DaemonWanted, MpirunEnded, OpenMpi, RankEnded, RanksStarted, StartDaemon};
use crate::openmpi::{RANK_ENDED, RANKS_STARTED, Surroundings, feeder_line, fifo_line, mpirun_argv};

const MPIRUN: u64 = 0;
/// Above all knocks.
const FEEDERS: u64 = 1 << 48;

/// This node's part in a job that `mpirun` launches.
#[derive(Debug)]
pub(super) struct Daemons {
    /// Environment and folder for daemons and `mpirun`.
    template: CommandInfo,
    /// For the shell that runs a daemon: makes the pipes that this node's ranks read.
    before_daemon: String,
    mpirun_runs: bool,
    input: InputReaders,
}

impl Daemons {
    pub(super) fn start(
        site: &Site<'_>,
        openmpi: &OpenMpi,
        processes: &mut Processes,
        calls: &mut ExecutorCalls,
    ) -> Self {
        let mut template = CommandInfo { environment: site.start.environment.clone(), ..CommandInfo::default() };
        template.working_directory.clone_from(&site.program.working_directory);
        let around = Surroundings {
            sandbox: &site.host.sandbox,
            knock_program: site.host.knock_program(),
            openmpi,
            keep_on_bad_exit: site.start.keep_on_bad_exit(),
        };
        around.tell(&mut template);
        let readers: Vec<u32> = readers(site).collect();
        for rank in &readers {
            processes.launch(feeder(site, *rank), calls);
        }
        let runs_mpirun = !openmpi.slots.is_empty();
        if runs_mpirun {
            processes.launch(mpirun(site, openmpi, &template), calls);
        }
        Self {
            template,
            before_daemon: readers.iter().map(|rank| fifo_line(&site.host.sandbox, *rank) + "; ").collect(),
            mpirun_runs: runs_mpirun,
            input: InputReaders::new(readers.into_iter().map(feeder_of)),
        }
    }

    pub(super) fn input(&mut self) -> &mut InputReaders {
        &mut self.input
    }

    /// `mpirun` passes on what it understands: USR1, USR2, TSTP and CONT to all ranks; INT, TERM and HUP end them.
    pub(super) fn signal(&self, signal: i32, calls: &mut ExecutorCalls) {
        if self.mpirun_runs {
            calls.signal(MPIRUN, signal);
        }
    }

    /// `mpirun` wants a daemon somewhere, or a rank's shell tells how the rank ended.
    pub(super) fn knock(&mut self, knock: Knock, calls: &mut ExecutorCalls) -> Option<RankEnded> {
        if knock.argv.first().is_some_and(|word| word == RANK_ENDED.as_bytes()) {
            calls.answer_knock(knock.knock, 0, None);
            return rank_ended(&knock.argv);
        }
        if knock.argv.first().is_some_and(|word| word == RANKS_STARTED.as_bytes()) {
            calls.answer_knock(knock.knock, 0, None);
            tell(calls, Tell::RanksStarted(RanksStarted {}));
            return None;
        }
        tell(calls, Tell::DaemonWanted(DaemonWanted { knock: knock.knock, argv: knock.argv }));
        None
    }

    pub(super) fn launch(&mut self, daemon: StartDaemon, processes: &mut Processes, calls: &mut ExecutorCalls) {
        let mut command = self.template.clone();
        let line = [self.before_daemon.as_bytes(), &daemon.line].concat();
        command.argv = vec![b"/bin/sh".to_vec(), b"-c".to_vec(), line];
        // What the daemons themselves say comes out beside mpirun's own words.
        let spawn = Spawn {
            process: process_of(daemon.knock),
            command,
            stdout: Some("daemon.stdout".into()),
            stderr: Some("daemon.stderr".into()),
            pipes: Vec::new(),
        };
        processes.launch(spawn, calls);
    }

    pub(super) fn ended(
        &mut self,
        process: u64,
        exit: ExitStatus,
        message: Option<String>,
        stopping: bool,
        calls: &mut ExecutorCalls,
    ) {
        if process >= FEEDERS {
            self.input.reader_ended(process, calls);
        } else if process == MPIRUN {
            self.mpirun_runs = false;
            tell(calls, Tell::MpirunEnded(MpirunEnded { exit, message }));
        } else {
            let knock = process - process_of(0);
            let stopped = stopping.then_some(true);
            tell(calls, Tell::DaemonEnded(DaemonEnded { knock, exit, message, stopped }));
        }
    }
}

/// The ranks of this node that read what the terminal gives.
fn readers(site: &Site<'_>) -> impl Iterator<Item = u32> {
    site.start.ranks.iter().copied().filter(|rank| site.start.is_input_read_by(*rank))
}

/// Passes standard input on to a rank that another process launches.
fn feeder(site: &Site<'_>, rank: u32) -> Spawn {
    let mut command = CommandInfo::argv(["/bin/sh", "-c", &feeder_line(&site.host.sandbox, rank)]);
    command.environment.clone_from(&site.start.environment);
    let pipes = vec![Pipe { stream: STDIN_STREAM, fd: Some(0), env: None }];
    Spawn { process: feeder_of(rank), command, stdout: None, stderr: None, pipes }
}

fn mpirun(site: &Site<'_>, openmpi: &OpenMpi, template: &CommandInfo) -> Spawn {
    let mpirun = site.program.mpirun.as_deref().expect("a node that found Open MPI has told its mpirun");
    let mut command = template.clone();
    command.argv = mpirun_argv(mpirun, &site.program.path, site.start, openmpi);
    Spawn { process: MPIRUN, command, stdout: Some("stdout".into()), stderr: Some("stderr".into()), pipes: Vec::new() }
}

fn feeder_of(rank: u32) -> u64 {
    FEEDERS + u64::from(rank)
}

fn process_of(knock: u64) -> u64 {
    knock + 1
}

/// The shell gives 128 + the signal. Not fatal by itself: `mpirun` ends the others, and the job.
fn rank_ended(argv: &[Vec<u8>]) -> Option<RankEnded> {
    let number = |at: usize| std::str::from_utf8(argv.get(at)?).ok()?.parse::<u32>().ok();
    let (rank, code) = (number(1)?, i32::try_from(number(2)?).ok()?);
    let exit = if (129..=192).contains(&code) { ExitStatus::signal(code - 128) } else { ExitStatus::code(code) };
    Some(RankEnded { rank, exit, inside_mpi: None, message: None, fatal: Some(false) })
}
