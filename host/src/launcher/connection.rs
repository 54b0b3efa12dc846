//! The client's end of a channel to the launcher: requests into packets, packets into events. Blocking; see `client` for tokio.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prost::Message;

use super::event::{Event, unpack};
use super::proto::{self, request::Request as Wire};
use super::spec::LaunchSpec;
use super::wire::{self, PACKET_BYTES_MAX, PACKET_FDS_MAX};

/// The environment variable that tells an executor the number of its channel.
pub const CHANNEL_VARIABLE: &str = "MESOS_LAUNCH_FD";
/// A spec that is larger travels in a memfd of its own.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// What a client asks of the launcher.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug)]
pub enum Request {
    /// Answered by `Launched` or `LaunchFailed`; a container that exists already is not started twice, its state is told again.
    Launch(Box<LaunchSpec>),
    /// No answer, `Refused` when there is no such container; one that has ended is left alone.
    Signal { container: String, signal: i32, scope: Scope },
    /// Answered by a `Listing`.
    List,
    /// Forgets a container that has ended.
    Release { container: String },
    /// Takes over the container of a launcher that died; see [`Adoption`]. What could be found is in the next `Listing`.
    Adopt(Adoption),
    /// Kills everything and ends the launcher.
    Shutdown,
}

/// A container whose launcher died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Its name.
    pub container: String,
    /// Its main process and when that started; `None` where nobody knows, and it is looked for by its environment.
    pub main: Option<(i32, u64)>,
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The process that was launched.
    MainProcess,
    /// Everything that descends from it.
    WholeContainer,
}

/// What the launcher does when its agent goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentLoss {
    /// Tasks run on, for so long or for ever, and wait for the next agent; then as `Kill`.
    Keep(Option<Duration>),
    /// Everything is killed and the launcher ends.
    Kill,
}

/// A channel to the launcher is of no use any more, or was never made.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The launcher has closed the channel.
    #[error("the launcher has gone, or serves another agent now; look into launcher.log of the work directory")]
    Closed,
    /// The kernel refused.
    #[error("could not {operation} the launcher: {source}")]
    Io { operation: &'static str, source: io::Error },
    /// What arrived is not the launcher's protocol.
    #[error("the launcher sent something that is no packet of its protocol: {0}")]
    Protocol(String),
    /// No channel was inherited.
    #[error(
        "no channel to the launcher: {CHANNEL_VARIABLE} is not set to an open socket; launch this executor with launch_channel"
    )]
    NoChannel,
}

/// A blocking channel to the launcher.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
    launcher: Option<Launcher>,
}

/// Who answered the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launcher {
    /// Of the protocol; a launcher older than its agent doesn't know every field of a launch spec.
    pub version: u32,
    /// Its process.
    pub pid: i32,
}

impl Connection {
    /// A channel over a connected SEQPACKET socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; PACKET_BYTES_MAX], events: VecDeque::new(), launcher: None }
    }

    /// The channel that an executor has inherited; to be called once. Its own children don't inherit it.
    ///
    /// # Errors
    /// When this process was not launched with a channel.
    pub fn inherited() -> Result<Self, ConnectionError> {
        let number = std::env::var(CHANNEL_VARIABLE).ok().and_then(|text| text.parse::<RawFd>().ok());
        let number = number.filter(|&fd| fd > 2).ok_or(ConnectionError::NoChannel)?;
        // SAFETY: the launcher made this descriptor for this process, which takes it once and closes it itself.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        let cloexec = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
        if nix::fcntl::fcntl(&socket, cloexec).is_err() {
            std::mem::forget(socket);
            return Err(ConnectionError::NoChannel);
        }
        Ok(Self::new(socket))
    }

    /// Says what to do on the loss of this agent, and waits for the launcher's welcome.
    ///
    /// # Errors
    /// When the launcher is gone or silent for `timeout`.
    pub fn hello(&mut self, on_agent_loss: AgentLoss, timeout: Duration) -> Result<Launcher, ConnectionError> {
        self.send_packet(&hello(on_agent_loss))?;
        match self.next(timeout)? {
            Some(Event::Welcome { version, pid }) => Ok(*self.launcher.insert(Launcher { version, pid })),
            Some(other) => Err(ConnectionError::Protocol(format!("not a welcome: {other:?}"))),
            None => {
                let source = io::ErrorKind::TimedOut.into();
                Err(ConnectionError::Io { operation: "get a welcome from", source })
            }
        }
    }

    /// The launcher that has answered the hello; executors say none.
    pub fn launcher(&self) -> Option<Launcher> {
        self.launcher
    }

    /// Sends requests, in order, waiting while the launcher is busy.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn send(&mut self, requests: impl IntoIterator<Item = Request>) -> Result<(), ConnectionError> {
        for packet in pack(requests).map_err(|source| ConnectionError::Io { operation: "pack requests for", source })? {
            self.send_packet(&packet)?;
        }
        Ok(())
    }

    /// The next event, `None` when none has come within `timeout`.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>, ConnectionError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.receive()? && (left.is_zero() || !self.wait(PollFlags::POLLIN, left)?) {
                return Ok(None);
            }
        }
    }

    /// Gives up the socket, to be served by tokio. Events that were received already are lost: call it first.
    pub(super) fn into_socket(self) -> (OwnedFd, VecDeque<Event>) {
        (self.socket, self.events)
    }

    fn send_packet(&mut self, packet: &OutPacket) -> Result<(), ConnectionError> {
        loop {
            match packet.send(self.socket.as_fd()) {
                Ok(()) => return Ok(()),
                // The launcher may itself wait for us to read: take its events, so that neither waits for ever.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN | PollFlags::POLLOUT, Duration::from_secs(1))?;
                    while self.receive()? {}
                }
                Err(error) => return Err(closed_or("send to", error)),
            }
        }
    }

    /// Takes one packet, if there is one.
    fn receive(&mut self) -> Result<bool, ConnectionError> {
        match receive(self.socket.as_fd(), &mut self.buffer)? {
            Some(events) => self.events.extend(events),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn wait(&self, flags: PollFlags, timeout: Duration) -> Result<bool, ConnectionError> {
        let timeout = PollTimeout::try_from(timeout.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), flags)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::Error::EINTR) => Ok(true),
            Err(error) => Err(ConnectionError::Io { operation: "wait for", source: error.into() }),
        }
    }
}

