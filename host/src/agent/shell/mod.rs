//! The I/O around the agent's core: one task owns the core, gives it what happens, and carries out what it wants.

mod as_user;
pub(crate) mod bounds;
mod checkpoints;
mod config;
pub mod detect;
mod executors;
mod fetcher;
mod files;
mod launches;
mod link;
mod processes;
mod recovery;
mod sandboxes;
mod users;
mod volumes;
mod work_dir;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::v1::AgentInfo;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

pub use config::{AgentConfig, AgentError, Bounds, MachineFiles, Master};

use self::checkpoints::Checkpoints;
use self::executors::Executors;
use self::fetcher::{Fetcher, MasterSlot};
use self::files::{Execs, Files};
use self::link::{MasterLink, Opened};
use self::processes::Process;
use self::sandboxes::{Attic, Sandboxes};
use self::users::Users;
use self::volumes::Volumes;
use self::work_dir::WorkDir;
use super::core::{Agent, Settings};
use super::event::{Effect, Event, Launch, LocalId};
use crate::hex::{fresh_random, hex};
use crate::launcher::{self, LauncherClient, LauncherEvents, Request};
use crate::protocol::link::Batch;
use crate::protocol::{AgentCall, AgentEvent};
use crate::time::Clock;

/// Events of fetches, executors and connections that wait for the core; then they wait.
const EVENTS_MAX: usize = 1024;
/// How long the launcher may take to end everything.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// While the launcher has much before it, its news are taken together: each batch wakes master and framework once. Shorter than
/// half of what it has before it takes.
const NEWS_INTERVAL: Duration = Duration::from_millis(8);
/// Launches that the launcher has before it, so that none of its threads waits for the next.
const LAUNCHING_PER_CORE_MAX: usize = 64;

/// An agent that runs.
#[derive(Debug)]
pub struct AgentHandle {
    port: u16,
    stop: Option<oneshot::Sender<End>>,
    task: JoinHandle<Option<String>>,
}

impl AgentHandle {
    /// Where output is served.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for an end that nobody asked for, and returns the line that says why.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(line) => line.unwrap_or_else(|| "the agent was stopped".to_string()),
            Err(error) => format!("the agent's task failed: {error}"),
        }
    }

    /// Kills all that runs here and waits until it is gone. The next agent in its folder is a new one.
    pub async fn stop(self) {
        self.end(End::Everything).await;
    }

    /// Ends the agent only. Its tasks run on and wait for the next agent in its folder, unless they are to be killed on its loss.
    pub async fn leave(self) {
        self.end(End::Agent).await;
    }

    async fn end(mut self, end: End) {
        if let Some(stop) = self.stop.take() {
            // It has ended by itself, otherwise.
            let _ = stop.send(end);
        }
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Agent,
    Everything,
}

/// Starts an agent on the current tokio runtime. It looks for its master by itself.
///
/// What an agent before it has left in its folder, it takes up.
///
/// # Errors
/// The work folder is another agent's, the port is taken, there is no launcher, or what runs here doesn't fit any more.
pub async fn start(config: AgentConfig, master: Master) -> Result<AgentHandle, AgentError> {
    let work_dir = WorkDir::open(&config.work_dir)?;
    let listen_error = |cause| AgentError::Listen { address: config.listen, cause };
    let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let port = listener.local_addr().map_err(listen_error)?.port();
    let volumes = Volumes::new(&work_dir.path);
    let settings = Settings { volumes: volumes.find(), ..settings(&config, &work_dir, port) };
    let recovered = recovery::recover(&config, &work_dir.path, settings)?;
    let reached = recovery::reach_launcher(&config, &work_dir.path, recovered.adoptions()).await?;
    let (launcher, launched) = LauncherClient::new(reached.connection).map_err(AgentError::Channel)?;
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let executors = Executors::new(work_dir.secret.clone(), events.clone());
    let socket = executors.listen(&work_dir.executor_socket())?;
    let master_slot = MasterSlot::default();
    let (stop, stopped) = oneshot::channel();
    let (clock, sandboxes) = (Clock::default(), Arc::new(Sandboxes::new(&work_dir.path)));
    let execs = Execs::new(launcher.clone(), &hex(&fresh_random::<4>()));
    let secret = work_dir.secret.clone();
    let files = Files { sandboxes: sandboxes.clone(), secret, clock, execs: execs.clone() };
    let server = files::serve(files, listener, config.listen)?;
    let mut shell = Shell {
        clock,
        core: recovered.core,
        checkpoints: recovered.checkpoints,
        master,
        link: None,
        opened: mpsc::channel(1),
        outgoing: Vec::new(),
        launcher,
        launchers_lost: Vec::new(),
        requests: Vec::new(),
        waiting: BTreeMap::new(),
        launching: BTreeSet::new(),
        launching_max: LAUNCHING_PER_CORE_MAX * std::thread::available_parallelism().map_or(1, usize::from),
        processes: BTreeMap::new(),
        users: Users::default(),
        volumes,
        sandboxes,
        attic: Attic::open(&work_dir.path, config.bounds),
        fetcher: Arc::new(Fetcher::new(work_dir.cache(), config.bounds.cache_bytes_max, master_slot.clone())),
        master_slot,
        executors,
        events,
        incarnation: recovered.containers,
        execs,
        outputs: bounds::Outputs::watch(config.bounds.output_bytes_max),
        program: config.program.clone().unwrap_or_else(own_program),
        exit: None,
        servers: vec![socket, server],
        config,
        work_dir,
    };
    shell.take_up(recovered.before, reached.left);
    let task = tokio::spawn(shell.run(launched, inbox, stopped));
    Ok(AgentHandle { port, stop: Some(stop), task })
}

fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into())
}

fn settings(config: &AgentConfig, work_dir: &WorkDir, port: u16) -> Settings {
    Settings {
        info: AgentInfo {
            hostname: config.hostname.clone(),
            address: config.address.to_string(),
            port: port.into(),
            resources: config.resources.clone(),
            attributes: config.attributes.clone(),
            id: None,
        },
        version: env!("CARGO_PKG_VERSION").to_string(),
        secret: work_dir.secret.clone(),
        boot_id: config.machine.boot_id(),
        work_dir: work_dir.path.clone(),
        volumes: Vec::new(),
    }
}

/// What the launcher says, not before that moment.
async fn news(
    launched: &mut LauncherEvents,
    at: Option<Instant>,
) -> Result<Vec<launcher::Event>, launcher::ConnectionError> {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
    launched.next_batch().await
}

struct Shell {
    clock: Clock,
    core: Agent,
    checkpoints: Checkpoints,
    config: AgentConfig,
    work_dir: WorkDir,
    master: Master,
    master_slot: MasterSlot,
    link: Option<MasterLink>,
    opened: (mpsc::Sender<Opened>, mpsc::Receiver<Opened>),
    /// Calls for the next batch.
    outgoing: Vec<AgentCall>,
    launcher: LauncherClient,
    /// When launchers died.
    launchers_lost: Vec<std::time::Instant>,
    /// Requests for the next batch.
    requests: Vec<Request>,
    /// What is to be prepared, in turn.
    waiting: BTreeMap<LocalId, Launch>,
    /// What the launcher has been asked to launch and hasn't said to run.
    launching: BTreeSet<LocalId>,
    launching_max: usize,
    processes: BTreeMap<LocalId, Process>,
    users: Users,
    volumes: Volumes,
    sandboxes: Arc<Sandboxes>,
    attic: Attic,
    fetcher: Arc<Fetcher>,
    executors: Executors,
    events: mpsc::Sender<Event>,
    /// Begins the names of containers: tells this agent's from another one's.
    incarnation: String,
    execs: Execs,
    outputs: bounds::Outputs,
    program: PathBuf,
    exit: Option<String>,
    servers: Vec<AbortHandle>,
}

impl Shell {
    async fn run(
        mut self,
        mut launched: LauncherEvents,
        mut inbox: mpsc::Receiver<Event>,
        mut stopped: oneshot::Receiver<End>,
    ) -> Option<String> {
        // Nobody is promised anything by an agent that can't go on.
        let mut end = if self.keeps_tasks() { End::Agent } else { End::Everything };
        self.handle([Event::Started]);
        let mut news_at = None;
        while self.exit.is_none() {
            let deadline = self.core.deadline();
            let out = self.link.as_ref().filter(|_| !self.outgoing.is_empty()).map(|link| link.out.clone());
            let removal = self.attic.next_age_out();
            tokio::select! {
                biased;
                said = &mut stopped => {
                    end = said.unwrap_or(end);
                    break;
                }
                events = news(&mut launched, news_at) => {
                    match events {
                        Ok(events) => self.on_launcher(events),
                        Err(error) => match self.replace_launcher(&error.to_string()).await {
                            Some(next) => launched = next,
                            None => break,
                        },
                    }
                    let is_busy = self.launching.len() >= self.launching_max / 2 || !self.waiting.is_empty();
                    news_at = is_busy.then(|| Instant::now() + NEWS_INTERVAL);
                }
                Some(event) = inbox.recv() => {
                    let more = std::iter::from_fn(|| inbox.try_recv().ok()).take(EVENTS_MAX).collect::<Vec<_>>();
                    self.handle(std::iter::once(event).chain(more));
                }
                Some(link) = self.opened.1.recv() => self.on_opened(link),
                () = link::leader_found(&mut self.master) => self.handle([Event::LeaderFound]),
                batch = link::receive(&mut self.link) => self.on_batch(batch),
                room = link::room(out) => match room {
                    Some(room) => {
                        let items = std::mem::take(&mut self.outgoing);
                        drop(room.send(Batch { epoch: self.core.epoch(), items }));
                    }
                    None => self.on_batch(None),
                },
                () = self.clock.sleep_until(deadline) => self.handle([Event::Tick]),
                () = tokio::time::sleep(removal.unwrap_or_default()), if removal.is_some() => self.clean(),
            }
            self.flush();
        }
        self.end(end, launched).await;
        self.exit
    }

