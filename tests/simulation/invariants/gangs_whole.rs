//! A gang is accepted whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::protocol::agent_event;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{Accept, call::Call, event::Event};
use mesos_plugin_api::v1::{AgentId, OfferId, TaskId};

use super::Invariant;
use crate::sight::Sight;

/// Gangs that were offered, and the one that is being accepted.
#[derive(Default)]
pub struct GangsWhole {
    offers: BTreeMap<OfferId, BTreeSet<AgentId>>,
    accepted: Option<(BTreeSet<AgentId>, Accept)>,
    launched: BTreeSet<(AgentId, TaskId)>,
    met: u64,
}

impl GangsWhole {
    fn judge(&mut self) -> Result<(), String> {
        let launched = std::mem::take(&mut self.launched);
        let Some((agents, accept)) = self.accepted.take() else { return Ok(()) };
        self.met += 1;
        let used: BTreeSet<AgentId> = launched.iter().map(|(agent, _)| agent.clone()).collect();
        let whole = used == agents && launched.len() == accept.tasks.len();
        if launched.is_empty() || whole {
            return Ok(());
        }
        Err(format!("of a gang of {} tasks on {agents:?} only {launched:?} are launched", accept.tasks.len()))
    }
}

impl Invariant for GangsWhole {
    fn name(&self) -> &'static str {
        "invariant: a gang is accepted whole or not at all"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterToldScheduler { event: Event::Offers(offers), .. } => {
                for offer in offers.offers.iter().filter(|offer| offer.gang_id.is_some()) {
                    let agents = offer.parts.iter().map(|part| part.agent_id.clone()).collect();
                    self.offers.insert(offer.id.clone(), agents);
                }
            }
            Sight::MasterHeardScheduler { call: Call::Accept(accept), .. } => {
                let agents = accept.offer_ids.iter().find_map(|id| self.offers.remove(id));
                self.accepted = agents.map(|agents| (agents, accept.clone()));
            }
            Sight::MasterToldAgent { event: agent_event::Event::RunTasks(run), .. } => {
                self.launched.extend(run.tasks.iter().map(|task| (task.agent_id.clone(), task.id.clone())));
            }
            Sight::MasterAnswered => return self.judge(),
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
