//! Whether a job can ever find its place, and what memory a rank gets when nobody says it.

use mesos_plugin_api::v1::command::Cluster;
use mesos_plugin_api::v1::{AgentInfo, Resources};
use thiserror::Error;

use crate::hostlist::by_number;
use crate::messages::Job;

/// What the executor takes on each agent, in megabytes; its share of the processor is too small to name.
pub const PER_AGENT_MEM_MB: f64 = 32.0;
/// What a rank gets at least when nobody says it, in megabytes.
const MEM_PER_RANK_MB_MIN: i64 = 16;
/// A thousandth of a core stands for sharing all of them.
pub const OVERSUBSCRIBED_MILLI_CPUS: i64 = 1;

/// Why a job can't run on this cluster, now or ever.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CapacityError {
    /// There are no agents.
    #[error("the cluster has no agents; start one with mesos agent")]
    NoAgents,
    /// A name in a list of nodes that no agent bears.
    #[error("{flag} {host:?}: no agent has this host name; there are {known}")]
    UnknownHost {
        /// The flag with its hyphens.
        flag: &'static str,
        /// The name.
        host: String,
        /// All names.
        known: String,
    },
    /// More ranks than fit.
    #[error("{ranks} ranks of {each} asked, the cluster can hold {slots}{limit}: {agents}; {advice}")]
    TooManyRanks {
        /// As asked.
        ranks: u32,
        /// What each one takes.
        each: String,
        /// What fits.
        slots: u64,
        /// What else limits it.
        limit: String,
        /// What fits on each agent.
        agents: String,
        /// What to do.
        advice: &'static str,
    },
    /// More nodes than there are.
    #[error("-N {nodes}: only {fitting} agents can hold a rank of {each}: {agents}; ask for fewer")]
    TooFewNodes {
        /// As asked.
        nodes: u32,
        /// How many there are.
        fitting: usize,
        /// What each rank takes.
        each: String,
        /// What fits on each agent.
        agents: String,
    },
}

/// What one rank takes.
pub fn per_rank(job: &Job) -> Resources {
    Resources::default().with_cpus(job.cpus_per_rank as f64 / 1000.0).with_mem(job.mem_per_rank as f64 / 1000.0)
}

/// Gives ranks without a memory of their own (`mem_per_rank` 0) their cores' share of the smallest agent's memory.
pub fn set_default_memory(job: &mut Job, cluster: &Cluster) {
    if job.mem_per_rank > 0 {
        return;
    }
    let share = |agent: &AgentInfo| {
        let free = agent.resources.mem_milli() / 1000 - PER_AGENT_MEM_MB as i64;
        free.checked_div(ranks_on(job, agent))
    };
    let smallest = candidates(job, cluster).filter_map(share).min();
    job.mem_per_rank = smallest.unwrap_or(MEM_PER_RANK_MB_MIN).max(MEM_PER_RANK_MB_MIN) * 1000;
}

/// How many ranks share an agent's memory at the most: ranks that share its cores could all be there.
fn ranks_on(job: &Job, agent: &AgentInfo) -> i64 {
    if job.cpus_per_rank > OVERSUBSCRIBED_MILLI_CPUS {
        agent.resources.cpus_milli() / job.cpus_per_rank
    } else {
        i64::from(job.ranks_per_node.unwrap_or(job.ranks))
    }
}

/// Whether the job would fit if nothing else ran.
///
/// # Errors
/// What is asked, and what there is.
pub fn check(job: &Job, cluster: &Cluster) -> Result<(), CapacityError> {
    if cluster.agents.is_empty() {
        return Err(CapacityError::NoAgents);
    }
    known("-w", &job.include_hosts, cluster)?;
    known("-x", &job.exclude_hosts, cluster)?;
    let mut slots: Vec<(&str, u64)> =
        candidates(job, cluster).map(|agent| (agent.hostname.as_str(), slots_on(job, agent))).collect();
    slots.sort_by_cached_key(|(host, slots)| (std::cmp::Reverse(*slots), by_number(host)));
    let agents = agents_text(&slots);
    let each = each_text(job);
    let fitting = slots.iter().filter(|(_, slots)| *slots > 0).count();
    if let Some(nodes) = job.nodes.filter(|nodes| *nodes as usize > fitting) {
        return Err(CapacityError::TooFewNodes { nodes, fitting, each, agents });
    }
    let nodes = job.nodes.map_or(usize::MAX, |nodes| nodes as usize);
    let total = slots.iter().take(nodes).map(|(_, slots)| *slots).sum();
    if u64::from(job.ranks) > total {
        let limit = limit_text(job);
        let shared = job.cpus_per_rank <= OVERSUBSCRIBED_MILLI_CPUS;
        let advice = if shared {
            "ask for fewer with -n, or for less memory with --mem-per-rank"
        } else {
            "ask for fewer with -n, or let ranks share cores with --oversubscribe"
        };
        return Err(CapacityError::TooManyRanks { ranks: job.ranks, each, slots: total, limit, agents, advice });
    }
    Ok(())
}

fn known(flag: &'static str, hosts: &[String], cluster: &Cluster) -> Result<(), CapacityError> {
    let is_known = |host: &&String| cluster.agents.iter().any(|agent| agent.hostname == **host);
    match hosts.iter().find(|host| !is_known(host)) {
        None => Ok(()),
        Some(host) => {
            let mut names: Vec<&str> = cluster.agents.iter().map(|agent| agent.hostname.as_str()).collect();
            names.sort_by_cached_key(|name| by_number(name));
            names.truncate(AGENTS_NAMED_MAX);
            Err(CapacityError::UnknownHost { flag, host: host.clone(), known: names.join(", ") })
        }
    }
}

fn candidates<'a>(job: &'a Job, cluster: &'a Cluster) -> impl Iterator<Item = &'a AgentInfo> {
    cluster.agents.iter().filter(|agent| {
        let included = job.include_hosts.is_empty() || job.include_hosts.contains(&agent.hostname);
        included && !job.exclude_hosts.contains(&agent.hostname)
    })
}

fn slots_on(job: &Job, agent: &AgentInfo) -> u64 {
    let per_agent = Resources::default().with_mem(PER_AGENT_MEM_MB);
    let slots = agent.resources.checked_sub(&per_agent).map_or(0, |free| free.times(&per_rank(job)));
    u64::from(slots.min(job.ranks_per_node.unwrap_or(u32::MAX)))
}

/// So many agents are named in a line.
const AGENTS_NAMED_MAX: usize = 8;

fn agents_text(slots: &[(&str, u64)]) -> String {
    let mut words: Vec<String> =
        slots.iter().take(AGENTS_NAMED_MAX).map(|(host, slots)| format!("{host} {slots}")).collect();
    if slots.len() > AGENTS_NAMED_MAX {
        words.push(format!("and {} more agents", slots.len() - AGENTS_NAMED_MAX));
    }
    if words.is_empty() { "no agent is left by -w and -x".into() } else { words.join(", ") }
}

fn each_text(job: &Job) -> String {
    per_rank(job).to_string()
}

fn limit_text(job: &Job) -> String {
    match (job.nodes, job.ranks_per_node) {
        (None, None) => String::new(),
        (Some(nodes), None) => format!(" on {nodes} nodes"),
        (None, Some(each)) => format!(" with at most {each} on a node"),
        (Some(nodes), Some(each)) => format!(" on {nodes} nodes with at most {each} on each"),
    }
}
