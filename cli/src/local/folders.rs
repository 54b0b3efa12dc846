//! Where the local cluster's state is, and the lock that lets one `up` or `down` at a time.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use etcetera::BaseStrategy;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The folders of one local cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolders {
    /// Record, lock and logs.
    pub state: PathBuf,
    /// Sandboxes and whatever else is large.
    pub work: PathBuf,
}

impl StateFolders {
    /// Those under `--state-dir`, or under the user's state folder.
    ///
    /// # Errors
    /// There is no home folder and no `--state-dir`.
    pub fn find(state_dir: Option<PathBuf>) -> Result<Self> {
        let root = match state_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => of_user()?,
        };
        Ok(Self::under(&root))
    }

    /// Those under a folder.
    pub fn under(root: &Path) -> Self {
        Self { state: root.join("local"), work: root.join("local/work") }
    }

    /// The record of the running cluster.
    pub fn record(&self) -> PathBuf {
        self.state.join("cluster.json")
    }

    /// Where a process of the cluster logs.
    pub fn log(&self, process: &str) -> PathBuf {
        self.state.join(format!("{process}.log"))
    }

    /// Makes the folders, for this user only.
    ///
    /// # Errors
    /// They can't be made.
    pub fn create(&self) -> Result<()> {
        for folder in [&self.state, &self.work] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("the folder {} can't be made", folder.display()))?;
        }
        Ok(())
    }

    /// Keeps other `up`s and `down`s of this folder out until it is dropped, also by the end of the process.
    ///
    /// # Errors
    /// Another one is at it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.state.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("the lock {} can't be opened", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock { _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!("another 'mesos up' or 'mesos down' is at it; try again when it is done")
            }
            Err((_, error)) => bail!("the lock {} can't be taken: {error}", path.display()),
        }
    }
}

fn of_user() -> Result<PathBuf> {
    let folders = etcetera::base_strategy::choose_base_strategy();
    let folders = folders.context("the home folder can't be found; name a folder with --state-dir")?;
    Ok(folders.state_dir().unwrap_or_else(|| folders.home_dir().join(".local/state")).join("mesos"))
}

/// Held while processes are started or ended. Children don't inherit it.
#[derive(Debug)]
pub struct Lock {
    _lock: Flock<File>,
}
