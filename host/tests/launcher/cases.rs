//! What the launcher promises, one test each.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mesos_host::launcher::{
    AgentLoss, Event, ExitStatus, ExtraFd, LaunchSpec, LauncherClient, Listed, Request, Rlimit, Scope, Step, User,
    connect, start, start_program,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{Agent, TestEnv, code, is_alive, pid_in, wait_for};

macro_rules! cases {
    ($($name:ident),* $(,)?) => { pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*]; };
}

cases![
    exit_codes_and_output,
    a_signal_is_told,
    a_missing_program_is_named,
    a_program_is_found_in_the_path_of_its_environment,
    what_is_not_executable_is_named,
    a_missing_interpreter_is_told_from_a_missing_program,
    a_missing_directory_is_named,
    an_unusable_output_file_is_named,
    a_named_pipe_as_output_does_not_block_the_launcher,
    two_megabytes_of_environment,
    one_large_variable_is_named,
    bad_names_and_strings_are_refused,
    the_child_starts_clean,
    limits_umask_and_descriptors,
    runs_as_the_user_and_cannot_read_what_the_user_cannot,
    thousands_of_short_tasks_and_none_is_lost,
    the_start_time_is_the_kernels,
    the_pidfd_tells_the_end,
    usage_is_told,
    a_signal_for_the_main_process_or_for_all,
    what_escapes_dies_with_its_container,
    what_hides_dies_with_its_container,
    a_fork_bomb_is_ended,
    orphans_are_kept_when_asked_for,
    an_orphan_of_a_running_container_lives,
    one_container_is_launched_once,
    a_released_container_is_forgotten,
    an_executor_launches_below_itself,
    an_agent_that_comes_back_loses_nothing,
    the_newest_agent_wins,
    tasks_live_through_kill_9_of_the_agent,
    everything_dies_with_kill_9_of_the_agent,
    everything_dies_when_no_agent_comes_back,
    the_last_launcher_takes_the_shared_folder_with_it,
    a_second_launcher_is_refused,
    without_a_launcher_connect_says_so,
    a_supervisor_starts_one_and_agents_find_it,
    the_client_for_tokio,
];

fn exit_codes_and_output() {
    let mut env = TestEnv::new();
    for expected in [0, 1, 42, 255] {
        let mut spec = env.script(&format!("task{expected}"), &format!("echo out; echo err >&2; exit {expected}"));
        spec.stdout = Some("out".into());
        spec.stderr = Some("err".into());
        assert_eq!(code(&env.run(spec)), expected);
    }
    assert_eq!(std::fs::read_to_string(env.path("out")).expect("output"), "out\n".repeat(4), "is appended to");
    assert_eq!(std::fs::read_to_string(env.path("err")).expect("output"), "err\n".repeat(4));
}

fn a_signal_is_told() {
    let mut env = TestEnv::new();
    let exited = env.run(env.script("task", "kill -TERM $$"));
    assert_eq!(exited.status, ExitStatus::Signal { signal: libc::SIGTERM, core_dumped: false });
}

fn a_missing_program_is_named() {
    let mut env = TestEnv::new();
    let failed = env.fail(LaunchSpec::new("task", ["no-such-program"]));
    assert_eq!((failed.step, failed.errno), (Step::Exec, libc::ENOENT));
    assert!(failed.message.contains("`no-such-program` was not found in PATH"), "{}", failed.message);
    let failed = env.fail(LaunchSpec::new("task2", ["/no/such/program"]));
    assert!(failed.message.contains("`/no/such/program` does not exist"), "{}", failed.message);
}

