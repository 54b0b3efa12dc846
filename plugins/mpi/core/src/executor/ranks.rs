//! Ranks that are launched directly and served PMI-1.

use std::collections::BTreeMap;

use mesos_plugin_api::ExecutorCalls;
use mesos_plugin_api::executor::Pipe;
use mesos_plugin_api::v1::executor::Spawn;
use mesos_plugin_api::v1::{CommandInfo, ExitStatus};

use super::input::{InputReaders, STDIN_STREAM};
use super::processes::Processes;
use super::{Site, tell};
use crate::environment::Place;
use crate::messages::report::Report as Tell;
use crate::messages::{Aborted, RankEnded, Release};
use crate::output::{stderr_file, stdout_file};
use crate::pmi_server::{Action, PmiServer, Stage};
use crate::pmi1::KVS_NAME;
use crate::shared_memory::Segments;

const PMI_STREAM: u32 = 1;

/// The ranks of this node.
#[derive(Debug)]
pub(super) struct Ranks {
    server: PmiServer,
    live: BTreeMap<u64, u32>,
    /// None where another job may have the same.
    segments: Option<Segments>,
    input: InputReaders,
    keep_on_bad_exit: bool,
    /// With no other node to wait for, barriers are released here.
    alone: bool,
}

/// What a rank's bytes can lead to.
pub(super) enum Trouble {
    Ended(RankEnded),
    Aborted(Aborted),
}

impl Ranks {
    pub(super) fn launch(site: &Site<'_>, processes: &mut Processes, calls: &mut ExecutorCalls) -> Self {
        let start = site.start;
        let kvs_name = start.kvs_name.as_deref().unwrap_or(KVS_NAME);
        let mut readers = Vec::new();
        for (local_rank, rank) in (0..).zip(start.ranks.iter().copied()) {
            let spawn = spawn(site, rank, local_rank);
            if spawn.pipes.iter().any(|pipe| pipe.stream == STDIN_STREAM) {
                readers.push(spawn.process);
            }
            processes.launch(spawn, calls);
        }
        Self {
            server: PmiServer::new(kvs_name, start.size, &start.ranks, start.process_mapping.as_deref()),
            live: start.ranks.iter().map(|rank| (process_of(*rank), *rank)).collect(),
            segments: start.kvs_name.as_deref().and_then(|name| Segments::new(name, site.node.node)),
            input: InputReaders::new(readers),
            keep_on_bad_exit: start.keep_on_bad_exit(),
            alone: site.node.nodes == 1,
        }
    }

    pub(super) fn segments(&self) -> Option<&Segments> {
        self.segments.as_ref()
    }

    pub(super) fn input(&mut self) -> &mut InputReaders {
        &mut self.input
    }

    pub(super) fn release(&mut self, release: Release, calls: &mut ExecutorCalls) {
        for action in self.server.release(release) {
            if let Action::Reply(rank, reply) = action {
                calls.write(process_of(rank), PMI_STREAM, reply.to_line());
            }
        }
    }

    /// Bytes that a rank wrote to its PMI socket.
    pub(super) fn stream(&mut self, process: u64, stream: u32, data: &[u8], calls: &mut ExecutorCalls) -> Vec<Trouble> {
        let Some(rank) = self.live.get(&process).copied().filter(|_| stream == PMI_STREAM) else { return Vec::new() };
        let mut troubles = Vec::new();
        for action in self.server.receive(rank, data) {
            match action {
                Action::Reply(rank, reply) => calls.write(process_of(rank), PMI_STREAM, reply.to_line()),
                Action::Barrier(barrier) if self.alone => {
                    // What this node put is known to it already.
                    self.release(Release { barrier: barrier.barrier, entries: Vec::new() }, calls);
                }
                Action::Barrier(barrier) => tell(calls, Tell::Barrier(barrier)),
                Action::Abort { rank, exit_code, message } => {
                    // A job that was aborted has failed, whatever the code says.
                    let exit_code = if exit_code == 0 { 1 } else { exit_code };
                    troubles.push(Trouble::Aborted(Aborted { rank, exit_code, message }));
                }
                Action::Broken(rank, error) => troubles.push(Trouble::Ended(RankEnded {
                    rank,
                    exit: ExitStatus::code(1),
                    inside_mpi: Some(true),
                    message: Some(format!("sent {error}")),
                    fatal: Some(true),
                })),
            }
        }
        troubles
    }

    /// A rank is gone; says what was wrong with that, if anything.
    pub(super) fn ended(
        &mut self,
        process: u64,
        exit: ExitStatus,
        message: Option<String>,
        calls: &mut ExecutorCalls,
    ) -> Option<RankEnded> {
        let rank = self.live.remove(&process)?;
        self.input.reader_ended(process, calls);
        let inside_mpi = self.server.stage(rank) == Stage::Inside;
        if exit.success() && !inside_mpi {
            return None;
        }
        // The others would wait for it without end, so a job can't go on without a rank that is inside MPI.
        let fatal = inside_mpi || message.is_some() || !self.keep_on_bad_exit;
        Some(RankEnded { rank, exit, inside_mpi: Some(inside_mpi), message, fatal: Some(fatal) })
    }
}

fn process_of(rank: u32) -> u64 {
    u64::from(rank) + 1
}

fn spawn(site: &Site<'_>, rank: u32, local_rank: u32) -> Spawn {
    let start = site.start;
    let mut command = CommandInfo::argv(argv(site));
    command.environment.clone_from(&start.environment);
    command.working_directory.clone_from(&site.program.working_directory);
    let local_size = u32::try_from(start.ranks.len()).expect("ranks are counted in 32 bits");
    let node = site.node;
    Place { rank, size: start.size, local_rank, local_size, node: node.node, nodes: node.nodes }.tell(&mut command);
    let mut pipes = vec![Pipe { stream: PMI_STREAM, fd: None, env: Some("PMI_FD".into()) }];
    if start.is_input_read_by(rank) {
        pipes.push(Pipe { stream: STDIN_STREAM, fd: Some(0), env: None });
    }
    Spawn {
        process: process_of(rank),
        command,
        stdout: Some(stdout_file(rank)),
        stderr: Some(stderr_file(rank)),
        pipes,
    }
}

/// The program with its arguments; when the ranks read a file, a shell opens it and becomes the program.
fn argv(site: &Site<'_>) -> Vec<Vec<u8>> {
    let mut argv = Vec::new();
    if let Some(file) = site.start.input_file() {
        let line = "file=$1; shift; exec \"$@\" <\"$file\"";
        argv.extend(["/bin/sh", "-c", line, "sh"].map(|word| word.as_bytes().to_vec()));
        argv.push(format!("{}/{file}", site.host.sandbox).into_bytes());
    }
    argv.push(site.program.path.clone());
    argv.extend(site.start.argv.iter().skip(1).cloned());
    argv
}
