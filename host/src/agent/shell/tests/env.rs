//! An agent in a folder of its own, and the master's end of its link.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::v1::{
    AgentId, CommandInfo, FrameworkId, FrameworkInfo, Resources, TaskId, TaskInfo, TaskState, TaskStatus,
};
use tokio::sync::mpsc;

use crate::agent::{AgentConfig, AgentHandle, Bounds, MachineFiles, Master, start};
use crate::launcher::AgentLoss;
use crate::master::BlobStore;
use crate::protocol::client::{Connect, LocalMaster};
use crate::protocol::link::{Batch, Link};
use crate::protocol::{
    AgentCall, AgentEvent, KillTask, Register, Registered, RunTasks, UpdateAcknowledge, agent_call, agent_event,
};

/// No machine is so slow; a test that waits this long has failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct TestEnv {
    pub dir: tempfile::TempDir,
    pub agent: Option<AgentHandle>,
    pub blobs: Arc<BlobStore>,
    connects: mpsc::Receiver<Connect>,
    link: Option<Link<AgentEvent, AgentCall>>,
    /// The master's.
    epoch: u64,
    seen: std::collections::VecDeque<agent_call::Call>,
}

impl TestEnv {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// An agent that is registered.
    pub(super) async fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let dir = tempfile::Builder::new().prefix("agent-test").tempdir().expect("a temporary folder");
        // Tasks run as other users here.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("our own folder");
        let blobs = Arc::new(BlobStore::open(dir.path().join("blobs"), 1 << 30).expect("a folder"));
        let (connect, connects) = mpsc::channel(4);
        let mut config = config(&dir.path().join("work"));
        change(&mut config);
        let master = Master::Local(LocalMaster { connect, blobs: blobs.clone() });
        let agent = Some(start(config, master).await.expect("an agent"));
        let mut env = Self { dir, agent, blobs, connects, link: None, epoch: 0, seen: Default::default() };
        env.register(1).await;
        env
    }

    /// Takes the next connection and lets the agent in.
    pub(super) async fn register(&mut self, epoch: u64) -> Register {
        let connect = tokio::time::timeout(DEADLINE, self.connects.recv()).await.expect("in time");
        let Some(Connect::Agent(link)) = connect else { panic!("not an agent") };
        (self.link, self.epoch) = (Some(link), epoch);
        let register = self.take(|call| match call {
            agent_call::Call::Register(register) => Some(register.clone()),
            _ => None,
        });
        let register = register.await;
        self.tell(agent_event::Event::Registered(Registered {
            agent_id: agent(),
            master_epoch: epoch,
            silence_ms: None,
        }))
        .await;
        register
    }

    pub(super) fn hang_up(&mut self) {
        self.link = None;
    }

    pub(super) async fn tell(&mut self, event: agent_event::Event) {
        let link = self.link.as_ref().expect("a link");
        let batch = Batch { epoch: self.epoch, items: vec![AgentEvent { event: Some(event) }] };
        link.out.send(batch).await.expect("an agent that listens");
    }

    pub(super) async fn run(&mut self, tasks: Vec<TaskInfo>) {
        self.tell(agent_event::Event::RunTasks(RunTasks { framework: framework(), tasks, ..RunTasks::default() }))
            .await;
    }

    pub(super) async fn kill(&mut self, task: &str, grace_ms: Option<u64>) {
        let (framework_id, task_id) = (framework_id(), TaskId::from(task));
        let kill = KillTask { framework_id, task_id, grace_ms, reason: None, message: None };
        self.tell(agent_event::Event::KillTask(kill)).await;
    }

    /// The first call that fits; those before it are kept.
    pub(super) async fn take<T>(&mut self, fits: impl Fn(&agent_call::Call) -> Option<T>) -> T {
        if let Some(place) = self.seen.iter().position(|call| fits(call).is_some()) {
            return self.seen.remove(place).and_then(|call| fits(&call)).expect("it fitted");
        }
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let link = self.link.as_mut().expect("a link");
            let batch = tokio::time::timeout_at(deadline, link.inbox.recv()).await;
            let batch = batch.unwrap_or_else(|_| panic!("nothing fits in {:#?}", self.seen)).expect("a link");
            let mut found = None;
            for call in batch.items.into_iter().filter_map(|call| call.call) {
                match found.is_none().then(|| fits(&call)).flatten() {
                    Some(fit) => found = Some(fit),
                    None => self.seen.push_back(call),
                }
            }
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// The next state of a task, acknowledged.
    pub(super) async fn update(&mut self, task: &str) -> TaskStatus {
        let status = self.take(|call| match call {
            agent_call::Call::Update(update) if update.status.task_id.as_str() == task => Some(update.status.clone()),
            _ => None,
        });
        let status = status.await;
        let (framework_id, update_seq) = (framework_id(), status.update_seq.expect("a number"));
        let task_id = status.task_id.clone();
        let acknowledge = UpdateAcknowledge { framework_id, task_id, update_seq };
        self.tell(agent_event::Event::UpdateAcknowledge(acknowledge)).await;
        status
    }

    /// The states up to the terminal one.
    pub(super) async fn states(&mut self, task: &str) -> (Vec<TaskState>, TaskStatus) {
        let mut states = Vec::new();
        loop {
            let status = self.update(task).await;
            states.push(status.state());
            if status.state().is_terminal() {
                return (states, status);
            }
        }
    }

    /// Runs a shell line to its end.
    pub(super) async fn end_of(&mut self, task: TaskInfo) -> TaskStatus {
        let id = task.id.clone();
        self.run(vec![task]).await;
        self.states(id.as_str()).await.1
    }

    pub(super) fn sandbox(&self, task: &str) -> PathBuf {
        self.dir.path().join("work/sandboxes/f-1").join(task)
    }

    pub(super) fn output(&self, task: &str) -> String {
        std::fs::read_to_string(self.sandbox(task).join("stdout")).expect("an output file")
    }

    /// Looks until it is so, for as long as a test may take.
    pub(super) async fn wait_for(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(tokio::time::Instant::now() < deadline, "it did not come to be in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the agent, and checks that nothing of it is left.
    pub(super) async fn stop(mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop().await;
        }
        nothing_runs(self.dir.path()).await;
    }
}

/// What has let go of everything may still be on its last instructions.
pub(super) async fn nothing_runs(folder: &Path) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    while !processes_of(folder).is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(processes_of(folder), Vec::<String>::new(), "nothing stays running");
}

