//! Everything that is there, and the one loop that lets it happen.

mod masters;
mod links;
mod agents;
mod launchers;
mod executors;
mod schedulers;

use std::collections::BTreeMap;

use mesos_host::{agent, master};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::Frame;
use mesos_plugin_api::v1::executor::event::Event as ExecutorEvent;

use crate::chance::Chance;
use crate::network::{Network, Peer, Way};
use crate::queue::Queue;
use crate::watch::Watch;

pub use agents::AgentNode;
pub use executors::ExecutorProcess;
use launchers::Request;
pub use launchers::{Kind, Process};
pub use masters::MasterNode;
pub use schedulers::{SchedulerNode, Work};

/// So often may something happen at one moment before the world says that it turns in circles.
const AT_ONCE_MAX: u32 = 5_000;

/// A world.
pub struct World {
    /// What time it is.
    pub now: Time,
    /// Where all decisions come from.
    pub chance: Chance,
    /// Who looks on.
    pub watch: Watch,
    /// The links.
    pub net: Network,
    /// The master.
    pub master: MasterNode,
    /// The agents.
    pub agents: Vec<AgentNode>,
    /// The schedulers.
    pub schedulers: Vec<SchedulerNode>,
    /// What runs on the agents' machines, by a number that is never used twice.
    pub processes: BTreeMap<u64, Process>,
    /// Events that cores have taken.
    pub events: u64,
    queue: Queue<Happening>,
    /// Who gets no time to run until then; none for the master.
    paused: BTreeMap<Option<Peer>, Time>,
    /// When the last thing of each lane is due, so that nothing in it overtakes.
    lanes: BTreeMap<Lane, Time>,
    pid_last: u64,
    at_once: u32,
}

/// What is on its way. Numbers of incarnations tell whether it is still for whom it was.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A peer's attempt to connect comes to its end.
    Asked { peer: Peer, incarnation: u64 },
    /// The peer learns that it is connected.
    Connected { peer: Peer, incarnation: u64, connection: u64 },
    /// A peer's attempt has failed.
    Unreachable { peer: Peer, incarnation: u64 },
    /// Something may have arrived.
    Arrives { connection: u64, way: Way },
    /// One end finds the connection broken.
    Noticed { connection: u64, client: bool },
    /// A master begins.
    MasterStarts,
    /// The master lets its allocator work.
    MasterAllocates,
    /// What the master wanted kept is kept, or can't be.
    MasterKept { incarnation: u64, id: u64 },
    /// An agent's process begins.
    AgentStarts { agent: usize },
    /// Something for an agent's core.
    AgentHears { agent: usize, incarnation: u64, event: agent::Event },
    /// Something for a launcher.
    LauncherTakes { agent: usize, incarnation: u64, request: Request },
    /// A process comes to its end by itself, or of a signal.
    ProcessEnds { pid: u64, exit: mesos_plugin_api::v1::ExitStatus },
    /// An executor's process connects to its agent.
    ExecutorConnects { pid: u64 },
    /// A frame from an agent to an executor's process, or the other way.
    Frame { pid: u64, connection: u64, to_process: bool, frame: Frame },
    /// Something for an executor half.
    ExecutorHears { pid: u64, event: ExecutorEvent },
    /// The plugin's shell has looked at the program.
    ExecutorInspects { pid: u64 },
    /// A rank has worked for so long.
    RankSays { pid: u64, process: u64, data: Vec<u8> },
    /// Whether it got rid of its last words or not.
    ExecutorGoes { pid: u64, code: i32 },
    /// A scheduler's process begins.
    SchedulerStarts { scheduler: usize },
    /// A scheduler tries to reach a master.
    SchedulerRetries { scheduler: usize, incarnation: u64 },
    /// Nobody waits for the end of a teardown any longer.
    SchedulerLeaves { scheduler: usize, incarnation: u64 },
}

/// In a lane nothing overtakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// An agent's disk.
    AgentDisk(usize),
    /// The master's.
    MasterDisk,
    /// Requests to a launcher.
    ToLauncher(usize),
    /// Its events.
    FromLauncher(usize),
    /// Frames to an executor's process.
    ToExecutor(u64),
    /// Its frames.
    FromExecutor(u64),
    /// Its children's words, and their ends.
    Children(u64),
}

