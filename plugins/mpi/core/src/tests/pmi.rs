//! Ranks that speak PMI-1 as MPICH does: init, put, barrier, get of every other's key, finalize.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::executor::Spawn;
use mesos_plugin_api::v1::{ExitStatus, TaskState};

use super::world::{Script, Step, World, job, pmi1};
use crate::messages::{Distribution, Job};
use crate::shared_memory::Segments;

/// How far a scripted rank goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Until {
    Exit,
    /// It computes after the first barrier until the test says more.
    Computing,
}

/// Ranks as a small MPICH program has them.
pub struct MpichRanks {
    pub size: u32,
    pub until: Until,
    ranks: BTreeMap<(usize, u64), Rank>,
    pub heard: Vec<String>,
    /// Ranks that catch TERM and INT.
    pub stubborn: bool,
    /// With what ranks end after finalize, if not with 0.
    pub exit_codes: BTreeMap<u32, i32>,
}

struct Rank {
    rank: u32,
    next_get: u32,
}

impl MpichRanks {
    pub fn new(size: u32, until: Until) -> Self {
        Self { size, until, ranks: BTreeMap::new(), heard: Vec::new(), stubborn: false, exit_codes: BTreeMap::new() }
    }

    /// Where a rank runs.
    pub fn find(&self, rank: u32) -> (usize, u64) {
        *self.ranks.iter().find(|(_, r)| r.rank == rank).unwrap().0
    }
}

pub fn variable(spawn: &Spawn, name: &str) -> String {
    let variable = spawn.command.environment.iter().find(|variable| variable.name == name);
    String::from_utf8(variable.unwrap_or_else(|| panic!("{name} is set")).value.clone()).unwrap()
}

fn say(text: impl Into<String>) -> Vec<Step> {
    vec![Step::Write((text.into() + "\n").into_bytes())]
}

impl Script for MpichRanks {
    fn launched(&mut self, node: usize, spawn: &Spawn) -> Vec<Step> {
        assert_eq!(variable(spawn, "PMI_SIZE"), self.size.to_string());
        assert_eq!(spawn.pipes[0].env.as_deref(), Some("PMI_FD"));
        let rank = variable(spawn, "PMI_RANK").parse().unwrap();
        self.ranks.insert((node, spawn.process), Rank { rank, next_get: 0 });
        say("cmd=init pmi_version=1 pmi_subversion=1")
    }

    fn written(&mut self, node: usize, process: u64, stream: u32, data: &[u8]) -> Vec<Step> {
        if stream != 1 {
            return Vec::new();
        }
        let line = String::from_utf8(data.to_vec()).unwrap();
        self.heard.push(line.clone());
        let size = self.size;
        let rank = self.ranks.get_mut(&(node, process)).unwrap();
        let command = line.trim_end().split(' ').next().unwrap().strip_prefix("cmd=").unwrap();
        match command {
            "response_to_init" => say("cmd=get_maxes"),
            "maxes" => say("cmd=get_my_kvsname"),
            "my_kvsname" => say("cmd=get kvsname=kvs_0 key=PMI_process_mapping"),
            "put_result" => say("cmd=barrier_in"),
            "barrier_out" if self.until == Until::Computing => Vec::new(),
            "barrier_out" => say("cmd=get kvsname=kvs_0 key=card-0"),
            "get_result" if line.contains("(vector,") => {
                say(format!("cmd=put kvsname=kvs_0 key=card-{} value=port=10{}#", rank.rank, rank.rank))
            }
            "get_result" => {
                let expected = format!("cmd=get_result rc=0 msg=success value=port=10{}#\n", rank.next_get);
                assert_eq!(line, expected, "rank {}", rank.rank);
                rank.next_get += 1;
                if rank.next_get == size {
                    return say("cmd=finalize");
                }
                say(format!("cmd=get kvsname=kvs_0 key=card-{}", rank.next_get))
            }
            "finalize_ack" => vec![Step::Exit(ExitStatus::code(self.exit_codes.get(&rank.rank).copied().unwrap_or(0)))],
            other => panic!("{other} is no answer that a rank expects"),
        }
    }

    fn signalled(&mut self, _node: usize, _process: u64, signal: i32) -> Vec<Step> {
        if self.stubborn || matches!(signal, 10 | 12 | 18 | 19) {
            return Vec::new();
        }
        vec![Step::Exit(ExitStatus::signal(signal))]
    }
}

fn run(job: &Job, agents: usize, cpus: u32) -> World<MpichRanks> {
    World::start(job, agents, cpus, pmi1(), MpichRanks::new(job.ranks, Until::Exit))
}

#[test]
fn four_ranks_on_four_nodes_exchange_their_cards_and_end_well() {
    let world = run(&job(4), 4, 1);
    assert_eq!(world.finished(), (0, String::new()));
    assert_eq!(world.states(), vec![Some(TaskState::TaskFinished); 4]);
    assert_eq!(world.live(), []);
}

#[test]
fn sixty_four_ranks_on_four_nodes_exchange_their_cards_and_end_well() {
    for distribution in [Distribution::Block, Distribution::Cyclic] {
        let job = Job { distribution: Some(distribution.into()), ..job(64) };
        let world = run(&job, 4, 16);
        assert_eq!(world.finished(), (0, String::new()));
        let mapping = match distribution {
            Distribution::Block => "(vector,(0,4,16))",
            Distribution::Cyclic => "(vector,(0,4,1))",
        };
        let told = |line: &&String| line.contains(mapping);
        assert_eq!(world.script.heard.iter().filter(told).count(), 64);
    }
}

#[test]
fn one_node_needs_nobody_else_for_its_barriers() {
    let world = run(&job(8), 1, 8);
    assert_eq!(world.finished(), (0, String::new()));
}

#[test]
fn ranks_know_their_place() {
    let world = World::start(&job(6), 2, 4, pmi1(), MpichRanks::new(6, Until::Computing));
    let (node, process) = world.script.find(5);
    let spawn = world.spawn_of(node, process);
    let places = [("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "2"), ("MESOS_RANK", "5"), ("MESOS_NODE", "1")];
    for (name, value) in places {
        assert_eq!(variable(spawn, name), value);
    }
    assert_eq!(spawn.command.argv, [b"/work/prog".to_vec()]);
    assert_eq!(spawn.command.working_directory.as_deref(), Some(b"/work".as_slice()));
    assert_eq!((spawn.stdout.as_deref(), spawn.stderr.as_deref()), (Some("stdout.5"), Some("stderr.5")));
}

#[test]
fn shared_memory_is_in_use_from_the_launch_to_the_end_of_the_last_rank() {
    let job = Job { kvs_name: Some("kvs_1".into()), ..job(4) };
    let mut world = World::start(&job, 2, 2, pmi1(), MpichRanks::new(4, Until::Computing));
    assert_eq!([0, 1].map(|node| world.segments(node).cloned()), [0, 1].map(|node| Segments::new("kvs_1", node)));
    world.signal(15);
    assert_eq!([0, 1].map(|node| world.segments(node)), [None, None]);
}
