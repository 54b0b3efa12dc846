//! The launcher's end of a connection: events wait here until the client reads.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use prost::Message;

use super::proto::{self, event::Event as Wire};
use super::wire::{self, PACKET_BYTES_MAX, PACKET_FDS_MAX, Received};

/// Events that wait for a slow client before its requests are left unread. What runs already may add one more each.
const WAITING_EVENTS_MAX: usize = 4096;
/// Pidfds that wait with them; a usual hard limit of open files is 4,096 or far more.
const WAITING_FDS_MAX: usize = 1024;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Has not said hello.
    Stranger,
    Agent,
    /// The executor in this container.
    Executor(u64),
}

pub(super) struct Channel {
    pub socket: OwnedFd,
    pub role: Role,
    waiting: VecDeque<(Wire, Vec<OwnedFd>)>,
    /// Was refused by a full socket.
    packet: Option<(Vec<u8>, Vec<OwnedFd>)>,
    /// In `waiting`.
    fds: usize,
}

impl Channel {
    pub(super) fn new(socket: OwnedFd, role: Role) -> Self {
        Self { socket, role, waiting: VecDeque::new(), packet: None, fds: 0 }
    }

    /// A client that doesn't read must not use up the launcher's descriptors: its events go on without.
    pub(super) fn push(&mut self, event: Wire, pidfds: impl IntoIterator<Item = OwnedFd>) {
        let mut pidfds: Vec<OwnedFd> = pidfds.into_iter().collect();
        if self.fds + pidfds.len() > WAITING_FDS_MAX {
            pidfds.clear();
        }
        self.fds += pidfds.len();
        self.waiting.push_back((event, pidfds));
    }

    pub(super) fn is_slow(&self) -> bool {
        self.waiting.len() >= WAITING_EVENTS_MAX
    }

    pub(super) fn wants_to_write(&self) -> bool {
        self.packet.is_some()
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        wire::receive(self.socket.as_fd(), buffer)
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        loop {
            let Some((bytes, fds)) = self.packet.take().or_else(|| self.next_packet()) else { return Ok(()) };
            let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            match wire::send(self.socket.as_fd(), &bytes, &raw) {
                Ok(()) => {}
                // Too many descriptors wait in sockets: the events count for more than the pidfds.
                Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {
                    self.packet = Some((bytes, Vec::new()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.packet = Some((bytes, fds));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As many events as fit.
    fn next_packet(&mut self) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        let (mut bytes, mut fds) = (Vec::new(), Vec::new());
        while let Some((event, pidfds)) = self.waiting.front_mut() {
            if fds.len() + pidfds.len() > PACKET_FDS_MAX {
                break;
            }
            if let (Wire::Launched(launched), [_]) = (&mut *event, &pidfds[..]) {
                launched.pidfd = Some(fds.len() as u32);
            }
            let is_listing = matches!(event, Wire::Listing(_));
            // The positions in a listing count from its own first descriptor, so it has a packet of its own.
            if is_listing && !bytes.is_empty() {
                break;
            }
            let events = proto::Events { events: vec![proto::Event { event: Some(event.clone()) }] };
            if bytes.len() + events.encoded_len() > PACKET_BYTES_MAX {
                break;
            }
            // A repeated message may be written in pieces, one after the other.
            events.encode(&mut bytes).expect("a Vec grows as needed");
            self.fds -= pidfds.len();
            fds.append(pidfds);
            self.waiting.pop_front();
            if is_listing {
                break;
            }
        }
        (!bytes.is_empty()).then_some((bytes, fds))
    }
}
