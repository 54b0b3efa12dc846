//! What is durable about agents: whether each is there, and what operators want of it.

use std::collections::BTreeMap;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, AgentInfo};

use super::Operation;
use crate::protocol::{AdmitAgent, DeactivateAgent, DrainAgent, MarkGone, MarkLost, MarkUnreachable};

/// An agent that was admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRecord {
    /// As it described itself when it was admitted.
    pub info: AgentInfo,
    /// Whether it is there.
    pub presence: Presence,
    /// What operators want of it; outlives its absences.
    pub plan: AgentPlan,
}

/// Whether an agent is there, and since when it isn't.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is, or comes back any moment.
    #[default]
    Admitted,
    /// It didn't answer; its tasks may run on.
    Unreachable(Time),
    /// It didn't answer for so long that its tasks were reported lost.
    Lost(Time),
    /// An operator said that it won't come back. Final.
    Gone(Time),
}

/// What operators want of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentPlan {
    /// It gets no more tasks.
    pub deactivated: bool,
    /// It gets no more tasks, and those that it has are to end.
    pub drain: Option<DrainAgent>,
}

impl AgentPlan {
    /// Whether it is to be offered.
    pub fn is_active(&self) -> bool {
        !self.deactivated && self.drain.is_none()
    }
}

/// Takes an operation that speaks of an agent; gives others back.
pub(super) fn apply(agents: &mut BTreeMap<AgentId, AgentRecord>, operation: Operation) -> Option<Operation> {
    match operation {
        Operation::AdmitAgent(AdmitAgent { agent }) => admit(agents, agent),
        Operation::MarkUnreachable(mark) => {
            set_presence(agents, &mark.agent_id, Presence::Unreachable(Time(mark.since_ns)));
        }
        Operation::MarkLost(mark) => set_presence(agents, &mark.agent_id, Presence::Lost(Time(mark.since_ns))),
        Operation::MarkGone(mark) => set_presence(agents, &mark.agent_id, Presence::Gone(Time(mark.since_ns))),
        Operation::ForgetAgent(forget) => drop(agents.remove(&forget.agent_id)),
        Operation::DrainAgent(drain) => {
            if let Some(agent) = agents.get_mut(&drain.agent_id) {
                agent.plan.drain = Some(drain);
            }
        }
        Operation::DeactivateAgent(deactivate) => {
            if let Some(agent) = agents.get_mut(&deactivate.agent_id) {
                agent.plan.deactivated = true;
            }
        }
        Operation::ReactivateAgent(reactivate) => {
            if let Some(agent) = agents.get_mut(&reactivate.agent_id) {
                agent.plan = AgentPlan::default();
            }
        }
        other => return Some(other),
    }
    None
}

fn admit(agents: &mut BTreeMap<AgentId, AgentRecord>, info: AgentInfo) {
    let Some(id) = info.id.clone() else { return };
    let before = agents.remove(&id);
    let (presence, plan) = match before {
        Some(AgentRecord { presence: gone @ Presence::Gone(_), plan, .. }) => (gone, plan),
        Some(before) => (Presence::Admitted, before.plan),
        None => Default::default(),
    };
    agents.insert(id, AgentRecord { info, presence, plan });
}

fn set_presence(agents: &mut BTreeMap<AgentId, AgentRecord>, id: &AgentId, presence: Presence) {
    if let Some(agent) = agents.get_mut(id).filter(|agent| !matches!(agent.presence, Presence::Gone(_))) {
        agent.presence = presence;
    }
}

impl AgentRecord {
    pub(super) fn operations(&self, id: &AgentId, all: &mut Vec<Operation>) {
        all.push(Operation::AdmitAgent(AdmitAgent { agent: self.info.clone() }));
        let agent_id = id.clone();
        match self.presence {
            Presence::Admitted => {}
            Presence::Unreachable(since) => {
                all.push(Operation::MarkUnreachable(MarkUnreachable { agent_id, since_ns: since.as_nanos() }));
            }
            Presence::Lost(since) => all.push(Operation::MarkLost(MarkLost { agent_id, since_ns: since.as_nanos() })),
            Presence::Gone(since) => {
                all.push(Operation::MarkGone(MarkGone { agent_id, since_ns: since.as_nanos(), by: None }));
            }
        }
        if self.plan.deactivated {
            all.push(Operation::DeactivateAgent(DeactivateAgent { agent_id: id.clone() }));
        }
        all.extend(self.plan.drain.clone().map(Operation::DrainAgent));
    }
}
