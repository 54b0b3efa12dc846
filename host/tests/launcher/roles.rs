//! What this program is when a test starts it as another process.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mesos_host::launcher::{AgentLoss, Connection, ExtraFd, LaunchSpec, Request, User, start};

use crate::env::{Agent, DEADLINE, wait_for};

/// `launcher-test ROLE FOLDER [...]`
pub fn run_if_asked() {
    let args: Vec<String> = std::env::args().collect();
    let [_, marker, role, rest @ ..] = &args[..] else { return };
    if marker != "--role" {
        return;
    }
    match (role.as_str(), rest) {
        ("agent", [dir, policy]) => agent(Path::new(dir), policy),
        ("executor", [dir]) => executor(Path::new(dir)),
        ("echo", []) => echo(),
        _ => panic!("no role {role} {rest:?}"),
    }
    std::process::exit(0);
}

/// An agent that launches a task and then waits to be killed.
fn agent(dir: &Path, policy: &str) {
    let policy = if policy == "kill" { AgentLoss::Kill } else { AgentLoss::Keep(Some(DEADLINE)) };
    let mut agent = Agent::new(start(dir, policy).expect("a launcher"));
    let mut spec = LaunchSpec::new(
        "task",
        ["/bin/sh", "-c", "echo $$ > main.pid; (setsid sleep 1000 & echo $! > away.pid); exec sleep 1000"],
    );
    spec.cwd = dir.to_owned();
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    agent.launch(spec);
    agent.launched("task");
    std::fs::write(dir.join("agent.ready"), "1").expect("a file");
    loop {
        std::thread::park();
    }
}

/// An executor: launches a child with a socket of its own, talks to it, tries what it may not, and waits.
fn executor(dir: &Path) {
    let mut agent = Agent::new(Connection::inherited().expect("a channel"));
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let mut child = LaunchSpec::new("rank0", ["/proc/self/exe".to_owned(), "--role".into(), "echo".into()]);
    child.argv[0] = std::env::current_exe().expect("a program").into();
    child.cwd = "/".into();
    // Not granted: it runs as this executor does.
    child.user = Some(User { uid: 0, gid: 0, groups: vec![] });
    child.fds = vec![ExtraFd { env: "PMI_FD".into(), fd: OwnedFd::from(theirs) }];
    child.stderr = Some("rank0.err".into());
    agent.launch(child);
    agent.launched("rank0");
    ours.set_read_timeout(Some(DEADLINE)).expect("a socket");
    ours.write_all(b"cmd=init").expect("a child that listens");
    let mut answer = [0; 64];
    let len = ours.read(&mut answer).expect("an answer");
    let mut outside = LaunchSpec::new("thief", ["/bin/true"]);
    outside.stdout = Some("../outside".into());
    agent.launch(outside);
    let refusal = agent.failed("thief").message;
    ours.shutdown(std::net::Shutdown::Both).expect("a socket");
    let status = agent.exited("rank0").status;
    agent.send([Request::Shutdown]);
    let (_, message) = agent.refused();
    agent.launch(LaunchSpec::new("sleeper", ["/bin/sleep", "1000"]));
    let sleeper = agent.launched("sleeper").pid;
    let listed = agent.list().into_keys().collect::<Vec<_>>().join(",");
    let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
    let report = format!("{answer}\n{refusal}\n{status:?}\n{message}\n{sleeper}\n{listed}\n");
    std::fs::write(dir.join("report.new"), report).expect("a file");
    std::fs::rename(dir.join("report.new"), dir.join("report")).expect("a file");
    let mut connection = Connection::new(ours.into());
    // Told to end by a file, so that the test can have the agent away meanwhile.
    wait_for("the word to launch more", || {
        let _ = connection.next(Duration::from_millis(5));
        dir.join("launch-more").exists().then_some(())
    });
    agent.launch(LaunchSpec::new("late", ["/bin/true"]));
    agent.launched("late");
    agent.exited("late");
    std::fs::write(dir.join("launched-more"), "1").expect("a file");
    loop {
        std::thread::park();
    }
}

/// Answers what comes over the socket it was given, until that closes.
fn echo() {
    use std::os::fd::FromRawFd;
    let number = std::env::var("PMI_FD").expect("a variable").parse().expect("a number");
    // SAFETY: given to this process for its own by who launched it.
    let mut socket = unsafe { UnixStream::from_raw_fd(number) };
    let mut buffer = [0; 64];
    loop {
        let len = socket.read(&mut buffer).expect("a socket");
        if len == 0 {
            std::process::exit(7);
        }
        let id = std::env::var("MESOS_CONTAINER_ID").expect("a variable");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let user = nix::unistd::getuid();
        socket.write_all(format!("{id} of {user} got {text}").as_bytes()).expect("a socket");
    }
}
