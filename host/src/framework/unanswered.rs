//! What was asked for and hasn't been answered yet.
//!
//! A connection may be dead for a while before either end hears of it, and what is sent into it then is lost without a word. So
//! each of these is said again at the next subscription, until an event shows that it was heard.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::scheduler::{
    DestroyVolume, Failure, Kill, ShutdownExecutor, VolumeState, VolumeStatus, call::Call,
};
use mesos_plugin_api::v1::{AgentId, ExecutorId, TaskId, TaskInfo, TaskState, TaskStatus};

#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// Until the task has ended.
    kills: BTreeMap<TaskId, Kill>,
    /// Until the executor is gone, or another of its name is started.
    shutdowns: BTreeMap<(AgentId, ExecutorId), ShutdownExecutor>,
    /// Until the volume is gone, or that is refused.
    destroys: BTreeMap<(AgentId, String), DestroyVolume>,
}

impl Unanswered {
    pub(super) fn calls(&self) -> impl Iterator<Item = Call> {
        let kills = self.kills.values().cloned().map(Call::Kill);
        let shutdowns = self.shutdowns.values().cloned().map(Call::ShutdownExecutor);
        kills.chain(shutdowns).chain(self.destroys.values().cloned().map(Call::DestroyVolume))
    }

    pub(super) fn kill(&mut self, kill: &Kill) {
        self.kills.insert(kill.task_id.clone(), kill.clone());
    }

    pub(super) fn shutdown(&mut self, call: &ShutdownExecutor) {
        self.shutdowns.insert((call.agent_id.clone(), call.executor_id.clone()), call.clone());
    }

    pub(super) fn destroy(&mut self, call: &DestroyVolume) {
        self.destroys.insert((call.agent_id.clone(), call.name.clone()), call.clone());
    }

    /// Their executors are wanted again.
    pub(super) fn launched(&mut self, tasks: &[TaskInfo]) {
        if !self.shutdowns.is_empty() {
            let executors = tasks.iter().filter_map(|task| Some((task, task.executor.as_ref()?)));
            for (task, executor) in executors {
                self.shutdowns.remove(&(task.agent_id.clone(), executor.id.clone()));
            }
        }
    }

    pub(super) fn updated(&mut self, status: &TaskStatus) {
        if status.state().is_terminal() || status.state() == TaskState::TaskUnknown {
            self.kills.remove(&status.task_id);
        }
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        let hit = |agent: &AgentId, executor: &ExecutorId| {
            *agent == failure.agent_id && failure.executor_id.as_ref().is_none_or(|id| id == executor)
        };
        self.shutdowns.retain(|(agent, executor), _| !hit(agent, executor));
    }

    pub(super) fn volume_is(&mut self, status: &VolumeStatus) {
        if matches!(status.state(), VolumeState::VolumeRefused | VolumeState::VolumeDestroyed) {
            self.destroys.remove(&(status.agent_id.clone(), status.name.clone()));
        }
    }
}
