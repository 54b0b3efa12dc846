//! Agents and launchers that die, and agents that are started in their place: what runs goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::processes::Process;
use harness::{Cluster, Mpi, Running, or_skip, poll, programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long things may take on a slow and busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A master, and an agent that keeps its tasks when it dies.
struct Env {
    cluster: Cluster,
    agent: Option<Running>,
    gate: PathBuf,
}

impl Env {
    fn new() -> Env {
        let cluster = Cluster::on_loopback(0);
        let gate = cluster.home.work().join("gate");
        let mut env = Env { cluster, agent: None, gate };
        env.start_agent(&[]);
        env.cluster.wait_for_agents(1);
        env
    }

    fn work_dir(&self) -> PathBuf {
        self.cluster.home.folder().join("agent")
    }

    fn start_agent(&mut self, more: &[&str]) {
        let running = self.agent_with(&self.work_dir(), more);
        self.agent = Some(running);
    }

    /// What is given in `more` counts.
    fn agent_with(&self, folder: &Path, more: &[&str]) -> Running {
        let resources = if more.contains(&"--resources") { &[][..] } else { &["--resources", "cpus:4;mem:4096"][..] };
        let cmd =
            self.cluster.home.cmd(["agent", "--master", self.cluster.address(), "--ip", "127.0.0.1", "--port", "0"]);
        let cmd = cmd.args(["--hostname", "m1"]).args(resources).args(more).arg("--work-dir").arg(folder);
        cmd.limit(Duration::from_secs(300)).start()
    }

    fn kill_agent(&mut self) {
        let agent = self.agent.take().expect("it runs");
        agent.signal(Signal::SIGKILL);
        agent.wait();
    }

    fn kill_launcher(&self) -> i32 {
        let pid = self.launcher().expect("a launcher runs");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
        pid
    }

    fn launcher(&self) -> Option<i32> {
        self.cluster.home.processes().into_iter().find(Process::is_launcher).map(|process| process.pid)
    }

    /// The processes of a program, in order.
    fn pids_of(&self, program: &Path) -> Vec<i32> {
        let name = program.display().to_string();
        let all = self.cluster.home.processes().into_iter();
        all.filter(|process| process.command.starts_with(&name)).map(|process| process.pid).collect()
    }

    /// Waits until the process of a task that said which it is has ended.
    fn wait_for_end_of(&self, running: &Running) {
        let pid: i32 = running.stdout().split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("it said so");
        poll::until(SOON, "the end of the task's process", || {
            (!self.cluster.home.processes().iter().any(|process| process.pid == pid)).then_some(())
        });
    }

    fn open_gate(&self) {
        fs::write(&self.gate, "").expect("our folder");
    }

    /// A task that says which process it is, waits for the gate, and ends with that code.
    fn waiting(&self, code: i32) -> Running {
        let gate = self.gate.display();
        let script = format!("echo up $$; while [ ! -e {gate} ]; do sleep 0.05; done; echo done $$; exit {code}");
        let mut running = self.cluster.mesos(["run", "--", "sh", "-c", &script]).start();
        running.wait_for_lines(1, "its first line", |line| line.starts_with("up "));
        running
    }

    fn wait_for_tasks(&self, wanted: &[String]) {
        poll::until(SOON, "the tasks of before", || {
            let listed = self.cluster.mesos(["tasks", "--output", "quiet"]).run();
            let ids: Vec<String> = listed.stdout.lines().map(str::to_string).collect();
            (listed.code == Some(0) && ids == wanted).then_some(())
        });
    }

    /// Waits until the agent is connected.
    fn wait_for_agent(&self) {
        poll::until(SOON, "the agent", || {
            let listed = self.cluster.mesos(["agents", "--output", "json"]).run();
            (listed.code == Some(0) && listed.stdout.contains("\"connected\": true")).then_some(())
        });
    }

    fn stop(mut self) {
        let agent = self.agent.take().expect("it runs");
        agent.signal(Signal::SIGUSR1);
        agent.wait().expect_success();
        self.cluster.stop_and_assert_nothing_left();
    }
}

/// The process of a task that says `up PID` and `done PID`: the same all the time.
fn same_process(stdout: &str) -> i32 {
    let words: Vec<&str> = stdout.split_whitespace().collect();
    assert!(
        matches!(words[..], ["up", first, "done", last] if first == last),
        "each line once, one process: {stdout:?}"
    );
    words[1].parse().expect("a pid")
}

#[test]
fn a_task_goes_on_when_its_agent_is_killed_and_started_again() {
    let mut env = Env::new();
    let running = env.waiting(7);
    let (tasks, agents, launcher) = (env.cluster.ids("tasks"), env.cluster.ids("agents"), env.launcher());
    for _ in 0..2 {
        env.kill_agent();
        env.start_agent(&[]);
        env.wait_for_agent();
        env.wait_for_tasks(&tasks);
        assert_eq!(env.cluster.ids("agents"), agents, "it has the same id");
        assert_eq!(env.launcher(), launcher, "it lives on");
    }
    env.open_gate();
    let ended = running.wait().expect_code(7);
    same_process(&ended.stdout);
    env.stop();
}

#[test]
fn a_task_that_ends_without_its_agent_is_heard_of_once() {
    let mut env = Env::new();
    let running = env.waiting(7);
    env.kill_agent();
    env.open_gate();
    env.wait_for_end_of(&running);
    env.start_agent(&[]);
    let ended = running.wait().expect_code(7);
    same_process(&ended.stdout);
    env.stop();
}

#[test]
fn an_mpi_job_goes_on_when_its_agent_is_killed() {
    let mpi = or_skip!(Mpi::mpich());
    let mut env = Env::new();
    let forever = programs::compiled(&mpi, "forever");
    let mut running = env.cluster.mesos(["run-mpi", "-n", "4"]).arg(&forever).start();
    running.wait_for_lines(4, "ranks that are up", |line| line.ends_with("is up"));
    let tasks = env.cluster.ids("tasks");
    let before = env.pids_of(&forever);
    assert_eq!(before.len(), 4);
    env.kill_agent();
    env.start_agent(&[]);
    env.wait_for_agent();
    env.wait_for_tasks(&tasks);
    assert_eq!(env.pids_of(&forever), before, "the same processes");
    running.ctrl_c();
    running.wait().expect_code(130);
    env.wait_for_tasks(&[]);
    env.stop();
}

#[test]
fn a_task_goes_on_when_the_launcher_is_killed_and_how_it_ends_is_not_invented() {
    let env = Env::new();
    let running = env.waiting(0);
    let before = env.kill_launcher();
    poll::until(SOON, "another launcher", || env.launcher().filter(|pid| *pid != before));
    env.open_gate();
    let ended = running.wait();
    same_process(&ended.stdout);
    assert_ne!(ended.code, Some(0), "nobody knows that: {ended}");
    assert!(ended.stderr.contains("no longer says how"), "{ended}");
    env.stop();
}

#[test]
fn a_task_goes_on_when_agent_and_launcher_are_killed_and_can_be_ended() {
    let mut env = Env::new();
    let mut running = env.cluster.mesos(["run", "--", "sh", "-c", "echo up $$; sleep 600 & wait"]).start();
    running.wait_for_lines(1, "its first line", |line| line.starts_with("up "));
    let tasks = env.cluster.ids("tasks");
    env.kill_agent();
    env.kill_launcher();
    env.start_agent(&[]);
    env.wait_for_agent();
    env.wait_for_tasks(&tasks);
    running.ctrl_c();
    running.wait().expect_code(130);
    env.wait_for_tasks(&[]);
    env.stop();
}

#[test]
fn a_local_cluster_that_lost_its_launchers_leaves_nothing_behind() {
    let cluster = Cluster::up(1);
    let mut running = cluster.mesos(["run", "--", "sh", "-c", "echo up; sleep 600 & wait"]).start();
    running.wait_for_lines(1, "its first line", |line| line == "up");
    let launcher = cluster.home.processes().into_iter().find(Process::is_launcher).expect("one runs").pid;
    kill(Pid::from_raw(launcher), Signal::SIGKILL).expect("it is ours");
    cluster.stop_and_assert_nothing_left();
}

#[test]
fn term_leaves_tasks_to_the_next_agent() {
    let mut env = Env::new();
    let running = env.waiting(7);
    let tasks = env.cluster.ids("tasks");
    env.agent.take().expect("it runs").stop().expect_success();
    env.start_agent(&["--attributes", "rack:r2", "--resources", "cpus:8;mem:8192"]);
    env.wait_for_agent();
    env.wait_for_tasks(&tasks);
    let agents = env.cluster.mesos(["agents", "--output", "json"]).run().expect_success().stdout;
    assert!(agents.contains("r2") && agents.contains("8192"), "more, and another attribute: {agents}");
    env.open_gate();
    same_process(&running.wait().expect_code(7).stdout);
    env.stop();
}

#[test]
fn an_agent_that_would_have_less_than_its_tasks_says_what_to_drain() {
    let mut env = Env::new();
    let running = env.waiting(7);
    env.kill_agent();
    let less = env.agent_with(&env.work_dir(), &["--resources", "cpus:0.01;mem:1"]);
    less.wait().expect_error(&["drain", "cpus"]);
    env.start_agent(&[]);
    env.open_gate();
    same_process(&running.wait().expect_code(7).stdout);
    env.stop();
}

#[test]
fn a_copied_work_folder_is_refused() {
    let mut env = Env::new();
    env.kill_agent();
    let copy = env.cluster.home.folder().join("copy");
    fs::create_dir(&copy).expect("our folder");
    fs::copy(env.work_dir().join("checkpoints"), copy.join("checkpoints")).expect("it is there");
    env.agent_with(&copy, &[]).wait().expect_error(&["was copied", "checkpoints"]);
    let machine = env.cluster.home.file("machine-id", "another\n").display().to_string();
    if Path::new("/etc/machine-id").exists() {
        let other = env.agent_with(&env.work_dir(), &["--machine-id-file", &machine]);
        other.wait().expect_error(&["was copied", "machine"]);
    }
    env.start_agent(&[]);
    env.wait_for_agent();
    env.stop();
}

#[test]
fn after_a_reboot_tasks_are_lost_once() {
    let mut env = Env::new();
    let running = env.waiting(7);
    let task: i32 = running.stdout().split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("it said so");
    env.kill_agent();
    env.kill_launcher();
    kill(Pid::from_raw(task), Signal::SIGKILL).expect("it is ours");
    let boot = env.cluster.home.file("boot-id", "another\n").display().to_string();
    env.start_agent(&["--boot-id-file", &boot]);
    let ended = running.wait();
    assert!(ended.code != Some(0) && ended.stderr.contains("started anew"), "{ended}");
    env.wait_for_tasks(&[]);
    env.kill_agent();
    env.start_agent(&["--boot-id-file", &boot]);
    env.wait_for_agent();
    env.stop();
}

#[test]
fn damage_costs_one_task_and_a_cut_costs_nothing() {
    let mut env = Env::new();
    let (kept, lost) = (env.waiting(7), env.waiting(41));
    env.kill_agent();
    let path = env.work_dir().join("checkpoints");
    let mut bytes = fs::read(&path).expect("it is there");
    let at = bytes.windows(7).position(|text| text == b"exit 41").expect("the task's command is in its record");
    bytes[at] ^= 1;
    bytes.extend(b"MCP1 cut");
    fs::write(&path, bytes).expect("our folder");
    env.start_agent(&[]);
    let ended = lost.wait();
    assert!(ended.code.is_some_and(|code| code != 0 && code != 41), "{ended}");
    env.open_gate();
    same_process(&kept.wait().expect_code(7).stdout);
    let said = env.agent.as_ref().expect("it runs").stderr();
    let path = path.display().to_string();
    assert!(said.contains("is damaged") && said.contains(&path), "{said}");
    env.stop();
}
