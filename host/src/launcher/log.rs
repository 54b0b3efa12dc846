//! The launcher's few lines a day: launcher.log of the work directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A log that has grown larger is begun anew by the next launcher.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

static LOG: OnceLock<File> = OnceLock::new();

/// Opens the log. A panic of any thread is written there and ends the process: half a launcher is worse than none.
pub(super) fn open(path: &Path) -> io::Result<()> {
    let is_large = path.metadata().is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
    if is_large {
        std::fs::remove_file(path)?;
    }
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let _ = LOG.set(file);
    std::panic::set_hook(Box::new(|panic| {
        log(&panic.to_string());
        std::process::abort();
    }));
    Ok(())
}

/// Writes a line; a full disk is no reason to stop.
pub(super) fn log(line: &str) {
    let Some(mut file) = LOG.get() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let _ = file.write_all(format!("{}.{:03} {line}\n", now.as_secs(), now.subsec_millis()).as_bytes());
}
