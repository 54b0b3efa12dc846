//! A part of the cluster goes away in the middle of a job: the job fails, whatever `mpirun` says, and no rank survives it.

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
    let setting = or_skip!(Setting::new(Place::Machines, mpi));
    let running = started(&setting);
    let network = setting.cluster.network.as_ref().expect("it is on machines");
    network.lose(&network.machines[2]);

    let failed = running.wait();
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
    let running = started(&setting);
    setting.cluster.kill_agent(1);

    let failed = running.wait();
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    setting.assert_no_ranks_left("forever");
}

#[test]
fn a_daemon_of_openmpi_that_is_killed_fails_the_job() {
    for mpi in [Mpi::openmpi4 as fn() -> _, Mpi::openmpi5] {
        let setting = or_skip!(Setting::new(Place::Machines, mpi));
        let running = started(&setting);
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

fn started(setting: &Setting) -> Running {
    let mut running = setting.job(&["-n", "4", "-N", "4"], "forever", &[]).limit(LIMIT).start();
    running.wait_for_lines(4, "ranks that are up", |line| line.ends_with("is up"));
    running
}
