//! The launcher's loop: one thread that waits for clients, launches and deaths, and never for anything else.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt::PeerCredentials};

use super::channel::{Channel, Role};
use super::connection::AgentLoss;
use super::containers::Containers;
use super::log::log;
use super::reap::Orphans;
use super::wire::PACKET_BYTES_MAX;
use super::workers::{QUEUED_JOBS_MAX, Workers};

/// Connections that have not said hello, at most.
const STRANGERS_MAX: usize = 8;
/// Packets that are taken from one connection before the others get their turn.
const PACKETS_AT_ONCE_MAX: usize = 16;
/// While much waits for the threads that launch, requests and news are taken together: each turn of the loop looks for orphans and
/// wakes the agent. Shorter than what waits takes.
const BUSY_INTERVAL: Duration = Duration::from_millis(4);
/// How long the end of everything may take before the launcher leaves what can't be killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Server {
    listener: OwnedFd,
    signals: SignalFd,
    pub(super) workers: Workers,
    pub(super) channels: BTreeMap<u64, Channel>,
    channel_last: u64,
    pub(super) containers: Containers,
    pub(super) orphans: Orphans,
    pub(super) on_agent_loss: AgentLoss,
    /// Since when there is no agent.
    pub(super) alone_since: Option<Instant>,
    pub(super) stopping: Option<Instant>,
    /// The agent ended without having said so, and everything with it.
    died_with_agent: bool,
    buffer: Vec<u8>,
}

/// What poll says is ready, by the place where it was asked for.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Done,
    Channel(u64),
    /// A container that was adopted.
    Adopted(u64),
}

