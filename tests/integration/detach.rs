//! Frameworks that are handed to the cluster: they go on when their command's terminal, their scheduler, its agent or the master
//! dies, and are looked at later.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{Cluster, Mesos, Mpi, Skip, cache, or_skip, poll, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use serde_json::Value;

/// How long a scheduler may take to be somewhere else: the master gives an agent up that doesn't answer.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Runs a command with `--detach` and gives the framework's id.
fn detached<const N: usize>(cluster: &Cluster, args: [&str; N]) -> String {
    let ran = cluster.mesos(args).run().expect_success();
    let id = ran.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("no id: {ran}"));
    assert!(!id.is_empty() && !id.contains(['\n', ' ']), "one id: {ran}");
    id.to_string()
}

/// A task that notes its start in a file, so that a second one would be seen, and ends when another file is there.
fn noted(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "echo $MESOS_RUN_INDEX >> {folder}/starts; echo up; while [ ! -e {folder}/gate ]; do sleep 0.05; done; echo done; \
         [ $MESOS_RUN_INDEX != 1 ] || exit 3"
    )
}

fn starts(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("starts")).unwrap_or_default();
    let mut starts: Vec<String> = text.lines().map(str::to_string).collect();
    starts.sort();
    starts
}

fn wait_for_starts(folder: &Path, count: usize) {
    poll::until(BACK_WITHIN, "all tasks", || (starts(folder).len() == count).then_some(()));
}

fn row(cluster: &Cluster, id: &str) -> Option<Value> {
    let listed = cluster.mesos(["frameworks", "--all", "--output", "json"]).run();
    let rows: Vec<Value> = serde_json::from_str(&listed.stdout).ok()?;
    rows.into_iter().find(|row| row["id"] == id)
}

/// Waits until its scheduler runs after so many restarts, and says where.
fn wait_for_scheduler(cluster: &Cluster, id: &str, restarts: u64) -> String {
    poll::until(BACK_WITHIN, &format!("scheduler {restarts} of {id}"), || {
        let row = row(cluster, id)?;
        let there = row["state"] == "connected" && row["scheduler"]["restarts"] == restarts;
        there.then(|| row["scheduler"]["hostname"].as_str().expect("it runs somewhere").to_string())
    })
}

fn wait_for_end(cluster: &Cluster, id: &str) -> Value {
    poll::until(BACK_WITHIN, &format!("the end of {id}"), || row(cluster, id).filter(|row| row["state"] == "ended"))
}

/// Kills the process that is the framework's scheduler.
fn kill_scheduler(cluster: &Cluster, id: &str) {
    let its = format!("run-framework --detached {id}");
    let scheduler = cluster.home.processes().into_iter().find(|process| process.command.ends_with(&its));
    let scheduler = scheduler.unwrap_or_else(|| panic!("no process {its}"));
    kill(Pid::from_raw(scheduler.pid), Signal::SIGKILL).expect("it is ours");
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort();
    lines
}

const THREE: [&str; 6] = ["0: done", "0: up", "1: done", "1: up", "2: done", "2: up"];

