//! Fetched files in the agent's own folder, named by their content or their URI; the least recently used go first.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::super::as_user::Cancelled;
use super::{FetchError, io_result};
use crate::master::shell::hex;

/// Bytes that are copied or hashed at a time.
pub(super) const CHUNK: usize = 256 << 10;

/// A file on its way in; leaves nothing when it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
}

/// A file that can be copied from.
#[derive(Debug)]
pub(super) enum Cached {
    Kept(PathBuf),
    Passing(Part),
}

impl Cached {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(part) => part.path(),
        }
    }
}

impl Part {
    pub(super) fn new(folder: &Path) -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the kernel gives random bytes");
        Self { path: folder.join(format!(".part-{}", hex(&random))) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn into_cached(self) -> Cached {
        Cached::Passing(self)
    }

    pub(super) fn keep_as(self, folder: &Path, key: &str, bytes_max: u64) -> Result<Cached, FetchError> {
        let place = folder.join(key);
        io_result(fs::rename(&self.path, &place), "keep", &place)?;
        if let Err(error) = make_room(folder, &place, bytes_max) {
            tracing::warn!("cannot remove old files of the cache {}: {error}", folder.display());
        }
        Ok(Cached::Kept(place))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After `keep_as` it has moved.
        let _ = fs::remove_file(&self.path);
    }
}

/// Using it makes it recent.
pub(super) fn find(folder: &Path, key: &str) -> Option<Cached> {
    let path = folder.join(key);
    let file = File::open(&path).ok()?;
    // Only the order of removal depends on it.
    let _ = file.set_modified(SystemTime::now());
    Some(Cached::Kept(path))
}

fn make_room(folder: &Path, keep: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(".part-") {
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in files {
        if total > bytes_max && path != keep {
            fs::remove_file(path)?;
            total -= length;
        }
    }
    Ok(())
}

pub(super) fn hash_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

pub(super) fn hash_of_file(path: &Path, cancelled: &Cancelled) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        cancelled.check()?;
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&hash.finalize())),
            length => hash.update(&chunk[..length]),
        }
    }
}

/// A copy that everyone may read, whole or not at all.
pub(super) fn install(from: &Path, to: &Path) -> io::Result<()> {
    let part = Part::new(to.parent().expect("a file is in a folder"));
    fs::copy(from, part.path())?;
    fs::set_permissions(part.path(), fs::Permissions::from_mode(0o755))?;
    fs::rename(part.path(), to)
}
