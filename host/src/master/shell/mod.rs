//! The I/O around the master's core: one task owns the core, carries its effects out and waits for its deadline.
//!
//! ```text
//! gRPC server ──┐  (not before it leads) ┌──▶ each link's outbox
//! LocalMaster ──┴─ Connect ─▶ run() ─────┤
//! each link's inbox ──────────▶ (core)   ├──▶ replies to operators
//! recorder ◀──▶ registry::Log ─▶         └──▶ recorder
//! ```

mod blobs;
mod copies;
mod links;
mod peer;
mod recorder;
mod server;
mod standby;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use mesos_plugin_api::Time;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Effect, Event, Master, MasterConfig};
use crate::election::{Coordinator, Detector};
use crate::protocol::client::{Connect, Credentials, LocalMaster};
use crate::protocol::link::Batch;
use crate::time::Clock;

pub use blobs::{BlobError, BlobStore, Upload};
use links::Links;
use recorder::Recorder;
use standby::Candidate;
pub(crate) use standby::Role;

/// Inputs that may wait before those who bring them have to.
const INPUTS_MAX: usize = 4096;
/// Inputs that the core takes before its effects are carried out.
const INPUTS_PER_TURN_MAX: usize = 1024;
/// Room for uploads, in bytes.
const BLOB_BYTES_MAX: u64 = 8 << 30;

/// Where a master listens and keeps its files.
#[derive(Debug)]
pub struct MasterOptions {
    /// What the core wants to know.
    pub config: MasterConfig,
    /// Its folder; one master a folder.
    pub work_dir: PathBuf,
    /// Where it keeps what must survive it.
    pub keeps: Keeps,
    /// Where it listens; only within the process if missing.
    pub listen: Option<SocketAddr>,
    /// Wanted of everyone who connects over the network.
    pub token: Option<String>,
}

/// Where a master's registry is.
pub enum Keeps {
    /// In its work folder: a master that is started there again goes on with the same cluster.
    WorkDir,
    /// In its process: the cluster ends with it.
    Memory,
    /// Where several masters meet: one leads, the others stand by.
    Together {
        /// The way there.
        coordinator: Box<dyn Coordinator>,
        /// Says which of them leads.
        detector: Detector,
        /// Where others reach this one; port and address are those it listens on if missing.
        advertise: Option<IpAddr>,
    },
}

impl std::fmt::Debug for Keeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WorkDir => f.write_str("WorkDir"),
            Self::Memory => f.write_str("Memory"),
            Self::Together { detector, .. } => f.debug_tuple("Together").field(&detector.place()).finish(),
        }
    }
}

/// Why a master can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The port is taken, or the address isn't this machine's.
    #[error(
        "cannot listen on {address}: {cause}; is another master running there? choose another with --ip and --port"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system says it.
        cause: io::Error,
    },
    /// The folder can't be used.
    #[error("cannot use the work folder {}: {cause}", path.display())]
    WorkDir {
        /// Which.
        path: PathBuf,
        /// As the system says it.
        cause: io::Error,
    },
    /// Another process has it.
    #[error("the work folder {} is used by another process; give each master and agent a folder of its own with --work-dir", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The folder for uploads can't be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The registry can't be used; a line for people.
    #[error("{0}")]
    Lead(String),
}

/// A master that leads, or stands by. Dropping it ends it.
#[derive(Debug)]
pub struct MasterHandle {
    address: Option<SocketAddr>,
    local: LocalMaster,
    server: Option<JoinHandle<()>>,
    copier: Option<JoinHandle<()>>,
    core: JoinHandle<String>,
    role: Role,
    candidate: Candidate,
    _lock: nix::fcntl::Flock<std::fs::File>,
}

impl MasterHandle {
    /// Starts a master and waits until it leads.
    ///
    /// # Errors
    /// The port, the folder or the registry can't be used.
    pub async fn start(options: MasterOptions) -> Result<Self, StartError> {
        let mut master = Self::stand_by(options).await?;
        master.leads().await?;
        Ok(master)
    }

