//! At rest each framework believes to run what the master says that it runs.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::call::Call as HalfCall;
use mesos_plugin_api::v1::{TaskId, TaskState};

use super::{Invariant, Rest};
use crate::sight::Sight;

/// What each half believes to run.
#[derive(Default)]
pub struct FrameworksView {
    live: BTreeMap<usize, BTreeSet<TaskId>>,
    met: u64,
}

impl Invariant for FrameworksView {
    fn name(&self) -> &'static str {
        "invariant: at rest frameworks know what they run"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::SchedulerStarted { scheduler } => drop(self.live.insert(*scheduler, BTreeSet::new())),
            Sight::HalfCalled { scheduler, call: HalfCall::Accept(accept) } => {
                let tasks = accept.tasks.iter().map(|task| task.id.clone());
                self.live.entry(*scheduler).or_default().extend(tasks);
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Update(update) } => {
                let live = self.live.entry(*scheduler).or_default();
                let (task, state) = (&update.status.task_id, update.status.state());
                if state.is_terminal() || state == TaskState::TaskUnknown {
                    live.remove(task);
                } else {
                    live.insert(task.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn at_rest(&mut self, rest: &Rest) -> Result<(), String> {
        for (scheduler, framework) in &rest.schedulers {
            let believed = self.live.get(scheduler).cloned().unwrap_or_default();
            let of_framework = rest.tasks.iter().filter(|(of, _, _)| of == framework);
            let known: BTreeSet<TaskId> = of_framework.map(|(_, task, _)| task.clone()).collect();
            self.met += known.len() as u64;
            if believed != known {
                return Err(format!("{framework} believes to run {believed:?}, the master knows {known:?}"));
            }
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
