//! `mesos run` and the verbs that look at what it runs, on an embedded cluster and on one that lasts.

use std::time::Duration;

use harness::{Cluster, Mesos, Skip, WebServer, cache, or_skip, poll};
use nix::unistd::User;

#[test]
fn output_and_exit_status_of_the_command_are_passed_on() {
    let mesos = Mesos::new();
    let ended = mesos.cmd(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).run().expect_code(3);
    assert_eq!(ended.stdout, "out\n");
    assert!(ended.stderr.lines().any(|line| line == "err"), "{ended}");
    mesos.assert_nothing_left();
}

#[test]
fn a_signal_shows_as_the_shell_shows_it() {
    let mesos = Mesos::new();
    let ended = mesos.cmd(["run", "--", "sh", "-c", "kill -SEGV $$"]).run().expect_code(139);
    assert!(ended.stderr.contains("signal 11"), "{ended}");
}

#[test]
fn arguments_and_variables_arrive_as_they_were_given() {
    let mesos = Mesos::new();
    let odd = "two words \"quoted\" 'single' $HOME * \\ ;\n end";
    let run = mesos.cmd([
        "run",
        "--env",
        "COLOUR=dark red",
        "--",
        "sh",
        "-c",
        "printf '%s|%s' \"$1\" \"$COLOUR\"",
        "sh",
        odd,
    ]);
    assert_eq!(run.run().expect_success().stdout, format!("{odd}|dark red"));
}

#[test]
fn a_long_output_is_whole_and_in_order() {
    let mesos = Mesos::new();
    let ended = mesos.cmd(["run", "--", "seq", "1", "500000"]).run().expect_success();
    assert!(ended.stdout.lines().map(|line| line.parse::<u32>().unwrap()).eq(1..=500_000), "{ended}");
}

