//! Which MPI a program uses, by what it is linked with.
//!
//! ```text
//! program ──NEEDED──▶ libmpi.so.12, libmpich.so.12 …  PMI-1
//!                     libmpi.so.40 ──found as the loader would──▶ its bin/mpirun, and whether that is 4 or 5
//!                     libpetsc.so … ──NEEDED──▶ the same again
//! ```
//! It sees files only through [`Files`]. A script, or a program that loads MPI later (python), tells nothing: `--mpi` must.

mod elf;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::messages::inspected::Found;
use crate::messages::{Inspected, Mpi, Node, OpenMpiFound, Pmi1, Problem};
use elf::Dynamic;

/// What an agent's files look like from here.
pub trait Files {
    /// What lies there, links followed.
    fn entry(&self, path: &Path) -> Entry;
    /// The whole file, if it can be read.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;
    /// The path without links.
    fn real_path(&self, path: &Path) -> Option<PathBuf>;
    /// Where the loader looks when nothing tells it otherwise.
    fn library_folders(&self) -> Vec<PathBuf>;
    /// The machine's name, as its programs see it.
    fn machine(&self) -> String;
    /// Whether an interface has an IPv6 address that others can reach.
    fn has_ipv6(&self) -> bool;
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A file that may be run.
    Program,
    /// A file that may not.
    File,
    /// A folder.
    Folder,
}

/// A shell's exit codes for a program that isn't there, or can't be run.
const EXIT_MISSING: i32 = 127;
const EXIT_NOT_EXECUTABLE: i32 = 126;
/// So many libraries are looked at in search of MPI.
const LIBRARIES_MAX: usize = 400;

/// Looks at a node's program: its absolute path, if it can run, and what is to be told.
pub fn inspect(node: &Node, sandbox: &str, files: &dyn Files) -> (Option<PathBuf>, Inspected) {
    let folder = Path::new(OsStr::from_bytes(&node.working_directory));
    let missing = files.entry(folder) != Entry::Folder;
    let looked = find_program(node, sandbox, files).and_then(|path| {
        let found = mpi_of(node, &path, files)?;
        Ok((path, found))
    });
    let (path, found) = match looked {
        Ok((path, found)) => (Some(path), found),
        Err(problem) => (None, Found::Problem(problem)),
    };
    let inspected = Inspected {
        found: Some(found),
        working_directory_missing: missing.then_some(true),
        machine: Some(files.machine()),
        has_ipv6: Some(files.has_ipv6()),
    };
    (path, inspected)
}

fn find_program(node: &Node, sandbox: &str, files: &dyn Files) -> Result<PathBuf, Problem> {
    let name = OsStr::from_bytes(&node.program);
    let candidates: Vec<PathBuf> = match &node.program_in_sandbox {
        Some(name) => vec![Path::new(sandbox).join(name)],
        None if node.program.contains(&b'/') => {
            let path = Path::new(OsStr::from_bytes(&node.working_directory)).join(name);
            // Without `.`, for those who read it.
            vec![path.components().collect()]
        }
        None => folders(node.path.as_deref().unwrap_or(DEFAULT_PATH)).map(|folder| folder.join(name)).collect(),
    };
    let found = |wanted: Entry| candidates.iter().find(|path| files.entry(path) == wanted);
    if let Some(path) = found(Entry::Program) {
        return Ok(path.clone());
    }
    let shown = name.display();
    match (found(Entry::File), found(Entry::Folder)) {
        (Some(path), _) => {
            Err(problem(EXIT_NOT_EXECUTABLE, format!("{} is not executable; chmod +x it there", path.display())))
        }
        (None, Some(path)) => Err(problem(EXIT_NOT_EXECUTABLE, format!("{} is a folder", path.display()))),
        (None, None) if node.program.contains(&b'/') => Err(problem(
            EXIT_MISSING,
            format!("{} is not there; copy it there, or send it along with --bcast", candidates[0].display()),
        )),
        (None, None) => Err(problem(
            EXIT_MISSING,
            format!("no program {shown} in PATH; give its path, or send it along with --bcast"),
        )),
    }
}

const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The folders of a list with colons.
fn folders(list: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    list.split(|byte| *byte == b':').filter(|part| !part.is_empty()).map(|part| PathBuf::from(OsStr::from_bytes(part)))
}

fn problem(exit_code: i32, message: String) -> Problem {
    Problem { message, exit_code }
}

fn mpi_of(node: &Node, path: &Path, files: &dyn Files) -> Result<Found, Problem> {
    match node.mpi() {
        Mpi::Pmi1 => Ok(Found::Pmi1(Pmi1 {})),
        Mpi::Openmpi => told_openmpi(node, path, files),
        Mpi::Auto => match look(node, path, files)? {
            Linked::Pmi1 => Ok(Found::Pmi1(Pmi1 {})),
            Linked::OpenMpi(library) => mpirun_beside(&library, files),
        },
    }
}