impl World {
    /// A world without agents and frameworks; its master is about to begin.
    pub fn new(seed: u64, print: bool) -> Self {
        let mut world = Self {
            now: Time(1_000_000_000_000),
            chance: Chance::new(seed),
            watch: Watch::new(print),
            net: Network::default(),
            master: MasterNode::default(),
            agents: Vec::new(),
            schedulers: Vec::new(),
            processes: BTreeMap::new(),
            events: 0,
            queue: Queue::default(),
            paused: BTreeMap::new(),
            lanes: BTreeMap::new(),
            pid_last: 0,
            at_once: 0,
        };
        world.queue.push(world.now, Happening::MasterStarts);
        world
    }

    /// Lets happen what happens until then, or until an invariant is broken.
    pub fn run_until(&mut self, end: Time) {
        while self.watch.broken.is_none() && self.step(end) {}
        if self.watch.broken.is_none() {
            self.now = end;
        }
    }

    /// Lets the next thing happen if it is due by `end`.
    pub fn step(&mut self, end: Time) -> bool {
        let due = self.next_due();
        let queued = self.queue.next();
        let Some(next) = queued.into_iter().chain(due.map(|(at, _)| at)).min().filter(|next| *next <= end) else {
            return false;
        };
        self.at_once = if next > self.now { 0 } else { self.at_once + 1 };
        if self.at_once > AT_ONCE_MAX {
            self.watch.check("invariant: time goes on", Err(format!("{AT_ONCE_MAX} things happen at once: {due:?}")));
        }
        self.now = self.now.max(next);
        match due {
            Some((at, who)) if queued.is_none_or(|queued| at < queued) => self.pass_deadline(who),
            _ => {
                let (_, happening) = self.queue.pop().expect("it has a next one");
                match self.waits_until(&happening) {
                    Some(until) => self.queue.push(until, happening),
                    None => self.happen(happening),
                }
            }
        }
        true
    }

    /// The first deadline of a core.
    fn next_due(&self) -> Option<(Time, Due)> {
        let agents =
            self.agents.iter().enumerate().filter_map(|(at, agent)| {
                Some((agent.due?.max(self.paused_until(Some(Peer::Agent(at)))), Due::Agent(at)))
            });
        let schedulers = self.schedulers.iter().enumerate().filter_map(|(at, node)| {
            Some((node.due?.max(self.paused_until(Some(Peer::Scheduler(at)))), Due::Scheduler(at)))
        });
        let processes = self.processes.iter().filter_map(|(pid, process)| Some((process.due()?, Due::Executor(*pid))));
        let master = self.master.due.map(|at| (at.max(self.paused_until(None)), Due::Master));
        agents.chain(schedulers).chain(processes).chain(master).min()
    }

    fn paused_until(&self, who: Option<Peer>) -> Time {
        self.paused.get(&who).copied().unwrap_or_default()
    }

    /// It gets no time to run until then.
    pub fn pause_master(&mut self, until: Time) {
        self.pause(None, until);
    }

    /// It gets no time to run until then.
    pub fn pause_peer(&mut self, peer: Peer, until: Time) {
        self.pause(Some(peer), until);
    }

    /// A second pause within a longer one ends with that: what waits for its end must not be overtaken.
    fn pause(&mut self, who: Option<Peer>, until: Time) {
        let known = self.paused.entry(who).or_default();
        *known = until.max(*known);
    }

    /// Everything is as it should be from now on, but for what has been lost.
    pub fn heal(&mut self) {
        self.paused.clear();
        self.net.heal(self.now);
        self.master.slow_disk_until = self.now;
        self.master.full_disk_until = self.now;
        self.agents.iter_mut().for_each(|agent| (agent.slow_disk_until, agent.stuck_until) = (self.now, self.now));
    }

