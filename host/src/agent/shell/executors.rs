//! The socket that executors' processes connect to, and the frames on it.
//!
//! A token in the process's environment says who it is: the agent's secret over its container, so that it holds over a restart.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::{Frame, frame};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::config::{AgentError, io_error};
use crate::agent::event::{Event, LocalId};
use crate::executor::frames::{FrameReader, write_frame};
use crate::hex::hex;
use crate::protocol::token;

/// How long a process may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that wait to be written to one process. The core resends, and bounds, what isn't confirmed.
const FRAMES_MAX: usize = 4096;

/// Executors' processes that are connected, or may connect.
#[derive(Clone)]
pub(super) struct Executors {
    inner: Arc<Inner>,
}

struct Inner {
    secret: Vec<u8>,
    known: Mutex<BTreeMap<String, Known>>,
    events: mpsc::Sender<Event>,
}

struct Known {
    id: LocalId,
    connection: Option<Connection>,
}

struct Connection {
    task: AbortHandle,
    sender: mpsc::Sender<Frame>,
    /// Closed when the core has been told of its end.
    over: oneshot::Receiver<()>,
}

impl Executors {
    pub(super) fn new(secret: Vec<u8>, events: mpsc::Sender<Event>) -> Self {
        Self { inner: Arc::new(Inner { secret, known: Mutex::default(), events }) }
    }

    /// A process that may connect from now on, with this token.
    pub(super) fn expect(&self, id: LocalId, container: &str) -> String {
        let token = hex(&token::sign(&self.inner.secret, &"executors".into(), &container.into(), Time::default()));
        self.known().insert(token.clone(), Known { id, connection: None });
        token
    }

    /// It has ended.
    pub(super) fn forget(&self, id: LocalId) {
        self.known().retain(|_, known| known.id != id);
    }

    /// Dropped when it isn't connected, or doesn't read: then its connection ends, and it comes back for all of it.
    pub(super) fn send(&self, id: LocalId, frame: Frame) {
        let mut known = self.known();
        let Some(known) = known.values_mut().find(|known| known.id == id) else { return };
        if let Some(connection) = &known.connection
            && connection.sender.try_send(frame).is_err()
        {
            connection.task.abort();
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens in the work folder, by a short name: its own may be longer than a socket's address can be.
    pub(super) fn listen(&self, socket: &Path) -> Result<AbortHandle, AgentError> {
        let (listener, _folder) = bind(socket).map_err(io_error("listen on", socket))?;
        // Whoever connects is asked for its token.
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).map_err(io_error("open", socket))?;
        let executors = self.clone();
        Ok(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => { connections.spawn(executors.clone().serve(stream.into_split())); }
                        Err(error) => {
                            tracing::warn!("cannot accept an executor's connection: {error}");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        })
        .abort_handle())
    }

    /// From the hello to the end of the connection. The core hears of each connection's end before it hears of the next one.
    async fn serve(self, (read, write): (OwnedReadHalf, OwnedWriteHalf)) {
        let mut reader = FrameReader::new(read);
        let hello = tokio::time::timeout(HELLO_TIMEOUT, reader.next()).await;
        let Ok(Ok(Some(Frame { frame: Some(frame::Frame::Hello(hello)) }))) = hello else { return };
        let before = match self.known().get_mut(&hello.token) {
            Some(known) => known.connection.take(),
            None => return tracing::warn!("a process without its token claims to be executor {}", hello.executor_id),
        };
        if let Some(before) = before {
            before.task.abort();
            let _ = before.over.await;
        }
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        let (_over, over) = oneshot::channel();
        let (begin, begun) = oneshot::channel();
        let events = self.inner.events.clone();
        let task = tokio::spawn(async move {
            let Ok(id) = begun.await else { return };
            tokio::select! {
                () = read_frames(&mut reader, id, &events) => {}
                _ = write_frames(write, frames) => {}
            }
        });
        let Some(id) = self.connect(&hello.token, Connection { task: task.abort_handle(), sender, over }) else {
            return;
        };
        // Connected before its first frame, which is read only from then on.
        let _ = self.inner.events.send(Event::ExecutorConnected { id }).await;
        let _ = begin.send(id);
        let _ = task.await;
        let _ = self.inner.events.send(Event::ExecutorDisconnected { id }).await;
    }

    fn connect(&self, token: &str, connection: Connection) -> Option<LocalId> {
        let mut known = self.known();
        let known = known.get_mut(token)?;
        known.connection = Some(connection);
        Some(known.id)
    }
}

async fn read_frames(reader: &mut FrameReader<OwnedReadHalf>, id: LocalId, events: &mpsc::Sender<Event>) {
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                if events.send(Event::ExecutorFrame { id, frame }).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => return tracing::debug!("an executor's connection broke: {error}"),
        }
    }
}

async fn write_frames(mut write: OwnedWriteHalf, mut frames: mpsc::Receiver<Frame>) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        write_frame(&mut write, &frame).await?;
    }
    Ok(())
}

fn bind(socket: &Path) -> io::Result<(UnixListener, fs::File)> {
    let (folder, name) = (socket.parent().unwrap_or(Path::new("/")), socket.file_name().unwrap_or_default());
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = fs::File::open(folder)?;
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((UnixListener::bind(path)?, folder))
}
