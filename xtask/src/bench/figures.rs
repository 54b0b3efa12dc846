//! The figures. A new one is a function here and a line in [`all`].

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Bench, Figure, mpi};
use crate::workspace;

/// Every figure that can be measured here; what can't is said on standard error.
pub fn all(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = vec![tasks_a_second(bench)];
    figures.extend(mpi::figures(bench)?);
    Ok(figures)
}

/// From the command's start to the end of its last task, on a cluster that runs already.
fn tasks_a_second(bench: &Bench) -> Figure {
    let mut local = LocalCluster::new(bench, "tasks");
    Figure {
        name: format!("{} tasks on one node, submit to all finished", bench.tasks),
        base: format!("vfork + exec + wait, {} threads", bench.cores),
        goal: Some(0.70),
        measure_base: Box::new(|bench| {
            let mut raw = Command::new(&bench.raw_spawn);
            let said = workspace::output(raw.args([bench.tasks.to_string(), bench.cores.to_string()]))?;
            said.trim().parse().context("raw_spawn prints seconds")
        }),
        measure_ours: Box::new(move |bench| {
            local.bring_up()?;
            let count = bench.tasks.to_string();
            local.seconds(&["run", "--count", &count, "--cpus", "0.01", "--mem", "1", "--", "true"])
        }),
    }
}

/// `mesos up` in a folder of its own, for the measurements of one figure.
pub(super) struct LocalCluster {
    state: PathBuf,
    mesos: PathBuf,
    agents: u32,
    up: bool,
}

impl LocalCluster {
    /// One agent, unless `agents` says otherwise.
    pub(super) fn new(bench: &Bench, name: &str) -> LocalCluster {
        LocalCluster { state: bench.folder.path().join(name), mesos: bench.mesos.clone(), agents: 1, up: false }
    }

    pub(super) fn agents(mut self, agents: u32) -> LocalCluster {
        self.agents = agents;
        self
    }

    pub(super) fn bring_up(&mut self) -> Result<()> {
        if !self.up {
            let agents = self.agents.to_string();
            workspace::output(&mut self.command(&["up", "--agents", &agents, "--resources", "cpus:64;mem:8192"]))?;
            self.up = true;
        }
        Ok(())
    }

    pub(super) fn seconds(&self, arguments: &[&str]) -> Result<f64> {
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
pub(super) fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    workspace::output(command)?;
    Ok(started.elapsed().as_secs_f64())
}
