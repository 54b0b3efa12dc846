//! The ends of connections: opened, written to, broken, closed.

use std::time::Duration;

use mesos_host::protocol::AgentCall;
use mesos_host::{agent, framework, master};
use mesos_plugin_api::v1::scheduler;

use super::{Happening, World};
use crate::network::{Packet, Peer, Way};

impl World {
    /// A peer wants a connection.
    pub(super) fn connect(&mut self, peer: Peer) {
        let incarnation = self.incarnation(peer);
        let wait = self.chance.wait(3, 500);
        self.after(wait, Happening::Asked { peer, incarnation });
    }

    fn incarnation(&self, peer: Peer) -> u64 {
        match peer {
            Peer::Agent(agent) => self.agents[agent].incarnation,
            Peer::Scheduler(scheduler) => self.schedulers[scheduler].incarnation,
        }
    }

    pub(super) fn asked(&mut self, peer: Peer, incarnation: u64) {
        if incarnation != self.incarnation(peer) {
            return;
        }
        let partitioned = self.net.partitioned(peer, self.now).is_some();
        if partitioned || self.master.core.is_none() {
            let wait = if partitioned { self.chance.ms(1000, 5000) } else { self.chance.ms(1, 50) };
            return self.after(wait, Happening::Unreachable { peer, incarnation });
        }
        let link = self.master.next_link();
        let connection = self.net.open(peer, link, self.now);
        self.master.links.insert(link, connection);
        let event = match peer {
            Peer::Agent(_) => master::Event::AgentConnected { link },
            Peer::Scheduler(_) => master::Event::SchedulerConnected { link, caller: super::schedulers::caller() },
        };
        self.master_handles(vec![event]);
        let wait = self.chance.wait(3, 500);
        self.after(wait, Happening::Connected { peer, incarnation, connection });
    }

    pub(super) fn connected(&mut self, peer: Peer, incarnation: u64, connection: u64) {
        if incarnation != self.incarnation(peer) || self.net.get(connection).is_none_or(|c| !c.client_open) {
            // Nobody waits for it any more, or it broke before it was used.
            self.hang_up(connection);
            return self.unreachable(peer, incarnation);
        }
        match peer {
            Peer::Agent(at) => {
                self.agents[at].connection = Some(connection);
                self.agent_handles(at, agent::Event::Connected);
            }
            Peer::Scheduler(at) => {
                self.schedulers[at].connection = Some(connection);
                self.scheduler_handles(at, framework::Event::Connected);
            }
        }
    }

    pub(super) fn unreachable(&mut self, peer: Peer, incarnation: u64) {
        if incarnation == self.incarnation(peer) {
            match peer {
                Peer::Agent(at) => {
                    self.agent_handles(at, agent::Event::Disconnected { cause: "connection refused".into() });
                }
                Peer::Scheduler(at) => self.retry_scheduler(at),
            }
        }
    }

    /// Puts a packet on its way.
    pub(super) fn send(&mut self, connection: u64, way: Way, packet: Packet) {
        let at = self.now + self.chance.wait(4, 800);
        if let Some(at) = self.net.send(connection, way, packet, at) {
            self.after(at.since(self.now), Happening::Arrives { connection, way });
        }
    }

    pub(super) fn arrives(&mut self, connection: u64, way: Way) {
        match self.net.arrived(connection, way, self.now) {
            Ok(packets) => packets.into_iter().for_each(|packet| self.deliver(connection, way, packet)),
            Err(until) => self.after(until.since(self.now), Happening::Arrives { connection, way }),
        }
    }

    fn deliver(&mut self, id: u64, way: Way, packet: Packet) {
        let Some(connection) = self.net.get(id) else { return };
        let (peer, link, server_open, client_open) =
            (connection.peer, connection.link, connection.server_open, connection.client_open);
        let newest = match peer {
            Peer::Agent(at) => self.agents[at].connection,
            Peer::Scheduler(at) => self.schedulers[at].connection,
        };
        if way == Way::Up && server_open && newest.is_some_and(|newest| newest != id) {
            self.watch.counts.add("fault: words late beside a new connection", 1);
        }
        match (packet, peer) {
            (Packet::AgentCalls(calls), _) if server_open => {
                let call = |call| master::Event::AgentCalled { link, call: AgentCall { call: Some(call) } };
                self.master_handles(calls.into_iter().map(call).collect());
            }
            (Packet::Calls(calls), _) if server_open => {
                let call = |call| master::Event::SchedulerCalled { link, call: scheduler::Call { call: Some(call) } };
                self.master_handles(calls.into_iter().map(call).collect());
            }
            (Packet::AgentEvents(events), Peer::Agent(at)) if client_open => {
                for event in events {
                    self.agent_handles(at, agent::Event::Master(event));
                }
            }
            (Packet::Events(events), Peer::Scheduler(at)) if client_open => {
                for event in events {
                    let event = scheduler::Event { event: Some(event) };
                    self.scheduler_handles(at, framework::Event::Master(event));
                }
            }
            (Packet::End, _) => self.noticed(id, way == Way::Down),
            _ => {}
        }
    }

