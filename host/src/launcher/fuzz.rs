//! A launcher that begins no launch, for who feeds it with anything. No part of the library's interface.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use prost::Message;

use super::channel::Role;
use super::connection::{AgentLoss, Connection, Request, hello, pack};
use super::plan::Plan;
use super::server::Server;
use super::spec::LaunchSpec;
use super::wire::{self, PACKET_BYTES_MAX, PACKET_FDS_MAX};
use super::workers::Workers;
use super::{event, proto};

/// Executors' channels that are kept to be spoken on, at most.
const CLIENTS_MAX: usize = 6;

/// The launcher and those who speak to it; the first is its agent.
pub struct IdleLauncher {
    server: Server,
    clients: Vec<(u64, OwnedFd)>,
}

/// A server that begins no launch, and the end of its agent.
pub(super) fn idle() -> (Server, OwnedFd) {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(listener.as_raw_fd(), &UnixAddr::new_unnamed()).expect("an address of the kernel's choice");
    listen(&listener, Backlog::new(1).expect("small")).expect("it listens");
    let (agent, first) = wire::pair().expect("a pair");
    let workers = Workers::with_threads(Vec::new(), 0).expect("no threads");
    (Server::new(listener, Some(first), AgentLoss::Keep(None), workers).expect("a server"), agent)
}

impl Default for IdleLauncher {
    fn default() -> Self {
        let (server, agent) = idle();
        let first = *server.channels.keys().next().expect("the agent's");
        Self { server, clients: vec![(first, agent)] }
    }
}

impl IdleLauncher {
    /// Somebody connects.
    pub fn connect(&mut self) {
        self.join(Role::Stranger);
    }

    fn join(&mut self, role: Role) {
        if self.clients.len() < CLIENTS_MAX {
            let (ours, theirs) = wire::pair().expect("a pair");
            self.server.add_channel(theirs, role);
            let id = *self.server.channels.keys().next_back().expect("just added");
            self.clients.push((id, ours));
        }
    }

    /// One of those who are connected sends a packet, which is carried out.
    pub fn send(&mut self, client: usize, bytes: &[u8], fds: &[OwnedFd]) {
        let at = client % self.clients.len();
        let (id, socket) = &self.clients[at];
        let raw: Vec<_> = fds.iter().take(PACKET_FDS_MAX).map(AsRawFd::as_raw_fd).collect();
        let bytes = &bytes[..bytes.len().min(PACKET_BYTES_MAX)];
        if !bytes.is_empty() && self.server.channels.contains_key(id) {
            wire::send(socket.as_fd(), bytes, &raw).expect("there is room for one packet");
            self.server.read(*id, 1);
            self.hear();
        }
    }

    /// The same with a sensible request.
    pub fn ask(&mut self, client: usize, request: Request) {
        for packet in pack([request]).into_iter().flatten() {
            self.send_packet(client, &packet);
        }
    }

    /// The same with a hello.
    pub fn hello(&mut self, client: usize) {
        self.send_packet(client, &hello(AgentLoss::Keep(None)));
    }

    fn send_packet(&mut self, client: usize, packet: &super::connection::OutPacket) {
        let (id, socket) = &self.clients[client % self.clients.len()];
        if self.server.channels.contains_key(id) {
            packet.send(socket.as_fd()).expect("there is room for one packet");
            self.server.read(*id, 1);
            self.hear();
        }
    }

    /// Everybody reads what the launcher says, and executors' channels are spoken on from now on.
    fn hear(&mut self) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        for (id, socket) in &self.clients {
            let Some(channel) = self.server.channels.get_mut(id) else { continue };
            channel.flush().expect("the client is there");
            while let Ok(Some(packet)) = wire::receive(socket.as_fd(), &mut buffer) {
                event::unpack(&buffer[..packet.len], packet.fds).expect("what the launcher says can be read");
            }
        }
    }

    /// Takes the launches that wait for a thread, up to the last step before a process is made.
    ///
    /// # Panics
    /// If what would be given to the kernel is not sound.
    pub fn plan_all(&mut self) {
        for job in self.server.workers.cancel() {
            if let Ok(plan) = Plan::new(&job, &[]) {
                plan.sanity_check();
            }
        }
    }

    /// As the executor of the container of this name, if there is one with a channel: what comes is its.
    pub fn speak_as_executor(&mut self, name: &str) {
        let key = self.server.containers.named(name);
        if let Some(key) = key.filter(|key| self.server.containers.get(*key).inherit.is_some()) {
            self.join(Role::Executor(key));
        }
    }
}

/// Puts bytes where specs that don't fit into a packet are.
///
/// # Errors
/// The kernel has no memory.
pub fn seal(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    wire::seal(bytes)
}

/// A packet that asks for the launches in the memory at this position.
pub fn launch_from_memory(position: u32) -> Vec<u8> {
    let launch = proto::Launch { specs: Some(proto::launch::Specs::Memfd(position)) };
    let request = proto::Request { request: Some(proto::request::Request::Launch(launch)) };
    proto::Requests { requests: vec![request] }.encode_to_vec()
}

/// A spec as it travels.
pub fn encode(spec: LaunchSpec) -> Vec<u8> {
    proto::LaunchSpecs { specs: vec![spec.into_wire(0).0] }.encode_to_vec()
}

/// A client that hears these bytes and descriptors.
pub fn hear(bytes: &[u8], fds: &[OwnedFd]) {
    let (ours, theirs) = wire::pair().expect("a pair");
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    if !bytes.is_empty() && bytes.len() <= PACKET_BYTES_MAX {
        wire::send(theirs.as_fd(), bytes, &raw).expect("there is room for one packet");
        let mut connection = Connection::new(ours);
        while let Ok(Some(_)) = connection.next(std::time::Duration::ZERO) {}
    }
}
