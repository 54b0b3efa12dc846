//! Keeps the output files of running processes within their bound: of tasks in the agent, of what an executor launched in its.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::mem;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::launcher::output::{OutputError, bound};

/// How often files are looked at while tasks run: a task that writes 1 GB/s exceeds the bound by 1 GB.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files of what runs. Telling it of a process costs little: thousands start a second, and most end before the next look.
/// The looks end with it.
pub(crate) struct Outputs {
    running: Arc<Mutex<Running>>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Running {
    files: BTreeMap<u64, Vec<PathBuf>>,
    /// Nothing runs, and nobody looks before something does.
    is_asleep: bool,
}

impl Outputs {
    /// Looks from the current tokio runtime; never while nothing runs.
    pub(crate) fn watch(bytes_max: u64) -> Self {
        let outputs = Self { running: Arc::default(), wake: Arc::default() };
        tokio::spawn(run(bytes_max, Arc::downgrade(&outputs.running), outputs.wake.clone()));
        outputs
    }

    pub(crate) fn started(&self, id: u64, files: Vec<PathBuf>) {
        let mut running = lock(&self.running);
        running.files.insert(id, files);
        if mem::take(&mut running.is_asleep) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn ended(&self, id: u64) {
        lock(&self.running).files.remove(&id);
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

async fn run(bytes_max: u64, running: Weak<Mutex<Running>>, wake: Arc<Notify>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(files) = running.upgrade().map(|running| files_now(&running)) else { return };
        if files.is_empty() {
            wake.notified().await;
        } else {
            let looked = tokio::task::spawn_blocking(move || files.iter().for_each(|file| keep_small(file, bytes_max)));
            // A panic was said; the next look may go well.
            let _ = looked.await;
        }
    }
}

fn files_now(running: &Mutex<Running>) -> Vec<PathBuf> {
    let mut running = lock(running);
    running.is_asleep = running.files.is_empty();
    running.files.values().flatten().cloned().collect()
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep_small(path: &Path, bytes_max: u64) {
    // What it has on the disk, so that a file that was freed already is passed over. Links are the task's own affair.
    let Ok(metadata) = path.symlink_metadata() else { return };
    if !metadata.is_file() || metadata.blocks() * 512 <= bytes_max {
        return;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(path) else { return };
    match bound(&file, bytes_max) {
        Ok(_) | Err(OutputError::Unsupported) => {}
        Err(error) => tracing::debug!("{}: {error}", path.display()),
    }
}
