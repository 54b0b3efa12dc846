//! The nodes of a job: from the gang's offer to one task on each agent.

use mesos_plugin_api::Calls;
use mesos_plugin_api::v1::{
    AgentId, CommandInfo, ExecutorId, ExecutorInfo, GangRequest, Offer, OfferPart, PluginRef, Resources, TaskId,
    TaskInfo,
};
use prost::Message;

use crate::capacity::{PER_AGENT_MEM_MB, per_rank};
use crate::hostlist::by_number;
use crate::messages::order::Order as Do;
use crate::messages::{Distribution, Inspected, Job, Node, Order};
use crate::placement::Placement;

/// The one gang of a job.
pub(super) const GANG: &str = "ranks";

/// One agent's part in a job.
#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) index: u32,
    pub(super) agent_id: AgentId,
    pub(super) hostname: String,
    pub(super) address: String,
    pub(super) slots: u32,
    pub(super) task_id: TaskId,
    pub(super) executor_id: ExecutorId,
    pub(super) inspected: Option<Inspected>,
    /// Its task has ended, or it is out of reach.
    pub(super) over: bool,
}

impl NodeState {
    fn new(index: u32, part: &OfferPart) -> Self {
        let name = format!("node-{index}");
        Self {
            index,
            agent_id: part.agent_id.clone(),
            hostname: part.hostname.clone(),
            address: part.address.clone(),
            slots: part.slots(),
            task_id: TaskId::new(name.clone()),
            executor_id: ExecutorId::new(name),
            inspected: None,
            over: false,
        }
    }

    pub(super) fn send(&self, order: Do, calls: &mut Calls) {
        let data = Order { order: Some(order) }.encode_to_vec();
        calls.message(self.agent_id.clone(), self.executor_id.clone(), data);
    }

    /// The host, and the agent where its name doesn't say it.
    pub(super) fn name(&self) -> String {
        format!("{} (agent {})", self.hostname, self.agent_id)
    }
}

/// What a job asks for.
pub(super) fn gang(job: &Job) -> GangRequest {
    GangRequest {
        id: GANG.into(),
        slots: job.ranks,
        per_slot: per_rank(job),
        per_agent: Some(per_agent()),
        agents: job.nodes,
        max_slots_per_agent: job.ranks_per_node,
        include_hosts: job.include_hosts.clone(),
        exclude_hosts: job.exclude_hosts.clone(),
        within_ms: job.gang_timeout_ms,
        max_duration_ms: job.time_limit_ms,
        // Who says how many nodes, or goes round them, wants them evenly loaded.
        spread: (job.nodes.is_some() || job.distribution() == Distribution::Cyclic).then_some(true),
    }
}

/// The nodes of a gang's offer. Those with many slots come first, which keeps the process mapping short.
pub(super) fn nodes(offer: &Offer) -> Vec<NodeState> {
    let mut parts: Vec<&OfferPart> = offer.parts.iter().filter(|part| part.slots() > 0).collect();
    parts.sort_by_cached_key(|part| (std::cmp::Reverse(part.slots()), by_number(&part.hostname)));
    (0..).zip(parts).map(|(index, part)| NodeState::new(index, part)).collect()
}

/// The task of each node.
pub(super) fn tasks(job: &Job, plugin: &PluginRef, nodes: &[NodeState], placement: &Placement) -> Vec<TaskInfo> {
    nodes.iter().map(|node| task(job, plugin, node, nodes.len(), placement)).collect()
}

fn task(job: &Job, plugin: &PluginRef, node: &NodeState, nodes: usize, placement: &Placement) -> TaskInfo {
    let config = Node {
        node: node.index,
        nodes: u32::try_from(nodes).expect("a gang has fewer than 2^32 agents"),
        program: job.argv[0].clone(),
        working_directory: job.working_directory.clone(),
        path: variable(job, "PATH"),
        ld_library_path: variable(job, "LD_LIBRARY_PATH"),
        mpi: job.mpi,
        mpirun: job.mpirun.clone(),
        program_in_sandbox: job.program_in_sandbox.clone(),
    };
    let executor = ExecutorInfo {
        id: node.executor_id.clone(),
        plugin: plugin.clone(),
        resources: per_agent(),
        config: Some(config.encode_to_vec()),
        command: Some(CommandInfo { uris: job.uris.clone(), ..CommandInfo::default() }),
        shutdown_grace_ms: None,
    };
    let resources = per_rank(job).scalars_times(node.slots);
    let mut task = TaskInfo::executor(node.task_id.clone(), node.agent_id.clone(), resources, executor, Vec::new());
    task.name = format!("{} ranks {}", job.name, ranges(&placement.ranks_of(node.index)));
    task.max_duration_ms = job.time_limit_ms;
    task
}

fn per_agent() -> Resources {
    Resources::default().with_mem(PER_AGENT_MEM_MB)
}

fn variable(job: &Job, name: &str) -> Option<Vec<u8>> {
    job.environment.iter().find(|variable| variable.name == name).map(|variable| variable.value.clone())
}

/// `0-3,8`: ascending numbers as people write them.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let text = |run: &[u32]| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u32::to_string).collect(),
    };
    numbers.chunk_by(|a, b| a + 1 == *b).map(text).collect::<Vec<_>>().join(",")
}
