//! The MPI programs of the tests, compiled against a real MPI. Each finds its own libmpi by its run path, as users' programs do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Mpi, cache};

/// The program `tests/integration/programs/NAME.c`, compiled with that MPI.
///
/// # Panics
/// When it doesn't compile.
pub fn compiled(mpi: &Mpi, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/programs").join(name).with_extension("c");
    let program = cache::parts("programs").join(mpi.name).join(name);
    let _turn = cache::lock("programs");
    if !is_newer(&program, &source) {
        compile(mpi, &source, &program);
    }
    program
}

fn compile(mpi: &Mpi, source: &Path, program: &Path) {
    fs::create_dir_all(program.parent().expect("it has a folder")).expect("target is writable");
    let half_done = program.with_extension("compiling");
    let output = Command::new(&mpi.compiler)
        .args(["-O1", "-Wall", "-Werror", "-o"])
        .args([&half_done, source])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("start {}: {error}", mpi.compiler.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} doesn't compile with {}: {said}", source.display(), mpi.name);
    fs::rename(&half_done, program).expect("both names lie in one folder that is ours");
}

fn is_newer(program: &Path, source: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    changed(program).is_some_and(|made| changed(source).is_some_and(|written| written < made))
}
