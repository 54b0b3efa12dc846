//! One `cargo test`: its output is shown as it comes and counted, and it ends, whatever its tests do.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::processes;
use harness::skip::SKIPS_FILE_VARIABLE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::totals::Totals;
use crate::workspace;

/// A step that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs `cargo test` with these arguments, of all tests those whose name contains `name`.
///
/// # Errors
/// Cargo can't be started.
pub fn run(arguments: &[&str], all: bool, name: Option<&str>, skips: &Path) -> Result<Totals> {
    let mut command = workspace::cargo(&["test", "--no-fail-fast"]);
    command.args(arguments).arg("--").args(name).env(SKIPS_FILE_VARIABLE, skips).stdout(Stdio::piped());
    if all {
        command.arg("--include-ignored");
    }
    let shown = workspace::shown(&command);
    let mut child = command.spawn().with_context(|| format!("start {shown}"))?;
    let stdout = child.stdout.take().expect("it is a pipe");

    let (ended, watched) = mpsc::channel::<()>();
    let pid = child.id() as i32;
    let watch = std::thread::spawn(move || {
        let in_time = watched.recv_timeout(LIMIT) != Err(RecvTimeoutError::Timeout);
        if !in_time {
            eprintln!("no end after {LIMIT:?}: killed");
            end(pid);
        }
        in_time
    });
    let totals = count(stdout);
    let status = wait(&mut child)?;
    drop(ended);
    let in_time = watch.join().expect("the watch doesn't panic");
    Ok(judged(totals, status, in_time, &shown))
}

/// What isn't counted must fail too: a program that doesn't build, or is killed, reports nothing.
fn judged(mut totals: Totals, success: bool, in_time: bool, shown: &str) -> Totals {
    if (!success && totals.failed == 0) || !in_time {
        eprintln!("{shown} failed without a failed test");
        totals.failed += 1;
    }
    totals
}

fn count(stdout: impl std::io::Read) -> Totals {
    let mut totals = Totals::default();
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals += Totals::of_line(&line).unwrap_or_default();
    }
    totals
}

fn wait(child: &mut Child) -> Result<bool> {
    Ok(child.wait().context("wait for cargo")?.success())
}

fn end(pid: i32) {
    let below = processes::descendants(pid).into_iter().map(|process| process.pid);
    for pid in below.chain([pid]) {
        // It may have ended since it was listed.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_all_programs_are_added() {
        let output = "running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n\n\
                      test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured\n";
        assert_eq!(count(output.as_bytes()), Totals { passed: 3, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_failure_that_no_test_reports_is_one() {
        let good = Totals { passed: 3, ..Totals::default() };
        assert_eq!(judged(good, true, true, "cargo test").failed, 0);
        assert_eq!(judged(good, false, true, "cargo test").failed, 1);
        assert_eq!(judged(good, true, false, "cargo test").failed, 1);
    }
}
