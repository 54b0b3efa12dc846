//! Nothing is told or acknowledged before it is kept: an agent's update before its checkpoint, a stored value before the
//! registry has it, an update's acknowledgement before what the framework has stored at its sight.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::agent::Checkpoint;
use mesos_host::protocol::agent_call;
use mesos_host::registry::Operation;
use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::framework::call::Call as HalfCall;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};

use super::Invariant;
use crate::sight::Sight;

/// What is kept, and what waits for it.
#[derive(Default)]
pub struct KeptBeforeTold {
    updates: BTreeSet<(usize, TaskId, u64)>,
    /// A value that the master has just been given; the next effect that keeps something is for it.
    given: Option<(usize, u64)>,
    keeping: BTreeMap<u64, (usize, u64)>,
    kept: BTreeSet<(usize, u64)>,
    halves: BTreeMap<usize, Half>,
    met: u64,
}

#[derive(Default)]
struct Half {
    stored: u64,
    confirmed: u64,
    sees: Option<(TaskId, u64)>,
    /// How many values must be kept before an update is acknowledged.
    needs: BTreeMap<(TaskId, u64), u64>,
}

impl KeptBeforeTold {
    fn of_master(&mut self, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterStarted => self.keeping.clear(),
            Sight::MasterHeardScheduler { scheduler, call: Call::PutState(put) } => {
                self.given = Some((*scheduler, put.seq()));
            }
            Sight::MasterPersists { id, operation: Operation::PutState(_) } => {
                if let Some(value) = self.given.take() {
                    self.keeping.insert(*id, value);
                }
            }
            Sight::MasterAnswered => self.given = None,
            Sight::MasterKept { id } => self.kept.extend(self.keeping.remove(id)),
            Sight::MasterToldScheduler { scheduler, event: Event::StateStored(stored) } if stored.error.is_none() => {
                self.met += 1;
                if !self.kept.contains(&(*scheduler, stored.seq)) {
                    return Err(format!("value {} of scheduler {scheduler} is confirmed and not kept", stored.seq));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn of_half(&mut self, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::SchedulerStarted { scheduler } => {
                self.halves.insert(*scheduler, Half::default());
                // Its runner numbers anew.
                self.kept.retain(|(of, _)| of != scheduler);
            }
            Sight::HalfSaw { scheduler, event } => {
                let half = self.halves.entry(*scheduler).or_default();
                half.sees = match event {
                    HalfEvent::Update(update) => Some(update.status.task_id.clone()).zip(update.status.update_seq),
                    _ => None,
                };
                half.confirmed += u64::from(matches!(event, HalfEvent::StateStored(_)));
            }
            Sight::HalfCalled { scheduler, call: HalfCall::PutState(_) } => {
                let half = self.halves.entry(*scheduler).or_default();
                half.stored += 1;
                if let Some(key) = half.sees.clone() {
                    half.needs.insert(key, half.stored);
                }
            }
            Sight::RunnerCalled { scheduler, call: Call::Acknowledge(acknowledge) } => {
                let half = self.halves.entry(*scheduler).or_default();
                let key = (acknowledge.task_id.clone(), acknowledge.update_seq);
                if let Some(needed) = half.needs.get(&key) {
                    self.met += 1;
                    if half.confirmed < *needed {
                        return Err(format!("update {key:?} is acknowledged before what it made its framework store"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Invariant for KeptBeforeTold {
    fn name(&self) -> &'static str {
        "invariant: nothing is told before it is kept"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::AgentKept { agent, checkpoint: Checkpoint::Update { status, .. } } => {
                self.updates.insert((*agent, status.task_id.clone(), status.update_seq.unwrap_or(0)));
            }
            Sight::AgentSaid { agent, call: agent_call::Call::Update(update) } => {
                self.met += 1;
                let key = (*agent, update.status.task_id.clone(), update.status.update_seq.unwrap_or(0));
                if !self.updates.contains(&key) {
                    return Err(format!("agent {agent} tells update {} of {} before it is kept", key.2, key.1));
                }
            }
            _ => {}
        }
        self.of_master(sight)?;
        self.of_half(sight)
    }

    fn met(&self) -> u64 {
        self.met
    }
}
