//! The ranks of an MPI program, as far as they speak PMI-1: init, one barrier, some work, finalize.

use std::time::Duration;

use mesos_mpi_core::messages::{Inspected, Pmi1, inspected::Found};
use mesos_plugin_api::v1::ExitStatus;
use mesos_plugin_api::v1::executor::Spawn;

/// What the plugin's shell finds when it looks at the program.
pub fn inspected() -> Inspected {
    Inspected { found: Some(Found::Pmi1(Pmi1 {})), machine: Some("machine".into()), ..Inspected::default() }
}

/// What a rank does next.
#[derive(Debug)]
pub enum Step {
    /// Says something to its PMI server.
    Write(Vec<u8>),
    /// The same after some work.
    Later(Duration, Vec<u8>),
    /// Ends.
    Exit(ExitStatus),
}

/// One rank.
#[derive(Debug)]
pub struct Rank {
    works: Duration,
    stubborn: bool,
}

impl Rank {
    /// It was launched.
    pub fn new(_spawn: &Spawn, works: Duration, stubborn: bool) -> (Self, Vec<Step>) {
        (Self { works, stubborn }, vec![say("cmd=init pmi_version=1 pmi_subversion=1")])
    }

    /// Its PMI server answers.
    pub fn written(&mut self, data: &[u8]) -> Vec<Step> {
        let text = String::from_utf8_lossy(data);
        let command = text.split_whitespace().next().unwrap_or_default();
        match command {
            "cmd=response_to_init" => vec![say("cmd=barrier_in")],
            "cmd=barrier_out" => vec![Step::Later(self.works, b"cmd=finalize\n".to_vec())],
            "cmd=finalize_ack" => vec![Step::Exit(ExitStatus::code(0))],
            _ => Vec::new(),
        }
    }

    /// It gets a signal.
    pub fn signalled(&mut self, signal: i32) -> Vec<Step> {
        match signal {
            10 | 12 | 18 | 19 => Vec::new(),
            _ if self.stubborn && signal != 9 => Vec::new(),
            signal => vec![Step::Exit(ExitStatus::signal(signal))],
        }
    }
}

fn say(line: &str) -> Step {
    Step::Write(format!("{line}\n").into_bytes())
}
