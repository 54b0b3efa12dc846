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

/// What `mpirun` said, with what is known from our own processes. `mpirun` is not believed when it says 0 and a rank or a
/// daemon failed.
#[derive(Clone, Debug, Default)]
pub struct MpirunRecords {
    /// Ranks that ended badly, with their host, in the order in which we heard of them.
    pub ranks: Vec<(RankEnded, String)>,
    /// Daemons that ended badly.
    pub daemons: Vec<Verdict>,
}

impl MpirunRecords {
    /// The failure, if there was one.
    pub fn verdict(&self, exit: &ExitStatus, host: &str) -> Option<Verdict> {
        let code = exit.shell_code();
        // The ranks that mpirun ends because another one failed tell their own end too; its exit code names the first.
        let of_code = self.ranks.iter().find(|(ended, _)| ended.exit.shell_code() == code);
        let by_itself = self.ranks.iter().find(|(ended, _)| !is_collateral(&ended.exit));
        let mpirun = || Verdict::new(code, format!("mpirun on {host} ended with {exit}"));
        let rank = |(ended, host): &(RankEnded, String)| Verdict::rank_ended(ended, host);
        match (code, &self.daemons[..]) {
            (0, []) => by_itself.map(rank),
            (0, [daemon, ..]) => Some(by_itself.map_or_else(|| daemon.clone(), rank)),
            (_, [daemon, ..]) if of_code.is_none() => Some(Verdict::new(code, daemon.line.clone())),
            _ => Some(of_code.map_or_else(mpirun, rank)),
        }
    }
}

/// TERM or KILL, by which `mpirun` ends ranks.
fn is_collateral(exit: &ExitStatus) -> bool {
    matches!(exit.shell_code(), 137 | 143)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(rank: u32, exit: ExitStatus) -> (RankEnded, String) {
        (RankEnded { rank, exit, ..RankEnded::default() }, format!("host-{rank}"))
    }

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

    #[test]
    fn mpirun_is_not_believed_when_it_says_zero() {
        let daemon = Verdict::new(1, "daemon gone");
        let records = MpirunRecords { ranks: vec![], daemons: vec![daemon.clone()] };
        assert_eq!(records.verdict(&ExitStatus::code(0), "h"), Some(daemon));
        let records = MpirunRecords { ranks: vec![ended(3, ExitStatus::signal(11))], daemons: vec![] };
        let verdict = records.verdict(&ExitStatus::code(0), "h").unwrap();
        assert_eq!((verdict.exit_code, verdict.line.as_str()), (139, "rank 3 on host-3 ended with signal 11 (SEGV)"));
        assert_eq!(MpirunRecords::default().verdict(&ExitStatus::code(0), "h"), None);
    }

    #[test]
    fn mpiruns_code_finds_the_rank_that_failed_first() {
        let ranks = vec![ended(0, ExitStatus::signal(15)), ended(1, ExitStatus::code(17))];
        let records = MpirunRecords { ranks, daemons: vec![] };
        let verdict = records.verdict(&ExitStatus::code(17), "h").unwrap();
        assert_eq!(verdict, Verdict::new(17, "rank 1 on host-1 ended with exit code 17"));
        // MPI_Abort(42): no rank ended with it, and the others were ended by mpirun.
        let verdict = records.verdict(&ExitStatus::code(42), "h").unwrap();
        assert_eq!(verdict, Verdict::new(42, "mpirun on h ended with exit code 42"));
    }
}