    /// Events that come together are one write of checkpoints.
    fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut effects = Vec::new();
        for event in events {
            self.core.handle(self.clock.now(), event, &mut effects);
        }
        self.carry_out(&mut effects);
    }

    /// Until nothing more follows from what was carried out at once.
    fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        let mut next = Vec::new();
        while !effects.is_empty() {
            for effect in effects.drain(..) {
                if let Some(event) = self.perform(effect) {
                    self.core.handle(self.clock.now(), event, &mut next);
                }
            }
            if let Some(event) = self.commit() {
                self.core.handle(self.clock.now(), event, &mut next);
            }
            std::mem::swap(effects, &mut next);
        }
    }

    /// What can be done at once answers with its event.
    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Connect => link::open(self.master.clone(), self.master_slot.clone(), self.opened.0.clone()),
            Effect::Disconnect => self.drop_link(),
            Effect::Send(call) if self.link.is_some() => self.outgoing.push(AgentCall { call: Some(call) }),
            Effect::Send(_) => {}
            Effect::Persist { seq, checkpoint } => self.checkpoints.add(seq, &checkpoint),
            Effect::Prepare { id, launch } => drop(self.waiting.insert(id, launch)),
            Effect::MakeVolume { record } => return self.make_volume(record),
            Effect::RemoveVolume { id } => self.remove_volume(id),
            Effect::Mount { id, process, sandbox, mounts } => {
                return Some(self.mount(id, process, &sandbox, &mounts));
            }
            Effect::Abandon { id } => self.abandon(id),
            Effect::Launch { id } => self.launch(id),
            Effect::ShareSandbox { id, framework_id, task_id, executor } => {
                self.share_sandbox(id, framework_id, task_id, executor);
            }
            Effect::Signal { id, signal } => self.signal(id, signal),
            Effect::SendExecutor { id, frame } => self.executors.send(id, frame),
            Effect::Ended { id } => self.ended(id),
            Effect::Exit { message } => self.exit = Some(message),
            Effect::Warn { message } => tracing::warn!("{message}"),
        }
        None
    }

    fn on_opened(&mut self, link: Opened) {
        match link {
            Ok(link) => {
                self.link = Some(link);
                self.handle([Event::Connected]);
            }
            Err(error) => self.handle([Event::Disconnected { cause: error.to_string() }]),
        }
    }

    fn on_batch(&mut self, batch: Option<Batch<AgentEvent>>) {
        match batch {
            Some(Batch { epoch, items }) => {
                let said = items.into_iter().filter_map(|event| event.event).map(Event::Master);
                self.handle(std::iter::once(Event::EpochHeard { epoch }).chain(said));
            }
            None => {
                self.drop_link();
                self.handle([Event::Disconnected { cause: "the connection to the master broke".to_string() }]);
            }
        }
    }

    fn drop_link(&mut self) {
        self.link = None;
        self.outgoing.clear();
        self.master_slot.send_replace(None);
    }

    /// What doesn't go now is tried again after the launcher's next word, of which there are some if it has so much to do.
    fn flush(&mut self) {
        self.prepare_waiting();
        if !self.requests.is_empty() {
            match self.launcher.try_send(std::mem::take(&mut self.requests)) {
                Ok(rest) => self.requests = rest.unwrap_or_default(),
                Err(error) => tracing::debug!("cannot ask the launcher: {error}"),
            }
        }
    }

    fn clean(&mut self) {
        let old = self.attic.take_old(&self.sandboxes);
        if !old.is_empty() {
            tokio::task::spawn_blocking(move || sandboxes::remove_all(old));
        }
    }

    async fn end(&mut self, end: End, launched: LauncherEvents) {
        self.servers.iter().for_each(AbortHandle::abort);
        self.link = None;
        self.processes.values().for_each(Process::abandon);
        if end == End::Everything || !self.keeps_tasks() {
            self.end_everything(launched).await;
        }
    }

    /// Leaves nothing behind that it has started.
    async fn end_everything(&mut self, mut launched: LauncherEvents) {
        let over = async {
            // Its end is the end of its events.
            let asked = self.launcher.send(vec![Request::Shutdown]).await;
            while asked.is_ok() && launched.next().await.is_ok() {}
            self.work_dir.launcher_gone().await;
            self.checkpoints.remove();
        };
        if tokio::time::timeout(STOP_TIMEOUT, over).await.is_err() {
            tracing::warn!("the launcher did not end in time; see launcher.log in {}", self.work_dir.path.display());
        }
        if self.config.remove_at_end
            && let Err(error) = std::fs::remove_dir_all(&self.work_dir.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the work folder {}: {error}", self.work_dir.path.display());
        }
    }
}
