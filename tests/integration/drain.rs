//! Agents that are drained, taken back, marked as gone, or out of reach for a while.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use harness::{Cluster, Mpi, Running, or_skip, poll, programs};
use nix::sys::signal::Signal;

/// How long the cluster may take for anything.
const SOON: Duration = Duration::from_secs(30);

/// Agents are missed sooner than people would want.
const QUICK: [&str; 4] = ["--agent-ping-timeout", "300ms", "--max-agent-ping-timeouts", "4"];

/// Each agent's host name and state.
fn states(cluster: &Cluster) -> BTreeMap<String, String> {
    let listed = cluster.mesos(["agents", "--all", "--output", "json"]).run();
    let agents: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let state = |agent: &serde_json::Value| {
        let text = |key: &str| agent[key].as_str().expect("a text").to_string();
        (text("hostname"), text("state"))
    };
    agents.as_array().map(|agents| agents.iter().map(state).collect()).unwrap_or_default()
}

fn wait_for_state(cluster: &Cluster, host: &str, wanted: &str) {
    poll::until(SOON, &format!("{host} {wanted}"), || {
        (states(cluster).get(host).map(String::as_str) == Some(wanted)).then_some(())
    });
}

/// Where tasks run that haven't ended, and in which states.
fn tasks(cluster: &Cluster) -> Vec<(String, String)> {
    let listed = cluster.mesos(["tasks", "--output", "json"]).run();
    let tasks: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let row = |task: &serde_json::Value| {
        let text = |key: &str| task[key].as_str().expect("a text").to_string();
        (text("hostname"), text("state"))
    };
    let mut all: Vec<_> = tasks.as_array().map(|tasks| tasks.iter().map(row).collect()).unwrap_or_default();
    all.sort();
    all
}

fn on<'a>(tasks: &'a [(String, String)], host: &'a str) -> impl Iterator<Item = &'a str> {
    tasks.iter().filter(move |(on, _)| on == host).map(|(_, state)| state.as_str())
}

/// Four tasks that end when a file appears; an agent takes three.
fn start_four(cluster: &Cluster, gate: &str) -> Running {
    let wait = format!("echo up; while [ ! -e {gate} ]; do sleep 0.05; done; echo done");
    let options = ["run", "--count", "4", "--cpus", "1.3", "--mem", "64", "--", "sh", "-c", &wait];
    let mut running = cluster.mesos(options).limit(Duration::from_secs(120)).start();
    running.wait_for_lines(4, "lines of tasks", |line| line.ends_with("up"));
    running
}

