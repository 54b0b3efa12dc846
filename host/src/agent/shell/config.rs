//! How an agent is set up, and why it doesn't start.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesos_plugin_api::v1::{Attribute, Resources};

use crate::agent::recovery::RecoveryError;
use crate::launcher::{AgentLoss, StartError};
use crate::protocol::client::{LocalMaster, RemoteMaster};

/// An agent to start.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// All that it keeps; one agent a folder. Every user whose tasks run here must be able to enter it.
    pub work_dir: PathBuf,
    /// For listings and constraints.
    pub hostname: String,
    /// Where other machines reach this one.
    pub address: IpAddr,
    /// Where output is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it has to give; see [`super::detect`].
    pub resources: Resources,
    /// What constraints speak of.
    pub attributes: Vec<Attribute>,
    /// What becomes of the tasks when the agent's process dies.
    pub on_agent_loss: AgentLoss,
    /// The work folder goes with the agent.
    pub remove_at_end: bool,
    /// A folder above the work folder, of several agents; the launcher that ends last removes it, if nobody else has a share
    /// in it.
    pub shared_folder: Option<PathBuf>,
    /// A program that calls [`crate::init`] first in its `main`; this process's own if `None`.
    pub program: Option<PathBuf>,
    /// See [`Bounds`].
    pub bounds: Bounds,
    /// What tells this machine, and its uptime, from others.
    pub machine: MachineFiles,
}

/// Files that tell machines and boots apart.
#[derive(Debug, Clone)]
pub struct MachineFiles {
    /// Another after each boot.
    pub boot_id: PathBuf,
    /// The same for as long as the machine is installed; it may be missing.
    pub machine_id: PathBuf,
}

impl Default for MachineFiles {
    fn default() -> Self {
        Self { boot_id: "/proc/sys/kernel/random/boot_id".into(), machine_id: "/etc/machine-id".into() }
    }
}

impl MachineFiles {
    pub(super) fn boot_id(&self) -> Option<String> {
        read_id(&self.boot_id)
    }

    pub(super) fn machine_id(&self) -> Option<String> {
        read_id(&self.machine_id)
    }
}

fn read_id(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_string()).filter(|id| !id.is_empty())
}

/// What an agent may keep on its disk.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of each of a task's two output files; the oldest bytes go.
    pub output_bytes_max: u64,
    /// Of fetched files that are kept for later tasks.
    pub cache_bytes_max: u64,
    /// Sandboxes of tasks that have ended.
    pub sandboxes_max: usize,
    /// How long such a sandbox stays.
    pub sandbox_age_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            output_bytes_max: 256 << 20,
            cache_bytes_max: 2 << 30,
            sandboxes_max: 10_000,
            sandbox_age_max: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Where an agent's master is.
#[derive(Clone)]
pub enum Master {
    /// In this process.
    Local(LocalMaster),
    /// In another one; it need not be there yet.
    Remote(RemoteMaster),
}

/// Why an agent doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Two agents on one work folder.
    #[error("another agent (pid {pid}) uses the work folder {}; give this one another with --work-dir", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who.
        pid: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// As the system says it.
        cause: io::Error,
    },
    /// The checkpoints are another program's.
    #[error(
        "the checkpoints in {} were written by mesos {version}, which is newer than this one; start that version, or end its tasks \
         and remove the file",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Who wrote it.
        version: String,
    },
    /// The work folder was another's.
    #[error(
        "the work folder {} was copied or moved from {from}, where an agent of the same id may run; take it back there, or remove \
         the file `checkpoints` in it to start as a new agent",
        path.display()
    )]
    Copied {
        /// The folder.
        path: PathBuf,
        /// Where it was.
        from: String,
    },
    /// What runs here knows the machine by another name.
    #[error(
        "this agent was {before} and would be {now}, and {running} of its tasks and executors run; start it with --hostname \
         {before}, or drain it first"
    )]
    Renamed {
        /// Its name.
        before: String,
        /// The new one.
        now: String,
        /// How many.
        running: usize,
    },
    /// What runs here doesn't fit.
    #[error(transparent)]
    Recovery(Box<RecoveryError>),
    /// The port for output can't be opened.
    #[error("cannot listen on {address}: {cause}; choose another port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system says it.
        cause: io::Error,
    },
    /// No launcher.
    #[error(transparent)]
    Launcher(#[from] StartError),
    /// The channel to the launcher can't be watched.
    #[error("cannot watch the launcher's channel: {0}")]
    Channel(io::Error),
}

/// Adds operation and file to an error of the system's.
pub(crate) fn io_error(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> AgentError {
    let path = path.into();
    move |cause| AgentError::Io { operation, path, cause }
}
