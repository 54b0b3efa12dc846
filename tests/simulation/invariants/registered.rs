//! Registered means in the registry: no agent is told so before its admission is durable, and none is forgotten by the next master.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::protocol::agent_event;
use mesos_host::registry::Operation;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::AgentId;

use super::Invariant;
use crate::sight::Sight;

/// Who is in the registry.
#[derive(Default)]
pub struct Registered {
    keeping: BTreeMap<u64, (AgentId, bool)>,
    kept: BTreeSet<AgentId>,
    met: u64,
}

impl Invariant for Registered {
    fn name(&self) -> &'static str {
        "invariant: registered means in the registry"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterStarted => self.keeping.clear(),
            Sight::MasterPersists { id, operation: Operation::AdmitAgent(admit) } => {
                let agent = admit.agent.id.clone().unwrap_or_default();
                self.keeping.insert(*id, (agent, true));
            }
            Sight::MasterPersists { id, operation: Operation::ForgetAgent(forget) } => {
                self.keeping.insert(*id, (forget.agent_id.clone(), false));
            }
            Sight::MasterKept { id } => match self.keeping.remove(id) {
                Some((agent, true)) => drop(self.kept.insert(agent)),
                Some((agent, false)) => drop(self.kept.remove(&agent)),
                None => {}
            },
            Sight::MasterToldAgent { event: agent_event::Event::Registered(registered), .. } => {
                self.met += 1;
                if !self.kept.contains(&registered.agent_id) {
                    return Err(format!("{} is registered and not in the registry", registered.agent_id));
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
