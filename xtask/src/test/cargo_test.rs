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

/// With more failed tests than this something is broken, not flaky.
const REPEATED_MAX: usize = 3;

/// Runs `cargo test` with these arguments, of all tests those whose name contains `name`.
///
/// # Errors
/// Cargo can't be started.
pub fn run(arguments: &[&str], all: bool, name: Option<&str>, skips: &Path) -> Result<Totals> {
    let chosen: Vec<&str> = name.into_iter().chain(all.then_some("--include-ignored")).collect();
    Ok(run_once(arguments, &chosen, skips)?.0)
}

/// The same for tests of real processes, whose deadlines a busy machine may break: one that fails is run once more, by itself. If it
/// passes then, it is flaky, which is counted and said: there is something to be found, in the test or in what it tests.
///
/// # Errors
/// Cargo can't be started.
pub fn run_real(arguments: &[&str], all: bool, name: Option<&str>, skips: &Path) -> Result<Totals> {
    let chosen: Vec<&str> = name.into_iter().chain(all.then_some("--include-ignored")).collect();
    let (mut totals, failed) = run_once(arguments, &chosen, skips)?;
    if failed.len() > REPEATED_MAX {
        return Ok(totals);
    }
    for test in failed {
        eprintln!("── {test} has failed; once more, by itself ──");
        let (again, _) = run_once(arguments, &[&test, "--exact", "--include-ignored"], skips)?;
        if again.failed == 0 && again.passed == 1 {
            totals.found_flaky(&test);
        }
    }
    Ok(totals)
}

/// Gives the counts, and the names of the tests that failed.
fn run_once(arguments: &[&str], chosen: &[&str], skips: &Path) -> Result<(Totals, Vec<String>)> {
    let mut command = workspace::cargo(&["test", "--no-fail-fast"]);
    command.args(arguments).arg("--").args(chosen).env(SKIPS_FILE_VARIABLE, skips).stdout(Stdio::piped());
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
    let (totals, failed) = count(stdout);
    let status = wait(&mut child)?;
    drop(ended);
    let in_time = watch.join().expect("the watch doesn't panic");
    Ok((judged(totals, status, in_time, &shown), failed))
}

/// What isn't counted must fail too: a program that doesn't build, or is killed, reports nothing.
fn judged(mut totals: Totals, success: bool, in_time: bool, shown: &str) -> Totals {
    if (!success && totals.failed == 0) || !in_time {
        eprintln!("{shown} failed without a failed test");
        totals.failed += 1;
    }
    totals
}

fn count(stdout: impl std::io::Read) -> (Totals, Vec<String>) {
    let (mut totals, mut failed) = (Totals::default(), Vec::new());
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals += Totals::of_line(&line).unwrap_or_default();
        failed.extend(failed_test(&line).map(str::to_string));
    }
    (totals, failed)
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
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
                      test a::b ... FAILED\ntest a::c ... ok\n\
                      test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured\n";
        let (totals, failed) = count(output.as_bytes());
        assert_eq!(totals, Totals { passed: 3, failed: 1, skipped: 1, flaky: 0 });
        assert_eq!(failed, ["a::b"]);
    }

    #[test]
    fn a_failure_that_no_test_reports_is_one() {
        let good = Totals { passed: 3, ..Totals::default() };
        assert_eq!(judged(good, true, true, "cargo test").failed, 0);
        assert_eq!(judged(good, false, true, "cargo test").failed, 1);
        assert_eq!(judged(good, true, false, "cargo test").failed, 1);
    }
}