/// What a program is linked with.
enum Linked {
    Pmi1,
    /// And where its libmpi lies.
    OpenMpi(PathBuf),
}

fn look(node: &Node, path: &Path, files: &dyn Files) -> Result<Linked, Problem> {
    let shown = path.display();
    let unreadable =
        || problem(EXIT_NOT_EXECUTABLE, format!("{shown} can't be read; say which MPI it uses with --mpi"));
    let data = files.read(path).ok_or_else(unreadable)?;
    const SAY: &str = "say --mpi=pmi1 (MPICH, Intel MPI, or no MPI at all) or --mpi=openmpi";
    if data.starts_with(b"#!") {
        return Err(problem(1, format!("{shown} is a script, and which MPI it uses can't be seen; {SAY}")));
    }
    let dynamic = Dynamic::read(&data)
        .ok_or_else(|| problem(EXIT_NOT_EXECUTABLE, format!("{shown} is no program for Linux (no ELF file)")))?;
    let search = Search { node, files, folders: files.library_folders() };
    search
        .linked(path, dynamic)?
        .ok_or_else(|| problem(1, format!("{shown} is linked with no MPI that is known here; {SAY}")))
}

struct Search<'a> {
    node: &'a Node,
    files: &'a dyn Files,
    folders: Vec<PathBuf>,
}

impl Search<'_> {
    /// The program's own libraries first, then theirs.
    fn linked(&self, program: &Path, dynamic: Dynamic) -> Result<Option<Linked>, Problem> {
        let mut seen = BTreeSet::new();
        let mut level = vec![(program.to_path_buf(), dynamic)];
        while !level.is_empty() && seen.len() < LIBRARIES_MAX {
            for (path, dynamic) in &level {
                if let Some(linked) = self.direct(path, dynamic)? {
                    return Ok(Some(linked));
                }
            }
            level = self.next_level(&level, &mut seen);
        }
        Ok(None)
    }

    fn direct(&self, path: &Path, dynamic: &Dynamic) -> Result<Option<Linked>, Problem> {
        if dynamic.needed.iter().any(|name| is_mpich(name)) {
            return Ok(Some(Linked::Pmi1));
        }
        if !dynamic.needed.iter().any(|name| is_openmpi(name)) {
            return Ok(None);
        }
        let library = self.resolve(path, dynamic, OPENMPI_LIBRARY).ok_or_else(|| {
            let message = format!("{OPENMPI_LIBRARY}, which {} needs, is nowhere to be found", path.display());
            problem(EXIT_MISSING, format!("{message}; install Open MPI there, or set LD_LIBRARY_PATH"))
        })?;
        Ok(Some(Linked::OpenMpi(library)))
    }

    fn next_level(&self, level: &[(PathBuf, Dynamic)], seen: &mut BTreeSet<String>) -> Vec<(PathBuf, Dynamic)> {
        let mut next = Vec::new();
        for (path, dynamic) in level {
            for name in dynamic.needed.iter().filter(|name| !is_of_the_system(name)) {
                if seen.insert(name.clone()) {
                    let library = self.resolve(path, dynamic, name);
                    let read = |library: PathBuf| Some((library.clone(), Dynamic::read(&self.files.read(&library)?)?));
                    next.extend(library.and_then(read));
                }
            }
        }
        next
    }

    /// As the loader does: RPATH where there is no RUNPATH, LD_LIBRARY_PATH, RUNPATH, and the system's folders.
    fn resolve(&self, object: &Path, dynamic: &Dynamic, name: &str) -> Option<PathBuf> {
        let origin = self.files.real_path(object).and_then(|path| Some(path.parent()?.to_path_buf()));
        let own = |list: &Option<Vec<u8>>| with_origin(list.as_deref().unwrap_or_default(), origin.as_deref());
        let rpath = if dynamic.runpath.is_none() { own(&dynamic.rpath) } else { Vec::new() };
        let from_environment = folders(self.node.ld_library_path.as_deref().unwrap_or_default());
        let all = rpath.into_iter().chain(from_environment).chain(own(&dynamic.runpath)).chain(self.folders.clone());
        let is_there = |path: &PathBuf| matches!(self.files.entry(path), Entry::File | Entry::Program);
        all.map(|folder| folder.join(name)).find(is_there)
    }
}

fn with_origin(list: &[u8], origin: Option<&Path>) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(list);
    let origin = origin.map(|origin| origin.display().to_string()).unwrap_or_default();
    let expanded = text.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin);
    folders(expanded.as_bytes()).collect()
}