fn a_program_is_found_in_the_path_of_its_environment() {
    let mut env = TestEnv::new();
    std::fs::create_dir(env.path("bin")).expect("a folder");
    write_program(&env.path("bin/prog"), "#!/bin/sh\nexit 9\n", 0o755);
    // A folder that doesn't exist and a file that may not be executed come first, and are passed over.
    std::fs::create_dir(env.path("text")).expect("a folder");
    write_program(&env.path("text/prog"), "text", 0o644);
    let mut spec = LaunchSpec::new("task", ["prog", "argument"]);
    spec.env = vec![("PATH".into(), format!("/nowhere:{0}/text:{0}/bin", env.dir.path().display()).into())];
    assert_eq!(code(&env.run(spec)), 9);
}

fn what_is_not_executable_is_named() {
    let mut env = TestEnv::new();
    write_program(&env.path("text"), "text", 0o644);
    let failed = env.fail(LaunchSpec::new("task", [env.path("text")]));
    assert_eq!((failed.step, failed.errno), (Step::Exec, libc::EACCES));
    assert!(failed.message.contains("is not executable; chmod +x it"), "{}", failed.message);
    let failed = env.fail(LaunchSpec::new("folder", [env.dir.path()]));
    assert!(failed.message.contains("is a directory"), "{}", failed.message);
    write_program(&env.path("text"), "text", 0o755);
    let failed = env.fail(LaunchSpec::new("format", [env.path("text")]));
    assert!(failed.message.contains("nor a script that starts with #!"), "{}", failed.message);
}

fn a_missing_interpreter_is_told_from_a_missing_program() {
    let mut env = TestEnv::new();
    write_program(&env.path("script"), "#!/no/such/python\n", 0o755);
    let failed = env.fail(LaunchSpec::new("task", [env.path("script")]));
    assert!(failed.message.contains("exists, but the interpreter"), "{}", failed.message);
}

fn a_missing_directory_is_named() {
    let mut env = TestEnv::new();
    let mut spec = LaunchSpec::new("task", ["/bin/true"]);
    spec.cwd = "/no/such/directory".into();
    let failed = env.fail(spec);
    assert_eq!((failed.step, failed.errno), (Step::Directory, libc::ENOENT));
    assert!(failed.message.contains("`/no/such/directory` does not exist on this agent"), "{}", failed.message);
}

fn an_unusable_output_file_is_named() {
    let mut env = TestEnv::new();
    let mut spec = env.script("task", "true");
    spec.stdout = Some("missing/stdout".into());
    let failed = env.fail(spec);
    assert_eq!(failed.step, Step::Stdout);
    assert!(failed.message.contains("`missing/stdout`"), "{}", failed.message);
}

