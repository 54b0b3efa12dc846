//! How a command that went wrong ends: a line for people on standard error, and an exit code.

use std::process::ExitCode;

use crate::output;
use crate::output::ReaderLeft;

/// The command line, a variable or the configuration file can't be used.
pub const EXIT_USAGE: i32 = 2;
/// The command was understood and could not be carried out.
pub const EXIT_FAILURE: i32 = 1;

/// What was typed can't be used; ends with [`EXIT_USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error about what was typed.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Says what went wrong and gives the exit code.
pub fn report(error: &anyhow::Error) -> i32 {
    if error.is::<ReaderLeft>() {
        return 0;
    }
    output::remark(format!("{error:#}"));
    if error.is::<UsageError>() { EXIT_USAGE } else { EXIT_FAILURE }
}

/// Exit codes are a byte for the kernel.
pub fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The candidate that was most likely meant, if one is near enough.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates.into_iter().map(|candidate| (edits(typed, candidate), candidate));
    near.min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1.max(typed.len().max(candidate.len()) / 3))
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, left out or replaced, or neighbours exchanged.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_strange_one_is_not() {
        let words = ["master", "agent", "run", "tasks"];
        assert_eq!(nearest("matser", words), Some("master"));
        assert_eq!(nearest("task", words), Some("tasks"));
        assert_eq!(nearest("rnu", words), Some("run"));
        assert_eq!(nearest("volcano", words), None);
    }

    #[test]
    fn usage_errors_end_with_2_also_with_context() {
        let error = anyhow::Context::context(Err::<(), _>(usage("no")), "reading").unwrap_err();
        assert_eq!(report(&error), EXIT_USAGE);
        assert_eq!(report(&anyhow::anyhow!("broken")), EXIT_FAILURE);
    }
}
