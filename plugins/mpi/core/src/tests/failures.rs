//! What goes wrong, and what the person is told.

use std::time::Duration;

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::v1::executor::StreamData;
use mesos_plugin_api::v1::{ExitStatus, Reason, Source, TaskState, TaskStatus};

use super::pmi::{MpichRanks, Until};
use super::world::{World, job, openmpi, pmi1, problem};
use crate::messages::{Inspected, Job};

fn computing(ranks: u32, agents: usize) -> World<MpichRanks> {
    running(&job(ranks), agents)
}

fn running(job: &Job, agents: usize) -> World<MpichRanks> {
    let cpus = job.ranks.div_ceil(agents as u32);
    World::start(job, agents, cpus, pmi1(), MpichRanks::new(job.ranks, Until::Computing))
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_is_named() {
    let mut world = computing(8, 4);
    let (node, process) = world.script.find(5);
    world.exit(node, process, ExitStatus::signal(11));
    let line = "rank 5 on host-a2 (agent a2) ended with signal 11 (SEGV)";
    assert_eq!(world.finished(), (139, line.into()));
    assert_eq!(world.live(), []);
}

#[test]
fn the_exit_code_is_the_first_failing_ranks() {
    let mut world = computing(4, 2);
    let (node, process) = world.script.find(3);
    world.exit(node, process, ExitStatus::code(17));
    let line = "rank 3 on host-a1 (agent a1) ended with exit code 17 before MPI_Finalize";
    assert_eq!(world.finished(), (17, line.into()));
}

#[test]
fn ranks_that_ignore_term_are_killed_after_the_grace() {
    let mut world = computing(4, 2);
    world.script.stubborn = true;
    let (node, process) = world.script.find(0);
    world.exit(node, process, ExitStatus::code(1));
    assert_eq!(world.live().len(), 3);
    assert!(!world.is_finished());
    world.pass(Duration::from_secs(3));
    assert_eq!(world.live(), []);
    assert_eq!(world.finished().0, 1);
}

#[test]
fn an_abort_ends_the_job_with_its_code() {
    let mut world = computing(4, 4);
    let (node, process) = world.script.find(2);
    let data = b"cmd=abort exitcode=42\n".to_vec();
    world.event(node, Event::StreamData(StreamData { process, stream: 1, data }));
    assert_eq!(world.finished(), (42, "rank 2 on host-a2 (agent a2) aborted the job with exit code 42".into()));
    assert_eq!(world.live(), []);
}

#[test]
fn a_rank_that_speaks_no_pmi_ends_the_job() {
    let mut world = computing(2, 2);
    let (node, process) = world.script.find(1);
    world.event(node, Event::StreamData(StreamData { process, stream: 1, data: b"cmd=dance\n".to_vec() }));
    let line = "rank 1 on host-a1 (agent a1): sent the unknown PMI command \"dance\"";
    assert_eq!(world.finished(), (1, line.into()));
}

#[test]
fn a_rank_that_can_t_be_launched_is_named_with_the_reason() {
    let mut world = computing(2, 2);
    let (node, process) = world.script.find(1);
    world.launch_failed(node, process, "/work/prog: Text file busy", 26);
    let line = "rank 1 on host-a1 (agent a1): /work/prog: Text file busy";
    assert_eq!(world.finished(), (126, line.into()));
}

#[test]
fn a_lost_machine_fails_the_job_and_ends_the_others() {
    let mut world = computing(8, 4);
    world.lose(1);
    let (code, line) = world.finished();
    assert_eq!(code, 1);
    assert_eq!(line, "host-a1 (agent a1) was lost with ranks 2-3: agent lost");
    assert_eq!(world.live(), []);
}

#[test]
fn a_lost_executor_fails_the_job() {
    let mut world = computing(4, 2);
    world.lose_executor(1);
    let (code, line) = world.finished();
    assert_eq!(code, 1);
    assert_eq!(line, "the executor on host-a1 (agent a1) ended with signal 9 (KILL), and ranks 2-3");
    assert_eq!(world.live(), []);
}

#[test]
fn nodes_that_don_t_answer_don_t_hold_the_command_up() {
    let mut world = computing(4, 2);
    world.script.stubborn = true;
    world.signal(2);
    world.signal(2);
    // KILL was sent at once; the fake processes die of it.
    assert_eq!(world.finished(), (130, "killed at the second interrupt".into()));
}

#[test]
fn a_program_that_is_missing_on_one_node_starts_nothing() {
    let mut world = World::forming(&job(4), 4, 1, pmi1(), MpichRanks::new(4, Until::Exit));
    world.found.insert(2, problem(127, "/work/prog is not there; copy it there, or send it along with --bcast"));
    world.master.offer();
    world.run();
    let (code, line) = world.finished();
    assert_eq!(code, 127);
    assert!(line.starts_with("host-a2 (agent a2): /work/prog is not there"), "{line}");
    assert!(world.launched.is_empty());
}

#[test]
fn two_kinds_of_mpi_start_nothing() {
    let mut world = World::forming(&job(2), 2, 1, pmi1(), MpichRanks::new(2, Until::Exit));
    world.found.insert(1, Inspected { found: Some(openmpi()), ..Inspected::default() });
    world.master.offer();
    world.run();
    let (code, line) = world.finished();
    assert_eq!(code, 1);
    assert!(line.starts_with("the program uses MPICH on host-a0 (agent a0) and Open MPI 4 on host-a1"), "{line}");
    assert!(world.launched.is_empty());
}

#[test]
fn a_task_that_could_not_be_launched_fails_the_job() {
    let mut world = World::forming(&job(2), 2, 1, pmi1(), MpichRanks::new(2, Until::Exit));
    world.master.offer();
    let task = world.master.live_tasks()[0].id.clone();
    let status = TaskStatus::new(task, TaskState::TaskDropped);
    world.master.update_with(status.because(Source::Agent, Reason::PluginRefused, "built for another target"));
    let accepted = std::mem::take(&mut world.master.calls);
    let kills = |call: &_| matches!(call, mesos_plugin_api::v1::framework::call::Call::Kill(kill) if kill.task_id.as_str() == "node-1");
    assert!(accepted.iter().any(kills));
    assert!(!world.is_finished());
    world.master.update(&"node-1".into(), TaskState::TaskKilled);
    let line = "rank 0 could not be launched on host-a0 (agent a0): built for another target";
    assert_eq!(world.finished(), (1, line.into()));
}

#[test]
fn a_launch_that_was_lost_on_its_way_fails_the_job() {
    let mut world = World::forming(&job(1), 1, 1, pmi1(), MpichRanks::new(1, Until::Exit));
    world.master.offer();
    world.master.calls.clear();
    let status = TaskStatus::new("node-0".into(), TaskState::TaskUnknown);
    world.master.update_with(status.because(Source::Master, Reason::TaskUnknown, "the master knows no such task"));
    let line = "host-a0 (agent a0) was lost with rank 0: the master knows no such task";
    assert_eq!(world.finished(), (1, line.into()));
}

#[test]
fn an_interrupt_is_forwarded_and_the_ranks_end_by_it() {
    let mut world = computing(4, 2);
    world.signal(2);
    assert_eq!(world.finished().0, 130);
    assert_eq!(world.live(), []);
}

#[test]
fn an_interrupt_before_the_gang_stands_ends_at_once() {
    let mut world = World::forming(&job(4), 1, 1, pmi1(), MpichRanks::new(4, Until::Exit));
    world.master.offer();
    world.run();
    world.signal(2);
    assert_eq!(world.finished(), (130, "interrupted before it started".into()));
}

#[test]
fn a_term_that_is_not_heeded_is_followed_by_kill() {
    let mut world = computing(4, 2);
    world.script.stubborn = true;
    world.signal(15);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.live().len(), 4);
    world.pass(Duration::from_secs(2));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.live(), []);
    assert_eq!(world.finished(), (143, "ranks did not heed the signal and were killed".into()));
}

