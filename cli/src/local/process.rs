//! Processes told by pid and start time, so that a pid that was given to another one is never signalled.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started: ticks since the machine booted.
    pub started: u64,
    /// Which boot of which machine that was.
    pub boot: String,
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// None has.
    pub fn of_pid(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).context("not a process's number")?;
        let (started, _) = stat(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(Self { pid, started, boot: boot_id()? })
    }

    /// Whether it still runs: a zombie doesn't.
    pub fn lives(&self) -> bool {
        let same_boot = boot_id().is_ok_and(|boot| boot == self.boot);
        same_boot && stat(self.pid).is_some_and(|(started, state)| started == self.started && state != 'Z')
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if !self.lives() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => bail!("process {} can't be ended: {error}", self.pid),
        }
    }
}

/// Ends processes: TERM to all, KILL after `grace` to those that are left. Returns when none lives.
///
/// # Errors
/// One may not be signalled, or survives a KILL.
pub fn end_all(processes: &[Process], grace: Duration) -> Result<()> {
    const AFTER_KILL: Duration = Duration::from_secs(5);
    processes.iter().try_for_each(|process| process.signal(Signal::SIGTERM))?;
    if !wait_for_all(processes, grace) {
        processes.iter().try_for_each(|process| process.signal(Signal::SIGKILL))?;
        if !wait_for_all(processes, AFTER_KILL) {
            let left: Vec<String> = processes.iter().filter(|p| p.lives()).map(|p| p.pid.to_string()).collect();
            bail!("these processes don't end: {}", left.join(", "));
        }
    }
    Ok(())
}

/// They aren't our children, so there is nothing to wait for but their absence.
fn wait_for_all(processes: &[Process], at_most: Duration) -> bool {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + at_most;
    while processes.iter().any(Process::lives) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    true
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path).with_context(|| format!("{path} can't be read"))?.trim().to_string())
}

/// Start time and state. The program's name may hold spaces and brackets, so fields count from its last closing one.
fn stat(pid: i32) -> Option<(u64, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // `state` is field 3 of proc(5), `starttime` field 22.
    Some((fields.get(19)?.parse().ok()?, fields.first()?.chars().next()?))
}
