//! This machine's files as the core sees them.

use std::fs;
use std::path::{Path, PathBuf};

use mesos_mpi_core::inspect::{Entry, Files};
use nix::unistd::{AccessFlags, access};

/// Files of the machine that it runs on.
pub(crate) struct AgentFiles;

impl Files for AgentFiles {
    fn entry(&self, path: &Path) -> Entry {
        match fs::metadata(path) {
            Err(_) => Entry::Missing,
            Ok(metadata) if metadata.is_dir() => Entry::Folder,
            Ok(_) if access(path, AccessFlags::X_OK).is_ok() => Entry::Program,
            Ok(_) => Entry::File,
        }
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        fs::read(path).ok()
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        fs::canonicalize(path).ok()
    }

    fn library_folders(&self) -> Vec<PathBuf> {
        configured_folders().chain(USUAL_FOLDERS.iter().map(PathBuf::from)).collect()
    }

    fn machine(&self) -> String {
        nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn has_ipv6(&self) -> bool {
        fs::read_to_string("/proc/net/if_inet6").is_ok_and(|table| table.lines().any(is_global))
    }
}

/// Address, index, length, scope, flags, name; scope 00 is the world.
fn is_global(line: &str) -> bool {
    line.split_whitespace().nth(3) == Some("00")
}

/// Where the loader looks without being told, on Debian, Red Hat and their like.
const USUAL_FOLDERS: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// What `ldconfig` was told; its cache would say the same in a binary form.
fn configured_folders() -> impl Iterator<Item = PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let texts =
        files.into_iter().chain([PathBuf::from("/etc/ld.so.conf")]).filter_map(|file| fs::read_to_string(file).ok());
    let lines: Vec<PathBuf> = texts
        .flat_map(|text| {
            text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from).collect::<Vec<_>>()
        })
        .collect();
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn entries_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(AgentFiles.entry(&file), Entry::File);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(AgentFiles.entry(&file), Entry::Program);
        assert_eq!(AgentFiles.entry(folder.path()), Entry::Folder);
        assert_eq!(AgentFiles.entry(&folder.path().join("none")), Entry::Missing);
    }

    #[test]
    fn a_program_s_own_libraries_are_where_the_loader_finds_them() {
        let folders = AgentFiles.library_folders();
        let holds_libc = |folder: &PathBuf| folder.join("libc.so.6").exists();
        assert!(folders.iter().any(holds_libc), "{folders:?}");
    }
}
