//! Removes what killed ranks leave in the machine's shared memory, which is otherwise there until the machine's next start.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use mesos_mpi_core::shared_memory::Segments;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;

/// Somebody who looks for orphans may take a new marker for one; not so often in a row.
const TRIES_MAX: u32 = 5;

/// What an executor's ranks may leave behind. A marker beside it is locked for as long as the executor lives: an executor that
/// is killed leaves its marker too, and the next one of the same user finds it unlocked.
pub(crate) struct SharedMemory {
    folder: PathBuf,
    held: Option<(Segments, Flock<File>)>,
}

impl Default for SharedMemory {
    fn default() -> Self {
        Self::in_folder("/dev/shm".into())
    }
}

impl SharedMemory {
    fn in_folder(folder: PathBuf) -> Self {
        Self { folder, held: None }
    }

    /// From now on ranks use these; or no rank is left that uses any.
    pub(crate) fn used(&mut self, segments: Option<&Segments>) {
        match (segments, &self.held) {
            (Some(segments), None) => {
                self.remove_orphans();
                self.held = self.mark(segments).map(|marker| (segments.clone(), marker));
            }
            (None, Some((segments, _))) => {
                self.remove(segments);
                self.held = None;
            }
            _ => {}
        }
    }

    /// None where there is no such folder, or no room in it: then ranks have worse troubles than this one.
    fn mark(&self, segments: &Segments) -> Option<Flock<File>> {
        let path = self.folder.join(segments.marker());
        (0..TRIES_MAX).find_map(|_| {
            let mut open = OpenOptions::new();
            let file = open.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW).open(&path);
            let marker = lock(file.ok()?)?;
            marker.metadata().is_ok_and(|metadata| metadata.nlink() > 0).then_some(marker)
        })
    }

    fn remove_orphans(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Some(segments) = entry.file_name().to_str().and_then(Segments::of_marker) else { continue };
            let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(entry.path());
            if let Some(_locked) = file.ok().filter(is_ours).and_then(lock) {
                self.remove(&segments);
            }
        }
    }

    /// The marker last: who is killed here leaves it to the next one.
    fn remove(&self, segments: &Segments) {
        for name in segments.names().into_iter().chain([segments.marker()]) {
            // Most of them were never made, or are gone.
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

fn lock(file: File) -> Option<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}

/// Another user's marker may name what isn't theirs.
fn is_ours(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.uid() == nix::unistd::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn put(folder: &tempfile::TempDir, name: &str) {
        fs::write(folder.path().join(name), "x").unwrap();
    }

    #[test]
    fn what_the_ranks_left_goes_with_the_last_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = SharedMemory::in_folder(folder.path().into());
        let segments = Segments::new("kvs_a", 0).unwrap();
        memory.used(None);
        memory.used(Some(&segments));
        put(&folder, &segments.names()[0]);
        put(&folder, "mpich_shm_12345_0");
        memory.used(Some(&segments));
        assert_eq!(names(&folder).len(), 3);
        memory.used(None);
        assert_eq!(names(&folder), ["mpich_shm_12345_0"]);
    }

    #[test]
    fn the_next_executor_removes_what_a_killed_one_left_and_nothing_of_one_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let segments = ["kvs_dead", "kvs_lives", "kvs_next"].map(|name| Segments::new(name, 1).unwrap());
        let mut executors = [(); 3].map(|()| SharedMemory::in_folder(folder.path().into()));
        for (executor, segments) in executors.iter_mut().zip(&segments).take(2) {
            executor.used(Some(segments));
            put(&folder, &segments.names()[0]);
        }
        // As if it was killed: its lock goes, and its marker stays.
        executors[0].held = None;

        executors[2].used(Some(&segments[2]));

        let mut expected = vec![segments[1].marker(), segments[1].names()[0].clone(), segments[2].marker()];
        expected.sort();
        assert_eq!(names(&folder), expected);
    }
}
