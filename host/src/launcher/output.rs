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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn the_end_stays_and_the_head_is_given_back() {
        // given a file that is appended to while it is bounded
        let mut file = tempfile::Builder::new().append(true).tempfile().expect("a file").into_file();
        let line = |i: u64| format!("{i:099}\n");
        let (limit, lines) = (100_000, 20_000);
        let mut output = Output { end: 0, start: 0 };
        for i in 0..lines {
            file.write_all(line(i).as_bytes()).expect("a disk with room");
            if i % 100 == 99 {
                output = match bound(&file, limit) {
                    Err(OutputError::Unsupported) => return println!("skipped: no holes on this file system"),
                    result => result.expect("a bounded file"),
                };
            }
        }
        // then the offsets are as before, the end is there, and the disk holds about as much as allowed
        let end = lines * 100;
        assert_eq!(output, extent(&file).expect("a file"));
        assert_eq!(output.end, end);
        assert!((end - limit - BLOCK_BYTES..=end - limit).contains(&output.start), "{output:?}");
        let on_disk = file.metadata().expect("a file").blocks() * 512;
        assert!(on_disk <= limit + 4 * BLOCK_BYTES, "{on_disk} bytes on the disk");
        let mut last = vec![0; 100];
        file.read_exact_at(&mut last, end - 100).expect("the last line");
        assert_eq!(last, line(lines - 1).as_bytes());
        let first_whole = output.start.next_multiple_of(100);
        file.read_exact_at(&mut last, first_whole).expect("the first whole line");
        assert_eq!(last, line(first_whole / 100).as_bytes());
    }

    #[test]
    fn what_is_small_is_left_alone() {
        let mut file = tempfile::tempfile().expect("a file");
        assert_eq!(bound(&file, 4096).expect("an empty file"), Output { end: 0, start: 0 });
        file.write_all(&[1; 5000]).expect("a disk with room");
        assert_eq!(bound(&file, 5000).expect("a file"), Output { end: 5000, start: 0 });
    }
}
