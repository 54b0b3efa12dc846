//! What survives the death of all masters: who is in the cluster, and what frameworks have stored.
//!
//! ```text
//! master ──Persist(operation)──▶ log ──apply──▶ Registry ──▶ the next master
//!        ◀─────Persisted────────
//! ```
//!
//! [`Registry`] is the pure half: operations in, and out again as a snapshot. What keeps them is in `election`. Tasks aren't
//! here: the agents know them, and bring them along when they register with a new master. Nor are frameworks that wait for their
//! scheduler no longer than [`UNRECORDED_FAILOVER_MAX`] and have stored nothing.

mod agents;
pub mod log;
pub mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::StateChange;
use mesos_plugin_api::v1::{AgentId, FrameworkId, FrameworkInfo};

pub use agents::{AgentPlan, AgentRecord, Presence};

pub use crate::protocol::registry_operation::Operation;
use crate::protocol::{
    EndFramework, FoundCluster, Lead, PutFramework, PutFrameworkState, RegistryOperation, SetDeadline,
};

/// A framework with a failover timeout up to this one costs no write: a new master would wait as long for it anyway.
pub const UNRECORDED_FAILOVER_MAX: Duration = Duration::from_secs(60);

/// Everything that is durable about a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    /// Its name and key, once it was founded.
    pub cluster: Option<FoundCluster>,
    /// Of the newest master.
    pub epoch: u64,
    /// Those that were admitted, reachable or not.
    pub agents: BTreeMap<AgentId, AgentRecord>,
    /// Those that were recorded.
    pub frameworks: BTreeMap<FrameworkId, FrameworkRecord>,
}

/// A framework that a new master has to know without being told.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameworkRecord {
    /// As it described itself.
    pub info: FrameworkInfo,
    /// Who subscribed it.
    pub principal: String,
    /// When.
    pub registered: Time,
    /// Its scheduler was away, and it ends then.
    pub deadline: Option<Time>,
    /// Being torn down, and why.
    pub ending: Option<String>,
    /// Of its schedulers, the newest.
    pub incarnation: u64,
    /// That one's last write.
    pub written: u64,
    /// What it stored.
    pub state: BTreeMap<String, Vec<u8>>,
}

impl Registry {
    /// Takes one operation. One that speaks of something unknown changes nothing: a log may say things twice.
    pub fn apply(&mut self, operation: Operation) {
        let Some(operation) = agents::apply(&mut self.agents, operation) else { return };
        match operation {
            Operation::FoundCluster(found) => self.cluster = Some(found),
            Operation::Lead(lead) => self.epoch = self.epoch.max(lead.epoch),
            Operation::PutFramework(put) => self.put_framework(put),
            Operation::SetDeadline(set) => {
                if let Some(framework) = self.frameworks.get_mut(&set.framework_id) {
                    framework.deadline = Some(Time(set.deadline_ns));
                }
            }
            Operation::EndFramework(end) => {
                if let Some(framework) = self.frameworks.get_mut(&end.framework_id) {
                    framework.ending = Some(end.why);
                }
            }
            Operation::ForgetFramework(forget) => drop(self.frameworks.remove(&forget.framework_id)),
            Operation::PutState(put) => {
                if let Some(framework) = self.frameworks.get_mut(&put.framework_id) {
                    framework.put(put);
                }
            }
            _ => unreachable!("what speaks of agents was taken above"),
        }
    }

    fn put_framework(&mut self, put: PutFramework) {
        let Some(id) = put.framework.id.clone() else { return };
        let before = self.frameworks.remove(&id);
        let record = FrameworkRecord {
            info: put.framework,
            principal: put.principal.unwrap_or_default(),
            registered: Time(put.registered_ns),
            deadline: None,
            ending: None,
            incarnation: put.incarnation.unwrap_or(0),
            written: put.written.unwrap_or(0),
            state: before.map(|before| before.state).unwrap_or_default(),
        };
        self.frameworks.insert(id, record);
    }

    /// The fewest operations that make an empty registry this one.
    pub fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        all.extend(self.cluster.clone().map(Operation::FoundCluster));
        all.push(Operation::Lead(Lead { epoch: self.epoch, address: None }));
        self.agents.iter().for_each(|(id, agent)| agent.operations(id, &mut all));
        self.frameworks.iter().for_each(|(id, framework)| framework.operations(id, &mut all));
        all
    }
}

/// Carries out what a framework stores.
pub(crate) fn change(state: &mut BTreeMap<String, Vec<u8>>, changes: Vec<StateChange>) {
    for StateChange { key, value } in changes {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
}

impl FrameworkRecord {
    fn put(&mut self, put: PutFrameworkState) {
        (self.incarnation, self.written) = (put.incarnation, put.seq);
        change(&mut self.state, put.changes);
    }

    fn operations(&self, id: &FrameworkId, all: &mut Vec<Operation>) {
        let put = PutFramework {
            framework: self.info.clone(),
            principal: Some(self.principal.clone()),
            registered_ns: self.registered.as_nanos(),
            incarnation: Some(self.incarnation),
            written: Some(self.written),
        };
        all.push(Operation::PutFramework(put));
        if let Some(deadline) = self.deadline {
            let set = SetDeadline { framework_id: id.clone(), deadline_ns: deadline.as_nanos() };
            all.push(Operation::SetDeadline(set));
        }
        if let Some(why) = &self.ending {
            all.push(Operation::EndFramework(EndFramework { framework_id: id.clone(), why: why.clone() }));
        }
        all.extend(self.state.iter().map(|(key, value)| {
            let changes = vec![StateChange { key: key.clone(), value: Some(value.clone()) }];
            let (incarnation, seq) = (self.incarnation, self.written);
            Operation::PutState(PutFrameworkState { framework_id: id.clone(), incarnation, seq, changes })
        }));
    }
}

impl From<Operation> for RegistryOperation {
    fn from(operation: Operation) -> Self {
        Self { operation: Some(operation) }
    }
}
