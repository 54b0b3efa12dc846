//! What the launcher tells its clients.

use std::os::fd::OwnedFd;
use std::time::Duration;

use prost::Message;

use super::connection::ConnectionError;
use super::proto::{self, event::Event as Wire, exited::Status, listed::State};

pub use super::proto::Step;

/// Something that the launcher says.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug)]
pub enum Event {
    /// The first event of a connection.
    Welcome { version: u32, pid: i32 },
    /// The program runs.
    Launched(Launched),
    /// The program could not be started.
    LaunchFailed(LaunchFailed),
    /// The main process has ended and, unless orphans are kept, nothing of the container is left.
    Exited(Exited),
    /// Every container that was not released; a long list comes in parts, and the last says so.
    Listing { containers: Vec<Listed>, last: bool },
    /// A request could not be carried out.
    Refused { container: String, message: String },
}

/// A container that runs.
#[derive(Debug)]
pub struct Launched {
    /// As in the launch spec.
    pub container: String,
    /// The main process.
    pub pid: i32,
    /// Clock ticks since boot, which with the pid name the process for ever; 0 when it ended before it could be looked at.
    pub start_time: u64,
    /// Readable when the main process has ended. `None` when the spec asked for none, or one of the two sides has no descriptor
    /// left for it.
    pub pidfd: Option<OwnedFd>,
}

/// A container that never ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchFailed {
    /// As in the launch spec.
    pub container: String,
    /// What was being done.
    pub step: Step,
    /// What the kernel said; 0 when it wasn't asked.
    pub errno: i32,
    /// For a person.
    pub message: String,
}

/// A container that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// As in the launch spec.
    pub container: String,
    /// How the main process ended.
    pub status: ExitStatus,
    /// CPU time in user mode of the main process and the children it waited for.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest of their resident sets.
    pub max_rss_bytes: u64,
    /// Processes that did not die in time and may still hold memory or ports.
    pub leftover: u32,
    /// No process is left that may be of the container, however well it hides where it comes from. A launcher that doesn't
    /// know says no.
    pub is_alone: bool,
}

/// How a main process ended.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited by itself.
    Code(i32),
    /// It was killed.
    Signal { signal: i32, core_dumped: bool },
    /// The kernel no longer said.
    Unknown,
}

/// A container in a `Listing`.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug)]
pub enum Listed {
    /// It is about to start.
    Launching { container: String },
    /// It runs.
    Running(Launched),
    /// It has ended.
    Exited(Exited),
    /// It never ran.
    Failed(LaunchFailed),
}

/// Reads a packet of events; those of a newer launcher that this client doesn't know are left out.
pub(super) fn unpack(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<Event>, ConnectionError> {
    let events = proto::Events::decode(bytes).map_err(|error| ConnectionError::Protocol(error.to_string()))?;
    let mut fds = Fds(fds.into_iter().map(Some).collect());
    Ok(events.events.into_iter().filter_map(|event| event.event).map(|event| fds.event(event)).collect())
}

struct Fds(Vec<Option<OwnedFd>>);

impl Fds {
    fn event(&mut self, event: Wire) -> Event {
        match event {
            Wire::Welcome(welcome) => Event::Welcome { version: welcome.version, pid: welcome.pid },
            Wire::Launched(launched) => Event::Launched(self.launched(launched)),
            Wire::LaunchFailed(failed) => Event::LaunchFailed(failed.into()),
            Wire::Exited(exited) => Event::Exited(exited.into()),
            Wire::Listing(listing) => {
                let states = listing.containers.into_iter().filter_map(|listed| listed.state);
                Event::Listing { containers: states.map(|state| self.listed(state)).collect(), last: listing.last }
            }
            Wire::Refused(refused) => Event::Refused { container: refused.container, message: refused.message },
        }
    }

    fn listed(&mut self, state: State) -> Listed {
        match state {
            State::Launching(container) => Listed::Launching { container },
            State::Running(launched) => Listed::Running(self.launched(launched)),
            State::Exited(exited) => Listed::Exited(exited.into()),
            State::Failed(failed) => Listed::Failed(failed.into()),
        }
    }

    /// A receiver that has reached its limit of open files gets fewer descriptors than were sent.
    fn launched(&mut self, launched: proto::Launched) -> Launched {
        let pidfd = launched.pidfd.and_then(|position| self.0.get_mut(position as usize)?.take());
        Launched { container: launched.container, pid: launched.pid, start_time: launched.start_time, pidfd }
    }
}

impl From<proto::LaunchFailed> for LaunchFailed {
    fn from(failed: proto::LaunchFailed) -> Self {
        let step = failed.step();
        Self { container: failed.container, step, errno: failed.errno, message: failed.message }
    }
}

impl From<proto::Exited> for Exited {
    fn from(exited: proto::Exited) -> Self {
        let status = match exited.status {
            Some(Status::Code(code)) => ExitStatus::Code(code),
            Some(Status::Signal(signal)) => ExitStatus::Signal { signal, core_dumped: exited.core_dumped },
            Some(Status::Unknown(_)) | None => ExitStatus::Unknown,
        };
        Self {
            container: exited.container,
            status,
            user: Duration::from_micros(exited.user_us),
            system: Duration::from_micros(exited.system_us),
            max_rss_bytes: exited.max_rss_bytes,
            leftover: exited.leftover,
            is_alone: exited.alone,
        }
    }
}
