//! The last step of a fetch: the file becomes the user's own, in its sandbox.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};

use super::super::as_user::{Cancelled, become_for_files};
use super::super::users::Account;
use super::FetchError;
use super::cache::CHUNK;
use crate::hex::hex;
use crate::launcher::User;

/// Where a file goes.
pub(super) struct Place {
    pub target: PathBuf,
    pub user: User,
    pub executable: bool,
    pub sha256: Option<String>,
}

impl Place {
    /// From a file that the user may read.
    pub(super) fn from_user_file(&self, path: &Path, cancelled: &Cancelled) -> io::Result<()> {
        become_for_files(&self.user)?;
        // Opening a named pipe would wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|error| with(&error, &format!("{error} (as user id {})", self.user.uid)))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the source is not a regular file"));
        }
        self.copy(file, cancelled)
    }

    /// From a file of the agent's, whose content was checked.
    pub(super) fn from_agent_file(&self, path: &Path, cancelled: &Cancelled) -> io::Result<()> {
        let file = File::open(path)?;
        become_for_files(&self.user)?;
        self.copy(file, cancelled)
    }

    fn copy(&self, mut from: File, cancelled: &Cancelled) -> io::Result<()> {
        if let Some(parent) = self.target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if self.executable { 0o755 } else { 0o644 };
        let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.target)?;
        let (mut hash, mut chunk) = (self.sha256.as_ref().map(|_| Sha256::new()), vec![0; CHUNK]);
        loop {
            cancelled.check()?;
            let length = from.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            to.write_all(&chunk[..length])?;
            if let Some(hash) = &mut hash {
                hash.update(&chunk[..length]);
            }
        }
        let found = hash.map(|hash| hex(&hash.finalize()));
        match (found, &self.sha256) {
            (Some(found), Some(wanted)) if found != *wanted => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("its SHA-256 is {found}, not {wanted}")))
            }
            _ => Ok(()),
        }
    }
}

/// Unpacks an archive beside itself, as the user. `tar` itself refuses members that lead out of the folder.
pub(super) async fn extract(archive: &Path, sandbox: &Path, account: &Account) -> Result<(), FetchError> {
    let mut command = std::process::Command::new("tar");
    command.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(sandbox);
    command.arg("--no-same-owner").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if nix::unistd::Uid::effective().is_root() {
        command.uid(account.user.uid).gid(account.user.gid);
    }
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
    let output = output.map_err(|cause| FetchError::Refused(format!("cannot run tar to extract it: {cause}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.lines().next().unwrap_or("no reason given").trim().to_string();
    if text.contains("No space left") {
        let cause = io::ErrorKind::StorageFull.into();
        return Err(FetchError::Io { operation: "extract", path: archive.to_owned(), cause });
    }
    Err(FetchError::Refused(format!("cannot extract it: {text}")))
}

fn with(error: &io::Error, message: &str) -> io::Error {
    io::Error::new(error.kind(), message.to_string())
}
