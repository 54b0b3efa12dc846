//! Reads files of one sandbox, and follows them until the task has ended and all is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use tokio::sync::mpsc;
use tonic::Status;

use super::watcher::{Follower, Watcher};
use super::{super::sandboxes::is_inside, Sandbox};
use crate::launcher::output;
use crate::protocol::client::CHUNK_BYTES;
use crate::protocol::{FileChunk, ReadFile};

pub(super) struct Reader {
    sandbox: Sandbox,
    files: Vec<Wanted>,
    follow: bool,
    chunks: mpsc::Sender<Result<FileChunk, Status>>,
}

struct Wanted {
    path: PathBuf,
    offset: u64,
    file: Option<Arc<File>>,
}

impl Reader {
    pub(super) fn new(
        sandbox: Sandbox,
        files: Vec<ReadFile>,
        follow: bool,
        chunks: mpsc::Sender<Result<FileChunk, Status>>,
    ) -> Self {
        let wanted = |file: ReadFile| Wanted { path: file.path.into(), offset: file.offset.unwrap_or(0), file: None };
        Self { sandbox, files: files.into_iter().map(wanted).collect(), follow, chunks }
    }

    /// Until the reader is gone or has everything.
    pub(super) async fn run(mut self, watcher: &Arc<Watcher>) -> Result<(), Status> {
        if let Some(bad) = self.files.iter().find(|wanted| !is_inside(&wanted.path)) {
            return Err(Status::invalid_argument(format!("{:?} is not in the sandbox", bad.path.display())));
        }
        let mut ended = self.sandbox.ended.clone();
        let mut follower = watcher.follower();
        loop {
            // Looked at before the files are read: what was written before the end is read then.
            let over = *ended.borrow_and_update();
            if self.follow && !over {
                self.watch(&mut follower);
            }
            for index in 0..self.files.len() {
                if !self.drain(index).await? {
                    return Ok(());
                }
            }
            if over || !self.follow {
                return self.finish(over).await;
            }
            tokio::select! {
                () = follower.changed() => {}
                // An agent that forgot the task without a word has ended.
                changed = ended.changed() => if changed.is_err() && !*ended.borrow() { return Ok(()) },
            }
        }
    }

    /// The folders of the files, or of what of them is there.
    fn watch(&self, follower: &mut Follower) {
        let Some(sandbox) = &self.sandbox.path else { return };
        for wanted in &self.files {
            for folder in wanted.path.ancestors().skip(1) {
                if follower.watch(&sandbox.join(folder)).is_ok() {
                    break;
                }
            }
        }
    }

    /// Sends all that there is now; false when the reader is gone.
    async fn drain(&mut self, index: usize) -> Result<bool, Status> {
        let wanted = &mut self.files[index];
        if wanted.file.is_none() {
            let opened = self.sandbox.path.as_ref().map(|sandbox| open(sandbox, &wanted.path)).transpose();
            wanted.file = opened.map_err(|error| refused(&wanted.path, &error))?.flatten();
        }
        let Some(file) = wanted.file.clone() else { return Ok(true) };
        loop {
            let (from, offset) = (file.clone(), wanted.offset);
            let read = tokio::task::spawn_blocking(move || read_at(&from, offset)).await;
            let read = read.map_err(|error| Status::internal(error.to_string()))?;
            let (offset, data) = read.map_err(|error| refused(&wanted.path, &error))?;
            if data.is_empty() {
                return Ok(true);
            }
            wanted.offset = offset + data.len() as u64;
            let chunk = FileChunk { file: index as u32, offset, data: Some(data), end: None };
            if self.chunks.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
    }

    async fn finish(self, over: bool) -> Result<(), Status> {
        let missing = self.files.iter().find(|wanted| wanted.file.is_none() && !is_output(&wanted.path));
        if let Some(missing) = missing.filter(|_| !self.follow) {
            return Err(Status::not_found(format!("there is no {} in the sandbox", missing.path.display())));
        }
        for (file, wanted) in (0..).zip(&self.files) {
            let chunk = FileChunk { file, offset: wanted.offset, data: None, end: over.then_some(true) };
            // The reader is gone, otherwise.
            let _ = self.chunks.send(Ok(chunk)).await;
        }
        Ok(())
    }
}

/// A task that never started has written nothing: that is no mistake of whoever asks.
fn is_output(path: &Path) -> bool {
    path == Path::new("stdout") || path == Path::new("stderr")
}

/// The next bytes from there on, and where they are: bytes that were freed to bound the file are passed over.
fn read_at(file: &File, offset: u64) -> io::Result<(u64, Vec<u8>)> {
    let extent = output::extent(file).map_err(io::Error::other)?;
    let offset = offset.max(extent.start);
    let left = usize::try_from(extent.end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut data = vec![0; left.min(CHUNK_BYTES)];
    let length = file.read_at(&mut data, offset)?;
    data.truncate(length);
    Ok((offset, data))
}

/// A regular file below the sandbox; links that the task made lead nowhere else. `None` if it isn't there (yet).
fn open(sandbox: &Path, path: &Path) -> io::Result<Option<Arc<File>>> {
    let folder = File::open(sandbox)?;
    // Opening a named pipe would wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file = match openat2(&folder, path, OpenHow::new().flags(flags).resolve(resolve)) {
        Ok(file) => File::from(file),
        Err(nix::Error::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() {
        Ok(Some(Arc::new(file)))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn refused(path: &Path, error: &io::Error) -> Status {
    Status::failed_precondition(format!("cannot read {} in the sandbox: {error}", path.display()))
}
