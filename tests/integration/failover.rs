//! A master that dies, and one that is started in its place: what runs goes on.

use std::fs;
use std::time::Duration;

use harness::{Cluster, Mesos, Mpi, or_skip, poll, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long agents and commands may take to find the next master.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A task that ends with exit code 7 when a file appears, and says so on its way.
fn waiting(gate: &str) -> String {
    format!("echo up; while [ ! -e {gate} ]; do sleep 0.05; done; echo done; exit 7")
}

fn wait_for_tasks(cluster: &Cluster, wanted: &[String]) {
    poll::until(BACK_WITHIN, "the tasks of before", || {
        let listed = cluster.mesos(["tasks", "--output", "quiet"]).run();
        let ids: Vec<String> = listed.stdout.lines().map(str::to_string).collect();
        (listed.code == Some(0) && ids == wanted).then_some(())
    });
}

#[test]
fn a_command_outlives_the_master_and_hears_how_its_task_ended() {
    let mut cluster = Cluster::on_loopback(2);
    let gate = cluster.home.work().join("gate");
    let mut running = cluster.mesos(["run", "--", "sh", "-c", &waiting(&gate.display().to_string())]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    let before = cluster.ids("tasks");
    let framework = cluster.ids("frameworks").remove(0);

    for _ in 0..2 {
        cluster.kill_master();
        cluster.start_next_master();
        wait_for_tasks(&cluster, &before);
        cluster.wait_for_agents(2);
        assert_eq!(cluster.ids("frameworks"), [framework.as_str()]);
    }
    let other = cluster.mesos(["run", "--name", "other", "--", "echo", "hello"]).run().expect_success();
    assert_eq!(other.stdout, "hello\n");
    let all = cluster.mesos(["frameworks", "--all", "--output", "quiet"]).run().expect_success().stdout;
    assert_eq!(all.lines().count(), 2, "the new one has an id of its own: {all}");

    fs::write(&gate, "").expect("our folder");
    let ended = running.wait().expect_code(7);
    assert_eq!(ended.stdout, "up\ndone\n", "each line once: {ended}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_task_that_ends_without_a_master_is_heard_of_by_the_next_one() {
    let mut cluster = Cluster::on_loopback(1);
    let gate = cluster.home.work().join("gate");
    let mut running = cluster.mesos(["run", "--", "sh", "-c", &waiting(&gate.display().to_string())]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    cluster.kill_master();
    fs::write(&gate, "").expect("our folder");
    running.wait_for_lines(2, "its last line", |line| line == "up" || line == "done");
    cluster.start_next_master();
    running.wait().expect_code(7);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_command_that_ends_itself_without_a_master_leaves_nothing_behind_the_next_one() {
    let mut cluster = Cluster::on_loopback(1);
    let mut running = cluster.mesos(["run", "--", "sh", "-c", "echo up; exec sleep 600"]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    cluster.kill_master();
    running.ctrl_c();
    cluster.start_next_master();
    running.wait().expect_code(130);
    wait_for_tasks(&cluster, &[]);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn an_mpi_job_outlives_the_master() {
    let mpi = or_skip!(Mpi::mpich());
    let mut cluster = Cluster::on_loopback(2);
    let forever = programs::compiled(&mpi, "forever");
    let mut running = cluster.mesos(["run-mpi", "-n", "8"]).arg(forever).start();
    running.wait_for_lines(8, "ranks that are up", |line| line.ends_with("is up"));
    let before = cluster.ids("tasks");
    cluster.kill_master();
    cluster.start_next_master();
    wait_for_tasks(&cluster, &before);
    running.ctrl_c();
    running.wait().expect_code(130);
    wait_for_tasks(&cluster, &[]);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_local_cluster_gets_its_master_back() {
    let cluster = Cluster::up(2);
    let gate = cluster.home.work().join("gate");
    let mut running = cluster.mesos(["run", "--", "sh", "-c", &waiting(&gate.display().to_string())]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    let before = cluster.ids("tasks");
    let master = cluster.home.processes().into_iter().find(|process| process.command.contains(" master "));
    let master = master.expect("`mesos up` started one");
    kill(Pid::from_raw(master.pid), Signal::SIGKILL).expect("it is ours");
    poll::until(BACK_WITHIN, "the end of the master", || {
        (!cluster.home.processes().iter().any(|process| process.pid == master.pid)).then_some(())
    });
    cluster.mesos(["tasks"]).run().expect_error(&["mesos up"]);

    cluster.mesos(["up"]).run().expect_success();
    wait_for_tasks(&cluster, &before);
    assert_eq!(cluster.ids("agents").len(), 2);
    fs::write(&gate, "").expect("our folder");
    running.wait().expect_code(7);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_damaged_registry_is_named_and_left_alone() {
    let mesos = Mesos::new();
    let folder = mesos.work().join("master");
    fs::create_dir(&folder).expect("our folder");
    let registry = folder.join("registry");
    fs::write(&registry, "not a registry").expect("our folder");
    let folder = folder.display().to_string();
    let master = mesos.cmd(["master", "--port", "0", "--work-dir", &folder]).run();
    master.expect_error(&["registry", "--work-dir"]);
    assert_eq!(fs::read(&registry).expect("it is there"), b"not a registry");
}
