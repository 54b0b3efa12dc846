//! How a job ended: the first failure counts.

use mesos_plugin_api::v1::ExitStatus;

use crate::messages::{Aborted, RankEnded};

/// What the command ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    verdict: Option<Verdict>,
}

/// A failure: exit code and a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Never 0.
    pub exit_code: i32,
    /// What failed, where and how.
    pub line: String,
}

impl Outcome {
    /// Keeps a failure, unless one was there before.
    pub fn fail(&mut self, verdict: Verdict) {
        self.verdict.get_or_insert(verdict);
    }

    /// Replaces what was there before: the person forced an end.
    pub fn force(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// Something has failed.
    pub fn has_failed(&self) -> bool {
        self.verdict.is_some()
    }

    /// 0 if nothing has failed.
    pub fn exit_code(&self) -> i32 {
        self.verdict.as_ref().map_or(0, |verdict| verdict.exit_code)
    }

    /// What failed.
    pub fn line(&self) -> Option<String> {
        self.verdict.as_ref().map(|verdict| verdict.line.clone())
    }
}

impl Verdict {
    /// A failure with this exit code; 1 for a code that would mean success.
    pub fn new(exit_code: i32, line: impl Into<String>) -> Self {
        Self { exit_code: if exit_code == 0 { 1 } else { exit_code }, line: line.into() }
    }

    /// A rank ended badly on that host.
    pub fn rank_ended(ended: &RankEnded, host: &str) -> Self {
        let RankEnded { rank, exit, .. } = ended;
        let line = match &ended.message {
            Some(message) => format!("rank {rank} on {host}: {message}"),
            None => format!("rank {rank} on {host} ended with {exit}{}", before_finalize(ended)),
        };
        Self::new(exit.shell_code(), line)
    }

    /// A rank called MPI_Abort, or its library did.
    pub fn aborted(aborted: &Aborted, host: &str) -> Self {
        let Aborted { rank, exit_code, message } = aborted;
        let because = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        Self::new(*exit_code, format!("rank {rank} on {host} aborted the job with exit code {exit_code}{because}"))
    }
}

fn before_finalize(ended: &RankEnded) -> &'static str {
    let by_itself = ended.exit != ExitStatus::unknown() && ended.exit.shell_code() < 128;
    if ended.inside_mpi() && by_itself { " before MPI_Finalize" } else { "" }
}

/// What is known from our own processes when `mpirun` ends, which is not believed when it says 0 though a rank or a daemon
/// failed, and not when it says 14 for every signal.
#[derive(Clone, Debug, Default)]
pub struct MpirunRecords {
    /// In the order in which we heard of them.
    failures: Vec<Verdict>,
}

impl MpirunRecords {
    /// A rank ended badly.
    pub fn rank_ended(&mut self, ended: &RankEnded, host: &str) {
        self.failures.push(Verdict::rank_ended(ended, host));
    }

    /// A daemon ended badly.
    pub fn daemon_ended(&mut self, verdict: Verdict) {
        self.failures.push(verdict);
    }

    /// The first failure that isn't a consequence of another one; with nothing else, a lost connection counts.
    pub fn first(&self) -> Option<Verdict> {
        let consequence = |failure: &&Verdict| [ENDED_BY_TERM, LOST_CONNECTION].contains(&failure.exit_code);
        let lost = || self.failures.iter().find(|failure| failure.exit_code == LOST_CONNECTION);
        self.failures.iter().find(|failure| !consequence(failure)).or_else(lost).cloned()
    }

    /// The failure of the job, if there was one.
    pub fn verdict(&self, exit: &ExitStatus, host: &str) -> Option<Verdict> {
        let code = exit.shell_code();
        let by_code = || self.failures.iter().find(|failure| failure.exit_code == code).cloned();
        let mpirun = || Verdict::new(code, format!("mpirun on {host} ended with {exit}"));
        match (self.first(), code) {
            (Some(first), _) => Some(first),
            (None, 0) => None,
            (None, _) => Some(by_code().unwrap_or_else(mpirun)),
        }
    }
}

/// `mpirun` gives TERM to all ranks when one has failed.
const ENDED_BY_TERM: i32 = 143;
/// A rank of Open MPI 5 exits so when its daemon goes, as it does after another rank has failed.
const LOST_CONNECTION: i32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts_and_is_never_zero() {
        let mut outcome = Outcome::default();
        outcome.fail(Verdict::new(0, "a"));
        outcome.fail(Verdict::new(9, "b"));
        assert_eq!((outcome.exit_code(), outcome.line().as_deref()), (1, Some("a")));
    }

    #[test]
    fn a_rank_that_leaves_without_finalize_has_failed() {
        let ended = RankEnded { rank: 2, exit: ExitStatus::code(0), inside_mpi: Some(true), ..RankEnded::default() };
        let verdict = Verdict::rank_ended(&ended, "host-1");
        assert_eq!(verdict, Verdict::new(1, "rank 2 on host-1 ended with exit code 0 before MPI_Finalize"));
    }

    fn records(failures: &[(u32, ExitStatus)]) -> MpirunRecords {
        let mut records = MpirunRecords::default();
        for (rank, exit) in failures {
            let ended = RankEnded { rank: *rank, exit: *exit, ..RankEnded::default() };
            records.rank_ended(&ended, &format!("host-{rank}"));
        }
        records
    }

    fn line(records: &MpirunRecords, code: i32) -> Option<(i32, String)> {
        records.verdict(&ExitStatus::code(code), "h").map(|verdict| (verdict.exit_code, verdict.line))
    }

    #[test]
    fn mpirun_is_not_believed_when_it_says_zero() {
        let mut daemon = MpirunRecords::default();
        daemon.daemon_ended(Verdict::new(137, "daemon gone"));
        assert_eq!(line(&daemon, 0), Some((137, "daemon gone".into())));
        let rank = records(&[(3, ExitStatus::signal(11))]);
        assert_eq!(line(&rank, 0), Some((139, "rank 3 on host-3 ended with signal 11 (SEGV)".into())));
        assert_eq!(line(&MpirunRecords::default(), 0), None);
    }

    #[test]
    fn the_first_rank_that_was_not_ended_by_mpirun_is_the_cause() {
        // As seen with 5.0.11 after _exit(17) in rank 1: mpirun says 14.
        let exits = [(1, ExitStatus::code(17)), (0, ExitStatus::code(14)), (2, ExitStatus::signal(15))];
        assert_eq!(line(&records(&exits), 14), Some((17, "rank 1 on host-1 ended with exit code 17".into())));
        let exits = [(2, ExitStatus::signal(15)), (3, ExitStatus::signal(11))];
        assert_eq!(line(&records(&exits), 139).unwrap().0, 139);
    }

    #[test]
    fn without_a_record_mpirun_s_own_word_is_all_there_is() {
        assert_eq!(line(&records(&[]), 42), Some((42, "mpirun on h ended with exit code 42".into())));
        let killed = records(&[(2, ExitStatus::signal(15))]);
        assert_eq!(line(&killed, 143), Some((143, "rank 2 on host-2 ended with signal 15 (TERM)".into())));
    }
}
