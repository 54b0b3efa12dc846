//! How a job is made to end, and when it has.

use std::time::Duration;

use mesos_plugin_api::{Calls, Time};

use super::mpirun::Mpirun;
use super::nodes::GANG;
use super::{FAILURE_GRACE, GIVE_UP, JobFramework, Phase, Timer};
use crate::messages::Stop;
use crate::messages::order::Order as Do;
use crate::outcome::Verdict;

impl JobFramework {
    pub(super) fn fail(&mut self, now: Time, verdict: Verdict, calls: &mut Calls) {
        self.outcome.fail(verdict);
        if self.phase != Phase::Ending && self.phase != Phase::Done {
            self.end(now, FAILURE_GRACE, GIVE_UP, calls);
        }
    }

    pub(super) fn end(&mut self, now: Time, grace: Duration, give_up: Duration, calls: &mut Calls) {
        self.end_progress(calls);
        if self.phase == Phase::Forming && std::mem::take(&mut self.gang_requested) {
            calls.cancel_gang(GANG);
        }
        self.phase = Phase::Ending;
        for node in self.nodes.iter().filter(|node| !node.over) {
            // An executor that hasn't spoken may not be there to hear it.
            match node.inspected {
                Some(_) => node.send(Do::Stop(stop(grace)), calls),
                None => calls.kill(node.task_id.clone(), Some(grace)),
            }
        }
        self.set_timer(Timer::GiveUp, now + give_up, calls);
    }

    pub(super) fn give_up(&mut self, calls: &mut Calls) {
        for node in self.nodes.iter_mut().filter(|node| !node.over) {
            calls.shutdown_executor(node.agent_id.clone(), node.executor_id.clone());
            node.over = true;
        }
    }

    pub(super) fn finish_if_over(&mut self, calls: &mut Calls) {
        let ending = matches!(self.phase, Phase::Running | Phase::Ending);
        if !ending || self.nodes.iter().any(|node| !node.over) {
            return;
        }
        self.phase = Phase::Done;
        if let Some(failure) = self.mpirun.as_ref().and_then(Mpirun::first_failure) {
            self.outcome.fail(failure);
        }
        for timer in [Timer::GiveUp, Timer::TimeLimit, Timer::SignalGrace, Timer::MpirunStart, Timer::MpirunEnd] {
            calls.cancel_timer(timer as u64);
        }
        calls.finish(self.outcome.exit_code(), self.outcome.line());
    }
}

fn stop(grace: Duration) -> Stop {
    Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), finished: None }
}
