//! The master: who is in the cluster, what is offered to whom, which tasks live where.
//!
//! ```text
//! agent call ─────▶ agents ──resources──▶ allocator ──▶ offers ──▶ scheduler event
//! agent event ◀──── tasks ◀──────────────────────────── accept ◀── scheduler call
//! operator call ──▶ operators ──▶ rows          volumes ──what they reserve──▶ offer to their owner
//! ```
//!
//! [`Master`] is the core: `handle(now, event, effects)`, no I/O. It does not know what carries its messages (see `shell`), how a
//! task is run (that is the agent's affair) or what a framework is for. It holds what must agree over all agents: the resources
//! of each, and which offer or task has them. A task's resources are given back when its terminal state is first heard of, the
//! task itself is forgotten when the framework has acknowledged that state.
//!
//! A master begins with what the [registry](crate::registry) says of the cluster, and learns the rest from the agents that come
//! back ([`adoption`]).

mod agents;
mod absence;
mod agent_rows;
mod drain;
mod adoption;
mod frameworks;
mod authorise;
mod offers;
mod validation;
mod tasks;
mod description;
mod volumes;
mod volume_rows;
mod messages;
mod operators;
mod recording;
mod why;
pub mod shell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, AgentInfo, FrameworkId, OfferId, scheduler};

use crate::allocator::{self, Allocator};
use crate::protocol::{AgentCall, OperatorCall, OperatorReply, agent_event};
use crate::registry::{Operation, Registry};

use absence::Absent;
pub use absence::RemovalRate;
use adoption::HeldQuestions;
use agents::Agent;
use drain::Plan;
pub use drain::{DRAIN_GRACE, DRAIN_GRACE_MAX};
use frameworks::Framework;
use messages::PendingRequest;
use offers::OpenOffer;
use recording::Pending;
pub use shell::{BlobError, BlobStore};
use tasks::EndedTask;
use volumes::{Volume, VolumeKey};

/// Finished tasks that `mesos tasks --all` still shows.
pub const TASK_HISTORY_MAX: usize = 10_000;
/// Finished frameworks that `mesos frameworks --all` still shows.
pub const FRAMEWORK_HISTORY_MAX: usize = 100;

/// What differs from cluster to cluster.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// First part of every id that this cluster gives; the registry's if it has one.
    pub master_id: String,
    /// Rises with each master that leads; agents and frameworks ignore lower ones.
    pub epoch: u64,
    /// Secrets of frameworks are made with it; the registry's if it has one.
    pub key: Vec<u8>,
    /// After so long an unanswered offer is rescinded, so that a hoarder loses it.
    pub offer_timeout: Duration,
    /// How often an agent is asked whether it lives.
    pub ping_interval: Duration,
    /// Unanswered pings, or intervals without a connection, after which an agent is unreachable.
    pub pings_missed_max: u32,
    /// So many agents at the most become unreachable within so long.
    pub agent_removal_rate: RemovalRate,
    /// How long an unreachable agent may come back with its tasks; then they are lost.
    pub agent_reregister_timeout: Duration,
    /// How long a new master waits for the agents and frameworks of the one before it.
    pub recovery_timeout: Duration,
    /// Shares of roles; 1.0 if missing.
    pub weights: BTreeMap<String, f64>,
    /// The cluster ends with the command that started it.
    pub embedded: bool,
}

impl Default for MasterConfig {
    fn default() -> Self {
        Self {
            master_id: "M".to_string(),
            epoch: 1,
            key: Vec::new(),
            offer_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(5),
            pings_missed_max: 5,
            agent_removal_rate: RemovalRate::default(),
            agent_reregister_timeout: Duration::from_secs(600),
            recovery_timeout: Duration::from_secs(60),
            weights: BTreeMap::new(),
            embedded: false,
        }
    }
}

/// A connection, numbered by the shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who speaks, as the connection proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// As the peer names itself; recorded with what it does.
    pub principal: String,
    /// The one user that it may act for. None for those who may act for all: the cluster's own process, root, and whoever
    /// has the cluster's token.
    pub user: Option<String>,
}

