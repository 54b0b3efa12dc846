//! Services in order, on volumes that outlive them.

use std::time::Duration;

use harness::{Cluster, Running};

use super::installed;

fn start(cluster: &Cluster) -> Running {
    let cmd = cluster.mesos(["ordered", "store", "keeper", "server", "gateway"]);
    cmd.env("MESOS_PLUGIN_DIR", cluster.home.folder().join("plugins")).limit(Duration::from_secs(20)).start()
}

/// What each service said, in order, when all are ready: name, port, lines that it found.
fn ready(running: &mut Running) -> Vec<[String; 3]> {
    let text = running.wait_for_lines(3, "ready services", |line| line.contains(" is ready: "));
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_string).collect() };
    let lines = text.lines().filter(|line| line.contains(" is ready: ")).map(words);
    lines.map(|words| [words[0].clone(), words[6].clone(), words[8].clone()]).collect()
}

#[test]
fn services_start_in_order_drain_in_reverse_and_come_back_on_their_volumes() {
    let cluster = Cluster::up_with(2, "cpus:4;mem:4096;ports:[31000-31099]");
    installed(&cluster, "ordered");
    let mut first = start(&cluster);
    let before = ready(&mut first);
    assert_eq!(before.iter().map(|said| said[0].as_str()).collect::<Vec<_>>(), ["keeper", "server", "gateway"]);
    assert!(before.iter().all(|said| said[2] == "0"), "all is new: {before:?}");
    first.ctrl_c();
    let stopped = first.wait().expect_success();
    let down: Vec<&str> = stopped.stdout.lines().filter(|line| line.contains(" is down: ")).collect();
    let drained = |name: &str| format!("{name} is down: drained with 2 lines");
    assert_eq!(down, ["gateway", "server", "keeper"].map(drained), "{stopped}");

    let mut second = start(&cluster);
    let after = ready(&mut second);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before[0], &before[1], "2"), (&after[0], &after[1], after[2].as_str()), "its data and its port");
    }
    second.ctrl_c();
    second.wait().expect_success();
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn services_go_in_order_when_their_agents_are_drained_and_come_back_with_them() {
    let cluster = Cluster::up_with(1, "cpus:4;mem:4096;ports:[31000-31099]");
    installed(&cluster, "ordered");
    let mut running = start(&cluster);
    let before = ready(&mut running);
    let agent = cluster.ids("agents").remove(0);
    cluster.mesos(["agents", "drain", &agent, "--grace", "1h"]).run().expect_success();
    let text = running.wait_for_lines(3, "services that are down", |line| line.contains(" is down: "));
    let down: Vec<&str> = text.lines().filter(|line| line.contains(" is down: ")).collect();
    assert_eq!(down, ["gateway", "server", "keeper"].map(|name| format!("{name} is down: drained with 2 lines")));

    cluster.mesos(["agents", "undrain", &agent]).run().expect_success();
    let text = running.wait_for_lines(6, "services that are ready again", |line| line.contains(" is ready: "));
    let after = text.lines().filter(|line| line.contains(" is ready: ")).skip(3);
    for (before, after) in before.iter().zip(after) {
        assert!(after.starts_with(&before[0]) && after.contains(&before[1]), "{after}");
    }
    running.ctrl_c();
    running.wait().expect_success();
    cluster.stop_and_assert_nothing_left();
}