#[test]
fn a_command_runs_on_without_its_terminal_and_is_shown_from_its_beginning() {
    let cluster = Cluster::up(2);
    let work = cluster.home.work();
    let id = detached(&cluster, ["run", "--detach", "-l", "-n", "3", "--", "sh", "-c", &noted(&work)]);
    let mut first = cluster.mesos(["frameworks", "attach", &id]).start();
    let mut second = cluster.mesos(["frameworks", "attach", &id]).start();
    first.wait_for_lines(3, "the tasks", |line| line.ends_with("up"));
    second.wait_for_lines(3, "the tasks", |line| line.ends_with("up"));
    first.ctrl_c();
    let left = first.wait().expect_code(130);
    assert!(left.stderr.contains("detached") && left.stderr.contains(&id), "{left}");

    fs::write(work.join("gate"), "").expect("our folder");
    assert_eq!(sorted(&second.wait().expect_code(3).stdout), THREE);
    let ended = wait_for_end(&cluster, &id);
    assert_eq!(ended["exit_code"], 3, "{ended}");
    let again = cluster.mesos(["frameworks", "attach", &id]).run().expect_code(3);
    assert_eq!(sorted(&again.stdout), THREE);
    assert!(again.stderr.contains("1 of 3 tasks failed"), "{again}");
    assert_eq!(starts(&work), ["0", "1", "2"]);
    assert_eq!(cluster.ids("tasks"), [] as [&str; 0], "its scheduler has ended too");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_scheduler_that_is_killed_is_started_again_and_launches_nothing_twice() {
    let cluster = Cluster::on_loopback(2);
    let work = cluster.home.work();
    let id = detached(&cluster, ["run", "--detach", "-l", "-n", "3", "--", "sh", "-c", &noted(&work)]);
    let attached = cluster.mesos(["frameworks", "attach", &id]).start();
    wait_for_starts(&work, 3);
    for restarts in 1..=2 {
        kill_scheduler(&cluster, &id);
        wait_for_scheduler(&cluster, &id, restarts);
    }
    // The tasks end while no scheduler is there.
    kill_scheduler(&cluster, &id);
    fs::write(work.join("gate"), "").expect("our folder");
    assert_eq!(sorted(&attached.wait().expect_code(3).stdout), THREE);
    let again = cluster.mesos(["frameworks", "attach", &id]).run().expect_code(3);
    assert_eq!(sorted(&again.stdout), THREE);
    assert_eq!(starts(&work), ["0", "1", "2"]);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_scheduler_goes_on_elsewhere_when_its_agent_is_lost() {
    let mut cluster = Cluster::on_loopback(2);
    let work = cluster.home.work();
    let id = detached(&cluster, ["run", "--detach", "-l", "-n", "2", "--cpus", "4", "--", "sh", "-c", &noted(&work)]);
    wait_for_starts(&work, 2);
    let (lost, other): (u8, &str) = match wait_for_scheduler(&cluster, &id, 0).as_str() {
        "m1" => (0, "m2"),
        _ => (1, "m1"),
    };
    cluster.kill_agent(usize::from(lost));
    assert_eq!(wait_for_scheduler(&cluster, &id, 1), other);
    fs::write(work.join("gate"), "").expect("our folder");
    // Until somebody says so it is not known whether its task runs on.
    let (agents, host) = (cluster.mesos(["agents", "--all", "-o", "json"]).run(), format!("m{}", lost + 1));
    let agents: Vec<Value> = serde_json::from_str(&agents.stdout).expect("a list of agents");
    let gone = agents.iter().find(|agent| agent["hostname"] == host.as_str()).expect("it is remembered");
    cluster.mesos(["agents", "gone", gone["id"].as_str().expect("an id")]).run().expect_success();
    let ended = wait_for_end(&cluster, &id);
    assert_ne!(ended["exit_code"], 0, "one of its tasks was lost: {ended}");
    let shown = cluster.mesos(["frameworks", "attach", &id]).run();
    assert_eq!(shown.code.map(i64::from), ended["exit_code"].as_i64(), "{shown}");
    assert_eq!(shown.stdout.lines().filter(|line| line.ends_with("done")).count(), 1, "{shown}");
    assert_eq!(starts(&work), ["0", "1"]);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn the_next_master_goes_on_with_what_was_handed_to_the_one_before_it() {
    let mut cluster = Cluster::on_loopback(2);
    let work = cluster.home.work();
    let id = detached(&cluster, ["run", "--detach", "-l", "-n", "3", "--", "sh", "-c", &noted(&work)]);
    wait_for_starts(&work, 3);
    let mut attached = cluster.mesos(["frameworks", "attach", &id]).start();
    attached.wait_for_lines(3, "the tasks", |line| line.ends_with("up"));
    cluster.kill_master();
    // Nobody sees it die.
    kill_scheduler(&cluster, &id);
    cluster.start_next_master();
    wait_for_scheduler(&cluster, &id, 1);
    fs::write(work.join("gate"), "").expect("our folder");
    assert_eq!(sorted(&attached.wait().expect_code(3).stdout), THREE);
    cluster.kill_master();
    cluster.start_next_master();
    cluster.wait_for_agents(2);
    let ended = wait_for_end(&cluster, &id);
    assert_eq!((&ended["exit_code"], &ended["scheduler"]["restarts"]), (&3.into(), &1.into()), "{ended}");
    // This master knows none of its tasks.
    let again = cluster.mesos(["frameworks", "attach", &id]).run().expect_code(3);
    assert_eq!(sorted(&again.stdout), THREE);
    assert_eq!(starts(&work), ["0", "1", "2"]);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn schedulers_prove_themselves_to_a_master_that_wants_a_token() {
    let cluster = or_skip!(Cluster::on_machines(2));
    let work = cluster.home.work();
    let id = detached(&cluster, ["run", "--detach", "-l", "-n", "3", "--", "sh", "-c", &noted(&work)]);
    wait_for_starts(&work, 3);
    kill_scheduler(&cluster, &id);
    wait_for_scheduler(&cluster, &id, 1);
    fs::write(work.join("gate"), "").expect("our folder");
    let shown = cluster.mesos(["frameworks", "attach", &id]).run().expect_code(3);
    assert_eq!(sorted(&shown.stdout), THREE);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_job_runs_as_who_handed_it_over() {
    or_skip!(Skip::unless_root("running mesos as another user"));
    let nobody = User::from_name("nobody").expect("users are known").expect("every Linux has a user nobody");
    let cluster = Cluster::on_loopback(1);
    let as_nobody = |args: &[&str]| {
        let (verb, rest) = args.split_first().expect("a verb");
        cluster.home.cmd_as(&nobody, [verb, "--master", cluster.address()].iter().chain(rest)).run()
    };
    let id = as_nobody(&["run", "--detach", "--", "id", "-u"]).expect_success().stdout.trim().to_string();
    let shown = as_nobody(&["frameworks", "attach", &id]).expect_success();
    assert_eq!(shown.stdout, format!("{}\n", nobody.uid));
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn an_mpi_job_runs_on_without_its_terminal() {
    let mpi = or_skip!(Mpi::mpich());
    let cluster = Cluster::up(2);
    let hello = programs::compiled(&mpi, "hello").display().to_string();
    let id = detached(&cluster, ["run-mpi", "--detach", "-n", "8", &hello]);
    let shown = cluster.mesos(["frameworks", "attach", &id]).run().expect_success();
    assert_eq!(shown.stdout.lines().count(), 8, "{shown}");
    let forever = programs::compiled(&mpi, "forever").display().to_string();
    let id = detached(&cluster, ["run-mpi", "--detach", "-n", "2", &forever]);
    let mut attached = cluster.mesos(["frameworks", "attach", &id]).start();
    attached.wait_for_lines(2, "ranks that are up", |line| line.ends_with("is up"));
    cluster.mesos(["teardown", &id]).run().expect_success();
    let shown = attached.wait().expect_code(1);
    assert!(shown.stderr.contains("tore the framework down"), "{shown}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_job_that_takes_all_of_a_cluster_has_a_scheduler_nevertheless() {
    let cluster = Cluster::up_with(1, "cpus:1;mem:128");
    let first = detached(&cluster, ["run", "--detach", "--mem", "128m", "--", "sh", "-c", "sleep 600"]);
    let second = detached(&cluster, ["run", "--detach", "--mem", "128m", "--", "echo", "second"]);
    cluster.mesos(["teardown", &first]).run().expect_success();
    assert_eq!(cluster.mesos(["frameworks", "attach", &second]).run().expect_success().stdout, "second\n");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn why_a_scheduler_does_not_start_is_said_to_who_wanted_it() {
    let cluster = Cluster::up(1);
    let plugins = cluster.home.folder().join("plugins");
    fs::create_dir(&plugins).expect("our folder");
    let built = cache::build_folder().join("libmesos_fixture_panics.so");
    fs::copy(&built, plugins.join("panics.so")).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let refused = cluster.mesos(["panic", "new-framework", "--detach"]).env("MESOS_PLUGIN_DIR", &plugins).run();
    assert!(refused.stderr.contains("panic asked for in new-framework"), "{refused}");
    refused.expect_code(1);
    let ended = wait_for_end(&cluster, cluster.mesos(["frameworks", "--all", "-q"]).run().stdout.trim());
    assert!(ended["message"].as_str().is_some_and(|message| message.contains("could not start")), "{ended}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn what_was_not_handed_to_the_cluster_is_not_attached_to() {
    let mesos = Mesos::new();
    mesos.cmd(["run", "--detach", "--", "true"]).run().expect_error(&["mesos up"]);
    mesos.assert_nothing_left();

    let cluster = Cluster::on_loopback(1);
    cluster.mesos(["frameworks", "attach", "nobody"]).run().expect_error(&["nobody", "mesos frameworks"]);
    let mut front = cluster.mesos(["run", "--name", "front", "--", "sh", "-c", "echo up; exec sleep 600"]).start();
    front.wait_for_lines(1, "its line", |line| line == "up");
    cluster.mesos(["frameworks", "attach", "front"]).run().expect_error(&["front", "--detach"]);
    front.ctrl_c();
    front.wait().expect_code(130);
    cluster.mesos(["frameworks", "attach", "front"]).run().expect_error(&["front", "--detach"]);

    let id = detached(&cluster, ["run", "--detach", "--name", "ours", "--", "sleep", "600"]);
    let refused = cluster.mesos(["run", "--detach", "--name", "ours", "--", "true"]).run();
    refused.expect_error(&["ours", "mesos teardown"]);
    if let (true, Ok(Some(nobody))) = (nix::unistd::geteuid().is_root(), User::from_name("nobody")) {
        let args = ["frameworks", "--master", cluster.address(), "attach", &id];
        cluster.home.cmd_as(&nobody, args).run().expect_error(&["nobody", &id]);
    }
    cluster.mesos(["teardown", "ours"]).run().expect_success();
    wait_for_end(&cluster, &id);
    cluster.stop_and_assert_nothing_left();
}
