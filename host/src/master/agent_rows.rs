//! Agents as operators see them.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, AgentInfo};

use super::Master;
use crate::protocol::operator_reply::Reply;
use crate::protocol::{AgentAbsence, AgentState};
use crate::registry::Presence;

impl Master {
    /// Those that are there or may come back; with `all` also those that are lost or gone.
    pub(super) fn agent_rows(&self, all: bool) -> Vec<Reply> {
        let here = self.agents.keys().map(|id| self.agent_row(id));
        let recovering = self.recovering.iter().map(|(id, info)| {
            self.absent_row(id, info, AgentAbsence::AgentRecovering, self.started.unwrap_or_default())
        });
        let absent = self.absent.iter().filter_map(|(id, absent)| {
            let (absence, since) = match absent.presence {
                Presence::Admitted => return None,
                Presence::Unreachable(since) => (AgentAbsence::AgentUnreachable, since),
                Presence::Lost(since) => (AgentAbsence::AgentLost, since),
                Presence::Gone(since) => (AgentAbsence::AgentGone, since),
            };
            // What operators want of it has to be seen to be taken back.
            let shown = all || absence == AgentAbsence::AgentUnreachable || self.plans.contains_key(id);
            shown.then(|| self.absent_row(id, &absent.info, absence, since))
        });
        here.chain(recovering).chain(absent).map(Reply::Agent).collect()
    }

    fn agent_row(&self, id: &AgentId) -> AgentState {
        let agent = &self.agents[id];
        let parts = self.offers.values().flat_map(|offer| &offer.parts);
        let row = AgentState {
            agent: agent.info.clone(),
            connected: agent.link.is_some(),
            used: self.used_on(id),
            offered: parts.filter(|part| part.agent_id == *id).map(|part| &part.resources).sum(),
            tasks: agent.tasks.len() as u32,
            registered_ns: agent.registered.as_nanos(),
            version: Some(agent.version.clone()),
            absence: agent.unreachable.map(|_| AgentAbsence::AgentUnreachable.into()),
            absent_since_ns: agent.unreachable.map(Time::as_nanos),
            ..AgentState::default()
        };
        self.with_plan(id, row)
    }

    fn absent_row(&self, id: &AgentId, info: &AgentInfo, absence: AgentAbsence, since: Time) -> AgentState {
        let row = AgentState {
            agent: info.clone(),
            connected: false,
            registered_ns: since.as_nanos(),
            absence: Some(absence.into()),
            absent_since_ns: Some(since.as_nanos()),
            ..AgentState::default()
        };
        self.with_plan(id, row)
    }

    fn with_plan(&self, id: &AgentId, row: AgentState) -> AgentState {
        let Some(plan) = self.plans.get(id) else { return row };
        AgentState {
            deactivated: plan.wanted.deactivated.then_some(true),
            drain_deadline_ns: plan.wanted.drain.as_ref().map(|drain| drain.deadline_ns),
            drained: self.is_drained(id).then_some(true),
            ..row
        }
    }
}