/// What happens to the master.
#[derive(Debug)]
pub enum Event {
    /// An agent's stream was opened.
    AgentConnected {
        /// Its link from now on.
        link: LinkId,
    },
    /// An agent says something.
    AgentCalled {
        /// On which link.
        link: LinkId,
        /// What.
        call: AgentCall,
    },
    /// A scheduler's stream was opened.
    SchedulerConnected {
        /// Its link from now on.
        link: LinkId,
        /// Who it is.
        caller: Caller,
    },
    /// A scheduler says something.
    SchedulerCalled {
        /// On which link.
        link: LinkId,
        /// What.
        call: scheduler::Call,
    },
    /// A batch shows that its sender has heard of a master of this epoch; comes before what is in the batch.
    EpochHeard {
        /// As in the batch.
        epoch: u64,
    },
    /// A stream broke or was closed.
    Disconnected {
        /// Whose.
        link: LinkId,
    },
    /// An operator asks.
    OperatorCalled {
        /// Answers go there.
        link: LinkId,
        /// Who asks.
        caller: Caller,
        /// What.
        call: OperatorCall,
    },
    /// What [`Effect::Persist`] asked for is durable. A master that can't make it so has to end.
    Persisted {
        /// The effect's number.
        id: u64,
    },
    /// [`Master::deadline`] has passed.
    DeadlinePassed,
}

/// What the shell carries out, in order.
#[derive(Debug)]
pub enum Effect {
    /// To an agent.
    ToAgent {
        /// On which link.
        link: LinkId,
        /// What.
        event: agent_event::Event,
    },
    /// To a scheduler.
    ToScheduler {
        /// On which link.
        link: LinkId,
        /// What.
        event: scheduler::event::Event,
    },
    /// A piece of the answer to an operator.
    Reply {
        /// Whose.
        link: LinkId,
        /// The piece, or a line for people that ends the answer.
        reply: Result<OperatorReply, String>,
    },
    /// The answer to an operator is complete; or a stream is over.
    Close {
        /// Whose.
        link: LinkId,
    },
    /// Make this durable, then say [`Event::Persisted`]. In the order of their numbers.
    Persist {
        /// To be echoed.
        id: u64,
        /// What.
        operation: Operation,
    },
    /// Another master leads: end every connection and give this core no more events.
    StepDown {
        /// The newer master's.
        epoch: u64,
    },
}

/// The master's state. See the module.
pub struct Master {
    config: MasterConfig,
    started: Option<Time>,
    allocator: Allocator,
    allocator_effects: Vec<allocator::Effect>,
    links: BTreeMap<LinkId, Peer>,
    agents: BTreeMap<AgentId, Agent>,
    frameworks: BTreeMap<FrameworkId, Framework>,
    offers: BTreeMap<OfferId, OpenOffer>,
    /// The open offers again, the next to expire first.
    expiries: BTreeSet<(Time, OfferId)>,
    requests: BTreeMap<u64, PendingRequest>,
    persisting: BTreeMap<u64, Pending>,
    /// Admitted by an earlier master, not back yet, and given up at `recovery_ends`.
    recovering: BTreeMap<AgentId, AgentInfo>,
    recovery_ends: Option<Time>,
    held: BTreeMap<FrameworkId, HeldQuestions>,
    /// Not there, and nothing is known here of what they run.
    absent: BTreeMap<AgentId, Absent>,
    /// That they are unreachable or lost is being recorded.
    losing: BTreeSet<AgentId>,
    /// When agents were marked unreachable, as far as that counts for the next ones.
    removals: VecDeque<Time>,
    /// Agents of which operators want something.
    plans: BTreeMap<AgentId, Plan>,
    /// Frameworks of earlier masters that this one has ended.
    ended_before: BTreeSet<FrameworkId>,
    /// Another master leads.
    over: bool,
    ended_tasks: VecDeque<EndedTask>,
    ended_frameworks: VecDeque<Framework>,
    volumes: BTreeMap<VolumeKey, Volume>,
    /// Something that matters for their offers has changed.
    volumes_due: BTreeSet<VolumeKey>,
    /// Ends of their owners' filters.
    volume_filters: BTreeSet<(Time, VolumeKey)>,
    next_ping: Option<Time>,
    next_agent: u64,
    next_framework: u64,
    next_offer: u64,
    next_request: u64,
    next_persist: u64,
}

