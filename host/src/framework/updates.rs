//! Updates of tasks: each is seen by the half, and acknowledged when what the half stored in answer to it is kept.

use std::collections::{BTreeMap, VecDeque};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::scheduler::{self, Acknowledge};
use mesos_plugin_api::v1::{TaskId, TaskInfo, TaskState, TaskStatus};

use super::answers::{Answer, Cause};
use super::{Effect, Runner};

/// Ended tasks whose late, repeated updates are still recognised.
const ENDED_TASKS_MAX: usize = 20_000;

/// What the half has heard of its tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Live tasks, and the number of the last update that the half has seen.
    live: BTreeMap<TaskId, Option<u64>>,
    /// Ended tasks in the order of their end.
    ended: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    task: TaskId,
    /// Its last update.
    seq: u64,
    /// The master only knew nothing of it: it may still come back with an agent.
    unknown: bool,
}

impl Tasks {
    pub(super) fn launched(&mut self, tasks: &[TaskInfo]) {
        self.live.extend(tasks.iter().map(|task| (task.id.clone(), None)));
    }

    pub(super) fn live(&self) -> Vec<TaskId> {
        self.live.keys().cloned().collect()
    }

    /// Whether the half has seen it; if not, it counts as seen now.
    fn has_seen(&mut self, status: &TaskStatus) -> bool {
        let (id, seq) = (&status.task_id, status.update_seq);
        if seq.is_some_and(|seq| self.last_seen(id).is_some_and(|seen| seen >= seq)) {
            return true;
        }
        // The answer to a question that crossed its end.
        if seq.is_none() && self.end_of(id).is_some_and(|end| !end.unknown) {
            return true;
        }
        let unknown = status.state() == TaskState::TaskUnknown;
        if status.state().is_terminal() || unknown {
            self.live.remove(id);
            self.ended.push_back(Ended { task: id.clone(), seq: seq.unwrap_or(u64::MAX), unknown });
            if self.ended.len() > ENDED_TASKS_MAX {
                self.ended.pop_front();
            }
        } else if status.agent_id.is_some() {
            let seen = self.live.entry(id.clone()).or_default();
            *seen = seq.or(*seen);
        }
        false
    }

    fn last_seen(&self, id: &TaskId) -> Option<u64> {
        match self.live.get(id) {
            Some(seen) => *seen,
            None => self.end_of(id).map(|end| end.seq),
        }
    }

    /// Searched only for what is said of an ended task again, which is rare.
    fn end_of(&self, id: &TaskId) -> Option<&Ended> {
        if self.live.contains_key(id) { None } else { self.ended.iter().rev().find(|ended| ended.task == *id) }
    }
}

impl Runner {
    pub(super) fn updated(&mut self, now: Time, status: TaskStatus, effects: &mut Vec<Effect>) {
        let acknowledge = status.update_seq.zip(status.agent_id.clone()).map(|(update_seq, agent_id)| Acknowledge {
            task_id: status.task_id.clone(),
            agent_id,
            update_seq,
        });
        self.unanswered.updated(&status);
        if !self.tasks.has_seen(&status) {
            let cause = acknowledge.map_or(Cause::Other, Cause::Update);
            self.give_for(now, HalfEvent::Update(scheduler::Update { status }), cause, effects);
        } else if let Some(acknowledge) = acknowledge {
            // Seen before: our acknowledgement was lost.
            self.answer(now, Answer::Update(acknowledge), effects);
        }
    }
}