/// Takes one packet of events, `None` when there is none now.
pub(super) fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> Result<Option<Vec<Event>>, ConnectionError> {
    match wire::receive(socket, buffer) {
        Ok(Some(packet)) => unpack(&buffer[..packet.len], packet.fds).map(Some),
        Ok(None) => Err(ConnectionError::Closed),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(closed_or("receive from", error)),
    }
}

pub(super) fn closed_or(operation: &'static str, source: io::Error) -> ConnectionError {
    match source.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectionError::Closed,
        _ => ConnectionError::Io { operation, source },
    }
}

/// A packet that is ready to be sent.
#[derive(Debug, Default)]
pub(super) struct OutPacket {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl OutPacket {
    pub(super) fn send(&self, socket: BorrowedFd) -> io::Result<()> {
        let fds: Vec<RawFd> = self.fds.iter().map(AsRawFd::as_raw_fd).collect();
        wire::send(socket, &self.bytes, &fds)
    }

    fn has_room(&self, bytes: usize, fds: usize) -> bool {
        self.bytes.len() + bytes <= PACKET_BYTES_MAX && self.fds.len() + fds <= PACKET_FDS_MAX
    }

    /// A repeated message may be written in pieces, one after the other.
    fn push(&mut self, request: Wire) {
        let one = proto::Requests { requests: vec![proto::Request { request: Some(request) }] };
        one.encode(&mut self.bytes).expect("a Vec grows as needed");
    }
}

pub(super) fn hello(on_agent_loss: AgentLoss) -> OutPacket {
    use proto::agent_loss::{Keep, Kill, Policy};
    let policy = match on_agent_loss {
        AgentLoss::Keep(timeout) => Policy::Keep(Keep { timeout_ms: timeout.map(|t| t.as_millis() as u64) }),
        AgentLoss::Kill => Policy::Kill(Kill {}),
    };
    let mut packet = OutPacket::default();
    let on_agent_loss = Some(proto::AgentLoss { policy: Some(policy) });
    packet.push(Wire::Hello(proto::Hello { version: super::PROTOCOL_VERSION, on_agent_loss }));
    packet
}

/// Puts requests into as few packets as they need, in order.
pub(super) fn pack(requests: impl IntoIterator<Item = Request>) -> io::Result<Vec<OutPacket>> {
    let mut packets = vec![OutPacket::default()];
    for request in requests {
        let (fds, bytes) = match &request {
            Request::Launch(spec) => (spec.fds.len() + 4, INLINE_BYTES_MAX + 64),
            Request::Signal { container, .. } | Request::Release { container } => (0, container.len() + 64),
            Request::Adopt(adoption) => (0, adoption.container.len() + 64),
            Request::List | Request::Shutdown => (0, 64),
        };
        if fds > PACKET_FDS_MAX || bytes > PACKET_BYTES_MAX {
            let message = "a launch has more than 196 extra descriptors, or a container's name more than 64 KB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if packets.last().is_some_and(|packet| !packet.has_room(bytes, fds)) {
            packets.push(OutPacket::default());
        }
        let packet = packets.last_mut().expect("there is always one");
        let wire = to_wire(request, packet)?;
        packet.push(wire);
    }
    packets.retain(|packet| !packet.bytes.is_empty());
    Ok(packets)
}

fn to_wire(request: Request, packet: &mut OutPacket) -> io::Result<Wire> {
    Ok(match request {
        Request::Launch(spec) => {
            let (spec, fds) = spec.into_wire(packet.fds.len());
            packet.fds.extend(fds);
            let specs = proto::LaunchSpecs { specs: vec![spec] };
            let specs = if specs.encoded_len() <= INLINE_BYTES_MAX {
                proto::launch::Specs::Inline(specs)
            } else {
                packet.fds.push(wire::seal(&specs.encode_to_vec())?);
                proto::launch::Specs::Memfd(packet.fds.len() as u32 - 1)
            };
            Wire::Launch(proto::Launch { specs: Some(specs) })
        }
        Request::Signal { container, signal, scope } => {
            let scope = match scope {
                Scope::MainProcess => proto::Scope::MainProcess,
                Scope::WholeContainer => proto::Scope::WholeContainer,
            };
            Wire::Signal(proto::Signal { container, signal, scope: scope.into() })
        }
        Request::List => Wire::List(proto::List {}),
        Request::Release { container } => Wire::Release(proto::Release { container }),
        Request::Adopt(Adoption { container, main }) => {
            let (pid, start_time) = main.unwrap_or_default();
            Wire::Adopt(proto::Adopt { container, pid, start_time })
        }
        Request::Shutdown => Wire::Shutdown(proto::Shutdown {}),
    })
}
