//! The start and end of a trivial MPI program, against the launchers that people use.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use harness::packages::{self, Permission};

use super::local::{LocalCluster, seconds};
use super::{Bench, Figure};
use crate::workspace;

/// Four agents, or four of Slurm's daemons.
const AGENTS: u32 = 4;

/// Against Slurm with as many nodes, and against hydra, which starts all ranks on one machine as its children.
pub(super) fn figures(bench: &Bench) -> Result<Vec<Figure>> {
    if !installed(&["mpicc.mpich", "mpiexec.mpich"], &["gcc", "libc6-dev", "mpich", "libmpich-dev"]) {
        return Ok(Vec::new());
    }
    let program = bench.folder.path().join("hello");
    let source = workspace::root().join("tests/integration/programs/hello.c");
    workspace::output(Command::new("mpicc.mpich").args(["-O2", "-o"]).args([&program, &source]))?;

    let mut figures = Vec::new();
    if installed(&["srun", "slurmctld", "slurmd", "munged"], &["slurm-wlm", "munge"]) {
        figures.push(against_slurm(bench, &program));
    }
    figures.push(against_hydra(bench, &program, 4, None));
    figures.push(against_hydra(bench, &program, 64, Some(1.0)));
    Ok(figures)
}

/// Installs what is missing, and says so; or says why not, and what isn't measured then.
fn installed(programs: &[&str], needed: &[&str]) -> bool {
    let found = packages::programs(programs, needed, Permission::Root);
    if let Err(reason) = &found {
        eprintln!("the start of MPI programs is not compared with {}: {reason}", programs[0]);
    }
    found.is_ok()
}

fn against_slurm(bench: &Bench, program: &Path) -> Figure {
    let mut slurm = Slurm { folder: bench.folder.path().to_owned(), configuration: None };
    let mut local = LocalCluster::new(bench, "slurm").agents(AGENTS);
    let [theirs, ours] = [program.to_path_buf(), program.to_path_buf()];
    Figure {
        name: "start and end of an MPICH program, 4 ranks on 4 agents".to_string(),
        base: "srun -N4 -n4 --mpi=pmi2, four slurmds".to_string(),
        goal: Some(1.0),
        measure_base: Box::new(move |_| {
            let configuration = slurm.start()?;
            let mut srun = Command::new("srun");
            seconds(srun.args(["-N4", "-n4", "--mpi=pmi2"]).arg(&theirs).env("SLURM_CONF", configuration))
        }),
        measure_ours: Box::new(move |_| {
            local.bring_up()?;
            local.seconds(&["run-mpi", "-N", "4", "-n", "4", &ours.to_string_lossy()])
        }),
    }
}

fn against_hydra(bench: &Bench, program: &Path, ranks: u32, goal: Option<f64>) -> Figure {
    let mut local = LocalCluster::new(bench, &format!("hydra-{ranks}"));
    let [theirs, ours] = [program.to_path_buf(), program.to_path_buf()];
    Figure {
        name: format!("start and end of an MPICH program, {ranks} ranks on one agent"),
        base: format!("mpiexec.mpich -n {ranks}"),
        goal,
        measure_base: Box::new(move |_| {
            seconds(Command::new("mpiexec.mpich").args(["-n", &ranks.to_string()]).arg(&theirs))
        }),
        measure_ours: Box::new(move |_| {
            local.bring_up()?;
            local.seconds(&["run-mpi", "-n", &ranks.to_string(), "--oversubscribe", &ours.to_string_lossy()])
        }),
    }
}

/// Debian's Slurm with four daemons on loopback, from its first use to the end of the figure.
struct Slurm {
    folder: PathBuf,
    configuration: Option<String>,
}

impl Slurm {
    /// The configuration that its programs need to be told of.
    fn start(&mut self) -> Result<String> {
        if self.configuration.is_none() {
            workspace::output(&mut self.script("start"))?;
            let said = workspace::output(&mut self.script("env"))?;
            let path =
                said.trim().strip_prefix("export SLURM_CONF=").context("slurm.sh env names the configuration")?;
            self.configuration = Some(path.to_string());
        }
        Ok(self.configuration.clone().expect("it was set a line above"))
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg(workspace::root().join("xtask/src/bench/slurm.sh")).arg(verb);
        command.env("NODES", AGENTS.to_string()).env("SLURM_PEER_POINTER", self.folder.join("slurm.running"));
        command
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if self.folder.join("slurm.running").exists()
            && let Err(error) = workspace::output(&mut self.script("stop"))
        {
            eprintln!("{error:#}");
        }
    }
}
