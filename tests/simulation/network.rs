//! The links: streams, as TCP and gRPC give them.
//!
//! ```text
//!            ┌── up: packets in order ──▶┐
//!  client ───┤                           ├─── master's end (a LinkId)
//!            └◀── down: packets in order─┘
//!  cut:    a tail of each way is lost, what was ahead of it still arrives; each end notices by itself, perhaps much later
//!  stall:  nothing arrives for a while, then everything does
//! ```
//!
//! A packet is lost only with all that follow it. But a peer that has noticed comes back on a new connection while packets of the
//! old one still arrive and the master's end of that still seems to live: so words come late, twice, and past each other.

use std::collections::{BTreeMap, VecDeque};

use mesos_host::master::LinkId;
use mesos_host::protocol::{agent_call, agent_event};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler;

use crate::chance::Chance;

/// Who has connections to the master; its place in the world's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// An agent.
    Agent(usize),
    /// A framework's scheduler.
    Scheduler(usize),
}

/// What arrives as a whole.
#[derive(Debug)]
pub enum Packet {
    /// From an agent.
    AgentCalls(Vec<agent_call::Call>),
    /// To an agent.
    AgentEvents(Vec<agent_event::Event>),
    /// From a scheduler.
    Calls(Vec<scheduler::call::Call>),
    /// To a scheduler.
    Events(Vec<scheduler::event::Event>),
    /// Whoever writes has closed the stream.
    End,
}

/// Which way of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To the master.
    Up,
    /// From the master.
    Down,
}

/// One connection of a peer to a master.
#[derive(Debug)]
pub struct Connection {
    /// Whose.
    pub peer: Peer,
    /// The master's name for it.
    pub link: LinkId,
    /// The peer still reads and writes.
    pub client_open: bool,
    /// The master still reads and writes.
    pub server_open: bool,
    up: VecDeque<(Time, Packet)>,
    down: VecDeque<(Time, Packet)>,
    last_up: Time,
    last_down: Time,
    /// What is written from now on is lost.
    cut: bool,
    stalled_until: Time,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Network {
    connections: BTreeMap<u64, Connection>,
    last: u64,
    /// Nothing passes between these and the master until then.
    partitions: BTreeMap<Peer, Time>,
}

impl Network {
    /// A new connection; both ends are open.
    pub fn open(&mut self, peer: Peer, link: LinkId, now: Time) -> u64 {
        self.last += 1;
        let connection = Connection {
            peer,
            link,
            client_open: true,
            server_open: true,
            up: VecDeque::new(),
            down: VecDeque::new(),
            last_up: now,
            last_down: now,
            cut: false,
            stalled_until: now,
        };
        self.connections.insert(self.last, connection);
        self.last
    }

    /// The connection, if one of its ends is open.
    pub fn get(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Whose it is.
    pub fn peer(&self, id: u64) -> Option<Peer> {
        self.connections.get(&id).map(|connection| connection.peer)
    }

    /// Those with at least one open end.
    pub fn ids(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }

    /// Puts a packet on its way; returns when it arrives, unless it is lost.
    pub fn send(&mut self, id: u64, way: Way, packet: Packet, at: Time) -> Option<Time> {
        let connection = self.connections.get_mut(&id)?;
        let reads = if way == Way::Up { connection.server_open } else { connection.client_open };
        if connection.cut || !reads {
            return None;
        }
        let (packets, last) = match way {
            Way::Up => (&mut connection.up, &mut connection.last_up),
            Way::Down => (&mut connection.down, &mut connection.last_down),
        };
        *last = at.max(*last);
        packets.push_back((*last, packet));
        Some(*last)
    }

    /// The packets that have arrived by now; or when to look again, because nothing passes.
    pub fn arrived(&mut self, id: u64, way: Way, now: Time) -> Result<Vec<Packet>, Time> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(Vec::new()) };
        let partition = self.partitions.get(&connection.peer).copied().unwrap_or_default();
        let until = connection.stalled_until.max(partition);
        if until > now {
            return Err(until);
        }
        let packets = if way == Way::Up { &mut connection.up } else { &mut connection.down };
        let count = packets.iter().take_while(|(at, _)| *at <= now).count();
        Ok(packets.drain(..count).map(|(_, packet)| packet).collect())
    }

    /// One end reads and writes no more. Gone with the second one.
    pub fn close(&mut self, id: u64, client: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if client {
            connection.client_open = false;
            connection.down.clear();
        } else {
            connection.server_open = false;
            connection.up.clear();
        }
        if !connection.client_open && !connection.server_open {
            self.connections.remove(&id);
        }
    }

    /// Loses a tail of each way, and all that is written from now on. Neither end knows yet.
    pub fn cut(&mut self, id: u64, chance: &mut Chance) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.cut) else { return false };
        connection.cut = true;
        for packets in [&mut connection.up, &mut connection.down] {
            let kept = chance.below(packets.len() + 1);
            packets.truncate(kept);
        }
        true
    }

    /// Loses a tail of what a process that dies had still to send.
    pub fn lose_tail(&mut self, id: u64, way: Way, chance: &mut Chance) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let packets = if way == Way::Up { &mut connection.up } else { &mut connection.down };
        let kept = chance.below(packets.len() + 1);
        packets.truncate(kept);
    }

    /// Nothing passes on this connection until then.
    pub fn stall(&mut self, id: u64, until: Time) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stalled_until = connection.stalled_until.max(until);
        }
    }

    /// Nothing passes between a peer and the master until then.
    pub fn partition(&mut self, peer: Peer, until: Time) {
        let known = self.partitions.entry(peer).or_default();
        *known = until.max(*known);
    }

    /// Until when nothing passes.
    pub fn partitioned(&self, peer: Peer, now: Time) -> Option<Time> {
        self.partitions.get(&peer).copied().filter(|until| *until > now)
    }

    /// Everything passes again.
    pub fn heal(&mut self, now: Time) {
        self.partitions.clear();
        self.connections.values_mut().for_each(|connection| connection.stalled_until = now);
    }
}
