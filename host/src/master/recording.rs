//! What is made durable before it is answered, and what happens then.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, AgentInfo, FrameworkId};

use super::frameworks::PendingState;
use super::{Effect, LinkId, Master};
use crate::protocol::Register;
use crate::registry::{Operation, Presence};

/// What waits for a record.
#[derive(Debug)]
pub(super) enum Pending {
    /// The order of the records is enough.
    Nothing,
    /// An agent joins.
    Admission(Box<Admission>),
    /// An agent is out of reach.
    Unreachable(AgentId),
    /// An agent is given up.
    Loss(AgentId),
    /// What an operator wants of an agent; who asked, and the answer.
    Plan { operation: Operation, asker: Option<(LinkId, String)> },
    /// A framework's first subscription.
    Subscription(FrameworkId),
    /// A framework stores something.
    State(PendingState),
    /// A framework is over; its scheduler may know.
    End { link: Option<LinkId> },
}

/// An agent that joins.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) link: LinkId,
    pub(super) id: AgentId,
    pub(super) info: AgentInfo,
    /// What the registry said of it before, if it wasn't there.
    pub(super) before: Option<Presence>,
    pub(super) register: Register,
}

impl Pending {
    /// Whether this framework's scheduler is welcomed only after it.
    pub(super) fn holds_back(&self, framework: &FrameworkId) -> bool {
        match self {
            Self::Subscription(id) => id == framework,
            Self::State(state) => state.framework_id == *framework,
            Self::Nothing | Self::Admission(_) | Self::Unreachable(_) | Self::Loss(_) => false,
            Self::Plan { .. } | Self::End { .. } => false,
        }
    }
}

impl Master {
    pub(super) fn record(&mut self, operation: Operation, pending: Pending, effects: &mut Vec<Effect>) {
        let id = self.next_persist;
        self.next_persist += 1;
        self.persisting.insert(id, pending);
        effects.push(Effect::Persist { id, operation });
    }

    /// Whether another attempt of an agent to join is being recorded.
    pub(super) fn is_joining(&self, id: &AgentId) -> bool {
        let joins = |pending: &Pending| matches!(pending, Pending::Admission(admission) if admission.id == *id);
        self.persisting.values().any(joins)
    }

    pub(super) fn persisted(&mut self, now: Time, id: u64, effects: &mut Vec<Effect>) {
        match self.persisting.remove(&id) {
            Some(Pending::Admission(admission)) => self.admission_recorded(now, *admission, effects),
            Some(Pending::Unreachable(id)) => self.unreachable_recorded(now, &id, effects),
            Some(Pending::Plan { operation, asker }) => self.plan_recorded(now, operation, asker, effects),
            Some(Pending::Loss(id)) => self.loss_recorded(now, &id, effects),
            Some(Pending::Subscription(id)) => self.welcome(now, &id, effects),
            Some(Pending::State(state)) => self.state_recorded(now, state, effects),
            Some(Pending::End { link: Some(link) }) => self.close(link, effects),
            Some(Pending::End { link: None } | Pending::Nothing) | None => {}
        }
        self.carry_out_allocation(now, effects);
    }
}
