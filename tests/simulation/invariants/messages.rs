//! Messages between a scheduler and an executor arrive in order, once, and without gaps, for as long as both live. The random
//! framework and its executor number what they say.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{AgentId, ExecutorId};

use super::Invariant;
use crate::sight::Sight;

/// What the names of the random framework's executors begin with.
const EXECUTORS: &str = "random-";

/// The last number that each end has heard.
#[derive(Default)]
pub struct Messages {
    by_scheduler: BTreeMap<(usize, AgentId, ExecutorId), u64>,
    /// A scheduler that takes over is given again what the one before had not kept; but it misses nothing.
    taken_over: BTreeSet<(usize, AgentId, ExecutorId)>,
    /// The process of the scheduler, and its number.
    by_executor: BTreeMap<u64, (u64, u64)>,
    met: u64,
}

impl Messages {
    fn scheduler_hears(&mut self, key: (usize, AgentId, ExecutorId), number: u64) -> Result<(), String> {
        let before = self.by_scheduler.insert(key.clone(), number);
        let again = self.taken_over.remove(&key);
        self.met += 1;
        let next = before.is_some_and(|before| number == before + 1 || (again && number <= before));
        // One of the same name that was launched anew begins with 1.
        if next || number == 1 || (again && before.is_none()) {
            return Ok(());
        }
        Err(format!("scheduler {} hears message {number} of {} after {before:?}", key.0, key.2))
    }

    fn executor_hears(&mut self, pid: u64, (process, number): (u64, u64)) -> Result<(), String> {
        let before = self.by_executor.insert(pid, (process, number));
        self.met += 1;
        let next = before.is_none_or(|before| (process, number) == (before.0, before.1 + 1) || process > before.0);
        if next { Ok(()) } else { Err(format!("executor {pid} hears message {number} of {process} after {before:?}")) }
    }
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
            Sight::SchedulerStarted { scheduler } => {
                let known = self.by_scheduler.keys().filter(|key| key.0 == *scheduler);
                self.taken_over.extend(known.cloned());
            }
            Sight::HalfSaw { scheduler, event: HalfEvent::Message(message) }
                if message.executor_id.as_str().starts_with(EXECUTORS) =>
            {
                if let Some(number) = number(&message.data) {
                    let key = (*scheduler, message.agent_id.clone(), message.executor_id.clone());
                    return self.scheduler_hears(key, number);
                }
            }
            Sight::ExecutorHeard { pid, data } => {
                if let Some((process, number)) = data.split_at_checked(8).and_then(|(a, b)| number(a).zip(number(b))) {
                    return self.executor_hears(*pid, (process, number));
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
