//! The folder that belongs to one agent.
//!
//! ```text
//! agent.lock  agent.secret  checkpoints  executor.sock  launcher.{sock,lock,log}
//! sandboxes/FRAMEWORK/TASK   executors/FRAMEWORK/EXECUTOR   plugins/SHA256.so   cache/
//! volumes/USER/FRAMEWORK/NAME
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::config::{AgentError, io_error};
use crate::hex::fresh_random;

/// Tasks of any user reach their sandboxes through it, and see nothing else.
const PASSAGE: u32 = 0o711;

/// How often the launcher's lock is tried while it ends.
const LOCK_INTERVAL: Duration = Duration::from_millis(2);

/// A work folder that no other agent uses.
pub(super) struct WorkDir {
    pub path: PathBuf,
    /// Signs tokens; the same over restarts.
    pub secret: Vec<u8>,
    _lock: Flock<File>,
}

impl WorkDir {
    pub(super) fn open(path: &Path) -> Result<Self, AgentError> {
        fs::create_dir_all(path).map_err(io_error("make", path))?;
        let path = path.canonicalize().map_err(io_error("find", path))?;
        let lock = lock(&path)?;
        make_folder(&path, PASSAGE)?;
        for folder in ["sandboxes", "executors", "plugins", "volumes"] {
            make_folder(&path.join(folder), PASSAGE)?;
        }
        make_folder(&path.join("cache"), 0o700)?;
        let secret = secret(&path.join("agent.secret"))?;
        Ok(Self { path, secret, _lock: lock })
    }

    pub(super) fn executor_socket(&self) -> PathBuf {
        self.path.join("executor.sock")
    }

    /// Returns when no launcher's process holds its lock any more: it closes its channel a moment before it ends.
    pub(super) async fn launcher_gone(&self) {
        loop {
            let Ok(file) = File::open(self.path.join("launcher.lock")) else { return };
            if Flock::lock(file, FlockArg::LockSharedNonblock).is_ok() {
                return;
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.path.join("plugins")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }
}

fn lock(path: &Path) -> Result<Flock<File>, AgentError> {
    let name = path.join("agent.lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    match Flock::lock(open.map_err(io_error("open", &name))?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let written = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
            written.map_err(io_error("write", &name))?;
            Ok(lock)
        }
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            Err(AgentError::InUse { path: path.to_owned(), pid })
        }
        Err((_, error)) => Err(io_error("lock", &name)(error.into())),
    }
}

fn secret(path: &Path) -> Result<Vec<u8>, AgentError> {
    match fs::read(path) {
        Ok(secret) if secret.len() == 32 => return Ok(secret),
        _ => {}
    }
    let secret = fresh_random::<32>().to_vec();
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&secret)).map_err(io_error("write", path))?;
    Ok(secret)
}

fn make_folder(path: &Path, mode: u32) -> Result<(), AgentError> {
    fs::create_dir_all(path).map_err(io_error("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error("set the mode of", path))
}
