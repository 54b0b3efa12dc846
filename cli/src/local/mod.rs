//! The local cluster of `mesos up`: a record of its processes, which `mesos down` and every other command read.
//!
//! ```text
//! mesos up ──lock──▶ starts master, agents ──▶ cluster.json: address, pids, start times
//! mesos …  ─────────────────────────────────▶ cluster.json ──▶ address, if its processes still live
//! mesos down ─lock─▶ ends them by pid and start time ──▶ removes cluster.json
//! ```

mod folders;
mod process;
mod record;
mod start;
#[cfg(test)]
mod tests;

pub use folders::StateFolders;
pub use process::{Process, end_all};
pub use record::{Agent, Record};
pub use start::{Plan, down, up};

use anyhow::Result;

/// The record of a local cluster whose master lives; none if there is none, or if it is left over from a crash or a reboot.
///
/// # Errors
/// The record is there and can't be read.
pub fn running(folders: &StateFolders) -> Result<Option<Record>> {
    Ok(Record::read(folders)?.filter(|record| record.master.process.lives()))
}
