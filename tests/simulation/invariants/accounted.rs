//! A task that was acknowledged as running is accounted for: until its framework has seen its end, the master knows of it.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::scheduler::call::Call;
use mesos_plugin_api::v1::{TaskId, TaskState};

use super::{Invariant, Rest};
use crate::sight::Sight;

/// What runs as far as each scheduler has been told, and has said that it was.
#[derive(Default)]
pub struct Accounted {
    told: BTreeSet<(usize, TaskId, u64)>,
    running: BTreeMap<usize, BTreeSet<TaskId>>,
    met: u64,
}

impl Invariant for Accounted {
    fn name(&self) -> &'static str {
        "invariant: what was acknowledged as running is accounted for"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            // It is told of what there is, and can't ask for what it never heard of.
            Sight::SchedulerStarted { scheduler } => {
                self.running.remove(scheduler);
                self.told.retain(|(of, _, _)| of != scheduler);
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Update(update) } => {
                let (task, state) = (&update.status.task_id, update.status.state());
                if state.is_terminal() || state == TaskState::TaskUnknown {
                    self.running.entry(*scheduler).or_default().remove(task);
                    // Its earlier states may be acknowledged later.
                    self.told.retain(|(of, told, _)| of != scheduler || told != task);
                } else if let (TaskState::TaskRunning, Some(seq)) = (state, update.status.update_seq) {
                    self.told.insert((*scheduler, task.clone(), seq));
                }
            }
            Sight::RunnerCalled { scheduler, call: Call::Acknowledge(acknowledge) } => {
                let key = (*scheduler, acknowledge.task_id.clone(), acknowledge.update_seq);
                if self.told.remove(&key) {
                    self.met += 1;
                    self.running.entry(*scheduler).or_default().insert(acknowledge.task_id.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn at_rest(&mut self, rest: &Rest) -> Result<(), String> {
        for (scheduler, framework) in &rest.schedulers {
            let of_framework = rest.tasks.iter().filter(|(of, _, _)| of == framework).map(|(_, task, _)| task);
            let ended = rest.unacknowledged.iter().filter(|(of, _)| of == framework).map(|(_, task)| task);
            let known: BTreeSet<&TaskId> = of_framework.chain(ended).collect();
            let lost =
                self.running.get(scheduler).and_then(|running| running.iter().find(|task| !known.contains(task)));
            if let Some(task) = lost {
                return Err(format!("{framework} has acknowledged that {task} runs, and nobody knows of it"));
            }
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
