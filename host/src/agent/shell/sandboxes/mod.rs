//! Folders of tasks: made before the launch, found by whoever follows output, removed when they are old or many.
//!
//! ```text
//! prepare ─▶ folder: made, or a spare one ─▶ task ─▶ folder: looked at ─┬─▶ Attic: kept for a while
//!                            ▲                                           │
//!                            └── spare: the task has left nothing in it ◀┘
//! ```
//!
//! Making and removing files is dear, so that the folder of a task that has left nothing serves the next task of its user and
//! framework. What is known of the first one is then only that it was silent: nobody reads a folder for it any more.

mod attic;
mod folder;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesos_plugin_api::v1::{FrameworkId, TaskId};
use tokio::sync::watch;

pub(super) use self::attic::{Attic, Owner, remove_all};
pub(super) use self::folder::{look, make, refusal, share};
use super::users::Account;
use crate::agent::event::Launch;

/// A task's name beyond its framework.
pub(super) type Key = (FrameworkId, TaskId);

/// A task's folder and whether the task has ended.
#[derive(Debug, Clone)]
pub(super) struct Sandbox {
    /// None if the task has ended and left nothing.
    pub path: Option<PathBuf>,
    /// True from the task's end on.
    pub ended: watch::Receiver<bool>,
    /// Who the task runs as and with what environment; for a command run beside it. None after the agent forgot it.
    pub place: Option<Arc<Place>>,
}

/// What runs there, as whom: a command that is run beside a task shares both with it.
#[derive(Debug)]
pub(super) struct Place {
    pub launch: Launch,
    pub account: Arc<Account>,
}

/// Sandboxes of tasks that the agent knows, and those on the disk.
#[derive(Debug)]
pub(super) struct Sandboxes {
    root: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    live: BTreeMap<Key, Live>,
    /// Ended tasks whose folder may be another's now.
    silent: BTreeSet<Key>,
}

#[derive(Debug)]
struct Live {
    path: PathBuf,
    place: Option<Arc<Place>>,
    /// From the first time on that somebody was shown it.
    shown: Option<watch::Sender<bool>>,
}

impl Sandboxes {
    pub(super) fn new(work_dir: &Path) -> Self {
        Self { root: work_dir.join("sandboxes"), known: Mutex::default() }
    }

    /// A task whose output may be asked for from now on.
    pub(super) fn add(&self, key: Key, path: &Path, place: Option<Arc<Place>>) {
        let mut known = self.lock();
        known.silent.remove(&key);
        known.live.insert(key, Live { path: path.to_owned(), place, shown: None });
    }

    /// Whether a task of that name has ended and left nothing.
    pub(super) fn was_silent(&self, key: &Key) -> bool {
        self.lock().silent.contains(key)
    }

    /// It has ended. Whether its folder may be used again: the task left nothing, and nobody was shown it. From then on it is
    /// known to be silent; otherwise the folder stays for a while.
    pub(super) fn end(&self, key: Key, is_untouched: bool) -> bool {
        let mut known = self.lock();
        let Some(live) = known.live.remove(&key) else { return false };
        if let Some(shown) = &live.shown {
            shown.send_replace(true);
        }
        let is_free = is_untouched && live.shown.is_none();
        if is_free {
            known.silent.insert(key);
        }
        is_free
    }

    /// A silent one that is as old as a folder that is removed.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().silent.remove(key);
    }

    /// Where a task's files are.
    pub(super) fn find(&self, framework: &FrameworkId, task: &TaskId) -> Option<Sandbox> {
        let key = (framework.clone(), task.clone());
        let mut known = self.lock();
        if let Some(live) = known.live.get_mut(&key) {
            let ended = live.shown.get_or_insert_with(|| watch::Sender::new(false)).subscribe();
            return Some(Sandbox { path: Some(live.path.clone()), ended, place: live.place.clone() });
        }
        let ended = watch::channel(true).1;
        if known.silent.contains(&key) {
            return Some(Sandbox { path: None, ended, place: None });
        }
        drop(known);
        if TaskId::new(framework.as_str()).problem().is_some() || task.problem().is_some() {
            return None;
        }
        let path = self.root.join(framework.as_str()).join(task.as_str());
        let path = path.canonicalize().ok()?;
        Some(Sandbox { path: Some(path), ended, place: None })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path that stays in the folder it is relative to, by its words alone.
pub(super) fn is_inside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}