    /// Until when it has to wait, because who is to take it is paused.
    fn waits_until(&mut self, happening: &Happening) -> Option<Time> {
        let peer_of = |connection: &u64| self.net.peer(*connection);
        let who = match happening {
            Happening::Asked { .. }
            | Happening::Arrives { way: Way::Up, .. }
            | Happening::Noticed { client: false, .. }
            | Happening::MasterAllocates
            | Happening::MasterKept { .. } => None,
            Happening::Arrives { connection, way: Way::Down } | Happening::Noticed { connection, client: true } => {
                Some(peer_of(connection)?)
            }
            Happening::Connected { peer, .. } | Happening::Unreachable { peer, .. } => Some(*peer),
            Happening::AgentHears { agent, .. } | Happening::AgentStarts { agent } => Some(Peer::Agent(*agent)),
            Happening::Frame { pid, to_process: false, .. } => Some(Peer::Agent(self.processes.get(pid)?.agent)),
            Happening::SchedulerRetries { scheduler, .. } => Some(Peer::Scheduler(*scheduler)),
            _ => return None,
        };
        Some(self.paused_until(who)).filter(|until| *until > self.now)
    }

    fn pass_deadline(&mut self, who: Due) {
        match who {
            Due::Master => self.master_handles(vec![master::Event::DeadlinePassed]),
            Due::Agent(agent) => self.agent_handles(agent, agent::Event::Tick),
            Due::Scheduler(scheduler) => {
                self.scheduler_handles(scheduler, mesos_host::framework::Event::DeadlinePassed);
            }
            Due::Executor(pid) => self.executor_timers(pid),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asked { peer, incarnation } => self.asked(peer, incarnation),
            Happening::Connected { peer, incarnation, connection } => self.connected(peer, incarnation, connection),
            Happening::Unreachable { peer, incarnation } => self.unreachable(peer, incarnation),
            Happening::Arrives { connection, way } => self.arrives(connection, way),
            Happening::Noticed { connection, client } => self.noticed(connection, client),
            Happening::MasterStarts => self.master_starts(),
            Happening::MasterAllocates => self.master_allocates(),
            Happening::MasterKept { incarnation, id } => self.master_kept(incarnation, id),
            Happening::AgentStarts { agent } => self.agent_starts(agent),
            Happening::AgentHears { agent, incarnation, event } => self.agent_hears(agent, incarnation, event),
            Happening::LauncherTakes { agent, incarnation, request } => {
                self.launcher_takes(agent, incarnation, request);
            }
            Happening::ProcessEnds { pid, exit } => self.process_ends(pid, exit),
            Happening::ExecutorConnects { pid } => self.executor_connects(pid),
            Happening::Frame { pid, connection, to_process, frame } => {
                self.frame_arrives(pid, connection, to_process, frame);
            }
            Happening::ExecutorHears { pid, event } => self.executor_hears(pid, event),
            Happening::ExecutorInspects { pid } => self.executor_inspects(pid),
            Happening::RankSays { pid, process, data } => self.rank_says(pid, process, data),
            Happening::ExecutorGoes { pid, code } => self.executor_goes(pid, code),
            Happening::SchedulerStarts { scheduler } => self.scheduler_starts(scheduler),
            Happening::SchedulerRetries { scheduler, incarnation } => self.scheduler_retries(scheduler, incarnation),
            Happening::SchedulerLeaves { scheduler, incarnation } => self.scheduler_leaves(scheduler, incarnation),
        }
    }

    /// It happens after so long.
    pub(crate) fn after(&mut self, wait: std::time::Duration, happening: Happening) {
        self.queue.push(self.now + wait, happening);
    }

    /// The same, but not before what was put into the lane before.
    pub(crate) fn follow(&mut self, lane: Lane, wait: std::time::Duration, happening: Happening) {
        let last = self.lanes.entry(lane).or_default();
        *last = (self.now + wait).max(*last);
        self.queue.push(*last, happening);
    }

    /// A number for a process.
    pub fn next_pid(&mut self) -> u64 {
        self.pid_last += 1;
        self.pid_last
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Master,
    Agent(usize),
    Scheduler(usize),
    Executor(u64),
}
