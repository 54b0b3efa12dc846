//! Three masters that meet in a real ZooKeeper: whichever leads may die or be stopped, and what runs goes on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::cluster::free_port;
use harness::{Mesos, Running, ZooKeeper, or_skip, poll};
use nix::sys::signal::Signal;

/// How long agents and commands may take to find the next master.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// A daemon runs as long as its test; this only bounds the wait for its end.
const DAEMON_LIMIT: Duration = Duration::from_secs(600);

/// Masters, an agent, and where they meet. Everything ends in the order of the fields.
struct Masters {
    agent: Option<Running>,
    masters: Vec<(String, Option<Running>)>,
    home: Mesos,
    meeting: String,
    _servers: ZooKeeper,
}

impl Masters {
    fn start(servers: ZooKeeper) -> Masters {
        let meeting = servers.address("/mesos");
        let mut all = Masters { agent: None, masters: Vec::new(), home: Mesos::new(), meeting, _servers: servers };
        for _ in 0..3 {
            all.masters.push((format!("127.0.0.1:{}", free_port()), None));
            all.start_master(all.masters.len() - 1);
        }
        let folder = all.home.folder().join("agent");
        let port = free_port().to_string();
        let agent =
            all.home.cmd(["agent", "--master", &all.meeting, "--resources", "cpus:4;mem:4096", "--port", &port]);
        let agent = agent.args(["--on-agent-loss", "kill", "--work-dir"]).arg(folder);
        all.agent = Some(agent.limit(DAEMON_LIMIT).start());
        all.wait_for(&["agents"], 1);
        all
    }

    fn start_master(&mut self, index: usize) {
        let (address, master) = &mut self.masters[index];
        let (_, port) = address.rsplit_once(':').expect("an address");
        let folder = self.home.folder().join(format!("master{index}"));
        let cmd = self.home.cmd(["master", "--zk", &self.meeting, "--zk-session-timeout", "6s", "--port", port]);
        *master = Some(cmd.arg("--work-dir").arg(folder).limit(DAEMON_LIMIT).start());
        poll::until(BACK_WITHIN, "a master that listens", || get(address, "/health"));
    }

    fn mesos<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> harness::Cmd {
        self.home.cmd(args).env("MESOS_MASTER", &self.meeting)
    }

    /// Waits until a listing has so many rows, whoever leads.
    fn wait_for(&self, listing: &[&str], count: usize) -> Vec<String> {
        poll::until(BACK_WITHIN, &format!("{count} rows of {listing:?}"), || {
            let listed = self.mesos(listing.iter().copied().chain(["--output", "quiet"])).run();
            let rows: Vec<String> = listed.stdout.lines().map(str::to_string).collect();
            (listed.code == Some(0) && rows.len() == count).then_some(rows)
        })
    }

    /// The index of the one that leads.
    fn leader(&self) -> usize {
        let leads = |(index, (address, master)): (usize, &(String, Option<Running>))| {
            (master.is_some() && get(address, "/health").is_some_and(|health| health.ends_with("ok\n")))
                .then_some(index)
        };
        poll::until(BACK_WITHIN, "a leader", || self.masters.iter().enumerate().find_map(leads))
    }

    fn stop(mut self) {
        for daemon in
            self.agent.take().into_iter().chain(self.masters.iter_mut().filter_map(|(_, master)| master.take()))
        {
            daemon.stop().expect_success();
        }
        self.home.assert_nothing_left();
    }
}

/// What a master answers over HTTP; none if it doesn't.
fn get(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A task that ends with exit code 7 when a file appears, and says so on its way.
fn waiting(gate: &Path) -> String {
    format!("echo up; while [ ! -e {} ]; do sleep 0.05; done; echo done; exit 7", gate.display())
}

#[test]
fn whichever_master_leads_may_die_or_be_stopped() {
    let mut all = Masters::start(or_skip!(ZooKeeper::single()));
    let gate = all.home.work().join("gate");
    let mut running = all.mesos(["run", "--", "sh", "-c", &waiting(&gate)]).limit(DAEMON_LIMIT).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    let before = all.wait_for(&["tasks"], 1);

    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let leader = all.leader();
        let master = all.masters[leader].1.take().expect("it leads");
        master.signal(signal);
        let ended = master.wait();
        if signal == Signal::SIGTERM {
            ended.expect_success();
        }
        assert_ne!(all.leader(), leader);
        assert_eq!(all.wait_for(&["tasks"], 1), before);
        all.wait_for(&["agents"], 1);
        all.start_master(leader);
    }
    // A new one is launched by whoever leads now, also for whom asks one that stands by.
    let leader = all.leader();
    let standby = all.masters[(leader + 1) % 3].0.clone();
    let other = all.home.cmd(["run", "--master", &standby, "--name", "other", "--", "echo", "hello"]).run();
    assert_eq!(other.expect_success().stdout, "hello\n");

    fs::write(&gate, "").expect("our folder");
    let ended = running.wait().expect_code(7);
    assert_eq!(ended.stdout, "up\ndone\n", "each line once: {ended}");
    all.stop();
}

#[test]
fn a_leader_that_was_paused_ends_when_it_goes_on() {
    let mut all = Masters::start(or_skip!(ZooKeeper::single()));
    let leader = all.leader();
    let paused = all.masters[leader].1.take().expect("it leads");
    paused.signal(Signal::SIGSTOP);
    assert_ne!(all.leader(), leader);
    all.wait_for(&["agents"], 1);
    let hello = all.mesos(["run", "--", "echo", "hello"]).run().expect_success();
    assert_eq!(hello.stdout, "hello\n");
    paused.signal(Signal::SIGCONT);
    let ended = paused.wait().expect_code(1);
    assert!(ended.stderr.contains("session") || ended.stderr.contains("leads now"), "{ended}");
    all.stop();
}

#[test]
fn where_nobody_leads_that_is_said() {
    let servers = or_skip!(ZooKeeper::single());
    let mesos = Mesos::new();
    let nowhere = servers.address("/nowhere");
    let listed = mesos.cmd(["tasks", "--master", &nowhere]).run().expect_error(&["no master leads at", "/nowhere"]);
    assert_eq!(listed.stderr.matches("waiting up to").count(), 1, "{listed}");
    let beyond = mesos.cmd(["master", "--zk", &nowhere, "--ip", "0.0.0.0"]).run();
    beyond.expect_code(2).expect_error(&["--token-file"]);
    mesos.assert_nothing_left();
}