fn a_named_pipe_as_output_does_not_block_the_launcher() {
    let mut env = TestEnv::new();
    nix::unistd::mkfifo(&env.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
    let mut spec = env.script("task", "true");
    spec.stdout = Some("pipe".into());
    assert_eq!(env.fail(spec).step, Step::Stdout);
    let mut spec = env.script("reader", "cat; exit 3");
    spec.stdin = Some("pipe".into());
    env.agent.launch(spec);
    env.agent.launched("reader");
    env.agent.kill("reader", libc::SIGKILL, Scope::WholeContainer);
    env.agent.exited("reader");
}

fn two_megabytes_of_environment() {
    let mut env = TestEnv::new();
    let variables =
        |count: usize| (0..count).map(|i| (OsString::from(format!("V{i}")), OsString::from("x".repeat(65_000))));
    // About 2 MB with the stack limit raised so that the kernel allows it,
    let mut spec = env.script("fits", "[ ${#V30} = 65000 ] && exit 5");
    spec.env.extend(variables(31));
    spec.rlimits = vec![Rlimit { resource: libc::RLIMIT_STACK, soft: 64 << 20, hard: libc::RLIM_INFINITY }];
    assert_eq!(code(&env.run(spec)), 5);
    // and with the usual one, which doesn't.
    let mut spec = env.script("large", "true");
    spec.env.extend(variables(40));
    spec.rlimits = vec![Rlimit { resource: libc::RLIMIT_STACK, soft: 8 << 20, hard: libc::RLIM_INFINITY }];
    let failed = env.fail(spec);
    assert_eq!((failed.step, failed.errno), (Step::Exec, libc::E2BIG));
    assert!(failed.message.contains("the environment (2600"), "{}", failed.message);
}

fn one_large_variable_is_named() {
    let mut env = TestEnv::new();
    let mut spec = env.script("task", "true");
    spec.env.push(("HUGE".into(), "x".repeat(200_000).into()));
    let failed = env.fail(spec);
    assert!(failed.message.contains("`HUGE` has 200005 bytes"), "{}", failed.message);
}

fn bad_names_and_strings_are_refused() {
    let mut env = TestEnv::new();
    assert_eq!(env.fail(LaunchSpec::new("", ["/bin/true"])).step, Step::Spec);
    assert_eq!(env.fail(LaunchSpec::new("a/b", ["/bin/true"])).step, Step::Spec);
    assert_eq!(env.fail(LaunchSpec::new("none", Vec::<String>::new())).step, Step::Spec);
    assert!(env.fail(LaunchSpec::new("zero", ["/bin/true", "a\0b"])).message.contains("zero byte"));
    env.agent.kill("nobody", libc::SIGTERM, Scope::MainProcess);
    assert_eq!(env.agent.refused(), ("nobody".to_owned(), "there is no such container".to_owned()));
}

fn the_child_starts_clean() {
    let mut env = TestEnv::new();
    let script = "grep -E '^Sig(Blk|Ign|Cgt|Pnd)' /proc/self/status; ls /proc/self/fd; readlink /proc/self/fd/0; \
                  ps -o sid= -p $$ | tr -d ' '; echo $$; /usr/bin/env";
    let mut spec = env.script("task", script);
    spec.env.push(("MESOS_CONTAINER_ID".into(), "a lie".into()));
    spec.stdout = Some("out".into());
    assert_eq!(code(&env.run(spec)), 0);
    let out = std::fs::read_to_string(env.path("out")).expect("output");
    for set in ["SigPnd", "SigBlk", "SigIgn"] {
        assert!(out.contains(&format!("{set}:\t0000000000000000")), "{out}");
    }
    let lines: Vec<&str> = out.lines().collect();
    let at = lines.iter().position(|line| *line == "/dev/null").expect("stdin");
    // `ls` has one more open: the folder it lists.
    assert_eq!(lines[4..at], ["0", "1", "2", "3"], "{out}");
    assert_eq!(lines[at + 1], lines[at + 2], "leads a session: {out}");
    assert!(lines.contains(&"MESOS_CONTAINER_ID=task") && !out.contains("a lie"), "{out}");
}

fn limits_umask_and_descriptors() {
    let mut env = TestEnv::new();
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let (mut ours2, theirs2) = UnixStream::pair().expect("sockets");
    let mut spec = env.script("task", "umask; ulimit -n; echo one >&$A_FD; echo two >&$B_FD; echo $A_FD $B_FD");
    spec.stdout = Some("out".into());
    spec.umask = Some(0o077);
    spec.rlimits = vec![Rlimit { resource: libc::RLIMIT_NOFILE, soft: 99, hard: 100 }];
    let extra = |env: &str, socket: UnixStream| ExtraFd { env: env.into(), fd: socket.into() };
    spec.fds = vec![extra("A_FD", theirs), extra("B_FD", theirs2)];
    assert_eq!(code(&env.run(spec)), 0);
    assert_eq!(std::fs::read_to_string(env.path("out")).expect("output"), "0077\n99\n3 4\n");
    let (mut one, mut two) = (String::new(), String::new());
    ours.read_to_string(&mut one).expect("an end, as nobody else holds the socket");
    ours2.read_to_string(&mut two).expect("an end");
    assert_eq!((one.as_str(), two.as_str()), ("one\n", "two\n"));
}

fn runs_as_the_user_and_cannot_read_what_the_user_cannot() {
    if !nix::unistd::geteuid().is_root() {
        return println!("  skipped: only root can run tasks as other users");
    }
    let mut env = TestEnv::new();
    let sandbox = env.path("sandbox");
    std::fs::create_dir(&sandbox).expect("a folder");
    std::os::unix::fs::chown(&sandbox, Some(4242), Some(4343)).expect("root");
    let user = Some(User { uid: 4242, gid: 4343, groups: vec![4444] });
    let mut spec = env.script("task", "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status");
    (spec.cwd, spec.user, spec.stdout, spec.no_new_privs) = (sandbox.clone(), user.clone(), Some("out".into()), true);
    assert_eq!(code(&env.run(spec)), 0);
    let out = std::fs::read_to_string(sandbox.join("out")).expect("output");
    assert_eq!(out, "4242\n4343\n4343 4444\nNoNewPrivs:\t1\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(sandbox.join("out")).expect("output").uid(), 4242);
    // A file that only root may write is not opened for the user.
    let mut spec = env.script("thief", "true");
    (spec.user, spec.stdout) = (user, Some(env.path("launcher.log")));
    assert_eq!(env.fail(spec).errno, libc::EACCES);
}

fn thousands_of_short_tasks_and_none_is_lost() {
    let mut env = TestEnv::new();
    let count = 3000;
    let spec = |i: usize| Request::Launch(Box::new(LaunchSpec::new(format!("t{i}"), ["/bin/true"])));
    env.agent.send((0..count).map(spec));
    for i in 0..count {
        env.agent.launched(&format!("t{i}"));
        assert_eq!(code(&env.agent.exited(&format!("t{i}"))), 0);
    }
    assert_eq!(env.agent.list().len(), count);
    env.agent.send((0..count).map(|i| Request::Release { container: format!("t{i}") }));
    assert_eq!(env.agent.list().len(), 0);
    assert_eq!(env.agent.unseen(), 0, "each is told of once");
}

fn the_start_time_is_the_kernels() {
    let mut env = TestEnv::new();
    for i in 0..100 {
        env.agent.launch(env.script(&format!("task{i}"), "exec sleep 1000"));
    }
    for i in 0..100 {
        let launched = env.agent.launched(&format!("task{i}"));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", launched.pid)).expect("a process");
        assert_eq!(stat.split_whitespace().nth(21), Some(launched.start_time.to_string().as_str()));
    }
}

fn the_pidfd_tells_the_end() {
    use std::os::fd::AsFd;
    let mut env = TestEnv::new();
    env.agent.launch(LaunchSpec { wants_pidfd: true, ..env.script("task", "exec sleep 1000") });
    let launched = env.agent.launched("task");
    let pidfd = launched.pidfd.expect("a pidfd");
    let ready = |timeout: u16| {
        let mut fds = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, timeout).expect("poll")
    };
    assert_eq!(ready(0), 0);
    env.agent.kill("task", libc::SIGKILL, Scope::MainProcess);
    assert_eq!(ready(30_000), 1);
    env.agent.exited("task");
}

fn usage_is_told() {
    let mut env = TestEnv::new();
    let exited = env.run(env.script("task", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"));
    assert!(exited.user.as_micros() > 1000 && exited.max_rss_bytes > 100_000, "{exited:?}");
}

fn a_signal_for_the_main_process_or_for_all() {
    let mut env = TestEnv::new();
    let script = "trap 'echo main >> got' USR1; sh -c 'trap \"echo child >> got\" USR1; echo $$ > child.pid; \
                  while :; do sleep 0.01; done' & echo $$ > main.pid; while :; do sleep 0.01; done";
    env.agent.launch(env.script("task", script));
    pid_in(&env.path("child.pid"));
    pid_in(&env.path("main.pid"));
    let got = |env: &TestEnv| std::fs::read_to_string(env.path("got")).unwrap_or_default();
    env.agent.kill("task", libc::SIGUSR1, Scope::MainProcess);
    wait_for("the trap", || (got(&env) == "main\n").then_some(()));
    std::fs::remove_file(env.path("got")).expect("a file");
    env.agent.kill("task", libc::SIGUSR1, Scope::WholeContainer);
    wait_for("both traps", || (got(&env).lines().count() == 2).then_some(()));
    env.agent.kill("task", libc::SIGKILL, Scope::WholeContainer);
    assert_eq!(env.agent.exited("task").status, ExitStatus::Signal { signal: libc::SIGKILL, core_dumped: false });
}

fn what_escapes_dies_with_its_container() {
    let mut env = TestEnv::new();
    let script = "sleep 1000 & echo $! > child.pid; (setsid sh -c 'sleep 1000 & echo $! > deep.pid; echo $$ > away.pid; wait' &) ; \
                  while [ ! -s away.pid ]; do sleep 0.01; done; exit 6";
    let exited = env.run(env.script("task", script));
    // By the time the end is told, nothing is left.
    for file in ["child.pid", "deep.pid", "away.pid"] {
        assert!(!is_alive(pid_in(&env.path(file))), "{file} lives on");
    }
    assert_eq!((code(&exited), exited.leftover), (6, 0));
}

fn what_hides_dies_with_its_container() {
    let mut env = TestEnv::new();
    // Neither the session nor the environment says whose it is; another container runs on.
    env.agent.launch(env.script("before", "exec sleep 1000"));
    env.agent.launched("before");
    let script = "(env -i /usr/bin/setsid /bin/sh -c 'echo $$ > away.pid; exec /bin/sleep 1000' &); while [ ! -s away.pid ]; do sleep 0.01; done";
    env.run(env.script("task", script));
    let away = pid_in(&env.path("away.pid"));
    assert!(is_alive(away), "it might be the other container's");
    env.agent.kill("before", libc::SIGKILL, Scope::WholeContainer);
    env.agent.exited("before");
    wait_for("the end of the one that hid", || (!is_alive(away)).then_some(()));
}

fn a_fork_bomb_is_ended() {
    let mut env = TestEnv::new();
    let script = "bomb() { while :; do sleep 0.02; (setsid sh -c 'sleep 1' &); done; }; bomb & bomb & (setsid sh -c 'while :; do sleep 0.01 & done' &); \
                  echo $$ > main.pid; sleep 0.3; wait";
    env.agent.launch(env.script("task", script));
    pid_in(&env.path("main.pid"));
    wait_for("a crowd", || (crate::env::processes_of(env.dir.path()).len() > 20).then_some(()));
    env.agent.kill("task", libc::SIGKILL, Scope::WholeContainer);
    env.agent.exited("task");
    assert_eq!(crate::env::processes_of(env.dir.path()), Vec::<i32>::new());
}

fn orphans_are_kept_when_asked_for() {
    let mut env = TestEnv::new();
    let mut spec = env.script("task", "setsid sleep 1000 & echo $! > away.pid");
    spec.keep_orphans = true;
    assert_eq!(code(&env.run(spec)), 0);
    let away = pid_in(&env.path("away.pid"));
    env.run(env.script("other", "true"));
    assert!(is_alive(away));
    kill(Pid::from_raw(away), Signal::SIGKILL).expect("our own");
    wait_for("its end", || (!is_alive(away)).then_some(()));
}

fn an_orphan_of_a_running_container_lives() {
    let mut env = TestEnv::new();
    env.agent
        .launch(env.script("task", "(setsid sleep 1000 & echo $! > away.pid); echo $$ > main.pid; exec sleep 1000"));
    let away = pid_in(&env.path("away.pid"));
    pid_in(&env.path("main.pid"));
    env.run(env.script("other", "true"));
    assert!(is_alive(away));
    env.agent.kill("task", libc::SIGKILL, Scope::MainProcess);
    env.agent.exited("task");
    assert!(!is_alive(away));
}

fn one_container_is_launched_once() {
    let mut env = TestEnv::new();
    let spec = |env: &TestEnv| env.script("task", "echo run >> runs; exec sleep 1000");
    env.agent.launch(spec(&env));
    let first = env.agent.launched("task");
    env.agent.launch(spec(&env));
    let second = env.agent.launched("task");
    assert_eq!((first.pid, first.start_time), (second.pid, second.start_time));
    assert!(second.pidfd.is_some());
    env.agent.kill("task", libc::SIGKILL, Scope::MainProcess);
    env.agent.exited("task");
    env.agent.launch(spec(&env));
    env.agent.exited("task");
    assert!(std::fs::read_to_string(env.path("runs")).unwrap_or_default().lines().count() <= 1);
}

fn a_released_container_is_forgotten() {
    let mut env = TestEnv::new();
    env.run(env.script("task", "exit 3"));
    env.agent.send([Request::Release { container: "task".into() }]);
    assert_eq!(code(&env.run(env.script("task", "exit 4"))), 4, "the name may be used again");
    env.agent.launch(env.script("runs", "exec sleep 1000"));
    env.agent.launched("runs");
    env.agent.send([Request::Release { container: "runs".into() }]);
    assert_eq!(env.agent.refused(), ("runs".to_owned(), "the container has not ended".to_owned()));
}

fn an_executor_launches_below_itself() {
    let mut env = TestEnv::new();
    let program = std::env::current_exe().expect("a program");
    let dir = env.dir.path().as_os_str();
    let mut spec = LaunchSpec::new("exec", [program.as_os_str(), "--role".as_ref(), "executor".as_ref(), dir]);
    spec.cwd = env.dir.path().to_owned();
    spec.launch_channel = true;
    let own = nix::unistd::geteuid();
    let uid = if own.is_root() { 4242 } else { own.as_raw() };
    if own.is_root() {
        spec.user = Some(User { uid, gid: 4343, groups: vec![] });
        std::os::unix::fs::chown(env.dir.path(), Some(uid), Some(4343)).expect("root");
    }
    spec.stderr = Some("exec.err".into());
    env.agent.launch(spec);
    env.agent.launched("exec");
    let said = || std::fs::read_to_string(env.path("exec.err")).unwrap_or_default();
    let report = wait_for("the executor's report", || {
        assert_eq!(said(), "");
        std::fs::read_to_string(env.path("report")).ok()
    });
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], format!("exec/rank0 of {uid} got cmd=init"));
    assert!(lines[1].contains("is outside the executor's sandbox"), "{report}");
    assert_eq!(lines[2], "Code(7)");
    assert_eq!(lines[3], "only an agent may ask for that");
    assert_eq!(lines[5], "rank0,sleeper,thief");
    assert!(env.agent.list().contains_key("exec/sleeper"));
    // It works while there is no agent.
    env.agent = Agent::new(mesos_host::launcher::Connection::new(UnixStream::pair().expect("sockets").0.into()));
    std::fs::write(env.path("launch-more"), "1").expect("a file");
    wait_for("a launch without an agent", || env.path("launched-more").exists().then_some(()));
    env.agent = Agent::new(connect(env.dir.path(), AgentLoss::Kill).expect("the same launcher"));
    // What it launched goes with it.
    let sleeper = lines[4].parse().expect("a pid");
    assert!(is_alive(sleeper));
    env.agent.kill("exec", libc::SIGKILL, Scope::MainProcess);
    env.agent.exited("exec");
    assert!(!is_alive(sleeper));
    assert_eq!(env.agent.list().into_keys().collect::<Vec<_>>(), ["exec"]);
}

fn an_agent_that_comes_back_loses_nothing() {
    let mut env = TestEnv::new();
    env.agent.launch(env.script("ends", "while [ ! -e go ]; do sleep 0.01; done; exit 8"));
    env.agent.launch(env.script("stays", "exec sleep 1000"));
    env.agent.launch(LaunchSpec::new("fails", ["/no/such/program"]));
    let first = env.agent.launched("stays");
    let ends = env.agent.launched("ends").pid;
    env.agent.failed("fails");
    env.agent = Agent::new(mesos_host::launcher::Connection::new(UnixStream::pair().expect("sockets").0.into()));
    std::fs::write(env.path("go"), "").expect("a file");
    wait_for("an end without an agent", || (!is_alive(ends)).then_some(()));
    env.agent = Agent::new(connect(env.dir.path(), AgentLoss::Keep(None)).expect("the same launcher"));
    let listed = env.agent.list();
    assert!(matches!(&listed["ends"], Listed::Exited(exited) if exited.status == ExitStatus::Code(8)), "{listed:?}");
    assert!(matches!(&listed["fails"], Listed::Failed(failed) if failed.step == Step::Exec), "{listed:?}");
    let Listed::Running(again) = &listed["stays"] else { panic!("{listed:?}") };
    assert_eq!((again.pid, again.start_time), (first.pid, first.start_time));
    assert!(again.pidfd.is_some());
}

fn the_newest_agent_wins() {
    let mut env = TestEnv::new();
    let mut old = std::mem::replace(
        &mut env.agent,
        Agent::new(connect(env.dir.path(), AgentLoss::Kill).expect("a second connection")),
    );
    old.wait_for_end();
    // The loss of the old one is nothing to the new one's tasks, though its policy is to kill.
    assert_eq!(code(&env.run(env.script("task", "exit 2"))), 2);
}

fn tasks_live_through_kill_9_of_the_agent() {
    let dir = tempfile::tempdir().expect("a folder");
    kill_agent(dir.path(), "keep");
    let main = pid_in(&dir.path().join("main.pid"));
    let agent = Agent::new(connect(dir.path(), AgentLoss::Kill).expect("the launcher of the agent that died"));
    let mut env = TestEnv { dir, agent };
    assert!(is_alive(main));
    assert!(matches!(&env.agent.list()["task"], Listed::Running(launched) if launched.pid == main));
}

fn everything_dies_with_kill_9_of_the_agent() {
    let dir = tempfile::tempdir().expect("a folder");
    kill_agent(dir.path(), "kill");
    wait_for("the end of everything", || {
        let pids = ["main.pid", "away.pid"].map(|file| pid_in(&dir.path().join(file)));
        let launcher = pid_in(&dir.path().join("launcher.lock"));
        (!pids.iter().any(|&pid| is_alive(pid)) && !is_alive(launcher)).then_some(())
    });
    assert!(!dir.path().join("launcher.sock").exists());
}

fn everything_dies_when_no_agent_comes_back() {
    let mut env = TestEnv::with(AgentLoss::Keep(Some(std::time::Duration::from_millis(50))));
    env.agent.launch(env.script("task", "exec sleep 1000"));
    let task = env.agent.launched("task").pid;
    let launcher = pid_in(&env.path("launcher.lock"));
    env.agent = Agent::new(mesos_host::launcher::Connection::new(UnixStream::pair().expect("sockets").0.into()));
    wait_for("the end of both", || (!is_alive(task) && !is_alive(launcher)).then_some(()));
}

fn a_second_launcher_is_refused() {
    let env = TestEnv::new();
    let error = start(env.dir.path(), AgentLoss::Kill).expect_err("there is one").to_string();
    let pid = pid_in(&env.path("launcher.lock"));
    assert!(error.contains(&format!("another launcher (pid {pid}) serves")), "{error}");
}

fn without_a_launcher_connect_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = connect(dir.path(), AgentLoss::Kill).expect_err("there is none").to_string();
    assert!(error.contains("no launcher runs in"), "{error}");
}