/// Who is at the other end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Peer {
    UnknownAgent,
    Agent(AgentId),
    UnknownScheduler(Caller),
    Scheduler(FrameworkId),
    /// An agent or a scheduler whose coming or going is being made durable; what it says meanwhile is not listened to.
    Waiting,
    Asker {
        request: u64,
    },
    /// An operator's command that waits for the end of what it asked for.
    Waiter,
}

impl Master {
    /// The first master of a cluster.
    pub fn new(config: MasterConfig) -> Self {
        Self::resume(Time::default(), config, Registry::default())
    }

    /// A master that goes on where those before it have ended; its epoch is higher than theirs.
    pub fn resume(now: Time, mut config: MasterConfig, registry: Registry) -> Self {
        if let Some(cluster) = &registry.cluster {
            config.master_id.clone_from(&cluster.cluster_id);
            config.key.clone_from(&cluster.key);
        }
        let mut master = Self::empty(config);
        master.take_over(now, registry);
        master
    }

    fn empty(config: MasterConfig) -> Self {
        let mut allocator = Allocator::new(allocator::Config::default());
        for (role, weight) in &config.weights {
            let event = allocator::Event::SetWeight { role: role.clone(), weight: *weight };
            allocator.handle(Time::default(), event, &mut Vec::new());
        }
        Self {
            config,
            started: None,
            allocator,
            allocator_effects: Vec::new(),
            links: BTreeMap::new(),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            offers: BTreeMap::new(),
            expiries: BTreeSet::new(),
            requests: BTreeMap::new(),
            persisting: BTreeMap::new(),
            recovering: BTreeMap::new(),
            recovery_ends: None,
            held: BTreeMap::new(),
            absent: BTreeMap::new(),
            losing: BTreeSet::new(),
            removals: VecDeque::new(),
            plans: BTreeMap::new(),
            ended_before: BTreeSet::new(),
            over: false,
            ended_tasks: VecDeque::new(),
            ended_frameworks: VecDeque::new(),
            volumes: BTreeMap::new(),
            volumes_due: BTreeSet::new(),
            volume_filters: BTreeSet::new(),
            next_ping: None,
            next_agent: 1,
            next_framework: 1,
            next_offer: 1,
            next_request: 1,
            next_persist: 1,
        }
    }

