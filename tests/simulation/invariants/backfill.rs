//! What is lent to a task until a gang starts comes back before: the task is over by then, whatever it does.

use std::collections::BTreeMap;

use mesos_host::protocol::agent_event;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};
use mesos_plugin_api::v1::{OfferId, TaskId};

use super::Invariant;
use crate::sight::Sight;

/// Offers with an end, and the tasks that are to run on them.
#[derive(Default)]
pub struct Backfill {
    offers: BTreeMap<OfferId, u64>,
    tasks: BTreeMap<(usize, TaskId), u64>,
    scheduler: usize,
    met: u64,
}

impl Invariant for Backfill {
    fn name(&self) -> &'static str {
        "invariant: a backfilled task ends before the gang starts"
    }

    fn see(&mut self, now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterToldScheduler { event: Event::Offers(offers), .. } => {
                let ending =
                    offers.offers.iter().filter_map(|offer| Some((offer.id.clone(), offer.available_until_ns?)));
                self.offers.extend(ending);
            }
            Sight::MasterHeardScheduler { scheduler, call: Call::Accept(accept) } => {
                self.scheduler = *scheduler;
                let until = accept.offer_ids.iter().filter_map(|id| self.offers.remove(id)).min();
                let tasks = accept.tasks.iter().map(|task| (*scheduler, task.id.clone()));
                self.tasks.extend(tasks.filter_map(|key| Some((key, until?))));
            }
            Sight::MasterToldAgent { event: agent_event::Event::RunTasks(run), .. } => {
                for task in &run.tasks {
                    let Some(until) = self.tasks.remove(&(self.scheduler, task.id.clone())) else { continue };
                    self.met += 1;
                    let over = task.over_within().map(|within| (now + within).as_nanos());
                    if over.is_none_or(|over| over > until) {
                        return Err(format!("{} is launched until {over:?} on what a gang gets at {until}", task.id));
                    }
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
