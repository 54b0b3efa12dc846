//! One sandbox on the disk: made, taken over from a silent task, looked at when its task has ended.

use std::fs::{self, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use mesos_plugin_api::v1::Reason;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, Stat, fstat, open, renameat_with, statat};

use super::super::launches::OUTPUTS;
use crate::agent::event::Refusal;
use crate::launcher::User;

/// What only its user enters.
const FOLDER_MODE: u32 = 0o700;
/// What the launcher makes with a task's usual mask.
const OUTPUT_MODE: u32 = 0o644;

/// Makes a sandbox that holds nothing of another task and that only its user enters, from a spare one where that is possible.
/// Says whether the name was used before: what was there is gone then.
pub(in crate::agent::shell) fn make(path: &Path, spare: Option<&Path>, user: &User) -> Result<bool, Refusal> {
    let refused = |cause: io::Error| refusal(Reason::CommandNotLaunched, "make the sandbox", path, &cause);
    if let Some(spare) = spare {
        // Never over what is there: that may be known by its name.
        let Err(error) = renameat_with(CWD, spare, CWD, path, RenameFlags::NOREPLACE) else {
            return Ok(false);
        };
        let removed = remove(spare);
        tracing::debug!("cannot use {} again: {error}; removed: {removed:?}", spare.display());
    }
    let mut used = false;
    match fs::create_dir(path).map_err(|error| (error.kind(), error)) {
        Ok(()) => {}
        Err((io::ErrorKind::NotFound, _)) => {
            make_parent(path).and_then(|()| fs::create_dir(path)).map_err(refused)?;
        }
        Err((io::ErrorKind::AlreadyExists, _)) => {
            used = true;
            remove(path).and_then(|()| fs::create_dir(path)).map_err(refused)?;
        }
        Err((_, error)) => return Err(refused(error)),
    }
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(refused)?;
    if nix::unistd::Uid::effective().is_root() {
        chown(path, Some(user.uid), Some(user.gid)).map_err(refused)?;
    }
    Ok(used)
}

/// The framework's folder: everyone may pass, nobody may look around.
fn make_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().expect("a sandbox is below its framework's folder");
    fs::create_dir_all(parent)?;
    fs::set_permissions(parent, Permissions::from_mode(0o711))
}

/// Lets an executor's sandbox be found by its task's name, also after both have ended.
pub(in crate::agent::shell) fn share(task: &Path, executor: &Path) -> io::Result<()> {
    make_parent(task)?;
    match symlink(executor, task) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(task)?;
            symlink(executor, task)
        }
        linked => linked,
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// What a task has left in its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::agent::shell) struct Look {
    /// How long its two output files are together, if they are what they were made as.
    pub output_bytes: Option<u64>,
    /// The folder is as a task finds it.
    pub is_untouched: bool,
}

/// Looks at the sandbox of a task of which no process is left.
pub(in crate::agent::shell) fn look(path: &Path, user: &User) -> Look {
    // What can't be looked at isn't known to be anything.
    try_look(path, user).unwrap_or_default()
}

fn try_look(path: &Path, user: &User) -> rustix::io::Result<Look> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty())?;
    let output = |name| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let outputs = [output(OUTPUTS[0])?, output(OUTPUTS[1])?];
    let are_files = outputs.iter().all(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    let output_bytes = are_files.then(|| outputs.iter().map(|stat| stat.st_size.unsigned_abs()).sum());
    let is_empty = |stat: &Stat| is_as_made(stat, user, OUTPUT_MODE) && stat.st_nlink == 1;
    let is_untouched = output_bytes == Some(0)
        && outputs.iter().all(is_empty)
        && is_as_made(&fstat(&folder)?, user, FOLDER_MODE)
        && holds_only_outputs(&folder)?;
    Ok(Look { output_bytes, is_untouched })
}

/// Stops at the first name that shouldn't be there: a folder may hold millions.
fn holds_only_outputs(folder: &OwnedFd) -> rustix::io::Result<bool> {
    // Room for a name of any length; on the stack, because this is done for each task.
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if ![".", "..", OUTPUTS[0], OUTPUTS[1]].iter().any(|own| own.as_bytes() == name) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_as_made(stat: &Stat, user: &User, mode: u32) -> bool {
    let owner = (stat.st_uid, stat.st_gid) == (user.uid, user.gid);
    owner && stat.st_mode & 0o7777 == mode
}

/// A full disk has a reason of its own.
pub(in crate::agent::shell) fn refusal(reason: Reason, operation: &str, path: &Path, cause: &io::Error) -> Refusal {
    let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let reason = if full { Reason::SandboxFull } else { reason };
    let advice = if full { "; the agent's disk is full" } else { "" };
    Refusal { reason, message: format!("cannot {operation} {}: {cause}{advice}", path.display()) }
}
