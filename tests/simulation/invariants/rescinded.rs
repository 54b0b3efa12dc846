//! Accepting an offer that is no more launches nothing.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::protocol::agent_event;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};
use mesos_plugin_api::v1::{FrameworkId, OfferId, TaskId};

use super::Invariant;
use crate::sight::Sight;

/// Which offers are open, and which tasks were to run on others.
#[derive(Default)]
pub struct Rescinded {
    open: BTreeMap<OfferId, usize>,
    frameworks: BTreeMap<usize, FrameworkId>,
    void: BTreeSet<(FrameworkId, TaskId)>,
    met: u64,
}

impl Rescinded {
    fn heard(&mut self, scheduler: usize, call: &Call) {
        match call {
            Call::Accept(accept) => {
                let gone = accept.offer_ids.iter().filter(|id| self.open.remove(id) != Some(scheduler)).count();
                if let (Some(framework), 1..) = (self.frameworks.get(&scheduler), gone) {
                    self.met += u64::from(!accept.tasks.is_empty());
                    let tasks = accept.tasks.iter().map(|task| (framework.clone(), task.id.clone()));
                    self.void.extend(tasks);
                }
            }
            Call::Decline(decline) => self.open.retain(|id, _| !decline.offer_ids.contains(id)),
            _ => {}
        }
    }
}

impl Invariant for Rescinded {
    fn name(&self) -> &'static str {
        "invariant: a rescinded offer launches nothing"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterStarted => self.open.clear(),
            Sight::MasterToldScheduler { scheduler, event } => match event {
                Event::Offers(offers) => {
                    self.open.extend(offers.offers.iter().map(|offer| (offer.id.clone(), *scheduler)));
                }
                Event::Rescind(rescind) => {
                    self.open.remove(&rescind.offer_id);
                }
                Event::Subscribed(subscribed) => {
                    self.frameworks.insert(*scheduler, subscribed.framework_id.clone());
                }
                _ => {}
            },
            Sight::MasterLostScheduler { scheduler } => self.open.retain(|_, of| of != scheduler),
            Sight::MasterHeardScheduler { scheduler, call } => self.heard(*scheduler, call),
            Sight::MasterToldAgent { event: agent_event::Event::RunTasks(run), .. } => {
                let framework = run.framework.id.clone().expect("a master gives ids");
                let void = run.tasks.iter().find(|task| self.void.contains(&(framework.clone(), task.id.clone())));
                if let Some(task) = void {
                    return Err(format!("{} of {framework} is launched on an offer that was no more", task.id));
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
