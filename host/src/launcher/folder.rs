//! A folder that several processes use and the last of them removes, also when some were killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A share in a folder. The kernel takes it back when the process ends, however that ends.
#[derive(Debug)]
pub struct SharedFolder {
    path: PathBuf,
    /// None once it was given back.
    share: Option<Flock<File>>,
}

impl SharedFolder {
    /// Takes a share in a folder that exists.
    ///
    /// # Errors
    /// The folder can't be opened, or its file system knows no locks.
    pub fn share(path: &Path) -> io::Result<SharedFolder> {
        let share = Flock::lock(File::open(path)?, FlockArg::LockSharedNonblock).map_err(|(_, error)| error)?;
        Ok(SharedFolder { path: path.to_owned(), share: Some(share) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the share back, and removes the folder if it was the last one. Others that are about to end have so long to do that:
    /// a process that is killed closes its sockets, by which one hears of its death, before or after it gives its locks back.
    pub fn leave(mut self, others_end_within: Duration) {
        self.give_back(others_end_within);
    }

    fn give_back(&mut self, others_end_within: Duration) {
        let Some(share) = self.share.take() else { return };
        let until = Instant::now() + others_end_within;
        // The kernel gives the shared lock up before it tries for the other, so that of two that do this at once one is the last.
        while share.relock(FlockArg::LockExclusiveNonblock).is_err() {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(LOOK_AGAIN);
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

impl Drop for SharedFolder {
    fn drop(&mut self) {
        self.give_back(Duration::ZERO);
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
    fn who_leaves_waits_for_one_that_is_about_to_end() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("shared");
        std::fs::create_dir(&path).unwrap();
        let mut dying = SharedFolder::share(&path).unwrap();
        let last = SharedFolder::share(&path).unwrap();
        thread::scope(|scope| {
            let leaving = scope.spawn(|| last.leave(Duration::from_secs(60)));
            assert!(!leaving.is_finished() && path.exists(), "it waits for the other share");
            // What the end of a process does: the lock goes, and nothing else happens.
            drop(dying.share.take());
        });
        assert!(!path.exists());
    }

    #[test]
    fn there_is_no_share_in_a_folder_that_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        assert!(SharedFolder::share(&parent.path().join("gone")).is_err());
    }
}
