//! A folder that several processes use and the last of them removes, also when some were killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// A share in a folder. The kernel takes it back when the process ends, however that ends.
#[derive(Debug)]
pub struct SharedFolder {
    path: PathBuf,
    share: Flock<File>,
}

impl SharedFolder {
    /// Takes a share in a folder that exists.
    ///
    /// # Errors
    /// The folder can't be opened, or its file system knows no locks.
    pub fn share(path: &Path) -> io::Result<SharedFolder> {
        let share = Flock::lock(File::open(path)?, FlockArg::LockSharedNonblock).map_err(|(_, error)| error)?;
        Ok(SharedFolder { path: path.to_owned(), share })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SharedFolder {
    /// Gives the share back, and removes the folder if it was the last one.
    fn drop(&mut self) {
        // The kernel gives the shared lock up before it tries for the other, so that of two that do this at once one is the last.
        if self.share.relock(FlockArg::LockExclusiveNonblock).is_err() {
            return;
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                super::log::log(&format!("cannot remove {}: {error}", self.path.display()));
                tracing::warn!(path = %self.path.display(), %error, "cannot remove the work folder");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_share_takes_the_folder_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("shared");
        std::fs::create_dir_all(path.join("agent-1")).unwrap();
        std::fs::write(path.join("agent-1/launcher.log"), "words").unwrap();
        let [first, second] = [(); 2].map(|()| SharedFolder::share(&path).unwrap());
        drop(first);
        assert!(path.join("agent-1/launcher.log").exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn there_is_no_share_in_a_folder_that_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        assert!(SharedFolder::share(&parent.path().join("gone")).is_err());
    }
}