impl Server {
    /// `first` is the channel to the agent that starts this launcher, if one does.
    pub(super) fn new(
        listener: OwnedFd,
        first: Option<OwnedFd>,
        on_agent_loss: AgentLoss,
        workers: Workers,
    ) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        let mut server = Self {
            listener,
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            workers,
            channels: BTreeMap::new(),
            channel_last: 0,
            containers: Containers::default(),
            orphans: Orphans::new()?,
            on_agent_loss,
            alone_since: None,
            stopping: None,
            died_with_agent: false,
            buffer: vec![0; PACKET_BYTES_MAX],
        };
        match first {
            // An agent that dies before its hello is lost like any other.
            Some(first) => server.add_channel(first, Role::Agent),
            None => server.alone_since = Some(Instant::now()),
        }
        Ok(server)
    }

    /// Serves until there is nothing left to serve.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.has_ended() {
            if self.workers.are_busy() {
                std::thread::sleep(BUSY_INTERVAL);
            }
            let ready = self.wait()?;
            for source in &ready {
                if let Source::Adopted(key) = source {
                    self.on_adopted_exit(*key);
                }
            }
            self.reap(ready.iter().any(|source| matches!(source, Source::Signals)));
            for source in ready {
                match source {
                    Source::Listener => self.accept(),
                    Source::Channel(id) => self.read(id, PACKETS_AT_ONCE_MAX),
                    Source::Signals | Source::Done | Source::Adopted(_) => {}
                }
            }
            self.on_time(Instant::now());
            self.flush();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let queue_is_full = self.workers.queued() >= QUEUED_JOBS_MAX;
        let fixed = [
            (self.listener.as_fd(), Source::Listener),
            (self.signals.as_fd(), Source::Signals),
            (self.workers.wake(), Source::Done),
        ];
        let fixed = fixed.map(|(fd, source)| (fd, PollFlags::POLLIN, source));
        let channels = self.channels.iter().map(|(&id, channel)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, !queue_is_full && !channel.is_slow());
            flags.set(PollFlags::POLLOUT, channel.wants_to_write());
            (channel.socket.as_fd(), flags, Source::Channel(id))
        });
        let adopted = self.adopted().map(|(key, pidfd)| (pidfd, PollFlags::POLLIN, Source::Adopted(key)));
        let all: Vec<(BorrowedFd, PollFlags, Source)> = fixed.into_iter().chain(channels).chain(adopted).collect();
        let mut fds: Vec<PollFd> = all.iter().map(|(fd, flags, _)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(fds.iter().zip(&all).filter(|(fd, _)| is_ready(fd)).map(|(_, (_, _, source))| *source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let alone = match self.on_agent_loss {
            AgentLoss::Keep(Some(timeout)) => self.alone_since.and_then(|since| since.checked_add(timeout)),
            _ => None,
        };
        let deadlines = [alone, self.stopping, self.orphans.deadline(&self.containers)];
        let Some(next) = deadlines.into_iter().flatten().min() else { return PollTimeout::NONE };
        let left = next.saturating_duration_since(Instant::now());
        PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
    }

    fn on_time(&mut self, now: Instant) {
        if let (AgentLoss::Keep(Some(timeout)), Some(since)) = (self.on_agent_loss, self.alone_since)
            && now.duration_since(since) >= timeout
        {
            self.stop("no agent came back in time");
        }
    }

    /// Whether it ends because its agent died: then the agent's process may not be quite gone yet.
    pub(super) fn died_with_agent(&self) -> bool {
        self.died_with_agent
    }

    fn has_ended(&self) -> bool {
        let Some(deadline) = self.stopping else { return false };
        let is_clear = self.orphans.is_empty() && !self.containers.by_key.values().any(|container| container.is_live());
        if !is_clear && Instant::now() >= deadline {
            log("leaving processes behind that can't be killed");
        }
        is_clear || Instant::now() >= deadline
    }

    /// Kills everything; the loop ends when all of it is gone.
    pub(super) fn stop(&mut self, why: &str) {
        if self.stopping.is_none() {
            log(&format!("ending everything: {why}"));
            self.stopping = Some(Instant::now() + STOP_TIMEOUT);
            self.kill_everything();
        }
    }

    /// A launcher that keeps tasks leaves them running when it is told to go, as when the machine shuts down.
    pub(super) fn on_terminate(&mut self) {
        match self.on_agent_loss {
            AgentLoss::Kill => self.stop("terminated"),
            AgentLoss::Keep(_) => {
                log("terminated; tasks run on");
                std::process::exit(0);
            }
        }
    }

    /// Whether a signal to terminate was among those that are taken off here.
    pub(super) fn take_signals(&self) -> bool {
        let mut terminate = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            terminate |= signal.ssi_signo == Signal::SIGTERM as u32;
        }
        terminate
    }

    /// One that says nothing must not keep an agent away.
    fn evict_stranger(&mut self) {
        let mut strangers = self.channels.iter().filter(|(_, channel)| channel.role == Role::Stranger);
        let oldest = strangers.next().map(|(&id, _)| id);
        if let Some(id) = oldest.filter(|_| strangers.count() + 1 >= STRANGERS_MAX) {
            log("closed a connection that has not said hello");
            self.channels.remove(&id);
        }
    }

    pub(super) fn add_channel(&mut self, socket: OwnedFd, role: Role) {
        self.channel_last += 1;
        self.channels.insert(self.channel_last, Channel::new(socket, role));
    }

    fn accept(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(fd) = accept4(self.listener.as_raw_fd(), flags) else { return };
        // SAFETY: accepted just now.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let own = nix::unistd::geteuid().as_raw();
        match getsockopt(&socket, PeerCredentials) {
            Ok(peer) if peer.uid() != own && peer.uid() != 0 => log(&format!("user {} may not connect", peer.uid())),
            Ok(_) => {
                self.evict_stranger();
                self.add_channel(socket, Role::Stranger);
            }
            Err(error) => log(&format!("refused a connection of unknown origin: {error}")),
        }
    }

    /// Carries out what a client has sent, up to so many packets.
    pub(super) fn read(&mut self, id: u64, packets_max: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // The buffer is in use when a packet of one channel has another one read to its end.
        buffer.resize(PACKET_BYTES_MAX, 0);
        for _ in 0..packets_max {
            let Some(channel) = self.channels.get(&id) else { break };
            match channel.receive(&mut buffer) {
                Ok(Some(packet)) => self.on_packet(id, &buffer[..packet.len], packet.fds),
                Ok(None) => self.lose(id, "closed"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.lose(id, &error.to_string()),
            }
        }
        self.buffer = buffer;
    }

    pub(super) fn lose(&mut self, id: u64, why: &str) {
        let Some(channel) = self.channels.remove(&id) else { return };
        if channel.role != Role::Agent {
            return;
        }
        log(&format!("lost the agent: {why}"));
        match self.on_agent_loss {
            AgentLoss::Kill => {
                self.died_with_agent |= self.stopping.is_none();
                self.stop("the agent is gone");
            }
            AgentLoss::Keep(_) => self.alone_since = Some(Instant::now()),
        }
    }

    fn flush(&mut self) {
        let lost: Vec<(u64, String)> = self
            .channels
            .iter_mut()
            .filter_map(|(&id, channel)| channel.flush().err().map(|error| (id, error.to_string())))
            .collect();
        for (id, why) in lost {
            // What it asked for before it went is still carried out.
            self.read(id, usize::MAX);
            self.lose(id, &why);
        }
    }
}

#[cfg(test)]
mod tests;
