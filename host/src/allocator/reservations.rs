//! What volumes keep for their owners: part of an agent that isn't offered here, as its owner alone gets it, from the master.
//!
//! ```text
//!         Reserve                UseReserved
//!  free ───────────▶ reserved ────────────────▶ reserved, in use: counts as its framework's
//!       ◀───────────          ◀────────────────
//!        Unreserve              ReturnReserved
//! ```
//!
//! Only what is in use counts towards a share: a service that is down costs its role nothing, although nobody else gets its
//! place.

use mesos_plugin_api::v1::{AgentId, FrameworkId, Resources};

use super::Allocator;

impl Allocator {
    /// Sets resources of an agent aside that nobody has, or that a framework has been offered.
    pub(super) fn reserve(&mut self, from: Option<&FrameworkId>, agent: &AgentId, resources: &Resources) {
        let Some(agent) = self.agents.number(agent) else { return };
        self.release_holds();
        if let Some(number) = from.and_then(|id| self.frameworks.number(id)) {
            self.agents[agent].recover(number, resources);
            self.shrink_share(number, resources);
        }
        self.agents[agent].reserve(resources);
        self.gangs.replan();
        self.touch(agent);
    }

    /// They are anybody's again. Those in use come back first.
    pub(super) fn unreserve(&mut self, agent: &AgentId, resources: &Resources) {
        let Some(agent) = self.agents.number(agent) else { return };
        self.agents[agent].unreserve(resources);
        self.gangs.replan();
        self.touch(agent);
    }

    /// A task of their owner takes reserved resources.
    pub(super) fn use_reserved(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        let numbers = (self.frameworks.number(framework), self.agents.number(agent));
        let (Some(framework), Some(agent)) = numbers else { return };
        self.agents[agent].use_reserved(framework, resources);
        self.grow_share(framework, resources);
    }

    /// The task has ended.
    pub(super) fn return_reserved(&mut self, framework: &FrameworkId, agent: &AgentId, resources: &Resources) {
        let numbers = (self.frameworks.number(framework), self.agents.number(agent));
        let (Some(framework), Some(agent)) = numbers else { return };
        self.agents[agent].return_reserved(framework, resources);
        self.shrink_share(framework, resources);
        self.forget_stranger(framework);
    }
}
