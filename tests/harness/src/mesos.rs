//! The binary under test, in a home of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{User, chown};
use tempfile::TempDir;

use crate::{Cmd, cache, poll, processes};

/// How long processes may take to be gone after what started them has ended.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// The `mesos` binary with a home, a folder for temporary files and a folder for work, all in one temporary folder. When it is
/// dropped, whatever still names that folder is killed.
pub struct Mesos {
    folder: TempDir,
    binary: PathBuf,
}

impl Mesos {
    /// The binary of this build, or `$MESOS_BIN`.
    ///
    /// # Panics
    /// When it isn't built.
    pub fn new() -> Mesos {
        let binary = std::env::var_os("MESOS_BIN").map_or_else(|| cache::build_folder().join("mesos"), PathBuf::from);
        assert!(binary.is_file(), "no {}: run `cargo xtask test`, which builds it and its plugins", binary.display());
        let prefix = format!("mesos-test-{}-", std::process::id());
        let folder =
            tempfile::Builder::new().prefix(&prefix).tempdir().expect("the folder for temporary files is writable");
        for name in ["home", "tmp", "outputs", "work"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is ours");
        }
        Mesos { folder, binary }
    }

    /// The path of the binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The temporary folder of this test; its name is unique.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder for the test's own files, and the working directory of its commands.
    pub fn work(&self) -> PathBuf {
        self.folder().join("work")
    }

    /// Writes a file into [`Mesos::work`].
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, contents).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }

    /// Writes a shell script into [`Mesos::work`].
    pub fn script(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.file(name, format!("#!/bin/sh\n{lines}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it was written just now");
        path
    }

    /// A `mesos` command with these arguments.
    pub fn cmd<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Cmd {
        self.program(&self.binary).args(args)
    }

    /// As [`Mesos::cmd`], by another user, who has a home of its own and a copy of the binary. Wants root.
    pub fn cmd_as<I: IntoIterator<Item: AsRef<OsStr>>>(&self, user: &User, args: I) -> Cmd {
        let binary = self.folder().join("mesos");
        let home = self.folder().join(format!("home-{}", user.uid));
        if !home.exists() {
            fs::copy(&self.binary, &binary).expect("the folder is ours");
            fs::create_dir(&home).expect("the folder is ours");
            chown(&home, Some(user.uid), Some(user.gid)).expect("root may");
            fs::set_permissions(self.folder(), fs::Permissions::from_mode(0o711)).expect("the folder is ours");
        }
        self.program(&binary).cwd(&home).env("HOME", &home).user(user).args(args)
    }

    /// Any other program in the same environment.
    pub fn program(&self, program: &Path) -> Cmd {
        let in_folder = |name: &str| self.folder().join(name);
        Cmd::new(program, &in_folder("outputs"))
            .cwd(self.work())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", in_folder("home"))
            .env("TMPDIR", in_folder("tmp"))
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "1")
    }

    /// What runs now and belongs to this test.
    pub fn processes(&self) -> Vec<processes::Process> {
        processes::naming(self.needle())
    }

    /// Asserts that no process of this test is left, nor a temporary file.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let gone = poll::within(GONE_WITHIN, || self.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "still running: {:#?}", self.processes());
        let tmp = self.folder().join("tmp");
        let mut left = files_below(&tmp);
        // Some MPIs leave empty folders; ours have to go.
        let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mesos-"));
        left.extend(fs::read_dir(&tmp).into_iter().flatten().flatten().map(|entry| entry.path()).filter(ours));
        assert!(left.is_empty(), "temporary files left behind: {left:#?}");
    }

    /// Waits until no process of this test has `part` in its command line.
    ///
    /// # Panics
    /// When one has after a while.
    pub fn wait_until_gone(&self, part: &str) {
        let with_part =
            || self.processes().into_iter().filter(|process| process.command.contains(part)).collect::<Vec<_>>();
        let gone = poll::within(GONE_WITHIN, || with_part().is_empty().then_some(()));
        assert!(gone.is_some(), "still running: {:#?}", with_part());
    }

    fn needle(&self) -> &str {
        self.folder().file_name().and_then(OsStr::to_str).expect("the name was made of ASCII letters")
    }
}

impl Default for Mesos {
    fn default() -> Self {
        Mesos::new()
    }
}

impl Drop for Mesos {
    fn drop(&mut self) {
        processes::end_all_naming(self.needle());
    }
}

/// All files and links in a folder and those below it; the folders themselves don't count.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}