#[test]
fn user_signals_go_to_the_rank_alone_and_stop_becomes_one_that_can_t_be_ignored() {
    let mut world = computing(2, 2);
    world.signal(10);
    world.signal(20);
    world.signal(18);
    let numbers: Vec<i32> = world.signals.iter().map(|(_, _, signal)| *signal).collect();
    assert_eq!(numbers, [10, 10, 19, 19, 18, 18]);
    assert!(!world.is_finished());
}

#[test]
fn the_time_limit_ends_the_job() {
    let job = Job { time_limit_ms: Some(60_000), ..job(2) };
    let mut world = running(&job, 2);
    world.pass(Duration::from_secs(59));
    assert!(!world.is_finished());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.finished(), (124, "the time limit of 60s was reached".into()));
    assert_eq!(world.live(), []);
}

#[test]
fn with_kill_on_bad_exit_0_the_others_go_on_after_finalize() {
    let table = [(None, 1), (Some(true), 0)];
    for (keep_on_bad_exit, killed) in table {
        let job = Job { keep_on_bad_exit, ..job(2) };
        let mut world = running(&job, 2);
        world.script.exit_codes.insert(0, 3);
        let finalize = |world: &mut World<MpichRanks>, rank: u32| {
            let (node, process) = world.script.find(rank);
            let data = b"cmd=finalize\n".to_vec();
            world.event(node, Event::StreamData(StreamData { process, stream: 1, data }));
        };
        finalize(&mut world, 0);
        let terms = world.signals.iter().filter(|(_, _, signal)| *signal == 15).count();
        assert_eq!(terms, killed);
        finalize(&mut world, 1);
        assert_eq!(world.finished(), (3, "rank 0 on host-a0 (agent a0) ended with exit code 3".into()));
    }
}
