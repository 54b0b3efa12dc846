//! Open MPI: mpirun on the first node, its daemons through knocks.

use std::time::Duration;

use mesos_plugin_api::v1::executor::Spawn;
use mesos_plugin_api::v1::{ExitStatus, TaskState};

use super::pmi::variable;
use super::world::{Script, Step, World, job, openmpi};
use crate::messages::input::From;
use crate::messages::{Input, Job};

/// Processes that wait until the test ends them.
struct Quiet;

impl Script for Quiet {
    fn launched(&mut self, _node: usize, _spawn: &Spawn) -> Vec<Step> {
        Vec::new()
    }

    fn written(&mut self, _node: usize, _process: u64, _stream: u32, _data: &[u8]) -> Vec<Step> {
        Vec::new()
    }

    fn signalled(&mut self, _node: usize, _process: u64, signal: i32) -> Vec<Step> {
        if signal == 15 { vec![Step::Exit(ExitStatus::signal(15))] } else { Vec::new() }
    }
}

const MPIRUN: u64 = 0;

fn started() -> World<Quiet> {
    World::start(&job(4), 2, 2, openmpi(), Quiet)
}

/// mpirun has asked for both daemons, and their ranks run.
fn running() -> World<Quiet> {
    let mut world = started();
    for node in 0..2 {
        let name = format!("mesos-node-{node}");
        world.knock(0, 7 + node, &[&name, " orted", "-mca", "ess", "\"env\""]);
    }
    for node in 0..2 {
        world.knock(node, 100, &["mesos-ranks-started"]);
    }
    world
}

#[test]
fn mpirun_s_daemons_are_launched_on_their_nodes_and_all_ends_well() {
    let mut world = running();
    assert_eq!(world.live(), [(0, MPIRUN), (0, 8), (1, 9)]);
    let daemon = world.spawn_of(1, 9);
    assert_eq!(daemon.command.argv[2], b" orted -mca ess \"env\"");
    assert_eq!(variable(daemon, "TMPDIR"), "/sandbox/1");
    assert_eq!(variable(daemon, "OMPI_MCA_plm_rsh_agent"), "/host/knock");
    assert_eq!(variable(daemon, "OMPI_MCA_btl_tcp_if_include"), "127.0.0.0/8");

    world.exit(0, 8, ExitStatus::code(0));
    world.exit(1, 9, ExitStatus::code(0));
    assert_eq!(world.answers[2..], [(7, 0), (8, 0)]);
    assert!(!world.is_finished());
    world.exit(0, MPIRUN, ExitStatus::code(0));
    assert_eq!(world.finished(), (0, String::new()));
    assert_eq!(world.states(), [Some(TaskState::TaskFinished), Some(TaskState::TaskFinished)]);
}

#[test]
fn mpirun_is_not_believed_when_a_daemon_died() {
    let mut world = running();
    world.exit(1, 9, ExitStatus::signal(9));
    world.exit(0, 8, ExitStatus::code(0));
    world.exit(0, MPIRUN, ExitStatus::code(0));
    let line = "Open MPI's daemon on host-a1 (agent a1) ended with signal 9 (KILL)";
    assert_eq!(world.finished(), (137, line.into()));
}

#[test]
fn mpirun_s_word_may_come_before_the_end_of_the_daemon_that_it_keeps_quiet_about() {
    let mut world = running();
    world.exits_at_once(&[(0, MPIRUN, ExitStatus::code(0)), (1, 9, ExitStatus::signal(9))]);
    assert_eq!(world.finished().0, 137);

    let mut world = running();
    world.exits_at_once(&[(0, MPIRUN, ExitStatus::code(0))]);
    assert_eq!(world.finished(), (0, String::new()), "daemons that are stopped after it are no failures");
}

#[test]
fn mpirun_that_hangs_after_a_daemon_died_is_killed() {
    let mut world = running();
    world.exit(1, 9, ExitStatus::signal(9));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.finished().0, 137);
    assert_eq!(world.live(), []);
}

#[test]
fn a_rank_s_own_record_names_it() {
    let mut world = running();
    world.knock(1, 101, &["mesos-rank-ended", "3", "139"]);
    world.exit(0, MPIRUN, ExitStatus::code(139));
    let line = "rank 3 on host-a1 (agent a1) ended with signal 11 (SEGV)";
    assert_eq!(world.finished(), (139, line.into()));
    assert_eq!(world.live(), []);
}

#[test]
fn a_daemon_that_never_starts_its_ranks_ends_the_job() {
    let mut world = started();
    world.knock(0, 7, &["mesos-node-0", " orted"]);
    world.knock(0, 100, &["mesos-ranks-started"]);
    world.pass(Duration::from_secs(61));
    let (code, line) = world.finished();
    assert_eq!(code, 1);
    assert!(line.starts_with("mpirun has started no ranks on host-a1 (agent a1) within 60s"), "{line}");
    assert_eq!(world.live(), []);
}

#[test]
fn a_daemon_for_a_foreign_host_is_refused() {
    let mut world = started();
    world.knock(0, 7, &["elsewhere", " orted"]);
    assert_eq!(world.answers, [(7, 1)]);
    assert!(!world.is_finished());
}

#[test]
fn a_lost_machine_fails_the_job_whatever_mpirun_says() {
    let mut world = running();
    world.lose(1);
    let (code, line) = world.finished();
    assert_eq!((code, line.as_str()), (1, "host-a1 (agent a1) was lost with ranks 2-3: agent lost"));
    assert_eq!(world.live(), []);
}

#[test]
fn signals_go_to_mpirun_alone() {
    let mut world = running();
    world.signal(10);
    assert_eq!(world.signals, [(0, MPIRUN, 10)]);
}

#[test]
fn standard_input_goes_past_mpirun_to_the_rank_s_own_node() {
    let input = Some(Input { from: Some(From::Rank(2)) });
    let mut world = World::start(&Job { input, ..job(4) }, 2, 2, openmpi(), Quiet);
    let (node, feeder) = *world.launched.iter().find(|(_, process)| *process != MPIRUN).unwrap();
    assert_eq!(node, 1);
    let line = String::from_utf8_lossy(&world.spawn_of(1, feeder).command.argv[2]).into_owned();
    assert!(line.ends_with("exec cat >'/sandbox/1/stdin.2'"), "{line}");
    world.stdin(b"x", true);
    assert_eq!(world.closed, [(1, feeder, 2)]);

    world.knock(0, 8, &["mesos-node-1", " orted"]);
    let daemon = String::from_utf8_lossy(&world.spawn_of(1, 9).command.argv[2]).into_owned();
    assert!(daemon.starts_with("mkfifo -m 600 '/sandbox/1/stdin.2' 2>/dev/null;  orted"), "{daemon}");
    world.exit(0, MPIRUN, ExitStatus::code(0));
    assert_eq!(world.finished(), (0, String::new()));
    assert_eq!(world.live(), []);
}
