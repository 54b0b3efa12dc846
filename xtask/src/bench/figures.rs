//! The figures. A new one is a function here and a line in [`all`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use harness::packages;

use super::{Bench, Figure};
use crate::workspace;

/// Every figure that can be measured here; what can't is said on standard error.
pub fn all(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = vec![tasks_a_second(bench)];
    figures.extend(mpi_start(bench)?);
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

/// A trivial MPI program with four ranks on this machine, against each launcher that is installed.
fn mpi_start(bench: &Bench) -> Result<Vec<Figure>> {
    let Some(compiler) = packages::find("mpicc.mpich") else {
        eprintln!("no mpicc.mpich: the start of MPI programs is not measured; apt-get install libmpich-dev mpich");
        return Ok(Vec::new());
    };
    let program = bench.folder.path().join("hello");
    let source = workspace::root().join("tests/integration/programs/hello.c");
    workspace::output(Command::new(compiler).args(["-O2", "-o"]).args([&program, &source]))?;

    let launchers: &[(&str, &[&str])] = &[("mpiexec.mpich", &["-n", "4"]), ("srun", &["-n4", "--mpi=pmi2"])];
    let installed = launchers.iter().filter(|(launcher, _)| match packages::find(launcher) {
        Some(_) => true,
        None => {
            eprintln!("no {launcher}: not compared with it");
            false
        }
    });
    Ok(installed.map(|(launcher, options)| mpi_against(bench, launcher, options, &program)).collect())
}

fn mpi_against(bench: &Bench, launcher: &'static str, options: &'static [&'static str], program: &Path) -> Figure {
    let mut local = LocalCluster::new(bench, launcher);
    let [theirs, ours] = [program.to_path_buf(), program.to_path_buf()];
    Figure {
        name: "start and end of an MPICH program, 4 ranks".to_string(),
        base: format!("{launcher} {}", options.join(" ")),
        goal: Some(1.0),
        measure_base: Box::new(move |_| seconds(Command::new(launcher).args(options).arg(&theirs))),
        measure_ours: Box::new(move |_| {
            local.bring_up()?;
            local.seconds(&["run-mpi", "-n", "4", "--oversubscribe", &ours.to_string_lossy()])
        }),
    }
}

/// `mesos up` in a folder of its own, for the measurements of one figure.
struct LocalCluster {
    state: PathBuf,
    mesos: PathBuf,
    up: bool,
}

impl LocalCluster {
    fn new(bench: &Bench, name: &str) -> LocalCluster {
        LocalCluster { state: bench.folder.path().join(name), mesos: bench.mesos.clone(), up: false }
    }

    fn bring_up(&mut self) -> Result<()> {
        if !self.up {
            workspace::output(&mut self.command(&["up", "--resources", "cpus:64;mem:8192"]))?;
            self.up = true;
        }
        Ok(())
    }

    fn seconds(&self, arguments: &[&str]) -> Result<f64> {
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

fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    workspace::output(command)?;
    Ok(started.elapsed().as_secs_f64())
}