const OPENMPI_LIBRARY: &str = "libmpi.so.40";

fn is_openmpi(library: &str) -> bool {
    library.starts_with("libmpi") && library.ends_with(".so.40")
}

/// MPICH and all that share its ABI; libmpi_abi is the standard's, which so far MPICH alone brings.
fn is_mpich(library: &str) -> bool {
    let stem = library.strip_suffix(".so.12").or_else(|| library.strip_suffix(".so.0")).unwrap_or_default();
    let old = ["libmpi", "libmpich", "libmpifort", "libmpichfort", "libmpicxx", "libmpichcxx"];
    (library.ends_with(".so.12") && old.contains(&stem)) || stem == "libmpi_abi"
}

/// Libraries that are never linked with MPI, and large to read.
fn is_of_the_system(library: &str) -> bool {
    const SYSTEM: [&str; 9] =
        ["libc.", "libm.", "libdl.", "librt.", "libpthread.", "libgcc_s.", "libstdc++.", "libgfortran.", "ld-linux"];
    SYSTEM.iter().any(|name| library.starts_with(name))
}

/// `--mpi=openmpi`: the mpirun that was named, or the one of the program's libmpi, or the first in PATH.
fn told_openmpi(node: &Node, program: &Path, files: &dyn Files) -> Result<Found, Problem> {
    if let Some(mpirun) = &node.mpirun {
        let path = Path::new(mpirun);
        return match files.entry(path) {
            Entry::Program => Ok(openmpi(path, major_beside(path, files).unwrap_or(4))),
            _ => Err(problem(EXIT_MISSING, format!("--mpirun {mpirun}: no such program there"))),
        };
    }
    if let Ok(Linked::OpenMpi(library)) = look(node, program, files) {
        return mpirun_beside(&library, files);
    }
    let in_path = folders(node.path.as_deref().unwrap_or(DEFAULT_PATH))
        .flat_map(|folder| ["mpirun.openmpi", "mpirun"].map(|name| folder.join(name)))
        .filter(|path| files.entry(path) == Entry::Program);
    // An mpirun without Open MPI's daemon beside it is another MPI's.
    let found = in_path.map(|path| (major_beside(&path, files), path)).find_map(|(major, path)| Some((major?, path)));
    let (major, path) = found
        .ok_or_else(|| problem(EXIT_MISSING, "no mpirun of Open MPI in PATH; name it with --mpirun".to_string()))?;
    Ok(openmpi(&path, major))
}

fn openmpi(mpirun: &Path, major: u32) -> Found {
    Found::Openmpi(OpenMpiFound { major, mpirun: mpirun.display().to_string() })
}

/// The mpirun of the installation that this library belongs to: PREFIX/lib…/libmpi.so.40, PREFIX/bin/mpirun.
fn mpirun_beside(library: &Path, files: &dyn Files) -> Result<Found, Problem> {
    let real = files.real_path(library).unwrap_or_else(|| library.to_path_buf());
    let prefixes = real.ancestors().skip(2).take(PREFIX_LEVELS).chain(library.ancestors().skip(2).take(PREFIX_LEVELS));
    let candidates = prefixes.flat_map(|prefix| ["mpirun.openmpi", "mpirun"].map(|name| prefix.join("bin").join(name)));
    for mpirun in candidates.filter(|path| files.entry(path) == Entry::Program) {
        let by_library = || Some(major_of(&Dynamic::read(&files.read(&real)?)?));
        if let Some(major) = major_beside(&mpirun, files) {
            return Ok(openmpi(&mpirun, by_library().unwrap_or(major)));
        }
    }
    Err(problem(
        EXIT_MISSING,
        format!("no mpirun beside {}; install Open MPI's or name it with --mpirun", real.display()),
    ))
}

/// `lib/x86_64-linux-gnu/openmpi/lib` is the deepest that is in use.
const PREFIX_LEVELS: usize = 5;

/// Open MPI 5 has dropped the library of its old runtime.
fn major_of(libmpi: &Dynamic) -> u32 {
    if libmpi.needed.iter().any(|name| name.starts_with("libopen-rte.")) { 4 } else { 5 }
}

/// By the daemon that lies beside an mpirun.
fn major_beside(mpirun: &Path, files: &dyn Files) -> Option<u32> {
    let real = files.real_path(mpirun)?;
    let beside = |name: &str| {
        let there = |path: &Path| path.parent().is_some_and(|folder| files.entry(&folder.join(name)) == Entry::Program);
        there(mpirun) || there(&real)
    };
    [("prted", 5), ("orted", 4)].into_iter().find(|(name, _)| beside(name)).map(|(_, major)| major)
}
