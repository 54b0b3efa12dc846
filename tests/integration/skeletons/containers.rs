//! Applications on two machines count through one scheduler, which is killed again and again.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use harness::mesos::files_below;
use harness::{Cluster, Running, poll};
use nix::sys::signal::Signal;

use super::installed;

const PATIENCE: Duration = Duration::from_secs(40);

/// An application: speaks lines with the executor of its machine.
struct Application {
    lines: BufReader<TcpStream>,
}

impl Application {
    fn connect(port_file: &Path) -> Self {
        let port: u16 = fs::read_to_string(port_file).unwrap().parse().unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(stream) }
    }

    fn say(&mut self, line: &str) {
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("an answer comes");
        line.trim_end().to_string()
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    fn count(&mut self) -> u64 {
        answer(&self.ask("count"))
    }
}

/// The scheduler half in a process of its own; the same framework each time.
fn scheduler(cluster: &Cluster, plugin: &Path) -> Running {
    let [config, identity] = ["config", "identity"].map(|name| cluster.home.work().join(name));
    fs::write(&config, "").unwrap();
    let cmd = cluster.mesos(["run-framework", "--name", "yarn", "--plugin"]).arg(plugin).arg("--config").arg(config);
    cmd.arg("--identity").arg(identity).limit(Duration::from_secs(300)).start()
}

fn kill_hard(running: Running) {
    running.signal(Signal::SIGKILL);
    running.wait();
}

fn port_files(cluster: &Cluster, count: usize) -> Vec<std::path::PathBuf> {
    poll::until(PATIENCE, "executors with sockets", || {
        let ports = files_below(cluster.home.folder()).into_iter().filter(|path| path.ends_with("port"));
        Some(ports.collect::<Vec<_>>()).filter(|ports| ports.len() == count)
    })
}

#[test]
fn frames_are_neither_lost_nor_doubled_when_the_scheduler_moves_and_containers_run_on() {
    let cluster = Cluster::on_loopback(2);
    let plugin = installed(&cluster, "containers");
    let mut running = scheduler(&cluster, &plugin);
    let ports = port_files(&cluster, 2);
    let mut first = Application::connect(&ports[0]);
    let mut second = Application::connect(&ports[1]);

    let container = first.ask("container");
    assert_eq!(container, "container c-1");
    let over = cluster.home.work().join("over");
    first.say(&format!("run c-1 while [ ! -e {} ]; do sleep 0.1; done", over.display()));

    let mut counted: Vec<u64> = Vec::new();
    for _ in 0..3 {
        counted.extend((0..20).flat_map(|_| [first.count(), second.count()]));
        // Frames in flight when it dies.
        (0..10).for_each(|_| second.say("count"));
        kill_hard(running);
        first.say("count");
        running = scheduler(&cluster, &plugin);
        counted.push(answer(&first.hear()));
        counted.extend((0..10).map(|_| answer(&second.hear())));
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=counted.len() as u64).collect::<Vec<_>>(), "each frame counts once");

    // Asked for while nobody schedules, and launched by the next one.
    kill_hard(running);
    second.say("container");
    let running = scheduler(&cluster, &plugin);
    assert_eq!(second.hear(), "container c-2");
    assert_eq!(second.ask("run c-2 exit 3"), "exit c-2 3");
    assert_eq!(second.ask("run c-9 true"), "error c-9 is no container that waits here");

    fs::write(over, "").unwrap();
    assert_eq!(first.hear(), "exit c-1 0", "it ran on under four schedulers");
    assert_eq!(port_files(&cluster, 2), ports, "the executors are the same");
    running.stop().expect_success();
    cluster.stop_and_assert_nothing_left();
}

fn answer(line: &str) -> u64 {
    line.strip_prefix("counted ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
}
