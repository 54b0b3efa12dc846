//! The same channel for programs on tokio: one task owns the socket; requests go in and events come out through bounded queues.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::connection::{self, Connection, ConnectionError, OutPacket, Request, closed_or, pack};
use super::event::Event;
use super::wire::PACKET_BYTES_MAX;

/// Batches of requests that wait to be sent.
const BATCHES_MAX: usize = 256;
/// Batches that are put into packets together.
const BATCHES_AT_ONCE_MAX: usize = 64;
/// Packets of events that wait to be taken; beyond it the launcher waits.
const EVENT_PACKETS_MAX: usize = 256;

/// Sends requests to the launcher; clones share the channel, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct LauncherClient {
    requests: mpsc::Sender<Vec<Request>>,
}

/// What the launcher says, in order.
#[derive(Debug)]
pub struct LauncherEvents {
    packets: mpsc::Receiver<Result<Vec<Event>, ConnectionError>>,
    current: VecDeque<Event>,
}

impl LauncherClient {
    /// Serves a connection from the current tokio runtime.
    ///
    /// # Errors
    /// When the socket can't be watched.
    pub fn new(connection: Connection) -> io::Result<(Self, LauncherEvents)> {
        let (socket, current) = connection.into_socket();
        // SAFETY: an owned descriptor stays the same open file until `AsyncFd` drops it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }?;
        let (requests, receiver) = mpsc::channel(BATCHES_MAX);
        let (sender, packets) = mpsc::channel(EVENT_PACKETS_MAX);
        tokio::spawn(serve(socket, receiver, sender));
        Ok((Self { requests }, LauncherEvents { packets, current }))
    }

    /// Sends a batch, waiting while too many wait. Who takes the events must not wait here without taking them, or both
    /// the launcher and this side may wait for ever: use [`Self::try_send`] there.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub async fn send(&self, batch: Vec<Request>) -> Result<(), ConnectionError> {
        self.requests.send(batch).await.map_err(|_| ConnectionError::Closed)
    }

    /// Sends a batch if there is room; gives it back otherwise.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn try_send(&self, batch: Vec<Request>) -> Result<Option<Vec<Request>>, ConnectionError> {
        match self.requests.try_send(batch) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(batch)) => Ok(Some(batch)),
            Err(TrySendError::Closed(_)) => Err(ConnectionError::Closed),
        }
    }
}

impl LauncherEvents {
    /// The next event. May be dropped while it waits, nothing is lost.
    ///
    /// # Errors
    /// When the launcher is gone; there is nothing after it.
    pub async fn next(&mut self) -> Result<Event, ConnectionError> {
        loop {
            if let Some(event) = self.current.pop_front() {
                return Ok(event);
            }
            self.current.extend(self.packets.recv().await.unwrap_or(Err(ConnectionError::Closed))?);
        }
    }

    /// Everything that is here, at least one event: for who handles them in batches. May be dropped as `next`.
    ///
    /// # Errors
    /// As `next`.
    pub async fn next_batch(&mut self) -> Result<Vec<Event>, ConnectionError> {
        let mut batch = vec![self.next().await?];
        batch.extend(self.current.drain(..));
        while let Ok(Ok(events)) = self.packets.try_recv() {
            batch.extend(events);
        }
        Ok(batch)
    }
}

type Packets = mpsc::Sender<Result<Vec<Event>, ConnectionError>>;

/// Until the launcher or every client is gone. Events are read also while a packet can't be sent, so that the launcher, which
/// stops reading when its own events are not taken, goes on.
async fn serve(socket: AsyncFd<OwnedFd>, mut requests: mpsc::Receiver<Vec<Request>>, packets: Packets) {
    let result = tokio::select! {
        result = write(&socket, &mut requests) => result,
        result = read(&socket, &packets) => result,
    };
    if let Err(error) = result {
        // What came before the end is still there to be read.
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while let Ok(Some(events)) = connection::receive(socket.get_ref().as_fd(), &mut buffer) {
            if packets.send(Ok(events)).await.is_err() {
                return;
            }
        }
        let _ = packets.send(Err(error)).await;
    }
}

async fn write(socket: &AsyncFd<OwnedFd>, requests: &mut mpsc::Receiver<Vec<Request>>) -> Result<(), ConnectionError> {
    let mut batches = Vec::new();
    while requests.recv_many(&mut batches, BATCHES_AT_ONCE_MAX).await > 0 {
        let packets = pack(batches.drain(..).flatten());
        for packet in packets.map_err(|source| ConnectionError::Io { operation: "pack requests for", source })? {
            send(socket, &packet).await?;
        }
    }
    Ok(())
}

async fn send(socket: &AsyncFd<OwnedFd>, packet: &OutPacket) -> Result<(), ConnectionError> {
    let sent = socket.async_io(Interest::WRITABLE, |fd| packet.send(fd.as_fd())).await;
    sent.map_err(|error| closed_or("send to", error))
}

async fn read(socket: &AsyncFd<OwnedFd>, packets: &Packets) -> Result<(), ConnectionError> {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        // Room first: an event that was read must have a place, also when this future is dropped.
        let Ok(room) = packets.reserve().await else { return Ok(()) };
        let events = poll_fn(|context| {
            loop {
                let mut guard = match socket.poll_read_ready(context) {
                    std::task::Poll::Ready(Ok(guard)) => guard,
                    std::task::Poll::Ready(Err(error)) => {
                        return std::task::Poll::Ready(Err(closed_or("wait for", error)));
                    }
                    std::task::Poll::Pending => return std::task::Poll::Pending,
                };
                match connection::receive(socket.get_ref().as_fd(), &mut buffer) {
                    Ok(Some(events)) => return std::task::Poll::Ready(Ok(events)),
                    Ok(None) => guard.clear_ready(),
                    Err(error) => return std::task::Poll::Ready(Err(error)),
                }
            }
        });
        room.send(Ok(events.await?));
    }
}
