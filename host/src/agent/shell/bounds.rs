//! Keeps the output files of running processes within their bound: of tasks in the agent, of what an executor launched in its.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::launcher::output::{OutputError, bound};

/// How often files are looked at while tasks run: a task that writes 1 GB/s exceeds the bound by 1 GB.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the one who looks is told.
pub(crate) enum Change {
    Started(u64, Vec<PathBuf>),
    Ended(u64),
}

/// Looks until the agent ends; never while nothing runs.
pub(crate) fn watch(bytes_max: u64) -> mpsc::UnboundedSender<Change> {
    // One change a launch and one an end: bounded by what runs.
    let (sender, changes) = mpsc::unbounded_channel();
    tokio::spawn(run(bytes_max, changes));
    sender
}

async fn run(bytes_max: u64, mut changes: mpsc::UnboundedReceiver<Change>) {
    let mut running = BTreeMap::new();
    let mut next = Instant::now() + INTERVAL;
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                None => return,
                Some(Change::Started(id, files)) => {
                    if running.is_empty() {
                        next = Instant::now() + INTERVAL;
                    }
                    running.insert(id, files);
                }
                Some(Change::Ended(id)) => drop(running.remove(&id)),
            },
            () = tokio::time::sleep_until(next), if !running.is_empty() => {
                running = look(running, bytes_max).await;
                next = Instant::now() + INTERVAL;
            }
        }
    }
}

async fn look(running: BTreeMap<u64, Vec<PathBuf>>, bytes_max: u64) -> BTreeMap<u64, Vec<PathBuf>> {
    let looked = tokio::task::spawn_blocking(move || {
        running.values().flatten().for_each(|file| keep_small(file, bytes_max));
        running
    });
    looked.await.unwrap_or_default()
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
