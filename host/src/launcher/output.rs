//! Bounds the output files of tasks. They are opened for appending and written by the tasks themselves; what is too old is
//! given back to the disk as a hole at the head, while offsets stay what they were for whoever follows the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek64};

/// Holes end at a multiple of this, the block size of common file systems.
const BLOCK_BYTES: u64 = 4096;

/// An output file after its bound was looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Where the next byte goes; all that was ever written.
    pub end: u64,
    /// The first byte that is still there.
    pub start: u64,
}

/// Output can't be bounded here.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file system has no holes; the file must be bounded by other means, such as a limit of file size.
    #[error(
        "the sandbox's file system can't free the beginning of a file; put the work directory on ext4, xfs, btrfs or tmpfs"
    )]
    Unsupported,
    /// Another refusal.
    #[error("could not {operation} an output file: {source}")]
    Io { operation: &'static str, source: io::Error },
}

/// Frees the head of a file so that at most `limit_bytes`, and one block, of its end stay on the disk. The file is open
/// for writing. Cheap when there is nothing to do, and so to be called at every notice of growth.
///
/// # Errors
/// `Unsupported` on file systems without holes.
pub fn bound(file: &File, limit_bytes: u64) -> Result<Output, OutputError> {
    let output = extent(file)?;
    let start = output.end.saturating_sub(limit_bytes) / BLOCK_BYTES * BLOCK_BYTES;
    if start <= output.start {
        return Ok(output);
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, flags, 0, start as i64) {
        Ok(()) => Ok(Output { start, ..output }),
        Err(nix::Error::EOPNOTSUPP) => Err(OutputError::Unsupported),
        Err(error) => Err(OutputError::Io { operation: "free the head of", source: error.into() }),
    }
}

/// Where the output that is still there begins and ends.
///
/// # Errors
/// When the kernel can't say.
pub fn extent(file: &File) -> Result<Output, OutputError> {
    let io = |operation| move |source: io::Error| OutputError::Io { operation, source };
    let end = file.metadata().map_err(io("look at"))?.size();
    // A file that is all hole has no data at all.
    let start = match lseek64(file, 0, Whence::SeekData) {
        Ok(start) => start as u64,
        Err(nix::Error::ENXIO) => end,
        Err(error) => return Err(io("find the data of")(error.into())),
    };
    Ok(Output { end, start: start.min(end) })
}
