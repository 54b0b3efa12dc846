//! From what an agent before this one has left to an agent that goes on.
//!
//! ```text
//! checkpoints ─▶ whose are they? ─▶ core ─▶ processes, sandboxes, executors ─▶ Found ─▶ a new log ─▶ the loop
//! launcher ──── one that lives: its list ─────────────────────────────────────▲
//! ```

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoints::{self, Checkpoints, LAYOUT, Snapshot};
use super::config::{AgentConfig, AgentError};
use super::{STOP_TIMEOUT, Shell};
use crate::agent::core::{Agent, Settings};
use crate::agent::event::{Event, Found, LocalId, Others};
use crate::hex::{fresh_random, hex};
use crate::launcher::{
    self, Adoption, AgentLoss, Connection, ConnectionError, LauncherClient, LauncherEvents, Listed, Request, StartError,
};
use crate::protocol::{LauncherKept, LogBegan, ProcessKept};

/// How long a launcher may take to say what it has.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Launchers that may die within so long before the agent gives up.
const LOSSES_MAX: usize = 5;
const LOSSES_WITHIN: Duration = Duration::from_secs(60);
/// How often a launcher that is ending is looked for.
const ENDING_INTERVAL: Duration = Duration::from_millis(20);

/// An agent that is yet to see what is left of its processes.
pub(super) struct Recovered {
    pub core: Agent,
    pub checkpoints: Checkpoints,
    /// Begins the names of its containers.
    pub containers: String,
    pub before: Before,
}

/// What the checkpoints say that isn't the core's.
pub(super) struct Before {
    processes: BTreeMap<LocalId, ProcessKept>,
    launcher: Option<LauncherKept>,
    /// The machine was started anew since.
    rebooted: bool,
}

/// A launcher, and what it had before this agent came.
pub(super) struct Reached {
    pub connection: Connection,
    pub left: Left,
}

pub(super) struct Left {
    launcher: LauncherKept,
    containers: Vec<Listed>,
    /// What it said after its list.
    news: Vec<launcher::Event>,
}

/// Reads what is there and judges whether it is this agent's.
pub(super) fn recover(config: &AgentConfig, work_dir: &Path, settings: Settings) -> Result<Recovered, AgentError> {
    let keeps = matches!(config.on_agent_loss, AgentLoss::Keep(_));
    let kept = checkpoints::read(work_dir)?;
    let mut began = LogBegan {
        layout: LAYOUT,
        containers: hex(&fresh_random::<4>()),
        work_dir: work_dir.as_os_str().as_bytes().to_vec(),
        hostname: config.hostname.clone(),
        machine_id: config.machine.machine_id(),
        boot_id: settings.boot_id.clone(),
        version: Some(env!("CARGO_PKG_VERSION").to_string()),
    };
    let new = |settings, began: LogBegan| Recovered {
        core: Agent::new(settings),
        containers: began.containers.clone(),
        checkpoints: Checkpoints::new(work_dir, began, keeps),
        before: Before { processes: BTreeMap::new(), launcher: None, rebooted: false },
    };
    let Some(before) = kept.began.filter(|_| keeps) else { return Ok(new(settings, began)) };
    check_place(work_dir, &before, &began)?;
    let core = Agent::recover(settings.clone(), kept.records).map_err(AgentError::Recovery)?;
    if before.hostname != began.hostname {
        let running = core.launches().len();
        if running > 0 {
            return Err(AgentError::Renamed { before: before.hostname, now: began.hostname, running });
        }
        tracing::warn!("this agent was {} and is {} now: a new one for its master", before.hostname, began.hostname);
        return Ok(new(settings, began));
    }
    let rebooted = before.boot_id.zip(began.boot_id.as_ref()).is_some_and(|(before, now)| before != *now);
    began.containers = before.containers;
    let before = Before { processes: kept.processes, launcher: kept.launcher, rebooted };
    let containers = began.containers.clone();
    Ok(Recovered { core, containers, checkpoints: Checkpoints::new(work_dir, began, keeps), before })
}

