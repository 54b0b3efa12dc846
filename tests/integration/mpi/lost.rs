//! A part of the cluster goes away in the middle of a job: the job fails, whatever `mpirun` says, and no rank survives it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::{Mpi, Running, Skip, or_skip};

use crate::{Place, Setting};

/// Until the master has given a silent machine up.
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn a_lost_machine_fails_a_job_of_mpich() {
    lose_a_machine(Mpi::mpich);
}

#[test]
fn a_lost_machine_fails_a_job_of_openmpi4() {
    lose_a_machine(Mpi::openmpi4);
}

#[test]
fn a_lost_machine_fails_a_job_of_openmpi5() {
    lose_a_machine(Mpi::openmpi5);
}

fn lose_a_machine(mpi: fn() -> Result<Mpi, Skip>) {
    let mut setting = or_skip!(Setting::new(Place::Machines, mpi));
    let running = start(&setting, &[]);
    let network = setting.cluster.network.as_ref().expect("it is on machines");
    network.lose(&network.machines[2]);

    // Ranks sleep until the master has given the machine up.
    let failed = setting.aside(|| running.wait());
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    assert!(failed.stderr.contains("m3"), "the lost machine is named: {failed}");
    setting.assert_no_ranks_left("forever");

    // Three machines are left, and they serve.
    let options = ["-n", "3", "-N", "3"];
    setting.job(&options, "hello", &[]).limit(LIMIT).run().expect_success();
}

#[test]
fn an_agent_that_is_killed_takes_its_ranks_and_the_job_with_it() {
    let mut setting = or_skip!(Setting::new(Place::Machines, Mpi::mpich));
    let running = start(&setting, &[]);
    setting.cluster.kill_agent(1);

    let failed = running.wait();
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    setting.assert_no_ranks_left("forever");
}

#[test]
fn a_daemon_of_openmpi_that_is_killed_fails_the_job() {
    for mpi in [Mpi::openmpi4 as fn() -> _, Mpi::openmpi5] {
        let setting = or_skip!(Setting::new(Place::Machines, mpi));
        let running = start(&setting, &[]);
        let is_daemon = |command: &str| command.contains("orted") || command.contains("prted");
        let daemons = setting.cluster.home.processes().into_iter().filter(|process| is_daemon(&process.command));
        // The last one that was started is a daemon and not the shell or agent that started it.
        let daemon = daemons.max_by_key(|process| process.pid).expect("three nodes have a daemon");
        let pid = nix::unistd::Pid::from_raw(daemon.pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the job runs");

        let failed = running.wait();
        assert!(failed.code.is_some_and(|code| code != 0), "{}: {failed}", setting.mpi.name);
        setting.assert_no_ranks_left("forever");
    }
}

/// Ranks that are killed can't remove what they share; their executor does, or the next one of that user on the machine.
#[test]
fn killed_ranks_of_mpich_leave_no_shared_memory() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    let mut forced = start(&setting, &["stubborn"]);
    let left = shared_memory(&setting);
    forced.ctrl_c();
    forced.wait_for_remark("once more");
    forced.ctrl_c();
    forced.wait().expect_code(130);
    assert_gone(&left);

    let orphaned = start(&setting, &[]);
    let left = shared_memory(&setting);
    for executor in setting.cluster.home.processes().into_iter().filter(|process| is_executor(&process.command)) {
        // One that goes may take the job, and with it the others, before they are killed.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(executor.pid), nix::sys::signal::Signal::SIGKILL);
    }
    let failed = orphaned.wait();
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    setting.assert_no_ranks_left("forever");
    setting.job(&["-n", "4", "-N", "4"], "hello", &[]).run().expect_success();
    assert_gone(&left);
    setting.finish();
}

fn start(setting: &Setting, args: &[&str]) -> Running {
    let mut running = setting.job(&["-n", "4", "-N", "4"], "forever", args).limit(LIMIT).start();
    running.wait_for_lines(4, "ranks that are up", |line| line.ends_with("is up"));
    running
}

fn is_executor(command: &str) -> bool {
    command.split(' ').nth(1) == Some("mesos-executor")
}

/// What the ranks have mapped that has a name: a segment for each of the four nodes at least.
fn shared_memory(setting: &Setting) -> BTreeSet<PathBuf> {
    let program = setting.program("forever").display().to_string();
    let ranks = setting.cluster.home.processes().into_iter().filter(|process| process.command.starts_with(&program));
    let maps = ranks.filter_map(|rank| fs::read_to_string(format!("/proc/{}/maps", rank.pid)).ok());
    let path = |line: &str| line.split_whitespace().nth(5).map(PathBuf::from);
    let mapped: BTreeSet<PathBuf> = maps.flat_map(|maps| maps.lines().filter_map(path).collect::<Vec<_>>()).collect();
    let named: BTreeSet<PathBuf> =
        mapped.into_iter().filter(|path| path.starts_with("/dev/shm") && path.exists()).collect();
    assert!(named.len() >= 4, "{named:?}");
    named
}

fn assert_gone(left: &BTreeSet<PathBuf>) {
    let still: Vec<_> = left.iter().filter(|path| path.exists()).collect();
    assert!(still.is_empty(), "{still:?}");
}
