//! From nodes that have looked at their program to ranks that run.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::{Calls, Time};

use super::mpirun::{self, Mpirun};
use super::nodes::NodeState;
use super::{JobFramework, Phase, Timer};
use crate::messages::Start;
use crate::messages::inspected::Found;
use crate::messages::order::Order as Do;
use crate::outcome::Verdict;
use crate::output::{follow_mpirun, follow_rank};
use crate::pmi1::VALUE_BYTES_MAX;

impl JobFramework {
    /// The major version of Open MPI, none for PMI-1; all nodes must have found the same.
    pub(super) fn agreement(&self) -> Result<Option<u32>, String> {
        let kind = |node: &NodeState| match node.inspected.as_ref().and_then(|inspected| inspected.found.as_ref()) {
            Some(Found::Openmpi(found)) => Some(found.major),
            _ => None,
        };
        let word = |major| match major {
            Some(major) => format!("Open MPI {major}"),
            None => "MPICH".to_string(),
        };
        let first = kind(&self.nodes[0]);
        match self.nodes.iter().find(|node| kind(node) != first) {
            None => Ok(first),
            Some(other) => Err(format!(
                "the program uses {} on {} and {} on {}: install one MPI everywhere, or leave agents out with -x",
                word(first),
                self.nodes[0].name(),
                word(kind(other)),
                other.name()
            )),
        }
    }

    pub(super) fn start(&mut self, now: Time, openmpi: Option<u32>, calls: &mut Calls) {
        self.mpirun = openmpi.map(|major| Mpirun::new(major, &self.nodes));
        if let Some(line) = self.mpirun.as_ref().and_then(|mpirun| mpirun.refusal(&self.nodes)) {
            return self.fail(now, Verdict::new(1, line), calls);
        }
        self.phase = Phase::Running;
        self.warn_of_missing_folders(calls);
        for node in &self.nodes {
            node.send(Do::Start(self.start_of(node)), calls);
            self.follow(node, calls);
        }
        if let Some(limit) = self.job.time_limit_ms {
            self.set_timer(Timer::TimeLimit, now + Duration::from_millis(limit), calls);
        }
        if self.mpirun.is_some() {
            self.set_timer(Timer::MpirunStart, now + mpirun::START_TIMEOUT, calls);
        }
        let readers = self.nodes_with_readers();
        for (node, data) in self.input.open(readers, calls) {
            self.nodes[node as usize].send(Do::Input(data), calls);
        }
    }

    fn start_of(&self, node: &NodeState) -> Start {
        let mapping = self.placement.process_mapping();
        let slots = || self.nodes.iter().map(|node| node.slots).collect();
        Start {
            ranks: self.placement.ranks_of(node.index),
            size: self.job.ranks,
            argv: self.job.argv.clone(),
            environment: self.job.environment.clone(),
            process_mapping: Some(mapping).filter(|mapping| mapping.len() <= VALUE_BYTES_MAX),
            keep_on_bad_exit: self.job.keep_on_bad_exit,
            input: self.job.input.clone(),
            job_id: self.job_id.clone(),
            kvs_name: self.job.kvs_name.clone(),
            openmpi: self.mpirun.as_ref().map(|mpirun| mpirun.share(&self.job, node.index, slots)),
        }
    }

    fn follow(&self, node: &NodeState, calls: &mut Calls) {
        let mut files = Vec::new();
        if self.mpirun.is_some() && node.index == 0 {
            files.extend(follow_mpirun(&self.job, &self.job_id));
        }
        let ranks = self.placement.ranks_of(node.index);
        files.extend(ranks.into_iter().flat_map(|rank| follow_rank(&self.job, &self.job_id, rank, node.index)));
        if !files.is_empty() {
            calls.follow_on(node.agent_id.clone(), node.task_id.clone(), files);
        }
    }

    fn nodes_with_readers(&self) -> BTreeSet<u32> {
        let readers = (0..self.job.ranks).filter(|rank| self.job.is_input_read_by(*rank));
        readers.filter_map(|rank| self.placement.node_of(rank)).collect()
    }

    fn warn_of_missing_folders(&self, calls: &mut Calls) {
        let missing =
            |node: &&NodeState| node.inspected.as_ref().is_some_and(|inspected| inspected.working_directory_missing());
        let hosts: Vec<&str> = self.nodes.iter().filter(missing).map(|node| node.hostname.as_str()).collect();
        if !hosts.is_empty() {
            let folder = String::from_utf8_lossy(&self.job.working_directory);
            self.say(&format!("{folder} isn't there on {}; ranks start in their sandbox", hosts.join(", ")), calls);
        }
    }
}