/// A folder that was copied has the id of an agent that may live.
fn check_place(work_dir: &Path, before: &LogBegan, now: &LogBegan) -> Result<(), AgentError> {
    let path = work_dir.to_owned();
    let machines = before.machine_id.as_ref().zip(now.machine_id.as_ref());
    if let Some((machine, _)) = machines.filter(|(before, now)| before != now) {
        let from = format!("{} (machine {machine})", before.hostname);
        return Err(AgentError::Copied { path, from });
    }
    if before.work_dir != now.work_dir {
        let from = PathBuf::from(std::ffi::OsStr::from_bytes(&before.work_dir)).display().to_string();
        return Err(AgentError::Copied { path, from });
    }
    Ok(())
}

/// The launcher that lives, or a new one that takes over what it can. Makes a process and waits for it, so not on a thread of the
/// runtime.
pub(super) async fn reach_launcher(
    config: &AgentConfig,
    work_dir: &Path,
    adoptions: Vec<Adoption>,
) -> Result<Reached, AgentError> {
    let program = config.program.clone().unwrap_or_else(|| "/proc/self/exe".into());
    let (work_dir, policy, shared) = (work_dir.to_owned(), config.on_agent_loss, config.shared_folder.clone());
    let reached = tokio::task::spawn_blocking(move || {
        if let Some(reached) = reach_living(&work_dir, policy) {
            return Ok(reached);
        }
        let mut connection = start(|| launcher::start_program(&program, &work_dir, policy, shared.as_deref()))?;
        let gone = |source| StartError::Hello { work_dir: work_dir.clone(), source };
        connection.send(adoptions.into_iter().map(Request::Adopt)).map_err(gone)?;
        let left = list(&mut connection).map_err(gone)?;
        Ok::<_, StartError>(Reached { connection, left })
    });
    Ok(reached.await.expect("starting the launcher doesn't panic")?)
}

/// One that was killed holds its lock a moment longer than its socket.
fn start(start: impl Fn() -> Result<Connection, StartError>) -> Result<Connection, StartError> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    loop {
        match start() {
            Err(StartError::Refused { .. }) if Instant::now() < deadline => std::thread::sleep(ENDING_INTERVAL),
            outcome => return outcome,
        }
    }
}

/// One that an agent before this one has left, if its tasks are to go on. Otherwise, or if it is about to end, its end is awaited.
fn reach_living(work_dir: &Path, policy: AgentLoss) -> Option<Reached> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    while let Ok(mut connection) = launcher::connect(work_dir, policy) {
        match policy {
            AgentLoss::Keep(_) => {
                if let Ok(left) = list(&mut connection) {
                    return Some(Reached { connection, left });
                }
            }
            AgentLoss::Kill => {
                if connection.send([Request::Shutdown]).is_ok() {
                    while let Ok(Some(_)) = connection.next(STOP_TIMEOUT) {}
                }
            }
        }
        if Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(ENDING_INTERVAL);
    }
    None
}

fn list(connection: &mut Connection) -> Result<Left, ConnectionError> {
    connection.send([Request::List])?;
    let mut left = Left { launcher: identity(connection), containers: Vec::new(), news: Vec::new() };
    let mut begun = false;
    loop {
        match connection.next(LIST_TIMEOUT)? {
            Some(launcher::Event::Listing { containers, last }) => {
                begun = true;
                left.containers.extend(containers);
                if last {
                    return Ok(left);
                }
            }
            // What came before is in the list.
            Some(event) if begun => left.news.push(event),
            Some(_) => {}
            None => return Err(ConnectionError::Closed),
        }
    }
}

fn identity(connection: &Connection) -> LauncherKept {
    let pid = connection.launcher().map_or(0, |launcher| launcher.pid);
    LauncherKept { pid, start_time: launcher::start_time(pid).unwrap_or(0) }
}

impl Recovered {
    /// What a new launcher is to look for, if there is none that knows it.
    pub(super) fn adoptions(&self) -> Vec<Adoption> {
        if self.before.rebooted {
            return Vec::new();
        }
        let adoption = |id: LocalId| Adoption {
            container: container_name(&self.containers, id),
            main: self.before.processes.get(&id).map(|main| (main.pid, main.start_time)),
        };
        self.core.launches().into_iter().map(|(id, _)| adoption(id)).collect()
    }
}