    /// Starts a master that leads when its turn comes. Until then it tells everyone who does.
    ///
    /// # Errors
    /// The port or the folder can't be used.
    pub async fn stand_by(options: MasterOptions) -> Result<Self, StartError> {
        let lock = lock_work_dir(&options.work_dir)?;
        let blobs = Arc::new(BlobStore::open(options.work_dir.join("blobs"), BLOB_BYTES_MAX)?);
        let (connect, connects) = mpsc::channel(INPUTS_MAX);
        let local = LocalMaster { connect, blobs };
        let (mut listener, mut address) = (None, None);
        if let Some(listen) = options.listen {
            let failed = |cause| StartError::Listen { address: listen, cause };
            let bound = server::listen(listen).map_err(failed)?;
            address = Some(bound.local_addr().map_err(failed)?);
            listener = Some(bound);
        }
        let (candidate, role, led) = standby::campaign(&options.config, &options.work_dir, options.keeps, address);
        let credentials = Credentials { principal: "master".to_string(), token: options.token.clone() };
        let copier = role.leader_elsewhere(credentials).map(|leader| {
            let (blobs, mut role) = (local.blobs.clone(), role.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = copies::copy(blobs, leader) => {}
                    // From now on it is the others who copy.
                    _ = role.leads() => {}
                }
            })
        });
        let serve = |listener| server::serve(listener, local.clone(), role.clone(), options.token);
        let server = listener.map(|listener| tokio::spawn(serve(listener)));
        let core = tokio::spawn(standby::serve(led, candidate.clone(), options.config, connects));
        Ok(Self { address, local, server, copier, core, role, candidate, _lock: lock })
    }

    /// Waits until it leads.
    ///
    /// # Errors
    /// The registry can't be used.
    pub async fn leads(&mut self) -> Result<(), StartError> {
        self.role.leads().await.map_err(StartError::Lead)
    }

    /// Waits until it can't go on, and returns the line that says why.
    pub async fn ended(&mut self) -> String {
        match (&mut self.core).await {
            Ok(line) => line,
            Err(error) => format!("the master's task failed: {error}"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The way to it within this process.
    pub fn local(&self) -> LocalMaster {
        self.local.clone()
    }
}

impl Drop for MasterHandle {
    fn drop(&mut self) {
        // First, so that the next one leads when those who are connected here look for it. The folder is another master's from
        // now on.
        self.candidate.resign();
        self.server.iter().chain(&self.copier).for_each(JoinHandle::abort);
        self.core.abort();
    }
}

/// Makes the folder and takes its lock, which ends with the process.
pub(crate) fn lock_work_dir(path: &std::path::Path) -> Result<nix::fcntl::Flock<std::fs::File>, StartError> {
    let failed = |cause| StartError::WorkDir { path: path.to_path_buf(), cause };
    std::fs::create_dir_all(path).map_err(failed)?;
    let lock = path.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(lock).map_err(failed)?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|_| StartError::Locked { path: path.to_path_buf() })
}

/// Owns the core. Returns why it can't go on.
async fn run(mut master: Master, mut connects: mpsc::Receiver<Connect>, mut recorder: Recorder) -> String {
    let clock = Clock::default();
    let (inputs_sender, mut inputs) = mpsc::channel(INPUTS_MAX);
    let mut links = Links::new(inputs_sender, master.epoch());
    let mut effects = Vec::new();
    loop {
        let deadline = master.deadline();
        tokio::select! {
            connect = connects.recv() => match connect {
                Some(connect) => take_connect(&mut master, &mut links, clock.now(), connect, &mut effects),
                None => return "nobody uses it any more".to_string(),
            },
            written = recorder.written() => match written {
                Ok(ids) => ids.into_iter().for_each(|id| master.handle(clock.now(), Event::Persisted { id }, &mut effects)),
                Err(error) => return error.to_string(),
            },
            Some(input) = inputs.recv(), if !recorder.is_full() => take_input(&mut master, &mut links, clock.now(), input, &mut effects),
            () = clock.sleep_until(deadline) => master.handle(clock.now(), Event::DeadlinePassed, &mut effects),
        }
        for _ in 0..INPUTS_PER_TURN_MAX {
            if recorder.is_full() {
                break;
            }
            match inputs.try_recv() {
                Ok(input) => take_input(&mut master, &mut links, clock.now(), input, &mut effects),
                Err(_) => break,
            }
        }
        master.allocate(clock.now(), &mut effects);
        if let Some(epoch) = carry_out(&mut master, &mut links, &mut recorder, clock.now(), &mut effects) {
            return format!("another master leads, of epoch {epoch}; this one of epoch {} has ended", master.epoch());
        }
    }
}

fn take_connect(master: &mut Master, links: &mut Links, now: Time, connect: Connect, effects: &mut Vec<Effect>) {
    let event = match connect {
        Connect::Agent(link) => Event::AgentConnected { link: links.add_agent(link) },
        Connect::Scheduler { link, caller } => Event::SchedulerConnected { link: links.add_scheduler(link), caller },
        Connect::Operate { call, caller, replies } => {
            let call = crate::protocol::OperatorCall { call: Some(call) };
            Event::OperatorCalled { link: links.add_asker(replies), caller, call }
        }
    };
    master.handle(now, event, effects);
}

fn take_input(master: &mut Master, links: &mut Links, now: Time, input: links::Input, effects: &mut Vec<Effect>) {
    match input {
        links::Input::Agent(link, Batch { epoch, items }) => {
            master.handle(now, Event::EpochHeard { epoch }, effects);
            for call in items {
                master.handle(now, Event::AgentCalled { link, call }, effects);
            }
        }
        links::Input::Scheduler(link, Batch { epoch, items }) => {
            master.handle(now, Event::EpochHeard { epoch }, effects);
            for call in items {
                master.handle(now, Event::SchedulerCalled { link, call }, effects);
            }
        }
        links::Input::Room(link) => links.room(link),
        links::Input::Closed(link) => {
            if links.remove(link) {
                master.handle(now, Event::Disconnected { link }, effects);
            }
        }
    }
}

/// Gives the epoch of the master that leads, if it is another one.
fn carry_out(
    master: &mut Master,
    links: &mut Links,
    recorder: &mut Recorder,
    now: Time,
    effects: &mut Vec<Effect>,
) -> Option<u64> {
    while !effects.is_empty() {
        let mut more = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::ToAgent { link, event } => links.to_agent(link, event),
                Effect::ToScheduler { link, event } => links.to_scheduler(link, event),
                Effect::Reply { link, reply } => links.reply(link, reply),
                Effect::Close { link } => {
                    links.remove(link);
                }
                Effect::StepDown { epoch } => return Some(epoch),
                Effect::Persist { id, operation } => recorder.record(id, operation),
            }
        }
        for link in links.flush() {
            master.handle(now, Event::Disconnected { link }, &mut more);
        }
        *effects = more;
    }
    None
}
