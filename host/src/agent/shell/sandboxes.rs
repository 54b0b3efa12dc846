//! Folders of tasks: made before the launch, found by whoever follows output, removed when they are old or many.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, mem};

use mesos_plugin_api::v1::{FrameworkId, Reason, TaskId};
use tokio::sync::watch;

use super::config::Bounds;
use super::users::Account;
use crate::agent::event::Refusal;

/// A task's folder and whether the task has ended.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    pub path: PathBuf,
    /// True from the task's end on.
    pub ended: watch::Receiver<bool>,
    /// Who the task runs as and with what environment; for a command run beside it. None after the agent forgot it.
    pub place: Option<Arc<Place>>,
}

/// What a command that is run beside a task shares with it.
#[derive(Debug)]
pub(super) struct Place {
    pub account: Account,
    pub env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
}

/// Sandboxes of tasks that the agent knows, and those on the disk.
#[derive(Debug)]
pub(super) struct Sandboxes {
    root: PathBuf,
    live: Mutex<BTreeMap<(String, String), Live>>,
}

#[derive(Debug)]
struct Live {
    path: PathBuf,
    ended: watch::Sender<bool>,
    place: Option<Arc<Place>>,
}

impl Sandboxes {
    pub(super) fn new(work_dir: &Path) -> Self {
        Self { root: work_dir.join("sandboxes"), live: Mutex::default() }
    }

    /// A task whose output may be asked for from now on.
    pub(super) fn add(&self, framework: &FrameworkId, task: &TaskId, path: &Path, place: Option<Arc<Place>>) {
        let live = Live { path: path.to_owned(), ended: watch::Sender::new(false), place };
        self.lock().insert((framework.to_string(), task.to_string()), live);
    }

    /// It has ended; its folder stays for a while.
    pub(super) fn end(&self, framework: &FrameworkId, task: &TaskId) {
        if let Some(live) = self.lock().remove(&(framework.to_string(), task.to_string())) {
            live.ended.send_replace(true);
        }
    }

    /// Where a task's files are.
    pub(super) fn find(&self, framework: &FrameworkId, task: &TaskId) -> Option<Sandbox> {
        if let Some(live) = self.lock().get(&(framework.to_string(), task.to_string())) {
            return Some(Sandbox { path: live.path.clone(), ended: live.ended.subscribe(), place: live.place.clone() });
        }
        if TaskId::new(framework.as_str()).problem().is_some() || task.problem().is_some() {
            return None;
        }
        let path = self.root.join(framework.as_str()).join(task.as_str());
        let path = path.canonicalize().ok()?;
        Some(Sandbox { path, ended: watch::channel(true).1, place: None })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an empty sandbox that only its user enters; says whether the name was used before: what was there is gone then.
pub(super) fn make(path: &Path, account: &Account) -> Result<bool, Refusal> {
    let refused = |cause: io::Error| refusal(Reason::CommandNotLaunched, "make the sandbox", path, &cause);
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
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(refused)?;
    if nix::unistd::Uid::effective().is_root() {
        chown(path, Some(account.user.uid), Some(account.user.gid)).map_err(refused)?;
    }
    Ok(used)
}

/// The framework's folder: everyone may pass, nobody may look around.
fn make_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().expect("a sandbox is below its framework's folder");
    fs::create_dir_all(parent)?;
    fs::set_permissions(parent, fs::Permissions::from_mode(0o711))
}

/// Lets an executor's sandbox be found by its task's name, also after both have ended.
pub(super) fn share(task: &Path, executor: &Path) -> io::Result<()> {
    make_parent(task)?;
    match symlink(executor, task) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(task)?;
            symlink(executor, task)
        }
        linked => linked,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// A path that stays in the folder it is relative to, by its words alone.
pub(super) fn is_inside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A full disk has a reason of its own.
pub(super) fn refusal(reason: Reason, operation: &str, path: &Path, cause: &io::Error) -> Refusal {
    let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let reason = if full { Reason::SandboxFull } else { reason };
    let advice = if full { "; the agent's disk is full" } else { "" };
    Refusal { reason, message: format!("cannot {operation} {}: {cause}{advice}", path.display()) }
}

/// Sandboxes of what has ended, oldest first; what goes beyond the bounds is removed.
#[derive(Debug)]
pub(super) struct Attic {
    bounds: Bounds,
    ended: std::collections::VecDeque<(SystemTime, PathBuf)>,
}

impl Attic {
    /// With what an agent before this one left in the work folder.
    pub(super) fn open(work_dir: &Path, bounds: Bounds) -> Self {
        let mut ended = Vec::new();
        for root in ["sandboxes", "executors"] {
            for framework in fs::read_dir(work_dir.join(root)).into_iter().flatten().flatten() {
                for sandbox in fs::read_dir(framework.path()).into_iter().flatten().flatten() {
                    let modified = sandbox.metadata().and_then(|metadata| metadata.modified());
                    ended.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), sandbox.path()));
                }
            }
        }
        ended.sort();
        Self { bounds, ended: ended.into() }
    }

    pub(super) fn add(&mut self, path: PathBuf) {
        self.ended.push_back((SystemTime::now(), path));
    }

    /// Takes out what is to be removed now.
    pub(super) fn take_old(&mut self) -> Vec<PathBuf> {
        let mut old = Vec::new();
        while let Some((at, _)) = self.ended.front() {
            let age = at.elapsed().unwrap_or(Duration::ZERO);
            if self.ended.len() <= self.bounds.sandboxes_max && age <= self.bounds.sandbox_age_max {
                break;
            }
            old.extend(self.ended.pop_front().map(|(_, path)| path));
        }
        old
    }

    /// When the oldest is to go.
    pub(super) fn next_age_out(&self) -> Option<Duration> {
        let (at, _) = self.ended.front()?;
        Some(self.bounds.sandbox_age_max.saturating_sub(at.elapsed().unwrap_or(Duration::ZERO)))
    }

    /// A name that is used again isn't old.
    pub(super) fn keep(&mut self, path: &Path) {
        let before = mem::take(&mut self.ended);
        self.ended = before.into_iter().filter(|(_, old)| old != path).collect();
    }
}

/// Removes folders, and those of frameworks that are empty then.
pub(super) fn remove_all(paths: Vec<PathBuf>) {
    for path in paths {
        if let Err(error) = remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the old sandbox {}: {error}", path.display());
        }
        if let Some(parent) = path.parent() {
            // Not empty while the framework has others.
            let _ = fs::remove_dir(parent);
        }
    }
}
