//! Sandboxes of what has ended: kept for a while, spare ones for the next task.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::super::config::Bounds;
use super::folder::remove;
use super::{Key, Sandboxes};
use crate::launcher::User;

/// Whose tasks may have each other's folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent::shell) struct Owner {
    /// The framework's folder.
    folder: PathBuf,
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(in crate::agent::shell) fn of(sandbox: &Path, user: &User) -> Self {
        let folder = sandbox.parent().expect("a sandbox is below its framework's folder").to_owned();
        Self { folder, uid: user.uid, gid: user.gid }
    }
}

/// What has ended, oldest first; what goes beyond the bounds is removed.
#[derive(Debug)]
pub(in crate::agent::shell) struct Attic {
    bounds: Bounds,
    ended: VecDeque<(SystemTime, Ended)>,
    /// Folders without anything in them, still under the names of the tasks that left them so, by the order of their ends.
    spare: BTreeMap<Owner, BTreeMap<u64, PathBuf>>,
    spare_last: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Folder(PathBuf),
    /// Its folder is a spare one, or was.
    Silent {
        key: Key,
        owner: Owner,
        number: u64,
    },
}

impl Attic {
    /// With what an agent before this one left in the work folder.
    pub(in crate::agent::shell) fn open(work_dir: &Path, bounds: Bounds) -> Self {
        let mut ended = Vec::new();
        for root in ["sandboxes", "executors"] {
            for framework in fs::read_dir(work_dir.join(root)).into_iter().flatten().flatten() {
                for sandbox in fs::read_dir(framework.path()).into_iter().flatten().flatten() {
                    let modified = sandbox.metadata().and_then(|metadata| metadata.modified());
                    ended.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), Ended::Folder(sandbox.path())));
                }
            }
        }
        ended.sort();
        Self { bounds, ended: ended.into(), spare: BTreeMap::new(), spare_last: 0 }
    }

    pub(in crate::agent::shell) fn add(&mut self, path: PathBuf) {
        self.ended.push_back((SystemTime::now(), Ended::Folder(path)));
    }

    /// A folder that nothing is left in and that nobody reads.
    pub(in crate::agent::shell) fn add_spare(&mut self, key: Key, path: PathBuf, user: &User) {
        self.spare_last += 1;
        let (owner, number) = (Owner::of(&path, user), self.spare_last);
        self.spare.entry(owner.clone()).or_default().insert(number, path);
        self.ended.push_back((SystemTime::now(), Ended::Silent { key, owner, number }));
    }

    /// The one that was left last, which the kernel remembers best.
    pub(in crate::agent::shell) fn take_spare(&mut self, owner: &Owner) -> Option<PathBuf> {
        self.take_of(owner, |spare| spare.pop_last().map(|(_, path)| path))
    }

    /// Takes out what is to be removed now. Silent tasks grow old like others.
    pub(in crate::agent::shell) fn take_old(&mut self, sandboxes: &Sandboxes) -> Vec<PathBuf> {
        let mut old = Vec::new();
        while let Some((at, _)) = self.ended.front() {
            if self.ended.len() <= self.bounds.sandboxes_max && age(*at) <= self.bounds.sandbox_age_max {
                break;
            }
            match self.ended.pop_front().expect("looked at just now").1 {
                Ended::Folder(path) => old.push(path),
                Ended::Silent { key, owner, number } => {
                    old.extend(self.remove_spare(&owner, number));
                    sandboxes.forget(&key);
                }
            }
        }
        old
    }

    fn remove_spare(&mut self, owner: &Owner, number: u64) -> Option<PathBuf> {
        self.take_of(owner, |spare| spare.remove(&number))
    }

    fn take_of(
        &mut self,
        owner: &Owner,
        take: impl FnOnce(&mut BTreeMap<u64, PathBuf>) -> Option<PathBuf>,
    ) -> Option<PathBuf> {
        let spare = self.spare.get_mut(owner)?;
        let taken = take(spare);
        if spare.is_empty() {
            self.spare.remove(owner);
        }
        taken
    }

    /// When the oldest is to go.
    pub(in crate::agent::shell) fn next_age_out(&self) -> Option<Duration> {
        let (at, _) = self.ended.front()?;
        Some(self.bounds.sandbox_age_max.saturating_sub(age(*at)))
    }

    /// A name that is used again isn't old.
    pub(in crate::agent::shell) fn keep(&mut self, path: &Path) {
        self.ended.retain(|(_, ended)| !matches!(ended, Ended::Folder(old) if old == path));
    }

    /// The same for one that was silent; its folder is nobody's spare one any more.
    pub(in crate::agent::shell) fn keep_silent(&mut self, wanted: &Key) {
        let is_wanted = |ended: &Ended| matches!(ended, Ended::Silent { key, .. } if key == wanted);
        let Some(place) = self.ended.iter().position(|(_, ended)| is_wanted(ended)) else { return };
        if let Some((_, Ended::Silent { owner, number, .. })) = self.ended.remove(place) {
            self.remove_spare(&owner, number);
        }
    }
}

fn age(at: SystemTime) -> Duration {
    at.elapsed().unwrap_or(Duration::ZERO)
}

/// Removes folders, and those of frameworks that are empty then.
pub(in crate::agent::shell) fn remove_all(paths: Vec<PathBuf>) {
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
