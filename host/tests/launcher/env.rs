//! A launcher in a folder of its own, the agent's side of it, and a look at processes.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesos_host::launcher::{
    AgentLoss, Connection, Event, ExitStatus, Exited, LaunchFailed, LaunchSpec, Launched, Listed, Request, Scope, start,
};

/// No machine is so slow; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct TestEnv {
    pub dir: tempfile::TempDir,
    pub agent: Agent,
}

/// What a test sees of a launcher. Events that it doesn't wait for yet are kept.
pub struct Agent {
    connection: Connection,
    seen: VecDeque<Event>,
}

impl TestEnv {
    /// A launcher that keeps its tasks.
    pub fn new() -> Self {
        Self::with(AgentLoss::Keep(Some(DEADLINE)))
    }

    pub fn with(on_agent_loss: AgentLoss) -> Self {
        let dir = tempfile::Builder::new().prefix("launcher-test").tempdir().expect("a temporary folder");
        // Tasks run as other users here.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("our own folder");
        let agent = Agent::new(start(dir.path(), on_agent_loss).expect("a launcher"));
        Self { dir, agent }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A shell script in the folder, with a usual environment.
    pub fn script(&self, container: &str, script: &str) -> LaunchSpec {
        let mut spec = LaunchSpec::new(container, ["/bin/sh", "-c", script]);
        spec.cwd = self.dir.path().to_owned();
        spec.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
        spec
    }

    /// Launches a script and waits for its end.
    pub fn run(&mut self, spec: LaunchSpec) -> Exited {
        let container = spec.container.clone();
        self.agent.launch(spec);
        self.agent.launched(&container);
        self.agent.exited(&container)
    }

    pub fn fail(&mut self, spec: LaunchSpec) -> LaunchFailed {
        let container = spec.container.clone();
        self.agent.launch(spec);
        self.agent.failed(&container)
    }
}

/// Ends the launcher, and checks that it leaves nothing running.
impl Drop for TestEnv {
    fn drop(&mut self) {
        if self.agent.connection.send([Request::Shutdown]).is_ok() {
            while let Ok(Some(_)) = self.agent.connection.next(DEADLINE) {}
        }
        let left = processes_of(self.dir.path());
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<i32>::new(), "nothing stays running: {:?}", self.path("launcher.log"));
        }
    }
}

impl Agent {
    pub fn new(connection: Connection) -> Self {
        Self { connection, seen: VecDeque::new() }
    }

    pub fn send(&mut self, requests: impl IntoIterator<Item = Request>) {
        self.connection.send(requests).expect("a launcher that listens");
    }

    pub fn launch(&mut self, spec: LaunchSpec) {
        self.send([Request::Launch(Box::new(spec))]);
    }

    pub fn kill(&mut self, container: &str, signal: i32, scope: Scope) {
        self.send([Request::Signal { container: container.to_owned(), signal, scope }]);
    }

    pub fn launched(&mut self, container: &str) -> Launched {
        self.take(|event| match event {
            Event::Launched(launched) if launched.container == container => Ok(launched),
            other => Err(other),
        })
    }

    pub fn failed(&mut self, container: &str) -> LaunchFailed {
        self.take(|event| match event {
            Event::LaunchFailed(failed) if failed.container == container => Ok(failed),
            other => Err(other),
        })
    }

    pub fn exited(&mut self, container: &str) -> Exited {
        self.take(|event| match event {
            Event::Exited(exited) if exited.container == container => Ok(exited),
            other => Err(other),
        })
    }

    pub fn refused(&mut self) -> (String, String) {
        self.take(|event| match event {
            Event::Refused { container, message } => Ok((container, message)),
            other => Err(other),
        })
    }

    /// Everything that the launcher knows, by name.
    pub fn list(&mut self) -> BTreeMap<String, Listed> {
        self.send([Request::List]);
        let mut all = BTreeMap::new();
        loop {
            let (part, last) = self.take(|event| match event {
                Event::Listing { containers, last } => Ok((containers, last)),
                other => Err(other),
            });
            all.extend(part.into_iter().map(|listed| (name(&listed).to_owned(), listed)));
            if last {
                return all;
            }
        }
    }

    /// Waits until the launcher has closed the connection.
    pub fn wait_for_end(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.connection.next(Duration::from_secs(1)).is_ok() {
            assert!(Instant::now() < deadline, "the launcher still serves");
        }
    }

    /// Events that came and that nobody waited for.
    pub fn unseen(&mut self) -> usize {
        while let Ok(Some(event)) = self.connection.next(Duration::ZERO) {
            self.seen.push_back(event);
        }
        self.seen.len()
    }

    fn take<T>(&mut self, mut wanted: impl FnMut(Event) -> Result<T, Event>) -> T {
        for _ in 0..self.seen.len() {
            let event = self.seen.pop_front().expect("counted");
            match wanted(event) {
                Ok(found) => return found,
                Err(event) => self.seen.push_back(event),
            }
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.connection.next(left).expect("a launcher that answers");
            let event = event.unwrap_or_else(|| panic!("nothing in time; before it came {:?}", self.seen));
            match wanted(event) {
                Ok(found) => return found,
                Err(event) => self.seen.push_back(event),
            }
        }
    }
}

pub fn name(listed: &Listed) -> &str {
    match listed {
        Listed::Launching { container } => container,
        Listed::Running(launched) => &launched.container,
        Listed::Exited(exited) => &exited.container,
        Listed::Failed(failed) => &failed.container,
    }
}

pub fn code(exited: &Exited) -> i32 {
    match exited.status {
        ExitStatus::Code(code) => code,
        other => panic!("{} ended by {other:?}", exited.container),
    }
}

/// Polls until something is so.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The number that a script writes to a file.
pub fn pid_in(file: &Path) -> i32 {
    wait_for(&format!("a pid in {}", file.display()), || std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Processes whose working folder is this one or below.
pub fn processes_of(dir: &Path) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir))).collect()
}
