//! What the ends of tasks, executors and agents mean for the job.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::Failure;
use mesos_plugin_api::v1::{InverseOffer, Reason, TaskState, TaskStatus};
use mesos_plugin_api::{Calls, Time};

use super::nodes::{NodeState, ranges};
use super::{EXIT_TIME_LIMIT, JobFramework, Phase};
use crate::outcome::Verdict;

impl JobFramework {
    pub(super) fn task_update(&mut self, now: Time, status: TaskStatus, calls: &mut Calls) {
        let Some(node) = self.nodes.iter().position(|node| node.task_id == status.task_id) else { return };
        let state = status.state();
        // What is out of reach may come back, but a job can't wait for it; of what no master knows nothing more is heard.
        let over = state.is_terminal() || matches!(state, TaskState::TaskUnreachable | TaskState::TaskUnknown);
        if !over || self.nodes[node].over {
            return;
        }
        self.nodes[node].over = true;
        // The executor has told of a rank that failed, after which the others go on.
        let tolerated =
            state == TaskState::TaskFailed && self.job.keep_on_bad_exit() && status.reason() == Reason::None;
        match self.verdict_of_task(node, state, &status) {
            Some(verdict) if tolerated => self.outcome.fail(verdict),
            Some(verdict) => self.fail(now, verdict, calls),
            None => {}
        }
    }

    /// What a task's end says, beyond what its executor has told before.
    fn verdict_of_task(&self, node: usize, state: TaskState, status: &TaskStatus) -> Option<Verdict> {
        let (host, ranks) = self.host_and_ranks(node);
        let because = status.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        match state {
            TaskState::TaskFinished if self.phase == Phase::Inspecting => {
                Some(Verdict::new(1, format!("{host} ended before {ranks} had started")))
            }
            TaskState::TaskFinished => None,
            TaskState::TaskFailed => {
                let code = status.shell_code();
                Some(Verdict::new(code, format!("{ranks} on {host} failed{because}")))
            }
            TaskState::TaskKilled if status.reason() == Reason::MaxDurationReached => Some(self.time_limit()),
            TaskState::TaskKilled => Some(Verdict::new(1, format!("{ranks} on {host} were killed{because}"))),
            TaskState::TaskDropped | TaskState::TaskError => {
                Some(Verdict::new(1, format!("{ranks} could not be launched on {host}{because}")))
            }
            _ => Some(Verdict::new(1, format!("{host} was lost with {ranks}{because}"))),
        }
    }

    /// Ranks can't move: the job has so long to end by itself.
    pub(super) fn agent_drained(&mut self, offers: Vec<InverseOffer>, calls: &mut Calls) {
        for offer in offers {
            if let Some(node) = self.nodes.iter().position(|node| node.agent_id == offer.agent_id && !node.over) {
                let (host, ranks) = self.host_and_ranks(node);
                calls.stderr(format!(
                    "mesos run-mpi: {host}, which has {ranks}, is being drained; the job ends with it unless it ends before\n"
                ));
            }
            calls.decline_inverse_offer(offer.id);
        }
    }

    fn host_and_ranks(&self, node: usize) -> (String, String) {
        let ranks = self.placement.ranks_of(self.nodes[node].index);
        let word = if ranks.len() == 1 { "rank" } else { "ranks" };
        (self.nodes[node].name(), format!("{word} {}", ranges(&ranks)))
    }

    pub(super) fn time_limit(&self) -> Verdict {
        let limit = Duration::from_millis(self.job.time_limit_ms.unwrap_or(0));
        Verdict::new(EXIT_TIME_LIMIT, format!("the time limit of {limit:?} was reached"))
    }

    /// A lost agent takes its task with it. An executor that has ended well has sent its task's end before, which may still be
    /// on its way.
    pub(super) fn failure(&mut self, now: Time, failure: Failure, calls: &mut Calls) {
        let is_it = |node: &NodeState| {
            node.agent_id == failure.agent_id && failure.executor_id.as_ref().is_none_or(|id| *id == node.executor_id)
        };
        let Some(node) = self.nodes.iter().position(is_it).filter(|node| !self.nodes[*node].over) else { return };
        let executor = failure.executor_id.is_some();
        if executor && failure.exit.as_ref().is_some_and(|exit| exit.success()) {
            return;
        }
        let (host, ranks) = self.host_and_ranks(node);
        let because = failure.message.map(|message| format!(": {message}")).unwrap_or_default();
        self.nodes[node].over = true;
        let line = match failure.exit {
            Some(exit) if executor => format!("the executor on {host} ended with {exit}, and {ranks}{because}"),
            _ => format!("{host} was lost with {ranks}{because}"),
        };
        self.fail(now, Verdict::new(1, line), calls);
    }
}