#[test]
fn as_many_tasks_as_asked_for_run() {
    let mesos = Mesos::new();
    let folder = mesos.work();
    let script = format!("echo one; mktemp -p {} task-XXXXXXXX", folder.display());
    let ended = mesos.cmd(["run", "--count", "50", "--cpus", "0.01", "--", "sh", "-c", &script]).run().expect_success();
    assert_eq!(ended.stdout.lines().filter(|line| *line == "one").count(), 50, "{ended}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 50, "each ran once");
}

#[test]
fn five_thousand_tasks_run() {
    let mesos = Mesos::new();
    let cmd = mesos.cmd(["run", "--count", "5000", "--cpus", "0.01", "--mem", "1", "--", "true"]);
    cmd.limit(Duration::from_secs(180)).run().expect_success();
    mesos.assert_nothing_left();
}

#[test]
fn one_failure_among_many_is_the_commands() {
    let mesos = Mesos::new();
    let script = format!("mkdir {}/first 2>/dev/null && exit 5; exit 0", mesos.work().display());
    mesos.cmd(["run", "--count", "20", "--cpus", "0.01", "--", "sh", "-c", &script]).run().expect_code(5);
}

#[test]
fn files_are_fetched_into_the_sandbox_and_checked() {
    let mesos = Mesos::new();
    let file = mesos.file("poem.txt", "roses are red\n");
    let uri = format!("file://{}", file.display());
    let ended = mesos.cmd(["run", "--uri", &uri, "--", "cat", "poem.txt"]).run().expect_success();
    assert_eq!(ended.stdout, "roses are red\n");

    let missing = format!("file://{}/no-such-file", mesos.work().display());
    mesos.cmd(["run", "--uri", &missing, "--", "true"]).run().expect_error(&["no-such-file"]);
}

#[test]
fn files_from_the_web_are_fetched_and_checked() {
    let mesos = Mesos::new();
    let poem = mesos.file("poem.txt", "violets are blue\n");
    let hash = cache::sha256(&poem).unwrap();
    let server = WebServer::with("dir/poem.txt", "violets are blue\n");
    let run = |uri: String| mesos.cmd(["run", "--uri", &uri, "--", "cat", "poem.txt"]).run();

    let right = run(format!("{},sha256={}", server.uri(), hash.to_uppercase())).expect_success();
    assert_eq!(right.stdout, "violets are blue\n");
    assert_eq!(server.served(), 1);

    let other = "0".repeat(64);
    let wrong = run(format!("{},sha256={other}", server.uri()));
    assert_eq!(
        (wrong.stdout.as_str(), wrong.stderr.lines().count()),
        ("", 1),
        "nothing ran, and one line says why: {wrong}"
    );
    wrong.expect_error(&["poem.txt", "SHA-256", &hash, &other]);

    run(server.uri().replace("poem", "prose")).expect_error(&["prose.txt", "404"]);
    let gone = server.uri();
    drop(server);
    run(gone.clone()).expect_error(&[&gone, "refused"]);
    mesos.assert_nothing_left();
}

#[test]
fn a_file_from_the_web_that_may_be_kept_is_fetched_once() {
    let cluster = Cluster::on_loopback(1);
    let server = WebServer::with("poem.txt", "violets are blue\n");
    for _ in 0..2 {
        let uri = format!("{},cache", server.uri());
        let ended = cluster.mesos(["run", "--uri", &uri, "--", "cat", "poem.txt"]).run().expect_success();
        assert_eq!(ended.stdout, "violets are blue\n");
    }
    assert_eq!(server.served(), 1);
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_task_runs_as_the_user_who_submitted_it() {
    or_skip!(Skip::unless_root("running mesos as another user"));
    let nobody = User::from_name("nobody").unwrap().expect("every Linux has a user nobody");
    let cluster = Cluster::on_loopback(1);
    let script = "id -u; id -g; id -G; echo written > file && cat file";
    let submitted =
        cluster.home.cmd_as(&nobody, ["run", "--master", cluster.address(), "--", "sh", "-c", script]).run();
    let (uid, gid) = (nobody.uid, nobody.gid);
    assert_eq!(submitted.expect_success().stdout, format!("{uid}\n{gid}\n{gid}\nwritten\n"));
    let own = cluster.mesos(["run", "--", "id", "-u"]).run().expect_success();
    assert_eq!(own.stdout, "0\n", "root's own tasks are root's");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn an_embedded_cluster_of_another_user_works_and_leaves_nothing() {
    or_skip!(Skip::unless_root("running mesos as another user"));
    let nobody = User::from_name("nobody").unwrap().expect("every Linux has a user nobody");
    let mesos = Mesos::new();
    let tmp = mesos.folder().join(format!("home-{}", nobody.uid));
    let ended = mesos.cmd_as(&nobody, ["run", "--", "id", "-u"]).env("TMPDIR", &tmp).run().expect_success();
    assert_eq!(ended.stdout, format!("{}\n", nobody.uid));
    mesos.assert_nothing_left();
    let left: Vec<_> = std::fs::read_dir(tmp).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("mesos-")), "{left:?}");
}

#[test]
fn a_running_task_is_listed_followed_entered_and_killed() {
    let cluster = Cluster::on_loopback(1);
    let mut running =
        cluster.mesos(["run", "--name", "sleeper", "--", "sh", "-c", "echo awake; exec sleep 600"]).start();
    running.wait_for_lines(1, "its first line", |line| line == "awake");
    let ids = cluster.ids("tasks");
    let [id] = &ids[..] else { panic!("one task runs: {ids:?}") };

    let table = cluster.mesos(["tasks"]).run().expect_success().stdout;
    assert!(table.contains("sleeper") && table.to_lowercase().contains("running"), "{table}");
    let json = cluster.mesos(["tasks", "--output", "json"]).run().expect_success().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(cluster.mesos(["logs", id]).run().expect_success().stdout, "awake\n");
    let entered = cluster.mesos(["exec", id, "--", "sh", "-c", "echo inside; exit 4"]).run().expect_code(4);
    assert_eq!(entered.stdout, "inside\n");

    cluster.mesos(["kill", id]).run().expect_success();
    let killed = running.wait();
    assert!(killed.code.is_some_and(|code| code != 0), "{killed}");
    poll::until(Duration::from_secs(10), "no task to run", || cluster.ids("tasks").is_empty().then_some(()));
    let history = cluster.mesos(["tasks", "--all"]).run().expect_success().stdout;
    assert!(history.contains("sleeper") && history.to_lowercase().contains("killed"), "{history}");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn logs_are_followed_until_the_task_ends() {
    let cluster = Cluster::on_loopback(1);
    let gate = cluster.home.work().join("gate");
    let script = format!("echo first; while ! [ -e {} ]; do sleep 0.05; done; echo last", gate.display());
    let mut running = cluster.mesos(["run", "--", "sh", "-c", &script]).start();
    running.wait_for_lines(1, "its first line", |line| line == "first");
    let ids = cluster.ids("tasks");
    let mut follower = cluster.mesos(["logs", "-f", &ids[0]]).start();
    follower.wait_for_lines(1, "the first line", |line| line == "first");

    std::fs::write(gate, "").unwrap();

    assert_eq!(follower.wait().expect_success().stdout, "first\nlast\n");
    running.wait().expect_success();
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn tasks_are_spread_over_the_machines_that_have_room() {
    let cluster = Cluster::on_loopback(3);
    // Each agent has four cores: twelve tasks fit only if all three are used.
    let gate = cluster.home.work().join("gate");
    let script = format!("echo up; while ! [ -e {} ]; do sleep 0.05; done", gate.display());
    let mut running = cluster.mesos(["run", "--count", "12", "--cpus", "1", "--", "sh", "-c", &script]).start();
    running.wait_for_lines(12, "tasks that are up", |line| line == "up");
    std::fs::write(gate, "").unwrap();
    running.wait().expect_success();
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn why_says_what_a_task_waits_for() {
    let cluster = Cluster::on_loopback(1);
    let mut first = cluster.mesos(["run", "--cpus", "4", "--", "sh", "-c", "echo up; exec sleep 600"]).start();
    first.wait_for_lines(1, "the first task", |line| line == "up");
    let second = cluster.mesos(["run", "--name", "waiter", "--cpus", "3", "--", "true"]).start();
    let frameworks = || cluster.mesos(["frameworks"]).run().stdout.contains("waiter").then_some(());
    poll::until(Duration::from_secs(20), "the second framework", frameworks);

    let said = || cluster.mesos(["why", "waiter"]).run().stdout;
    let in_use = |said: String| said.contains("cpus") && said.contains("in use");
    poll::until(Duration::from_secs(20), "the reason", || in_use(said()).then_some(()));

    // Not killed hard: the master would keep its cores for a minute, in case it comes back.
    first.ctrl_c();
    first.wait().expect_code(130);
    second.wait().expect_success();
    cluster.stop_and_assert_nothing_left();
}
