//! One inotify instance for all who follow files: users have few of them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

pub(super) struct Watcher {
    inotify: AsyncFd<Descriptor>,
    followers: Mutex<Followers>,
}

#[derive(Default)]
struct Followers {
    last: u64,
    by_watch: BTreeMap<WatchDescriptor, BTreeMap<u64, Arc<Notify>>>,
}

/// `Inotify` lends its descriptor, which is all that `AsyncFd` needs.
struct Descriptor(Inotify);

impl std::os::fd::AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Is told when something changes in the folders that it watches; a change while nobody waits is told at the next wait.
pub(super) struct Follower {
    watcher: Arc<Watcher>,
    id: u64,
    notify: Arc<Notify>,
    watches: Vec<WatchDescriptor>,
}

impl Watcher {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // SAFETY: the wrapped instance keeps its descriptor open and the same until `AsyncFd` drops it.
        let inotify = unsafe { AsyncFd::register(Descriptor(inotify)) }?;
        let watcher = Arc::new(Self { inotify, followers: Mutex::default() });
        tokio::spawn(run(Arc::downgrade(&watcher)));
        Ok(watcher)
    }

    pub(super) fn follower(self: &Arc<Self>) -> Follower {
        let mut followers = self.lock();
        followers.last += 1;
        Follower { watcher: self.clone(), id: followers.last, notify: Arc::default(), watches: Vec::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        while let Ok(events) = self.inotify.get_ref().0.read_events() {
            let followers = self.lock();
            for event in events {
                // After an overflow nobody knows what has changed.
                let lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                let told = followers.by_watch.iter().filter(|(watch, _)| lost || **watch == event.wd);
                told.flat_map(|(_, followers)| followers.values()).for_each(|notify| notify.notify_one());
            }
        }
    }
}

/// As long as somebody has the watcher.
async fn run(watcher: std::sync::Weak<Watcher>) {
    while let Some(watcher) = watcher.upgrade() {
        match watcher.inotify.readable().await {
            Ok(mut ready) => {
                watcher.tell();
                ready.clear_ready();
            }
            Err(error) => return tracing::warn!("cannot watch files: {error}"),
        }
    }
}

impl Follower {
    /// Files in the folder that change or appear are told. Watching it again does nothing.
    pub(super) fn watch(&mut self, folder: &Path) -> io::Result<()> {
        let changes = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ONLYDIR;
        // Under the lock: another follower may be about to remove the same watch.
        let mut followers = self.watcher.lock();
        let watch = self.watcher.inotify.get_ref().0.add_watch(folder, changes)?;
        if followers.by_watch.entry(watch).or_default().insert(self.id, self.notify.clone()).is_none() {
            self.watches.push(watch);
        }
        Ok(())
    }

    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.watcher.lock();
        for watch in &self.watches {
            let Some(of_watch) = followers.by_watch.get_mut(watch) else { continue };
            of_watch.remove(&self.id);
            if of_watch.is_empty() {
                followers.by_watch.remove(watch);
                // The folder may be gone, and its watch with it.
                let _ = self.watcher.inotify.get_ref().0.rm_watch(*watch);
            }
        }
    }
}
