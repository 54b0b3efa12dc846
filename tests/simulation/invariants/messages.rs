//! Messages between a scheduler and an executor arrive in order, once, and without gaps, for as long as both live. The random
//! framework and its executor number what they say.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{AgentId, ExecutorId};

use super::Invariant;
use crate::sight::Sight;

/// The last number that each end has heard.
#[derive(Default)]
pub struct Messages {
    by_scheduler: BTreeMap<(usize, AgentId, ExecutorId), u64>,
    by_executor: BTreeMap<u64, u64>,
    /// A scheduler that takes over begins to count anew, and executors don't yet: only first processes are looked at.
    started: BTreeSet<usize>,
    restarted: BTreeSet<usize>,
    met: u64,
}

fn number(data: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(data.try_into().ok()?))
}

impl Invariant for Messages {
    fn name(&self) -> &'static str {
        "invariant: messages come once and in order"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::SchedulerStarted { scheduler } if !self.started.insert(*scheduler) => {
                self.restarted.insert(*scheduler);
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Message(message) } if !self.restarted.contains(scheduler) => {
                let Some(number) = number(&message.data) else { return Ok(()) };
                let key = (*scheduler, message.agent_id.clone(), message.executor_id.clone());
                let before = self.by_scheduler.insert(key, number);
                self.met += 1;
                // One of the same name that was launched anew begins with 1.
                if number != 1 && before.is_none_or(|before| number != before + 1) {
                    return Err(format!("scheduler {scheduler} hears message {number} after {before:?}"));
                }
            }
            Sight::ExecutorHeard { pid, data } => {
                let Some(number) = number(data) else { return Ok(()) };
                let before = self.by_executor.insert(*pid, number);
                self.met += 1;
                if before.is_some_and(|before| number != before + 1) {
                    return Err(format!("executor {pid} hears message {number} after {before:?}"));
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