fn the_last_launcher_takes_the_shared_folder_with_it() {
    let parent = tempfile::tempdir().expect("a folder");
    let shared = parent.path().join("cluster");
    let [first, second] = ["agent-1", "agent-2"].map(|name| {
        let dir = shared.join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let program = Path::new("/proc/self/exe");
        start_program(program, &dir, AgentLoss::Kill, Some(&shared)).expect("a launcher")
    });
    let pid = first.launcher().expect("it said welcome").pid;
    drop(first);
    wait_for("the first launcher's end", || (!is_alive(pid)).then_some(()));
    assert!(shared.join("agent-2/launcher.log").exists());
    drop(second);
    wait_for("the end of the folder", || (!shared.exists()).then_some(()));
}

/// As a unit of systemd does.
fn a_supervisor_starts_one_and_agents_find_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let notified = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    notified.set_read_timeout(Some(crate::env::DEADLINE)).expect("a time-out");
    let program = std::env::current_exe().expect("a program");
    let mut command = Command::new(program);
    command.arg0("mesos-launcher").arg(dir.path()).arg("keep").stdin(Stdio::null());
    let mut launcher = command.env("NOTIFY_SOCKET", dir.path().join("notify")).spawn().expect("a process");
    let mut said = [0; 64];
    let length = notified.recv(&mut said).expect("a word");
    assert_eq!(&said[..length], b"READY=1");

    let connection = connect(dir.path(), AgentLoss::Keep(None)).expect("a launcher");
    let pid = connection.launcher().expect("it said welcome").pid;
    assert_eq!(pid, launcher.id() as i32, "it stays its supervisor's child");
    let mut agent = Agent::new(connection);
    agent.launch(LaunchSpec::new("task", ["/bin/sleep", "1000"]));
    let task = agent.launched("task").pid;

    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("our own process");
    assert!(launcher.wait().expect("our own process").success());
    assert!(is_alive(task), "what it launched runs on");
    kill(Pid::from_raw(task), Signal::SIGKILL).expect("our own task");
}