    pub(super) fn noticed(&mut self, id: u64, client: bool) {
        let Some(connection) = self.net.get(id) else { return };
        let (peer, link) = (connection.peer, connection.link);
        let open = if client { connection.client_open } else { connection.server_open };
        if !open {
            return;
        }
        self.net.close(id, client);
        if !client {
            self.master_loses(link, peer);
        } else {
            self.client_loses(id, peer);
        }
    }

    fn master_loses(&mut self, link: master::LinkId, peer: Peer) {
        if self.master.links.contains_key(&link) {
            if let Peer::Scheduler(scheduler) = peer
                && self.master.subscribed.get(&scheduler) == Some(&link)
            {
                self.watch.see(self.now, &crate::sight::Sight::MasterLostScheduler { scheduler });
            }
            self.master.links.remove(&link);
            self.master_handles(vec![master::Event::Disconnected { link }]);
        }
    }

    fn client_loses(&mut self, id: u64, peer: Peer) {
        match peer {
            Peer::Agent(at) if self.agents[at].connection == Some(id) => {
                self.agents[at].connection = None;
                self.agent_handles(at, agent::Event::Disconnected { cause: "the connection broke".into() });
            }
            Peer::Scheduler(at) if self.schedulers[at].connection == Some(id) => {
                self.schedulers[at].connection = None;
                self.scheduler_handles(at, framework::Event::Disconnected("the connection broke".into()));
                self.retry_scheduler(at);
            }
            _ => {}
        }
    }

    /// The peer closes its end in order: what it has sent still arrives, then the end does.
    pub(super) fn hang_up(&mut self, connection: u64) {
        self.send(connection, Way::Up, Packet::End);
        self.net.close(connection, true);
    }

    /// The peer's process dies: of what it has sent a tail may be lost.
    pub(super) fn client_dies(&mut self, connection: u64) {
        self.net.lose_tail(connection, Way::Up, &mut self.chance);
        self.hang_up(connection);
    }

    /// The master's process dies, or its machine: then nobody says so, and what is sent to it is lost until a ping fails.
    pub(super) fn server_dies(&mut self, connection: u64) {
        self.net.lose_tail(connection, Way::Down, &mut self.chance);
        if self.chance.percent(30) {
            self.watch.counts.add("fault: death of the master heard of late", 1);
            let wait = self.chance.ms(1_000, 20_000);
            self.after(wait, Happening::Noticed { connection, client: true });
            return self.net.close(connection, false);
        }
        self.send(connection, Way::Down, Packet::End);
        self.net.close(connection, false);
    }

    /// A connection breaks. Each end notices by itself: mostly soon, but a half-open one lives on until a ping fails.
    pub fn break_connection(&mut self, connection: u64) -> bool {
        if !self.net.cut(connection, &mut self.chance) {
            return false;
        }
        for client in [true, false] {
            let half_open = self.chance.percent(30);
            let wait = if half_open { self.chance.ms(2_000, 30_000) } else { self.chance.ms(0, 500) };
            if half_open {
                self.watch.counts.add("fault: half-open connection", 1);
            }
            self.after(wait, Happening::Noticed { connection, client });
        }
        true
    }

    /// Nothing passes between a peer and the master for so long. Longer ones break connections at one end or both.
    pub fn partition(&mut self, peer: Peer, length: Duration) {
        self.net.partition(peer, self.now + length);
        for connection in self.net.ids() {
            let same = self.net.get(connection).is_some_and(|known| known.peer == peer);
            if same && length > Duration::from_secs(8) && self.chance.percent(80) {
                self.break_connection(connection);
            }
        }
    }
}