#[test]
fn a_drained_agent_gets_nothing_and_its_tasks_go_on_elsewhere() {
    let mut cluster = Cluster::on_loopback(2);
    let gate = cluster.home.work().join("gate");
    let running = start_four(&cluster, &gate.display().to_string());
    let before = tasks(&cluster);
    assert!(on(&before, "m1").count() > 0 && on(&before, "m2").count() > 0, "{before:?}");

    let told = cluster.mesos(["agents", "drain", "m1", "--grace", "1h"]).run().expect_success();
    assert!(told.stderr.contains("draining"), "{told}");
    wait_for_state(&cluster, "m1", "draining");
    assert_eq!(tasks(&cluster), before, "they have time");
    let why = cluster.mesos(["why", "m1"]).run().expect_success().stdout;
    assert!(why.contains("is being drained by"), "{why}");

    // A drain is the cluster's, not the master's.
    cluster.kill_master();
    cluster.start_next_master();
    cluster.wait_for_agents(2);
    wait_for_state(&cluster, "m1", "draining");

    let again = cluster.mesos(["agents", "drain", "m1", "--grace", "0"]).run().expect_success();
    assert!(again.stderr.contains("still draining"), "{again}");
    wait_for_state(&cluster, "m1", "drained");
    // Three fit on the other one.
    poll::until(SOON, "three tasks on m2", || (on(&tasks(&cluster), "m2").count() == 3).then_some(()));
    let now = tasks(&cluster);
    assert_eq!(on(&now, "m1").count(), 0, "{now:?}");
    cluster.mesos(["agents", "undrain", "m1"]).run().expect_success();
    wait_for_state(&cluster, "m1", "active");
    poll::until(SOON, "the fourth on m1", || (on(&tasks(&cluster), "m1").count() == 1).then_some(()));
    fs::write(&gate, "").expect("our folder");
    let ended = running.wait().expect_success();
    assert!(ended.stderr.contains("starts again elsewhere: the agent"), "{ended}");
    assert_eq!(ended.stdout.lines().filter(|line| line.ends_with("done")).count(), 4, "{ended}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn an_agent_that_is_gone_is_not_let_in_again() {
    let mut cluster = Cluster::on_loopback_with(2, &QUICK);
    let gate = cluster.home.work().join("gate");
    let running = start_four(&cluster, &gate.display().to_string());
    cluster.mesos(["agents", "gone", "m2"]).run().expect_success();
    wait_for_state(&cluster, "m2", "gone");
    let agent = cluster.agents[1].take().expect("it was started");
    let refused = agent.wait();
    assert!(
        refused.code.is_some_and(|code| code != 0) && refused.stderr.contains("remove its work folder"),
        "{refused}"
    );
    fs::write(&gate, "").expect("our folder");
    let failed = running.wait();
    assert!(failed.code.is_some_and(|code| code != 0) && failed.stderr.contains("was marked as gone by"), "{failed}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn what_cannot_be_done_is_said_in_a_line() {
    let cluster = Cluster::on_loopback(1);
    let agents = |args: &[&str]| cluster.mesos(["agents"].iter().chain(args)).run();
    agents(&["drain", "nobody"]).expect_error(&["nobody", "mesos agents"]);
    agents(&["drain", "m1", "--grace", "soon"]).expect_error(&["soon", "duration"]);
    agents(&["undrain", "m1"]).expect_error(&["neither drained nor deactivated"]);
    agents(&["deactivate", "m1"]).expect_success();
    wait_for_state(&cluster, "m1", "deactivated");
    agents(&["reactivate", "m1"]).expect_success();
    agents(&["drain", "m1", "--mark-gone"]).expect_success();
    wait_for_state(&cluster, "m1", "gone");
    agents(&["drain", "m1"]).expect_error(&["was marked as gone"]);
    agents(&["gone", "m1"]).expect_error(&["was marked as gone"]);
}

#[test]
fn an_mpi_job_ends_with_its_agent_and_says_why() {
    let mpi = or_skip!(Mpi::mpich());
    let cluster = Cluster::on_loopback(2);
    let forever = programs::compiled(&mpi, "forever");
    let mut running =
        cluster.mesos(["run-mpi", "-n", "2", "-N", "2"]).arg(forever).limit(Duration::from_secs(120)).start();
    running.wait_for_lines(2, "ranks that are up", |line| line.ends_with("is up"));
    cluster.mesos(["agents", "drain", "m1", "--grace", "3s"]).run().expect_success();
    let failed = running.wait();
    assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
    assert!(failed.stderr.contains("is being drained; the job ends with it"), "asked before: {failed}");
    assert!(failed.stderr.contains(") were killed: the agent"), "{failed}");
    wait_for_state(&cluster, "m1", "drained");
    cluster.stop_and_assert_nothing_left();
}

/// The agent stands still, as behind a broken network: nothing of it answers, and its tasks run on.
#[test]
fn tasks_of_an_agent_that_was_out_of_reach_come_back_with_it() {
    let cluster = Cluster::on_loopback_with(2, &QUICK);
    let gate = cluster.home.work().join("gate");
    let running = start_four(&cluster, &gate.display().to_string());
    let agent = cluster.agents[0].as_ref().expect("it was started");
    agent.signal(Signal::SIGSTOP);
    wait_for_state(&cluster, "m1", "unreachable");
    let away = tasks(&cluster);
    assert!(on(&away, "m1").count() > 0 && on(&away, "m1").all(|state| state == "TASK_UNREACHABLE"), "{away:?}");
    // Its tasks end where nobody sees it.
    fs::write(&gate, "").expect("our folder");
    poll::until(SOON, "the end on m2", || (on(&tasks(&cluster), "m2").count() == 0).then_some(()));
    agent.signal(Signal::SIGCONT);
    let ended = running.wait().expect_success();
    assert!(ended.stderr.contains("may still run"), "{ended}");
    assert_eq!(ended.stdout.lines().filter(|line| line.ends_with("done")).count(), 4, "each once: {ended}");
    wait_for_state(&cluster, "m1", "active");
    cluster.stop_and_assert_nothing_left();
}
