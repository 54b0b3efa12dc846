//! What `mesos up` writes down of the cluster that it started.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Process, StateFolders};

/// Rises when an older `mesos` couldn't end what a newer one started.
const FORMAT: u32 = 1;

/// The local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How to read this.
    pub format: u32,
    /// The version that started it.
    pub version: String,
    /// Its master.
    pub master: Master,
    /// Its agents.
    pub agents: Vec<Agent>,
}

/// A master's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Where it listens; empty until it does.
    pub address: String,
    /// Which it is.
    pub process: Process,
}

/// An agent's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The name that offers show.
    pub hostname: String,
    /// Which it is.
    pub process: Process,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
    version: String,
}

impl Record {
    /// The record of a master that was just started.
    pub fn new(process: Process) -> Self {
        let master = Master { address: String::new(), process };
        Self { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_string(), master, agents: Vec::new() }
    }

    /// What is written down, if something is.
    ///
    /// # Errors
    /// It can't be read, or is another version's.
    pub fn read(folders: &StateFolders) -> Result<Option<Self>> {
        let path = folders.record();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => bail!("{} can't be read: {error}", path.display()),
        };
        let damaged = || format!("{} is damaged; end what runs by hand and remove it", path.display());
        let head: Head = serde_json::from_str(&text).with_context(damaged)?;
        if head.format != FORMAT {
            bail!("the local cluster was started by mesos {}; end it with that version's 'mesos down'", head.version);
        }
        serde_json::from_str(&text).map(Some).with_context(damaged)
    }

    /// Writes it down, whole or not at all: whoever reads meanwhile sees the old one.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, folders: &StateFolders) -> Result<()> {
        let path = folders.record();
        let new = path.with_extension("new");
        let text = serde_json::to_string_pretty(self)?;
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("{} can't be written", path.display()))
    }

    /// Takes it away.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn remove(folders: &StateFolders) -> Result<()> {
        match fs::remove_file(folders.record()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                bail!("{} can't be removed: {error}", folders.record().display())
            }
            _ => Ok(()),
        }
    }

    /// Its agents' processes: they are ended first, so that the master hears of their tasks' ends.
    pub fn agent_processes(&self) -> Vec<Process> {
        self.agents.iter().map(|agent| agent.process.clone()).collect()
    }
}
