//! Files that are kept in a folder under the name of their content: each is written aside and takes its place whole, and the
//! least recently used ones make room.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::hex::{fresh_random, hex};

/// Begins the names of files that are being written.
const PART_PREFIX: &str = ".part-";

/// A file on its way in; leaves nothing when it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
}

impl Part {
    /// A name in that folder that nobody else has; nothing is made yet.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(format!("{PART_PREFIX}{}", hex(&fresh_random::<8>()))) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it into its place, in the same folder, instead of what was there.
    pub(crate) fn keep_as(self, place: &Path) -> io::Result<()> {
        fs::rename(&self.path, place)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After `keep_as` it has moved.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether there is such a file; asking makes it the most recently used.
pub(crate) fn is_kept(path: &Path) -> bool {
    // Only the order of removal depends on the time.
    File::open(path).map(|file| drop(file.set_modified(SystemTime::now()))).is_ok()
}

/// Removes the least recently used files, but never `keep`, until the others and it have `bytes_max` together.
pub(crate) fn make_room(folder: &Path, keep: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PART_PREFIX) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_least_recently_used_make_room_but_never_the_newest_or_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for (age, name) in [(30, "a"), (20, "b"), (10, "c"), (40, ".part-1")] {
            fs::write(place(name), b"sixsix").unwrap();
            File::open(place(name)).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert!(is_kept(&place("a")) && !is_kept(&place("d")));
        make_room(folder.path(), &place("b"), 12).unwrap();
        let left = ["a", "b", "c", ".part-1"].map(|name| place(name).exists());
        assert_eq!(left, [true, true, false, true], "b was to be kept and a was used just now");
    }

    #[test]
    fn a_part_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [dropped, kept] = [(); 2].map(|()| Part::new(folder.path()));
        [&dropped, &kept].iter().for_each(|part| fs::write(part.path(), b"text").unwrap());
        drop(dropped);
        kept.keep_as(&folder.path().join("kept")).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["kept"]);
    }
}
