//! What the agent tells of its tasks, and what it does when that was acknowledged.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{Source, TaskState, TaskStatus};

use super::core::{After, Agent};
use super::event::{Checkpoint, Effect, LocalId, Out};
use super::tasks::{LATEST_STATE_DELAY, Verdict};
use super::timers::Timer;
use crate::protocol::{StatusUpdate, UpdateAcknowledge, agent_call};

impl Agent {
    pub(super) fn status(&self, id: LocalId, state: TaskState, now: Time) -> TaskStatus {
        let task = &self.tasks[&id];
        TaskStatus {
            agent_id: self.id().cloned(),
            executor_id: task.info.executor.as_ref().map(|executor| executor.id.clone()),
            source: Some(Source::Agent.into()),
            sandbox: Some(task.sandbox.display().to_string()),
            ..TaskStatus::new(task.info.id.clone(), state).at(now)
        }
    }

    pub(super) fn verdict_status(&self, id: LocalId, verdict: Verdict, now: Time) -> TaskStatus {
        self.status(id, verdict.state, now).because(Source::Agent, verdict.reason, verdict.message)
    }

    /// Numbers a new state and tells it when it is durable; of a framework that was shut down nothing is told.
    pub(super) fn publish(&mut self, id: LocalId, status: TaskStatus, out: &mut Out) {
        self.publish_taken(id, status, None, out);
    }

    /// As an executor said in this frame.
    pub(super) fn publish_taken(&mut self, id: LocalId, status: TaskStatus, taken: Option<u64>, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("the caller has it");
        let status = task.updates.push(status).clone();
        let seq = status.update_seq.expect("numbered just now");
        if self.is_removed(&self.tasks[&id].framework_id) {
            return;
        }
        let terminal = status.state().is_terminal();
        self.persist(Checkpoint::Update { id, status, taken }, After::Publish(id, seq), out);
        let soon = out.now + LATEST_STATE_DELAY;
        if terminal && self.timers.at(Timer::ResendUpdate(id)).is_some_and(|at| soon < at) {
            self.timers.set(Timer::ResendUpdate(id), soon);
        }
    }

    /// The oldest that was not acknowledged, with what the task has come to meanwhile.
    pub(super) fn send_update(&mut self, id: LocalId, out: &mut Out) {
        if !self.is_registered() {
            return;
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(status) = task.updates.front().cloned() else { return };
        let (framework_id, latest_state) = (task.framework_id.clone(), task.updates.state().into());
        let retry = task.updates.next_retry();
        out.push(Effect::Send(agent_call::Call::Update(StatusUpdate { framework_id, status, latest_state })));
        self.timers.set(Timer::ResendUpdate(id), out.now + retry);
    }

    pub(super) fn on_update_acknowledge(&mut self, acknowledge: UpdateAcknowledge, out: &mut Out) {
        let UpdateAcknowledge { framework_id, task_id, update_seq } = acknowledge;
        let Some(&id) = self.by_task.get(&(framework_id, task_id)) else { return };
        let task = self.tasks.get_mut(&id).expect("indexed");
        if !task.updates.acknowledge(update_seq) {
            return;
        }
        self.timers.cancel(Timer::ResendUpdate(id));
        let (done, executor) = (task.updates.is_done(), task.executor());
        if done {
            return self.forget_task(id, out);
        }
        self.persist(Checkpoint::Acknowledged { id, update_seq }, After::Nothing, out);
        self.send_update(id, out);
        if let Some(executor) = executor {
            self.take_from_executor(executor, out);
        }
    }
}
