//! Open MPI on one node: `mpirun` on the first, its daemons on every one.

use mesos_plugin_api::ExecutorCalls;
use mesos_plugin_api::executor::Pipe;
use mesos_plugin_api::v1::executor::{Knock, Spawn};
use mesos_plugin_api::v1::{CommandInfo, ExitStatus};

use super::input::{InputReaders, STDIN_STREAM};
use super::processes::Processes;
use super::{Site, tell};
use crate::messages::input::From;
use crate::messages::report::Report as Tell;
use crate::messages::{DaemonEnded, DaemonWanted, MpirunEnded, OpenMpi, RankEnded, RanksStarted, StartDaemon};
use crate::openmpi::{RANK_ENDED, RANKS_STARTED, Surroundings, mpirun_argv};

const MPIRUN: u64 = 0;

/// This node's part in a job that `mpirun` launches.
#[derive(Debug)]
pub(super) struct Daemons {
    /// Environment and folder for daemons and `mpirun`.
    template: CommandInfo,
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
            subnet: openmpi.subnet.as_deref(),
            major: openmpi.major,
            keep_on_bad_exit: site.start.keep_on_bad_exit(),
        };
        around.tell(&mut template);
        let runs_mpirun = !openmpi.slots.is_empty();
        let mut daemons = Self { template, mpirun_runs: runs_mpirun, input: InputReaders::default() };
        if runs_mpirun {
            let spawn = daemons.mpirun(site, openmpi);
            if spawn.pipes.iter().any(|pipe| pipe.stream == STDIN_STREAM) {
                daemons.input = InputReaders::new([MPIRUN]);
            }
            processes.launch(spawn, calls);
        }
        daemons
    }

    fn mpirun(&self, site: &Site<'_>, openmpi: &OpenMpi) -> Spawn {
        let mpirun = site.program.mpirun.as_deref().expect("a node that found Open MPI has told its mpirun");
        let mut command = self.template.clone();
        let (mut pipes, mut reader) = (Vec::new(), None);
        let mut argv = Vec::new();
        match site.start.input.as_ref().and_then(|input| input.from.as_ref()) {
            Some(From::Rank(rank)) => {
                reader = Some(*rank);
                pipes.push(Pipe { stream: STDIN_STREAM, fd: Some(0), env: None });
            }
            // mpirun gives standard input to one rank; the command half has refused `all`.
            Some(From::File(file)) => {
                reader = Some(0);
                let line = "file=$1; shift; exec \"$@\" <\"$file\"";
                argv.extend(["/bin/sh", "-c", line, "sh"].map(|word| word.as_bytes().to_vec()));
                argv.push(format!("{}/{file}", site.host.sandbox).into_bytes());
            }
            Some(From::All(_) | From::None(_)) | None => {}
        }
        argv.extend(mpirun_argv(mpirun, &site.program.path, site.start, openmpi, reader));
        command.argv = argv;
        Spawn { process: MPIRUN, command, stdout: Some("stdout".into()), stderr: Some("stderr".into()), pipes }
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
        command.argv = vec![b"/bin/sh".to_vec(), b"-c".to_vec(), daemon.line];
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
        calls: &mut ExecutorCalls,
    ) -> Option<RankEnded> {
        if process == MPIRUN {
            self.mpirun_runs = false;
            self.input.reader_ended(process, calls);
            tell(calls, Tell::MpirunEnded(MpirunEnded { exit, message }));
        } else {
            let knock = process - process_of(0);
            tell(calls, Tell::DaemonEnded(DaemonEnded { knock, exit, message }));
        }
        None
    }
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
