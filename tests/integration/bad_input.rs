//! Bad input gets an error that names the thing and says what to do, and nothing is lost by it.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use harness::cluster::{self, AGENT_RESOURCES};
use harness::{Cluster, Finished, Mesos, Mpi, or_skip, poll, programs};

#[test]
fn no_ranks_at_all() {
    let mpi = or_skip!(Mpi::mpich());
    let mesos = Mesos::new();
    for count in ["0", "-3", "4x", ""] {
        mesos.cmd(["run-mpi", "-n", count]).arg(programs::compiled(&mpi, "hello")).run().expect_error(&["-n"]);
    }
    mesos.assert_nothing_left();
}

#[test]
fn more_ranks_than_the_cluster_can_ever_hold() {
    let mpi = or_skip!(Mpi::mpich());
    let cluster = Cluster::on_loopback(2);
    let refused = cluster.mesos(["run-mpi", "-n", "5000"]).arg(programs::compiled(&mpi, "hello")).run();
    assert!(refused.took < Duration::from_secs(15), "it is said at once: {refused}");
    refused.expect_error(&["5000", "8"]);
    cluster.mesos(["run", "--cpus", "64", "--", "true"]).run().expect_error(&["64", "4"]);
    still_serves(&cluster);
}

#[test]
fn a_program_that_is_not_there_or_not_executable() {
    let mesos = Mesos::new();
    mesos.file("plain", "no program\n");
    for (program, part) in [("./no-such-program", "no-such-program"), ("./plain", "plain")] {
        mesos.cmd(["run-mpi", "-n", "2", "--oversubscribe", program]).run().expect_error(&[part]);
        mesos.cmd(["run", "--", program]).run().expect_error(&[part]);
    }
    mesos.assert_nothing_left();
}

#[test]
fn a_script_in_which_no_mpi_can_be_seen() {
    let mesos = Mesos::new();
    mesos.script("job.sh", "exec true");
    let refused = mesos.cmd(["run-mpi", "-n", "2", "--oversubscribe", "./job.sh"]).run();
    refused.expect_error(&["job.sh", "--mpi"]);
    mesos.assert_nothing_left();
}

#[test]
fn a_script_runs_when_its_mpi_is_named() {
    let mpi = or_skip!(Mpi::mpich());
    let mesos = Mesos::new();
    mesos.script("job.sh", &format!("exec {}", programs::compiled(&mpi, "hello").display()));
    let options = ["run-mpi", "-n", "2", "--oversubscribe", "--mpi=pmi1", "./job.sh"];
    assert_eq!(mesos.cmd(options).run().expect_success().stdout.lines().count(), 2);
}

#[test]
fn a_word_that_nobody_knows() {
    let mesos = Mesos::new();
    mesos.cmd(["run-mpj", "-n", "2", "true"]).run().expect_error(&["run-mpj"]);
    mesos.cmd(["nonsense@9.9"]).run().expect_error(&["nonsense"]);
}

#[test]
fn resources_that_are_none() {
    let mesos = Mesos::new();
    for resources in ["cpus:four", "cpus:-1;mem:100", "cpus", "cpus:4;mem", "ports:[9-3]", ""] {
        let agent = mesos.cmd(["agent", "--master", "127.0.0.1:1", "--resources", resources, "--work-dir", "agent"]);
        agent.run().expect_error(&["resources"]);
    }
    mesos.assert_nothing_left();
}

#[test]
fn a_master_that_is_not_there() {
    let mesos = Mesos::new();
    let address = format!("127.0.0.1:{}", cluster::free_port());
    for verb in [&["agents"][..], &["run", "--", "true"], &["run-mpi", "-n", "2", "true"]] {
        let refused = mesos.cmd(verb.iter().take(1)).args(["--master", &address]).args(&verb[1..]).run();
        refused.expect_error(&[&address, "mesos master"]);
    }
    mesos.cmd(["agents", "--master", "nonsense"]).run().expect_error(&["nonsense"]);
    mesos.assert_nothing_left();
}

