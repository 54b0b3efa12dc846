//! `cargo xtask demo`: from a clean machine to a real MPI program with four ranks, with both families of MPI.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::packages::{self, Permission};

use crate::workspace::{self, Profile};

/// Programs that have to be there, and the Debian packages that bring them.
const PARTS: &[(&[&str], &[&str])] = &[
    (&["cc"], &["gcc", "libc6-dev"]),
    (&["mpicc.openmpi", "mpirun.openmpi"], &["libopenmpi-dev", "openmpi-bin"]),
    (&["mpicc.mpich"], &["mpich", "libmpich-dev"]),
];

const MPIS: &[(&str, &str)] = &[("Open MPI", "mpicc.openmpi"), ("MPICH", "mpicc.mpich")];

const RANKS: usize = 4;

/// Installs, builds, compiles, runs. True if both programs said what they should.
///
/// # Errors
/// Something can't be installed, built or started.
pub fn run() -> Result<bool> {
    for (programs, packages) in PARTS {
        packages::programs(programs, packages, Permission::Sudo).map_err(|skip| anyhow::anyhow!("{skip}"))?;
    }
    let built = workspace::build(Profile::Dev)?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    for (name, compiler) in MPIS {
        let program = folder.path().join(compiler);
        let source = workspace::root().join("tests/integration/programs/pi.c");
        workspace::output(Command::new(compiler).args(["-O2", "-o"]).args([&program, &source]))?;
        run_ranks(&built.join("mesos"), &program, name)?;
    }
    println!("\nboth ran; try your own: {} run-mpi -n {RANKS} ./prog", built.join("mesos").display());
    Ok(true)
}

fn run_ranks(mesos: &Path, program: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(mesos);
    command.args(["run-mpi", "-n", &RANKS.to_string()]);
    if std::thread::available_parallelism().map_or(1, usize::from) < RANKS {
        // Fewer cores than ranks: they share.
        command.arg("--oversubscribe");
    }
    command.arg(program);
    println!("\n{name}: {}", workspace::shown(&command));
    let output = workspace::output(&mut command)?;
    print!("{output}");
    let ranks = output.lines().filter(|line| line.contains(&format!(" of {RANKS} "))).count();
    ensure!(ranks == RANKS, "{name}: {ranks} of {RANKS} ranks reported");
    ensure!(output.contains("pi is 3.14159265"), "{name}: the ranks didn't add up their parts");
    Ok(())
}
