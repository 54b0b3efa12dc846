//! `mesos up` in a folder of its own, for the measurements of one figure.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use crate::workspace;

/// A cluster that is brought up by its first use, and ends when this is dropped.
pub struct LocalCluster {
    state: PathBuf,
    mesos: PathBuf,
    agents: u32,
    up: bool,
}

impl LocalCluster {
    /// One agent, unless `agents` says otherwise.
    pub fn new(bench: &Bench, name: &str) -> LocalCluster {
        LocalCluster { state: bench.folder.path().join(name), mesos: bench.mesos.clone(), agents: 1, up: false }
    }

    /// So many agents.
    pub fn agents(mut self, agents: u32) -> LocalCluster {
        self.agents = agents;
        self
    }

    /// Starts it, if it isn't there.
    pub fn bring_up(&mut self) -> Result<()> {
        if !self.up {
            let agents = self.agents.to_string();
            workspace::output(&mut self.command(&["up", "--agents", &agents, "--resources", "cpus:64;mem:8192"]))?;
            self.up = true;
        }
        Ok(())
    }

    /// Where its master listens, as its record says.
    pub fn address(&self) -> Result<String> {
        let path = self.state.join("local/cluster.json");
        let record = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let value = record.split_once("\"address\": \"").and_then(|(_, rest)| rest.split_once('"'));
        Ok(value.with_context(|| format!("{} names no address", path.display()))?.0.to_string())
    }

    /// How long a command takes on it.
    pub fn seconds(&self, arguments: &[&str]) -> Result<f64> {
        seconds(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.mesos);
        command.args(arguments.first()).arg("--state-dir").arg(&self.state).args(&arguments[1..]);
        // A cluster that the user has configured is not the one to measure.
        command.env_remove("MESOS_MASTER");
        command
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if self.up
            && let Err(error) = workspace::output(&mut self.command(&["down"]))
        {
            eprintln!("{error:#}");
        }
    }
}

/// How long a command takes that must go well.
pub fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    workspace::output(command)?;
    Ok(started.elapsed().as_secs_f64())
}
