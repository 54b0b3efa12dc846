//! What the allocator is told and what it answers.

use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, FrameworkId, GangRequest, Resources};

/// What happened. An event about an agent or framework that isn't known is ignored: the master may hear of a task's end after
/// it has removed the agent. Giving back more than was given is a broken invariant.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An agent registered, perhaps with tasks that run on it. Frameworks that aren't known yet are remembered by their id.
    AddAgent {
        /// Its id; constraints of gangs may name it.
        id: AgentId,
        /// The name that constraints of gangs speak of.
        hostname: String,
        /// All it has.
        total: Resources,
        /// What runs on it already.
        used: Vec<Used>,
    },
    /// An agent has more or less than before. What is in use stays in use.
    UpdateAgent {
        /// The agent.
        id: AgentId,
        /// All it has now.
        total: Resources,
    },
    /// The agent is gone, and with it what was given out on it.
    RemoveAgent {
        /// The agent.
        id: AgentId,
    },
    /// A volume sets resources aside for its owner: nobody is offered them from here on.
    Reserve {
        /// The framework whose offer they were in; none if they are just there, on an agent that registers.
        framework: Option<FrameworkId>,
        /// The agent.
        agent: AgentId,
        /// What is set aside.
        resources: Resources,
    },
    /// A volume is gone; nobody uses this part of its reservation.
    Unreserve {
        /// The agent.
        agent: AgentId,
        /// What anybody may be offered again.
        resources: Resources,
    },
    /// Reserved resources are in use from now on and count as the framework's.
    UseReserved {
        /// The owner, as it runs now.
        framework: FrameworkId,
        /// The agent.
        agent: AgentId,
        /// What its task takes.
        resources: Resources,
    },
    /// They are kept for their owner again.
    ReturnReserved {
        /// Who used them.
        framework: FrameworkId,
        /// The agent.
        agent: AgentId,
        /// What its task had.
        resources: Resources,
    },
    /// No offers of it: disconnected or draining.
    DeactivateAgent {
        /// The agent.
        id: AgentId,
    },
    /// Offers of it again.
    ActivateAgent {
        /// The agent.
        id: AgentId,
    },
    /// A framework subscribed; it is active and wants offers.
    AddFramework {
        /// The framework.
        id: FrameworkId,
        /// The role whose share it lives on.
        role: String,
    },
    /// The framework is gone. Whatever it still has is free at once, so this comes after its last task has ended.
    RemoveFramework {
        /// The framework.
        id: FrameworkId,
    },
    /// Its scheduler is disconnected: no offers, no gangs, no filters.
    DeactivateFramework {
        /// The framework.
        id: FrameworkId,
    },
    /// Its scheduler is back.
    ActivateFramework {
        /// The framework.
        id: FrameworkId,
    },
    /// A role counts that much: with weight 2 it gets twice what a role of weight 1 gets.
    SetWeight {
        /// The role; it needs no framework yet.
        role: String,
        /// Above zero; 1 unless it is set.
        weight: f64,
    },
    /// Tasks took part of an offer. Needed where a time is known: of the offer, or of the tasks' end.
    Launched {
        /// The framework.
        framework: FrameworkId,
        /// The agent.
        agent: AgentId,
        /// What the tasks and their executors use.
        resources: Resources,
        /// The offer's `available_until`.
        offered_until: Option<Time>,
        /// When the tasks have ended at the latest: launch, `max_duration` and grace period.
        ends_at: Option<Time>,
    },
    /// Resources come back: declined, left over by an accept, rescinded, or of a task that ended.
    Recover {
        /// The framework that had them.
        framework: FrameworkId,
        /// Their agent.
        agent: AgentId,
        /// What comes back.
        resources: Resources,
        /// What was said about their return: the task's `ends_at`, or the `available_until` of an offer that wasn't accepted.
        back_by: Option<Time>,
        /// The framework doesn't want these again for so long. Zero gives others their turn first. None for a task's end.
        refuse: Option<Duration>,
    },
    /// Removes the framework's filters, ends a suppress.
    Revive {
        /// The framework.
        framework: FrameworkId,
    },
    /// No offers until it revives. Gangs that it asked for still come.
    Suppress {
        /// The framework.
        framework: FrameworkId,
    },
    /// Slots on several agents at once.
    RequestGang {
        /// The framework.
        framework: FrameworkId,
        /// What it asks for.
        request: GangRequest,
    },
    /// It doesn't want the gang any more.
    CancelGang {
        /// The framework.
        framework: FrameworkId,
        /// The request's id.
        id: String,
    },
}

/// What a framework has on an agent that registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    /// The framework.
    pub framework: FrameworkId,
    /// What its tasks and executors there use.
    pub resources: Resources,
    /// When they have ended at the latest, if that is known.
    pub back_by: Option<Time>,
}

/// What the master carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Offers to a framework, one for each part. What is offered belongs to the framework until it is recovered.
    Offers {
        /// To whom.
        framework: FrameworkId,
        /// An offer each.
        parts: Vec<Part>,
        /// Held for a gang from then on: the master rescinds the offer if it is still open, and lets only tasks on it that
        /// have ended by then.
        available_until: Option<Time>,
    },
    /// One offer of several agents: a gang, to be accepted or given back as a whole.
    GangOffer {
        /// To whom.
        framework: FrameworkId,
        /// The request that it answers.
        id: String,
        /// What it gets of each agent, and how many of its slots that is.
        parts: Vec<Part>,
    },
    /// How far a gang request has come; the last words about it if `refused` is there.
    GangStatus {
        /// Who asked.
        framework: FrameworkId,
        /// The request.
        id: String,
        /// Slots that are held for it.
        held: u32,
        /// Slots that it asked for.
        asked: u32,
        /// Why it waits, for people.
        waiting_for: Option<String>,
        /// When it starts at the latest, if tasks end as they said.
        planned_start: Option<Time>,
        /// It won't come, and why.
        refused: Option<String>,
    },
}

/// One agent's part of an offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The agent.
    pub agent: AgentId,
    /// What is offered of it.
    pub resources: Resources,
    /// How many of a gang's slots that is.
    pub slots: Option<u32>,
}

/// What an operator may choose.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// An agent is offered if this many thousandths of a core are free on it, …
    pub offer_cpus_milli_min: i64,
    /// … or this many thousandths of a megabyte of memory.
    pub offer_mem_milli_min: i64,
}

impl Default for Config {
    /// A hundredth of a core or 32 MB, as in Mesos.
    fn default() -> Self {
        Self { offer_cpus_milli_min: 10, offer_mem_milli_min: 32_000 }
    }
}