/// What the launcher calls a task or an executor.
pub(super) fn container_name(containers: &str, id: LocalId) -> String {
    format!("{containers}-{}", id.0)
}

impl Shell {
    /// The launcher has died: another one takes its place and takes over what runs. What it was asked for last is lost.
    pub(super) async fn replace_launcher(&mut self, cause: &str) -> Option<LauncherEvents> {
        let now = Instant::now();
        self.launchers_lost.retain(|at| now.duration_since(*at) < LOSSES_WITHIN);
        self.launchers_lost.push(now);
        if self.launchers_lost.len() > LOSSES_MAX {
            self.handle([Event::LauncherLost { cause: format!("{cause}; another one dies as soon as it is started") }]);
            return None;
        }
        tracing::warn!("the launcher died ({cause}); another one takes over what runs");
        match self.start_next_launcher().await {
            Ok((events, left)) => {
                self.checkpoints.set_launcher(left.launcher);
                let containers =
                    left.containers.into_iter().filter_map(|listed| self.found(listed)).collect::<Vec<_>>();
                let containers = containers.into_iter().collect();
                self.handle([Event::Found { containers, others: Others::Lost }]);
                self.on_launcher(left.news);
                Some(events)
            }
            Err(error) => {
                self.handle([Event::LauncherLost { cause: format!("{cause}; {error}") }]);
                None
            }
        }
    }

    async fn start_next_launcher(&mut self) -> Result<(LauncherEvents, Left), AgentError> {
        let own = self.processes.iter().filter(|(_, process)| process.has_container());
        let adoptions = own.map(|(id, process)| Adoption {
            container: container_name(&self.incarnation, *id),
            main: process.main.map(|main| (main.pid, main.start_time)),
        });
        let reached = reach_launcher(&self.config, &self.work_dir.path, adoptions.collect()).await?;
        let (launcher, events) = LauncherClient::new(reached.connection).map_err(AgentError::Channel)?;
        self.execs.replace_launcher(launcher.clone());
        self.launcher = launcher;
        Ok((events, reached.left))
    }

    /// Whether what runs here is the next agent's when this process ends.
    pub(super) fn keeps_tasks(&self) -> bool {
        matches!(self.config.on_agent_loss, AgentLoss::Keep(_))
    }

    /// Takes up what was left. The log is written anew with the first commit, with all that this finds out.
    pub(super) fn take_up(&mut self, before: Before, left: Left) {
        for (id, launch) in self.core.launches() {
            self.restore(id, launch, before.processes.get(&id).copied());
        }
        for (id, _, task) in self.core.shared_launches() {
            self.restore_shared(id, &task);
        }
        self.checkpoints.set_launcher(left.launcher);
        let others = if before.rebooted {
            Others::Rebooted
        } else if before.launcher == Some(left.launcher) {
            Others::Unstarted
        } else {
            Others::Lost
        };
        let containers = left.containers.into_iter().filter_map(|listed| self.found(listed)).collect::<Vec<_>>();
        let containers: BTreeMap<LocalId, Found> = containers.into_iter().collect();
        self.handle([Event::Found { containers, others }]);
        self.on_launcher(left.news);
    }

    /// Keeps what was added since the last time.
    pub(super) fn commit(&mut self) -> Option<Event> {
        let (core, processes) = (&self.core, &self.processes);
        let snapshot = || Snapshot {
            checkpoints: core.checkpoints(),
            processes: processes.iter().filter_map(|(id, process)| Some((*id, process.main?))).collect(),
        };
        match self.checkpoints.commit(snapshot) {
            Ok(seq) => seq.map(|seq| Event::Persisted { seq }),
            Err(error) => {
                let advice = "; its tasks run on: make room and start this agent again";
                self.exit.get_or_insert(format!("{error}{advice}"));
                None
            }
        }
    }
}