fn the_client_for_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let connection = start(dir.path(), AgentLoss::Kill).expect("a launcher");
    runtime.block_on(async {
        let (client, mut events) = LauncherClient::new(connection).expect("a client");
        let count = 500;
        let launch = |i| {
            let spec = LaunchSpec::new(format!("t{i}"), ["/bin/false"]);
            Request::Launch(Box::new(LaunchSpec { wants_pidfd: i % 2 == 0, ..spec }))
        };
        client.send((0..count).map(launch).collect()).await.expect("a launcher");
        let (mut pidfds, mut exited) = (0, 0);
        while exited < count {
            let batch = tokio::time::timeout(crate::env::DEADLINE, events.next_batch()).await.expect("in time");
            for event in batch.expect("a launcher") {
                match event {
                    Event::Launched(one) => pidfds += usize::from(one.pidfd.is_some()),
                    Event::Exited(one) => exited += code(&one),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(pidfds as i32, count / 2, "only who asked gets one");
        client.send(vec![Request::Shutdown]).await.expect("a launcher");
        while events.next().await.is_ok() {}
        assert!(client.send(vec![Request::List]).await.is_err(), "the end is told to who sends, too");
    });
}

/// Has another process start a launcher and a task, and kills it without warning.
fn kill_agent(dir: &Path, policy: &str) {
    let program = std::env::current_exe().expect("a program");
    let mut command = Command::new(program);
    command.args(["--role", "agent"]).arg(dir).arg(policy).stdin(Stdio::null()).process_group(0);
    let mut agent = command.spawn().expect("a process");
    wait_for("the agent", || dir.join("agent.ready").exists().then_some(()));
    for file in ["main.pid", "away.pid"] {
        pid_in(&dir.join(file));
    }
    agent.kill().expect("our own process");
    agent.wait().expect("our own process");
}

fn write_program(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a file");
    drop(file);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
}
