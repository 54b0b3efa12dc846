//! What starts also ends: embedded clusters with their command, local ones with `mesos down`, and nothing stays behind.

use std::time::Duration;

use harness::{Mesos, Mpi, or_skip, poll, programs};
use nix::sys::signal::Signal;

const SLEEPER: &[&str] = &["run", "--", "sh", "-c", "echo up; exec sleep 600"];

#[test]
fn an_embedded_cluster_ends_with_its_command() {
    let mesos = Mesos::new();
    assert_eq!(mesos.cmd(["run", "--", "echo", "hello"]).run().expect_success().stdout, "hello\n");
    mesos.assert_nothing_left();
}

#[test]
fn ctrl_c_ends_an_embedded_cluster() {
    let mesos = Mesos::new();
    let mut running = mesos.cmd(SLEEPER).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    running.ctrl_c();
    running.wait().expect_code(130);
    mesos.assert_nothing_left();
}

#[test]
fn a_command_that_is_killed_hard_takes_its_embedded_cluster_with_it() {
    let mesos = Mesos::new();
    let mut running = mesos.cmd(SLEEPER).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().signal, Some(9));
    mesos.assert_nothing_left();
}

#[test]
fn tasks_that_hide_in_sessions_of_their_own_end_too() {
    let mesos = Mesos::new();
    let script = "setsid sleep 601 & setsid sh -c 'sleep 602 & exec sleep 603' & echo up; exec sleep 600";
    let mut running = mesos.cmd(["run", "--", "sh", "-c", script]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    running.signal(Signal::SIGKILL);
    running.wait();
    mesos.assert_nothing_left();
}

#[test]
fn an_embedded_mpi_job_leaves_nothing_however_it_ends() {
    let mpi = or_skip!(Mpi::mpich());
    let mesos = Mesos::new();
    let start = || {
        let options = ["run-mpi", "-n", "4", "--oversubscribe"];
        let mut running = mesos.cmd(options).arg(programs::compiled(&mpi, "forever")).start();
        running.wait_for_lines(4, "ranks that are up", |line| line.ends_with("is up"));
        running
    };
    let interrupted = start();
    interrupted.ctrl_c();
    interrupted.wait().expect_code(130);
    mesos.assert_nothing_left();

    let killed = start();
    killed.signal(Signal::SIGKILL);
    killed.wait();
    mesos.assert_nothing_left();
}

#[test]
fn embedded_mpi_jobs_that_start_at_once_do_not_meet() {
    let mpi = or_skip!(Mpi::mpich());
    let hello = programs::compiled(&mpi, "hello");
    let mesos = Mesos::new();
    let start = |_| mesos.cmd(["run-mpi", "-n", "3", "--oversubscribe"]).arg(&hello).start();
    let jobs: Vec<_> = (0..4).map(start).collect();
    for job in jobs {
        let ended = job.wait().expect_success();
        assert_eq!(ended.stdout.lines().filter(|line| line.contains(" of 3 ")).count(), 3, "{ended}");
    }
    mesos.assert_nothing_left();
}

#[test]
fn a_local_cluster_is_found_by_later_commands_until_it_is_taken_down() {
    let mesos = Mesos::new();
    mesos.cmd(["up", "--agents", "2"]).run().expect_success();
    let agents = || mesos.cmd(["agents", "--output", "quiet"]).run().expect_success().stdout.lines().count();
    poll::until(Duration::from_secs(20), "two agents", || (agents() == 2).then_some(()));
    assert_eq!(mesos.cmd(["run", "--", "echo", "hello"]).run().expect_success().stdout, "hello\n");
    let history = mesos.cmd(["tasks", "--all", "--output", "quiet"]).run().expect_success().stdout;
    assert_eq!(history.lines().count(), 1, "the task ran on the lasting cluster");

    mesos.cmd(["down"]).run().expect_success();
    mesos.assert_nothing_left();
    mesos.cmd(["agents"]).run().expect_error(&["mesos up"]);
}

#[test]
fn a_second_up_starts_no_second_cluster() {
    let mesos = Mesos::new();
    mesos.cmd(["up"]).run().expect_success();
    let before = mesos.processes().len();
    let second = mesos.cmd(["up"]).run();
    assert!(!second.stderr.contains("panicked"), "{second}");
    assert_eq!(mesos.processes().len(), before, "{second}");
    mesos.cmd(["down"]).run().expect_success();
    mesos.assert_nothing_left();
}

#[test]
fn down_without_a_cluster_says_so() {
    let mesos = Mesos::new();
    let down = mesos.cmd(["down"]).run();
    assert!(!format!("{}{}", down.stdout, down.stderr).is_empty(), "{down}");
    mesos.assert_nothing_left();
}

#[test]
fn down_ends_what_runs_on_the_cluster() {
    let mesos = Mesos::new();
    mesos.cmd(["up"]).run().expect_success();
    let mut running = mesos.cmd(SLEEPER).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    mesos.cmd(["down"]).run().expect_success();
    let ended = running.wait();
    assert!(ended.took < Duration::from_secs(30), "it doesn't wait for a master that won't come back: {ended}");
    ended.expect_error(&["tore the framework down"]);
    mesos.assert_nothing_left();
}