#[test]
fn a_wrong_token() {
    let cluster = or_skip!(Cluster::on_machines(1));
    let wrong = cluster.home.file("wrong-token", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
    let with_wrong = |verb: &[&str]| cluster.mesos(&verb[..1]).arg("--token-file").arg(&wrong).args(&verb[1..]).run();
    with_wrong(&["agents"]).expect_error(&["token"]);
    with_wrong(&["run", "--", "true"]).expect_error(&["token"]);
    let none = cluster.home.work().join("no-such-token");
    cluster.mesos(["agents", "--token-file"]).arg(none).run().expect_error(&["no-such-token"]);
    still_serves(&cluster);
}

#[test]
fn a_port_in_use() {
    let mesos = Mesos::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    mesos.cmd(["master", "--port", &port, "--work-dir", "master"]).run().expect_error(&[&port, "in use"]);

    let cluster = Cluster::on_loopback(0);
    let agent = cluster.mesos(["agent", "--port", &port, "--resources", AGENT_RESOURCES, "--work-dir", "agent"]);
    agent.run().expect_error(&[&port, "in use"]);
}

#[test]
fn two_masters_on_one_work_folder() {
    let cluster = Cluster::on_loopback(1);
    let folder = cluster.home.folder().join("master");
    let port = cluster::free_port().to_string();
    let second = cluster.home.cmd(["master", "--port", &port, "--work-dir"]).arg(&folder).run();
    second.expect_error(&[folder.to_str().unwrap()]);
    still_serves(&cluster);
}

#[test]
fn two_agents_on_one_work_folder() {
    let cluster = Cluster::on_loopback(1);
    let folder = cluster.home.folder().join("agent1");
    let port = cluster::free_port().to_string();
    let options = ["agent", "--port", &port, "--resources", AGENT_RESOURCES, "--work-dir"];
    cluster.mesos(options).arg(&folder).run().expect_error(&[folder.to_str().unwrap()]);
    still_serves(&cluster);
}

#[test]
fn an_environment_of_two_megabytes() {
    let mpi = or_skip!(Mpi::mpich());
    let mesos = Mesos::new();
    // More than a fourth of the usual stack is refused by the kernel itself.
    let script = mesos.script(
        "large",
        "ulimit -s unlimited\nvalue=$(head -c 100000 /dev/zero | tr '\\0' x)\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do export LARGE$i=$value; done\nexec \"$@\"",
    );
    let run = |args: &[&str]| mesos.program(&script).arg(mesos.binary()).args(args);
    let hello = programs::compiled(&mpi, "hello");
    let job = run(&["run-mpi", "-n", "2", "--oversubscribe"]).arg(&hello).run();
    if job.code != Some(0) {
        job.expect_error(&["environment", "LARGE"]);
    }
    // What isn't carried over doesn't matter.
    run(&["run", "--", "true"]).run().expect_success();
    mesos.assert_nothing_left();
}

#[test]
fn a_full_disk_in_the_sandbox() {
    let disk = or_skip!(harness::disk::SmallDisk::new(16));
    let cluster = Cluster::on_loopback(0);
    let port = cluster::free_port().to_string();
    let options = ["agent", "--port", &port, "--resources", AGENT_RESOURCES, "--work-dir"];
    let agent = cluster.mesos(options).arg(disk.path().join("agent")).limit(Duration::from_secs(600)).start();
    cluster.wait_for_agents(1);

    let filled = cluster.mesos(["run", "--", "sh", "-c", "head -c 64000000 /dev/zero > large"]).run();
    assert!(filled.code.is_some_and(|code| code != 0), "{filled}");
    // While the disk is full a task may fail with a reason, but nothing hangs or dies.
    let tried = cluster.mesos(["run", "--", "echo", "tried"]).run();
    assert!(!tried.stderr.contains("panicked at"), "{tried}");

    for file in harness::mesos::files_below(disk.path()).iter().filter(|path| path.ends_with("large")) {
        fs::remove_file(file).unwrap();
    }
    poll::until(Duration::from_secs(30), "tasks to run again", || {
        let again = cluster.mesos(["run", "--", "echo", "again"]).run();
        (again.code == Some(0) && again.stdout == "again\n").then_some(())
    });
    agent.stop().expect_success();
}

#[test]
fn an_unknown_flag_or_id() {
    let cluster = Cluster::on_loopback(1);
    let usage: Finished = cluster.mesos(["agents", "--nonsense"]).run();
    usage.expect_error(&["--nonsense"]);
    for verb in [&["kill", "no-such-task"][..], &["logs", "no-such-task"], &["exec", "no-such-task", "--", "true"]] {
        cluster.mesos(verb).run().expect_error(&["no-such-task"]);
    }
    cluster.mesos(["run"]).run().expect_error(&["CMD"]);
    still_serves(&cluster);
}

fn still_serves(cluster: &Cluster) {
    assert_eq!(cluster.mesos(["run", "--", "echo", "served"]).run().expect_success().stdout, "served\n");
}
