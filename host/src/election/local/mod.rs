//! One file, for the one master of a folder.
//!
//! ```text
//! registry:  frame frame frame …      frame: MRG1 | length | index | checksum | record
//! ```
//!
//! Each record is written and synced before the next one, so a crash leaves at most one frame that is cut short or wrong, and it
//! is the last. It was never promised to anybody: whoever opens the file cuts it off. A wrong frame that a good one follows is
//! something else, and nobody goes on as if it weren't there.

mod frames;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Coordinator, CoordinatorError, Kept};

/// The file's name in its folder.
const NAME: &str = "registry";

/// A registry in a file. Whoever has it holds the folder's lock.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    file: Option<File>,
}

impl LocalFile {
    /// In this folder, which is there and no other master's.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(NAME), file: None }
    }

    fn error(&self, operation: &'static str) -> impl Fn(io::Error) -> CoordinatorError + use<> {
        let path = self.path.clone();
        move |cause| CoordinatorError::Io { operation, path: path.clone(), cause }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Coordinator for LocalFile {
    fn lead(&mut self, _address: &str) -> Result<Kept, CoordinatorError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        let mut file = open.map_err(self.error("open"))?;
        let bytes = fs::read(&self.path).map_err(self.error("read"))?;
        let (frames, good) = match frames::read(&bytes) {
            Ok(read) => read,
            Err(frames::Problem::Foreign) => return Err(CoordinatorError::Foreign { path: self.path.clone() }),
            Err(frames::Problem::Damaged { at }) => {
                return Err(CoordinatorError::Damaged { path: self.path.clone(), at: at as u64 });
            }
        };
        if good < bytes.len() {
            tracing::warn!("{}: {} bytes of a write that was cut short are dropped", self.place(), bytes.len() - good);
        }
        let cut = file.set_len(good as u64).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.and_then(|_| file.sync_all()).and_then(|()| self.sync_folder()).map_err(self.error("sync"))?;
        self.file = Some(file);
        let next = frames.last().map_or(0, |frame| frame.index + 1);
        Ok(Kept { records: frames.into_iter().map(|frame| frame.record).collect(), next })
    }

    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError> {
        let failed = self.error("write to");
        let file = self.file.as_mut().expect("only a master that leads writes");
        file.write_all(&frames::frame(index, record)).and_then(|()| file.sync_data()).map_err(failed)
    }

    fn compact(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        let aside = self.path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            for record in records {
                file.write_all(&frames::frame(index - 1, record))?;
            }
            file.sync_all()?;
            fs::rename(&aside, &self.path)?;
            self.sync_folder()?;
            Ok(file)
        };
        self.file = Some(write().map_err(self.error("write anew"))?);
        Ok(())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
