//! What everybody says when nothing is on its way any more: the master, the frameworks, and the machines themselves.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::protocol::{
    AgentState, FrameworkState, ListAgents, ListFrameworks, ListTasks, operator_call, operator_reply,
};
use mesos_plugin_api::v1::{FrameworkId, TaskId};

use crate::world::World;

/// What there is, in everybody's words.
pub struct Rest {
    /// Tasks that have not ended, as the master knows them, with their host.
    pub tasks: BTreeSet<(FrameworkId, TaskId, String)>,
    /// Tasks that the master knows and that have ended without an acknowledgement.
    pub unacknowledged: BTreeSet<(FrameworkId, TaskId)>,
    /// Agents, as the master knows them.
    pub agents: Vec<AgentState>,
    /// Frameworks, as the master knows them.
    pub frameworks: Vec<FrameworkState>,
    /// What really runs, with its host.
    pub running: BTreeSet<(FrameworkId, TaskId, String)>,
    /// The hosts whose agents live.
    pub hosts: BTreeSet<String>,
    /// Frameworks whose schedulers live.
    pub schedulers: BTreeMap<usize, FrameworkId>,
}

impl Rest {
    /// Asks everybody.
    pub fn of(world: &mut World) -> Self {
        let rows = world.ask_master(operator_call::Call::ListTasks(ListTasks::default()));
        let agents = world.ask_master(operator_call::Call::ListAgents(ListAgents::default()));
        let frameworks = world.ask_master(operator_call::Call::ListFrameworks(ListFrameworks::default()));
        let (mut tasks, mut unacknowledged) = (BTreeSet::new(), BTreeSet::new());
        for reply in rows {
            let operator_reply::Reply::Task(row) = reply else { continue };
            if row.status.state().is_terminal() {
                unacknowledged.insert((row.framework_id, row.task.id));
            } else {
                tasks.insert((row.framework_id, row.task.id, row.hostname));
            }
        }
        let alive = world.schedulers.iter().enumerate().filter(|(_, node)| node.ended.is_none());
        Self {
            tasks,
            unacknowledged,
            agents: agents.into_iter().filter_map(agent).collect(),
            frameworks: frameworks.into_iter().filter_map(framework).collect(),
            running: world.running_tasks(),
            hosts: world.agents.iter().filter(|node| node.core.is_some()).map(|node| node.hostname.clone()).collect(),
            schedulers: alive.filter_map(|(at, node)| Some((at, node.known_as.clone()?.0))).collect(),
        }
    }

    /// The master against the machines; how much was compared. With `over`, nothing may be left.
    ///
    /// # Errors
    /// They differ.
    pub fn compare(&self, over: bool) -> Result<u64, String> {
        if let Some(task) = self.tasks.difference(&self.running).next() {
            return Err(format!("the master says that {task:?} runs, and it doesn't"));
        }
        if let Some(task) = self.running.difference(&self.tasks).next() {
            return Err(format!("{task:?} runs, and the master doesn't know of it"));
        }
        if let Some(task) = self.unacknowledged.first() {
            return Err(format!("the end of {task:?} was never acknowledged"));
        }
        let known: BTreeSet<String> = self.agents.iter().map(|state| state.agent.hostname.clone()).collect();
        let connected = self.agents.iter().all(|state| state.connected);
        if known != self.hosts || self.agents.len() != self.hosts.len() || !connected {
            return Err(format!("the master knows the agents {known:?}, {:?} live", self.hosts));
        }
        if over {
            if let Some(framework) = self.frameworks.first() {
                return Err(format!("the framework {} has not gone", framework.framework.name));
            }
            let busy = self.agents.iter().find(|state| !state.used.is_empty() || !state.offered.is_empty());
            if let Some(state) = busy {
                return Err(format!("{} has {} used, {} offered", state.agent.hostname, state.used, state.offered));
            }
        }
        Ok(self.tasks.len() as u64)
    }
}

fn agent(reply: operator_reply::Reply) -> Option<AgentState> {
    match reply {
        operator_reply::Reply::Agent(state) => Some(state),
        _ => None,
    }
}

fn framework(reply: operator_reply::Reply) -> Option<FrameworkState> {
    match reply {
        operator_reply::Reply::Framework(state) => Some(state),
        _ => None,
    }
}
