//! The ends that somebody else decides: kills, durations that are over, frameworks that are shut down.

use std::time::Duration;

use mesos_plugin_api::v1::{FrameworkId, Reason, TaskState};

use super::core::{After, Agent, SIGTERM};
use super::event::{Checkpoint, Effect, LocalId, Out};
use super::tasks::{Phase, Verdict};
use super::timers::Timer;
use crate::protocol::KillTask;

impl Agent {
    /// A task that isn't here has ended, or was lost on the way: the master learns that from the registration.
    pub(super) fn on_kill_task(&mut self, kill: KillTask, out: &mut Out) {
        let reason = kill.reason.and_then(|reason| Reason::try_from(reason).ok()).unwrap_or(Reason::KilledByFramework);
        if let Some(&id) = self.by_task.get(&(kill.framework_id, kill.task_id)) {
            let message = kill.message.unwrap_or_else(|| "killed".to_string());
            let grace = self.tasks[&id].grace(kill.grace_ms);
            self.kill(id, Verdict::new(TaskState::TaskKilled, reason, message), grace, out);
        }
    }

    pub(super) fn on_max_duration(&mut self, id: LocalId, out: &mut Out) {
        let Some(task) = self.tasks.get(&id) else { return };
        let grace = task.grace(None);
        let message = if task.over_by.is_some_and(|by| out.now + grace >= by) {
            "what it ran on was lent to it, and is a gang's now".to_string()
        } else {
            let ran = Duration::from_millis(task.info.max_duration_ms.unwrap_or(0));
            format!("it ran for its max_duration of {} s", ran.as_secs_f64())
        };
        let verdict = Verdict::new(TaskState::TaskFailed, Reason::MaxDurationReached, message);
        self.kill(id, verdict, grace, out);
    }

    /// The first verdict counts; a later kill may only shorten the grace.
    pub(super) fn kill(&mut self, id: LocalId, verdict: Verdict, grace: Duration, out: &mut Out) {
        let task = self.tasks.get_mut(&id).expect("the caller has it");
        let before = task.verdict.clone();
        let verdict = task.verdict.get_or_insert((verdict, grace));
        verdict.1 = verdict.1.min(grace);
        let ((verdict, grace_kept), phase) = (verdict.clone(), task.phase);
        // A task that has ended, or ends now, says so itself.
        if matches!(phase, Phase::Launching | Phase::Running | Phase::WithExecutor { given: true, .. })
            && before.is_none_or(|(_, before)| grace_kept < before)
        {
            let grace_ms = u64::try_from(grace_kept.as_millis()).unwrap_or(u64::MAX);
            self.persist(Checkpoint::Kill { id, verdict: verdict.clone(), grace_ms }, After::Nothing, out);
        }
        match phase {
            Phase::Ended | Phase::Launching => {}
            Phase::Running => self.terminate(id, grace, out),
            Phase::WithExecutor { executor, given: true } => self.kill_by_executor(id, executor, grace, out),
            Phase::Queued | Phase::Checkpointing | Phase::Preparing | Phase::WithExecutor { given: false, .. } => {
                if phase == Phase::Preparing {
                    out.push(Effect::Abandon { id });
                }
                self.end(id, self.verdict_status(id, verdict, out.now), out);
            }
        }
    }

    /// TERM now, KILL after the grace; each asked for once.
    pub(super) fn terminate(&mut self, id: LocalId, grace: Duration, out: &mut Out) {
        let deadline = out.now + grace;
        if self.timers.at(Timer::KillGrace(id)).is_none_or(|before| deadline < before) {
            self.timers.set(Timer::KillGrace(id), deadline);
        }
        if self.tasks[&id].updates.state() != TaskState::TaskKilling {
            out.push(Effect::Signal { id, signal: SIGTERM });
            self.publish(id, self.status(id, TaskState::TaskKilling, out.now), out);
        }
    }

    pub(super) fn on_shutdown_framework(&mut self, framework_id: &FrameworkId, out: &mut Out) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        framework.removed = true;
        for id in framework.members.clone() {
            if self.executors.contains_key(&id) {
                self.stop_executor(id, out);
            }
            match self.tasks.get(&id) {
                Some(task) if task.is_live() => {
                    let (grace, message) = (task.grace(None), "the framework was shut down");
                    let verdict = Verdict::new(TaskState::TaskKilled, Reason::FrameworkRemoved, message);
                    self.kill(id, verdict, grace, out);
                }
                Some(_) => self.forget_task(id, out),
                None => {}
            }
        }
    }
}