/// Processes with the folder in their environment, arguments or working directory.
pub(super) fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("a plain name");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if is_process && !own {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let text = [read("environ"), read("cmdline")].concat();
            if String::from_utf8_lossy(&text).contains(folder) {
                found.push(String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
            }
        }
    }
    found
}

pub(super) fn config(work_dir: &Path) -> AgentConfig {
    AgentConfig {
        work_dir: work_dir.to_owned(),
        hostname: "here".to_string(),
        address: [127, 0, 0, 1].into(),
        listen: ([127, 0, 0, 1], 0).into(),
        resources: "cpus:4;mem:1024;ports:[31000-31010]".parse().expect("resources"),
        attributes: Vec::new(),
        on_agent_loss: AgentLoss::Kill,
        remove_at_end: false,
        shared_folder: None,
        program: None,
        bounds: Bounds::default(),
        machine: MachineFiles::default(),
    }
}

pub(super) fn agent() -> AgentId {
    "a-1".into()
}

pub(super) fn framework_id() -> FrameworkId {
    "f-1".into()
}

pub(super) fn framework() -> FrameworkInfo {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).expect("a user database").expect("us").name;
    FrameworkInfo { name: "test".into(), user, role: "*".into(), id: Some(framework_id()), ..FrameworkInfo::default() }
}

pub(super) fn shell(id: &str, line: &str) -> TaskInfo {
    let command = CommandInfo::shell_line(line).with_env("PATH", "/usr/local/bin:/usr/bin:/bin");
    TaskInfo::command(id, agent(), Resources::new(0.1, 16.0), command)
}
