//! Fetched files in the agent's own folder, named by their content or their URI; the least recently used go first.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::as_user::Cancelled;
use super::{FetchError, io_result};
use crate::hex::hex;
use crate::kept::{self, Part};

/// Bytes that are copied or hashed at a time.
pub(super) const CHUNK: usize = 256 << 10;

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

/// Puts a whole file among those that are kept, and makes room for it.
pub(super) fn keep(part: Part, folder: &Path, key: &str, bytes_max: u64) -> Result<Cached, FetchError> {
    let place = folder.join(key);
    io_result(part.keep_as(&place), "keep", &place)?;
    if let Err(error) = kept::make_room(folder, &place, bytes_max) {
        tracing::warn!("cannot remove old files of the cache {}: {error}", folder.display());
    }
    Ok(Cached::Kept(place))
}

/// Using it makes it recent.
pub(super) fn find(folder: &Path, key: &str) -> Option<Cached> {
    let path = folder.join(key);
    kept::is_kept(&path).then_some(Cached::Kept(path))
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
    part.keep_as(to)
}
