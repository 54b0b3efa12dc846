//! What a framework has killed does not run on, whatever was lost on the way: at rest none of its commands is left.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::framework::call::Call as HalfCall;

use super::{Invariant, Rest};
use crate::sight::Sight;

/// What each half has killed. Executors may do with a kill what they want, so that only commands count.
#[derive(Default)]
pub struct Killed {
    commands: BTreeMap<usize, BTreeSet<TaskId>>,
    killed: BTreeMap<usize, BTreeSet<TaskId>>,
    met: u64,
}

impl Invariant for Killed {
    fn name(&self) -> &'static str {
        "invariant: what was killed does not run on"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            // What the one before has killed, this one may know nothing of.
            Sight::SchedulerStarted { scheduler } => drop(self.killed.remove(scheduler)),
            Sight::HalfCalled { scheduler, call: HalfCall::Accept(accept) } => {
                let commands = accept.tasks.iter().filter(|task| task.command.is_some());
                self.commands.entry(*scheduler).or_default().extend(commands.map(|task| task.id.clone()));
            }
            Sight::HalfCalled { scheduler, call: HalfCall::Kill(kill) }
                if self.commands.get(scheduler).is_some_and(|commands| commands.contains(&kill.task_id)) =>
            {
                self.met += 1;
                self.killed.entry(*scheduler).or_default().insert(kill.task_id.clone());
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Update(update) } if update.status.state().is_terminal() => {
                self.killed.entry(*scheduler).or_default().remove(&update.status.task_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_rest(&mut self, rest: &Rest) -> Result<(), String> {
        for (scheduler, framework) in &rest.schedulers {
            let Some(killed) = self.killed.get(scheduler) else { continue };
            let runs_on = rest.tasks.iter().find(|(of, task, _)| of == framework && killed.contains(task));
            if let Some((_, task, host)) = runs_on {
                return Err(format!("{framework} has killed {task}, which runs on {host} all the same"));
            }
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
