//! Counting: what cargo's test programs report, what a check adds, and the tests that said they can't run here.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Ran and held.
    pub passed: usize,
    /// Ran and didn't, or couldn't even be built.
    pub failed: usize,
    /// Said that they can't run here, or take minutes and weren't asked for.
    pub skipped: usize,
    /// Of those that passed: only when run a second time.
    pub flaky: usize,
}

impl Totals {
    /// A check counts as one test.
    pub fn of_check(result: anyhow::Result<()>) -> Totals {
        match result {
            Ok(()) => Totals { passed: 1, ..Totals::default() },
            Err(error) => {
                eprintln!("{error:#}");
                Totals { failed: 1, ..Totals::default() }
            }
        }
    }

    /// Reads a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`; any other line gives nothing.
    pub fn of_line(line: &str) -> Option<Totals> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |word: &str| {
            let part = counts.split(';').find(|part| part.trim_end().ends_with(word))?;
            part.trim().split(' ').next()?.parse().ok()
        };
        Some(Totals { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")?, flaky: 0 })
    }

    /// This one failed and passed when it was run again.
    pub fn found_flaky(&mut self, test: &str) {
        println!("flaky {test}: failed, and passed by itself");
        self.failed = self.failed.checked_sub(1).expect("it was counted as failed");
        self.passed += 1;
        self.flaky += 1;
    }

    /// Moves the tests that recorded a skip, a line each, from those that passed, and says which and why.
    pub fn take_skips(&mut self, lines: &str) {
        for line in lines.lines() {
            println!("skipped {line}");
        }
        let count = lines.lines().count();
        self.passed = self.passed.checked_sub(count).expect("a skipped test has reported that it passed");
        self.skipped += count;
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { passed, failed, skipped, flaky } = self;
        write!(f, "{passed} passed, {failed} failed")?;
        let more = [(skipped, "skipped"), (flaky, "flaky")];
        more.into_iter().filter(|(count, _)| **count > 0).try_for_each(|(count, word)| write!(f, ", {count} {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_cargo_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 5 filtered out; finished in 0.02s";
        assert_eq!(Totals::of_line(line), Some(Totals { passed: 12, failed: 3, skipped: 4, flaky: 0 }));
        assert_eq!(Totals::of_line("test tests::a ... ok"), None);
    }

    #[test]
    fn totals_are_one_line_and_skips_are_not_passes() {
        let mut totals = Totals { passed: 5, failed: 1, ..Totals::default() };
        assert_eq!(totals.to_string(), "5 passed, 1 failed");
        totals.found_flaky("slow");
        totals.take_skips("mpi: needs root\nnetwork: no `ip` here\n");
        assert_eq!(totals.to_string(), "4 passed, 0 failed, 2 skipped, 1 flaky");
    }
}