    /// Takes one event. Offers are made by [`allocate`](Self::allocate), so that the shell can take a whole batch of events first.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        self.started.get_or_insert(now);
        match event {
            Event::AgentConnected { link } => self.agent_connected(link),
            Event::AgentCalled { link, call } => self.agent_called(now, link, call, effects),
            Event::SchedulerConnected { link, caller } => drop(self.links.insert(link, Peer::UnknownScheduler(caller))),
            Event::SchedulerCalled { link, call } => self.scheduler_called(now, link, call, effects),
            Event::EpochHeard { epoch } => return self.epoch_heard(epoch, effects),
            Event::Disconnected { link } => self.disconnected(now, link, effects),
            Event::OperatorCalled { link, caller, call } => self.operator_called(now, link, &caller, call, effects),
            Event::Persisted { id } => self.persisted(now, id, effects),
            Event::DeadlinePassed => {}
        }
        self.pass_deadlines(now, effects);
    }

    /// This master's.
    pub fn epoch(&self) -> u64 {
        self.config.epoch
    }

    /// Lets the allocator offer what is free.
    pub fn allocate(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if !self.over {
            self.allocator.allocate(now, &mut self.allocator_effects);
            self.carry_out_allocation(now, effects);
            self.offer_volumes(now, effects);
        }
    }

    /// When [`Event::DeadlinePassed`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let offers = self.expiries.first().map(|(expires, _)| *expires);
        let frameworks = self.frameworks.values().filter_map(|framework| framework.deadline);
        let filters = self.volume_filters.first().map(|(until, _)| *until);
        let drains = self.drain_deadline();
        let all = frameworks.chain(offers).chain(drains).chain(filters).chain(self.next_ping).chain(self.recovery_ends);
        all.chain(self.allocator.deadline()).filter(|_| !self.over).min()
    }

    fn pass_deadlines(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.expire_offers(now, effects);
        self.expire_frameworks(now, effects);
        self.expire_volume_filters(now);
        self.ping_agents(now, effects);
        self.end_recovery(now, effects);
        self.go_on_draining(now, effects);
    }

    /// A master that was away for a while doesn't know that it was replaced until it is told.
    fn epoch_heard(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        if epoch > self.config.epoch {
            self.over = true;
            effects.push(Effect::StepDown { epoch });
        }
    }

    fn disconnected(&mut self, now: Time, link: LinkId, effects: &mut Vec<Effect>) {
        match self.links.remove(&link) {
            Some(Peer::Agent(id)) => self.agent_disconnected(now, &id, link, effects),
            Some(Peer::Scheduler(id)) => self.scheduler_disconnected(now, &id, link, effects),
            Some(Peer::Asker { request }) => self.asker_left(request, effects),
            Some(Peer::UnknownAgent | Peer::UnknownScheduler(_) | Peer::Waiting | Peer::Waiter) | None => {}
        }
    }

    /// Tells the allocator, and keeps what it answers for [`carry_out_allocation`](Self::carry_out_allocation).
    fn tell_allocator(&mut self, now: Time, event: allocator::Event) {
        self.allocator.handle(now, event, &mut self.allocator_effects);
    }

    fn close(&mut self, link: LinkId, effects: &mut Vec<Effect>) {
        self.links.remove(&link);
        effects.push(Effect::Close { link });
    }

    /// Holds after every event: each agent's tasks and offers fit its resources, and every index agrees with what it indexes.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn sanity_check(&self) {
        self.allocator.sanity_check();
        self.check_volumes();
        self.check_plans();
        for (id, agent) in &self.agents {
            let used = self.used_on(id);
            assert!(agent.total().contains(&used), "agent {id} has {}, {used} is used", agent.total());
            if let Some(link) = agent.link {
                assert_eq!(self.links.get(&link), Some(&Peer::Agent(id.clone())), "link of agent {id}");
            }
            assert!(!self.recovering.contains_key(id), "agent {id} is back");
            for (framework_id, task_id) in &agent.tasks {
                assert!(self.task(framework_id, task_id).is_some(), "task {task_id} of {framework_id} on agent {id}");
            }
        }
        for (id, framework) in &self.frameworks {
            if let Some(link) = framework.link {
                assert_eq!(self.links.get(&link), Some(&Peer::Scheduler(id.clone())), "link of framework {id}");
            }
        }
        assert_eq!(self.expiries.len(), self.offers.len(), "each open offer expires");
        for (id, offer) in &self.offers {
            assert!(self.expiries.contains(&(offer.expires, id.clone())), "offer {id} expires");
            assert!(self.frameworks.contains_key(&offer.framework_id), "offer {id} belongs to a framework");
            for part in &offer.parts {
                assert!(self.agents.contains_key(&part.agent_id), "offer {id} is on a known agent");
            }
        }
    }
}

/// Text of the form `M-F7`, and `M-2-F7` of the master of epoch 2: no two masters of a cluster give the same.
fn make_id(config: &MasterConfig, kind: char, counter: &mut u64) -> String {
    let id = format!("{}{counter}", id_prefix(config, kind));
    *counter += 1;
    id
}

/// What all ids of this master begin with.
fn id_prefix(config: &MasterConfig, kind: char) -> String {
    let MasterConfig { master_id, epoch, .. } = config;
    if *epoch <= 1 { format!("{master_id}-{kind}") } else { format!("{master_id}-{epoch}-{kind}") }
}
