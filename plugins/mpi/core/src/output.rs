//! Where the output of ranks goes: files in the sandbox, and from there the terminal or files on the command's machine.

use mesos_plugin_api::framework::FollowFile;
use thiserror::Error;

use crate::messages::Job;

/// The file in its sandbox that takes a rank's standard output.
pub fn stdout_file(rank: u32) -> String {
    format!("stdout.{rank}")
}

/// The file in its sandbox that takes a rank's standard error.
pub fn stderr_file(rank: u32) -> String {
    format!("stderr.{rank}")
}

/// A pattern that names no file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// `%` with a letter that means nothing.
    #[error("{flag} {pattern:?}: %{letter} means nothing; %t is the rank, %n the node, %j the job, %% a percent sign")]
    UnknownLetter {
        /// The flag, with its hyphens.
        flag: &'static str,
        /// As it was typed.
        pattern: String,
        /// After the percent sign.
        letter: String,
    },
    /// Nothing at all.
    #[error("{flag} is empty: name a file, or none")]
    Empty {
        /// The flag, with its hyphens.
        flag: &'static str,
    },
}

/// What stands for the letters of a pattern.
#[derive(Clone, Copy, Debug)]
pub struct Letters<'a> {
    /// `%t`
    pub rank: u32,
    /// `%n`
    pub node: u32,
    /// `%j`
    pub job: &'a str,
}

/// Checks a pattern.
///
/// # Errors
/// A pattern that names no file, with the flag that it came by.
pub fn check(flag: &'static str, pattern: &str) -> Result<(), PatternError> {
    if pattern.is_empty() {
        return Err(PatternError::Empty { flag });
    }
    match expand(pattern, Letters { rank: 0, node: 0, job: "" }) {
        Ok(_) => Ok(()),
        Err(letter) => Err(PatternError::UnknownLetter { flag, pattern: pattern.to_string(), letter }),
    }
}

/// The name that a pattern stands for; the letter that means nothing, if there is one.
pub fn expand(pattern: &str, letters: Letters<'_>) -> Result<String, String> {
    let mut name = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match (c, c == '%') {
            (c, false) => name.push(c),
            _ => match rest.next() {
                Some('t') => name.push_str(&letters.rank.to_string()),
                Some('n') => name.push_str(&letters.node.to_string()),
                Some('j') => name.push_str(letters.job),
                Some('%') => name.push('%'),
                other => return Err(other.map(String::from).unwrap_or_default()),
            },
        }
    }
    Ok(name)
}

/// What to show of one rank.
pub fn follow_rank(job: &Job, job_id: &str, rank: u32, node: u32) -> Vec<FollowFile> {
    let letters = Letters { rank, node, job: job_id };
    let label = job.label().then(|| label(rank, job.ranks));
    let files = [(stdout_file(rank), false, &job.stdout), (stderr_file(rank), true, stderr_pattern(job))];
    files
        .into_iter()
        .filter_map(|(path, stderr, pattern)| follow(job, path, stderr, pattern, label.clone(), letters))
        .collect()
}

/// What to show of `mpirun`: its own words alone, for the terminal. What its ranks write goes past it into a file for each, as
/// it would mix their lines.
pub fn follow_mpirun(job: &Job, job_id: &str) -> Vec<FollowFile> {
    let letters = Letters { rank: 0, node: 0, job: job_id };
    let files = [("stdout".to_string(), false), ("stderr".to_string(), true)];
    files.into_iter().filter_map(|(path, stderr)| follow(job, path, stderr, &None, None, letters)).collect()
}

/// As with srun, `-o` alone takes both.
fn stderr_pattern(job: &Job) -> &Option<String> {
    if job.stderr.is_some() { &job.stderr } else { &job.stdout }
}

fn follow(
    job: &Job,
    path: String,
    stderr: bool,
    pattern: &Option<String>,
    label: Option<String>,
    letters: Letters<'_>,
) -> Option<FollowFile> {
    let to_file = match pattern.as_deref() {
        Some("none") => return None,
        Some(pattern) => Some(absolute(&job.working_directory, &expand(pattern, letters).ok()?)),
        None => None,
    };
    Some(FollowFile { path, stderr: stderr.then_some(true), label, to_file })
}

/// A file's name as the command's machine finds it.
pub fn absolute(working_directory: &[u8], name: &str) -> Vec<u8> {
    if name.starts_with('/') { name.as_bytes().to_vec() } else { [working_directory, b"/", name.as_bytes()].concat() }
}

/// All labels of a job are equally wide.
fn label(rank: u32, ranks: u32) -> String {
    let width = ranks.saturating_sub(1).to_string().len();
    format!("{rank:0width$}: ")
}

/// Both patterns with their flags.
pub fn patterns(job: &Job) -> impl Iterator<Item = (&'static str, &str)> {
    let stdout = job.stdout.as_deref().map(|pattern| ("-o", pattern));
    stdout.into_iter().chain(job.stderr.as_deref().map(|pattern| ("-e", pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job { ranks: 12, working_directory: b"/home/u".to_vec(), ..Job::default() }
    }

    #[test]
    fn letters_stand_for_rank_node_and_job() {
        let letters = Letters { rank: 7, node: 2, job: "mpi-1" };
        assert_eq!(expand("%j/out.%t.%n.100%%", letters), Ok("mpi-1/out.7.2.100%".into()));
        let error = check("-o", "out.%q").unwrap_err().to_string();
        assert!(error.starts_with("-o \"out.%q\": %q means nothing"), "{error}");
        assert!(check("-e", "100%").is_err());
    }

    #[test]
    fn a_label_is_as_wide_as_the_highest_rank() {
        let job = Job { label: Some(true), ..job() };
        let files = follow_rank(&job, "j", 3, 0);
        assert_eq!(files[0].label.as_deref(), Some("03: "));
        assert_eq!((files[1].path.as_str(), files[1].stderr()), ("stderr.3", true));
    }

    #[test]
    fn stdout_alone_takes_both_and_none_takes_neither() {
        let job = Job { stdout: Some("out.%t".into()), ..job() };
        let files = follow_rank(&job, "j", 3, 0);
        assert!(files.iter().all(|file| file.to_file.as_deref() == Some(b"/home/u/out.3".as_slice())));
        let job = Job { stdout: Some("none".into()), ..job };
        assert_eq!(follow_rank(&job, "j", 3, 0), []);
    }

    #[test]
    fn a_job_that_nobody_watches_now_may_be_watched_later() {
        let detached = Job { detached: Some(true), ..job() };
        assert_eq!(follow_rank(&detached, "j", 0, 0), follow_rank(&job(), "j", 0, 0));
    }
}
