//! A framework sees each state of a task that its agent has told, in the order in which they came about.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::agent::Checkpoint;
use mesos_host::protocol::agent_event;
use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{AgentId, Reason, TaskId, TaskState};

use super::Invariant;
use crate::sight::Sight;

/// The last number that each half has seen of each task.
#[derive(Default)]
pub struct UpdatesInOrder {
    seen: BTreeMap<(usize, TaskId), u64>,
    /// Schedulers that began anew know nothing of what the one before has seen.
    restarted: BTreeSet<usize>,
    started: BTreeSet<usize>,
    /// Of frameworks that a master was ending: it acknowledged what they told, and if it died before the end, the next master may
    /// know of no end and let the scheduler back in.
    ended_with_framework: BTreeSet<TaskId>,
    states: BTreeMap<(Option<AgentId>, TaskId, u64), BTreeSet<i32>>,
    met: u64,
}

impl UpdatesInOrder {
    fn saw(&mut self, scheduler: usize, status: &mesos_plugin_api::v1::TaskStatus) -> Result<(), String> {
        let Some(seq) = status.update_seq else { return Ok(()) };
        let task = &status.task_id;
        let before = self.seen.insert((scheduler, task.clone()), seq);
        self.met += u64::from(before.is_some());
        let next = match before {
            Some(before) if self.ended_with_framework.contains(task) => seq > before,
            Some(before) => seq == before + 1,
            None => seq == 1 || self.restarted.contains(&scheduler),
        };
        if !next {
            return Err(format!("scheduler {scheduler} sees update {seq} of {task} after {before:?}"));
        }
        let key = (status.agent_id.clone(), task.clone(), seq);
        let same = self.states.get(&key).is_some_and(|states| states.contains(&status.state));
        if same { Ok(()) } else { Err(format!("update {seq} of {task} is {} only on its way", status.state())) }
    }
}

impl Invariant for UpdatesInOrder {
    fn name(&self) -> &'static str {
        "invariant: updates come in order"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::SchedulerStarted { scheduler } => {
                self.seen.retain(|(of, _), _| of != scheduler);
                if !self.started.insert(*scheduler) {
                    self.restarted.insert(*scheduler);
                }
            }
            Sight::AgentKept { checkpoint: Checkpoint::Update { status, .. }, .. } => {
                let key = (status.agent_id.clone(), status.task_id.clone(), status.update_seq.unwrap_or(0));
                self.states.entry(key).or_default().insert(TaskState::into(status.state()));
            }
            Sight::MasterToldAgent { event: agent_event::Event::KillTask(kill), .. }
                if kill.reason() == Reason::FrameworkRemoved =>
            {
                self.ended_with_framework.insert(kill.task_id.clone());
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Update(update) } => {
                return self.saw(*scheduler, &update.status);
            }
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
