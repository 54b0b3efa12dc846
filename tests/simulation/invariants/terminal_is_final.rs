//! A task that has ended stays ended, for its framework and for its agent.

use std::collections::BTreeMap;

use mesos_host::agent::{Checkpoint, LocalId};
use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{Reason, TaskId, TaskState};

use super::Invariant;
use crate::sight::Sight;

/// How tasks have ended.
#[derive(Default)]
pub struct TerminalIsFinal {
    seen: BTreeMap<(usize, TaskId), TaskState>,
    kept: BTreeMap<(usize, LocalId), TaskState>,
    met: u64,
}

impl Invariant for TerminalIsFinal {
    fn name(&self) -> &'static str {
        "invariant: terminal is final"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::SchedulerStarted { scheduler } => self.seen.retain(|(of, _), _| of != scheduler),
            Sight::AgentStarted { agent, recovered: false, .. } => self.kept.retain(|(of, _), _| of != agent),
            Sight::HalfSaw { scheduler, event: HalfEvent::Update(update) } => {
                let (task, state) = (&update.status.task_id, update.status.state());
                if let Some(end) = self.seen.get(&(*scheduler, task.clone())) {
                    self.met += 1;
                    // A master that doesn't know the task any more answers who asks for it.
                    let answered =
                        update.status.reason() == Reason::Reconciliation && state == TaskState::TaskUnreachable;
                    if *end != state && state != TaskState::TaskUnknown && !answered {
                        return Err(format!("scheduler {scheduler} sees {task} {state} after it was {end}"));
                    }
                } else if state.is_terminal() {
                    self.seen.insert((*scheduler, task.clone()), state);
                }
            }
            Sight::AgentKept { agent, checkpoint: Checkpoint::Update { id, status, .. } } => {
                let end = self.kept.get(&(*agent, *id));
                if let Some(end) = end {
                    return Err(format!(
                        "{} on agent {agent} is {} after it was {end}",
                        status.task_id,
                        status.state()
                    ));
                }
                if status.state().is_terminal() {
                    self.met += 1;
                    self.kept.insert((*agent, *id), status.state());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
