//! Files named by their content: plugins and what clients upload for their jobs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;

use crate::hex::hex;
use crate::kept::{self, Part};
use crate::protocol::BlobStored;

/// Why a blob can't be stored or read.
#[derive(Debug, Error)]
pub enum BlobError {
    /// Not 64 hexadecimal digits.
    #[error("{name:?} is not a SHA-256")]
    BadName {
        /// As it was given.
        name: String,
    },
    /// The content has another hash than its name.
    #[error("the upload named {wanted} has the content {found}; upload it again")]
    Mismatch {
        /// As it was named.
        wanted: String,
        /// As it was computed.
        found: String,
    },
    /// It isn't here: never uploaded, or removed to make room.
    #[error("no file {name} is stored on the master; run the command again, it uploads what is missing")]
    Missing {
        /// Its SHA-256.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// As the system says it.
        cause: io::Error,
    },
}

/// A folder of files named by SHA-256. The least recently used ones go when `bytes_max` is passed.
#[derive(Debug)]
pub struct BlobStore {
    folder: PathBuf,
    bytes_max: u64,
    added: watch::Sender<()>,
}

impl BlobStore {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn open(folder: PathBuf, bytes_max: u64) -> Result<Self, BlobError> {
        fs::create_dir_all(&folder).map_err(|cause| BlobError::Io {
            operation: "make",
            path: folder.clone(),
            cause,
        })?;
        Ok(Self { folder, bytes_max, added: watch::channel(()).0 })
    }

    /// Where a blob is; reading it counts as use.
    ///
    /// # Errors
    /// The name is none, or it isn't here.
    pub fn path(&self, sha256: &str) -> Result<PathBuf, BlobError> {
        let path = self.place(sha256)?;
        if kept::is_kept(&path) { Ok(path) } else { Err(BlobError::Missing { name: sha256.to_string() }) }
    }

    /// Whether a blob is here, and its size.
    ///
    /// # Errors
    /// The name is none.
    pub fn has(&self, sha256: &str) -> Result<BlobStored, BlobError> {
        let size = fs::metadata(self.place(sha256)?).map(|metadata| metadata.len());
        Ok(BlobStored { sha256: sha256.to_string(), size: size.as_ref().copied().unwrap_or(0), present: size.is_ok() })
    }

    /// Stores a local file; nothing is copied if the content is here.
    ///
    /// # Errors
    /// The file can't be read, its content has another hash, or there is no room.
    pub fn put_file(&self, path: &Path, sha256: &str) -> Result<BlobStored, BlobError> {
        let has = self.has(sha256)?;
        if has.present {
            return Ok(has);
        }
        let read = |cause| BlobError::Io { operation: "read", path: path.to_path_buf(), cause };
        let mut file = fs::File::open(path).map_err(read)?;
        let mut upload = self.upload(sha256)?;
        let mut chunk = vec![0; crate::protocol::client::CHUNK_BYTES];
        loop {
            match file.read(&mut chunk).map_err(read)? {
                0 => return upload.finish(),
                length => upload.write(&chunk[..length])?,
            }
        }
    }

    /// Begins an upload; it takes its place only when its content has the hash.
    ///
    /// # Errors
    /// The name is none, or no file can be made.
    pub fn upload(&self, sha256: &str) -> Result<Upload<'_>, BlobError> {
        let place = self.place(sha256)?;
        let part = Part::new(&self.folder);
        let file = fs::File::create(part.path()).map_err(|cause| BlobError::Io {
            operation: "make",
            path: part.path().to_owned(),
            cause,
        })?;
        Ok(Upload { store: self, wanted: sha256.to_string(), place, part, file, hash: Sha256::new(), size: 0 })
    }

    /// The names of all that is here.
    pub(super) fn names(&self) -> io::Result<BTreeSet<String>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| name.as_ref().map_or(true, |name| self.place(name).is_ok())).collect()
    }

    /// Changes with each that comes.
    pub(super) fn added(&self) -> watch::Receiver<()> {
        self.added.subscribe()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn place(&self, sha256: &str) -> Result<PathBuf, BlobError> {
        let proper = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if proper { Ok(self.folder.join(sha256)) } else { Err(BlobError::BadName { name: sha256.to_string() }) }
    }
}

/// A blob on its way in; dropped without `finish`, it leaves nothing behind.
#[derive(Debug)]
pub struct Upload<'a> {
    store: &'a BlobStore,
    wanted: String,
    place: PathBuf,
    part: Part,
    file: fs::File,
    hash: Sha256,
    size: u64,
}

impl Upload<'_> {
    /// Takes the next piece.
    ///
    /// # Errors
    /// There is no room.
    pub fn write(&mut self, data: &[u8]) -> Result<(), BlobError> {
        self.hash.update(data);
        self.size += data.len() as u64;
        let path = self.part.path().to_owned();
        self.file.write_all(data).map_err(|cause| BlobError::Io { operation: "write", path, cause })
    }

    /// Checks the content and puts it into its place.
    ///
    /// # Errors
    /// The content has another hash.
    pub fn finish(self) -> Result<BlobStored, BlobError> {
        let Self { store, wanted, place, part, hash, size, .. } = self;
        let found = hex(&hash.finalize());
        if found != wanted {
            return Err(BlobError::Mismatch { wanted, found });
        }
        part.keep_as(&place).map_err(|cause| BlobError::Io { operation: "place", path: place.clone(), cause })?;
        if let Err(error) = kept::make_room(&store.folder, &place, store.bytes_max) {
            tracing::warn!(%error, "cannot remove old uploads");
        }
        store.added.send_replace(());
        Ok(BlobStored { sha256: found, size, present: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(data: &[u8]) -> String {
        hex(&Sha256::digest(data))
    }

    #[test]
    fn only_proper_content_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path().into(), 1 << 20).unwrap();
        let mut upload = store.upload(&name_of(b"right")).unwrap();
        upload.write(b"wrong").unwrap();
        assert!(matches!(upload.finish(), Err(BlobError::Mismatch { .. })));
        assert!(matches!(store.path(&name_of(b"right")), Err(BlobError::Missing { .. })));
        assert!(matches!(store.path("../passwd"), Err(BlobError::BadName { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_oldest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path().into(), 10).unwrap();
        for (age, data) in [(30, b"first_"), (20, b"second"), (0, b"third_")] {
            let mut upload = store.upload(&name_of(data)).unwrap();
            upload.write(data).unwrap();
            upload.finish().unwrap();
            let old = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::open(store.place(&name_of(data)).unwrap()).unwrap().set_modified(old).unwrap();
        }
        assert!(store.has(&name_of(b"third_")).unwrap().present);
        assert!(!store.has(&name_of(b"first_")).unwrap().present);
    }
}
