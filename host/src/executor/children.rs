//! Processes that a plugin's half has launched, and the socket pairs between them and it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesos_plugin_api::v1::ExitStatus;
use mesos_plugin_api::v1::executor::{Pipe, Spawn, Written};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::knock;
use crate::launcher::{ExtraFd, LaunchSpec};

/// Bytes that are read from a stream at a time.
const CHUNK: usize = 64 << 10;
/// Bytes that wait for a process that doesn't read, beyond which its stream is closed.
pub(super) const STREAM_BYTES_MAX: usize = 64 << 20;

/// Where a process finds its surroundings.
pub(super) struct Place {
    pub sandbox: PathBuf,
    pub knock_socket: Option<PathBuf>,
}

/// Bytes of a stream, none at its end.
pub(super) struct Piece {
    pub process: u64,
    pub stream: u32,
    pub data: Vec<u8>,
}

/// Where the streams of all processes lead.
pub(super) struct Streams {
    pub pieces: mpsc::Sender<Piece>,
    /// One for each write, of which there are as many as the half makes.
    pub written: mpsc::UnboundedSender<Written>,
}

/// A process that was asked for.
pub(super) struct Child {
    streams: BTreeMap<u32, Stream>,
    /// Streams that may still bring something.
    pub open: usize,
    /// How it ended, until its streams have.
    pub exit: Option<ExitStatus>,
}

struct Stream {
    writes: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Child {
    /// Bytes for the process; false when it has too many already, and gets no more.
    pub(super) fn write(&mut self, stream: u32, data: Vec<u8>) -> bool {
        let Some(known) = self.streams.get(&stream) else { return true };
        if known.waiting.fetch_add(data.len(), Ordering::Relaxed) + data.len() > STREAM_BYTES_MAX {
            self.streams.remove(&stream);
            return false;
        }
        // It is gone, otherwise.
        let _ = known.writes.send(data);
        true
    }

    /// What was written before still goes out.
    pub(super) fn close(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }
}

/// The name of a process's container, below the executor's own.
pub(super) fn container(process: u64) -> String {
    process.to_string()
}

pub(super) fn process_of(container: &str) -> Option<u64> {
    container.parse().ok()
}

/// What the launcher is to start, and our ends of its pipes.
pub(super) fn prepare(spawn: Spawn, place: &Place, streams: &Streams) -> Result<(LaunchSpec, Child), String> {
    if !spawn.command.uris.is_empty() {
        return Err(
            "files are fetched for an executor, not for its processes; name them in the executor's command".into()
        );
    }
    let argv: Vec<OsString> = match &spawn.command.shell {
        Some(line) => vec!["/bin/sh".into(), "-c".into(), line.into()],
        None => spawn.command.argv.iter().map(|arg| OsString::from_vec(arg.clone())).collect(),
    };
    let mut spec = LaunchSpec::new(container(spawn.process), argv);
    spec.cwd = match &spawn.command.working_directory {
        Some(path) => place.sandbox.join(OsStr::from_bytes(path)),
        None => place.sandbox.clone(),
    };
    spec.sandbox = Some(place.sandbox.clone());
    (spec.stdout, spec.stderr) = (spawn.stdout.map(PathBuf::from), spawn.stderr.map(PathBuf::from));
    let mut env = environment(&spawn.command.environment, place);
    let mut child = Child { streams: BTreeMap::new(), open: 0, exit: None };
    for pipe in &spawn.pipes {
        add_pipe(spawn.process, pipe, &mut spec, &mut env, &mut child, streams)?;
    }
    spec.env = env.into_iter().collect();
    Ok((spec, child))
}

fn environment(own: &[mesos_plugin_api::v1::EnvironmentVariable], place: &Place) -> BTreeMap<OsString, OsString> {
    let own = own.iter().map(|variable| (variable.name.clone().into(), OsString::from_vec(variable.value.clone())));
    let mut env: BTreeMap<OsString, OsString> = own.collect();
    if let Some(home) = std::env::var_os("HOME") {
        env.entry("HOME".into()).or_insert(home);
    }
    env.insert("MESOS_SANDBOX".into(), place.sandbox.clone().into());
    for name in [super::VARIABLE_FRAMEWORK_ID, super::VARIABLE_EXECUTOR_ID, "MESOS_AGENT_ID"] {
        if let Some(value) = std::env::var_os(name) {
            env.entry(name.into()).or_insert(value);
        }
    }
    if let Some(socket) = &place.knock_socket {
        env.insert(knock::VARIABLE.into(), socket.clone().into());
    }
    env
}

fn add_pipe(
    process: u64,
    pipe: &Pipe,
    spec: &mut LaunchSpec,
    env: &mut BTreeMap<OsString, OsString>,
    child: &mut Child,
    streams: &Streams,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("no socket pair for stream {}: {error}", pipe.stream);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let ours = UnixStream::from_std(ours).map_err(failed)?;
    match pipe.fd {
        None => {
            let name = pipe.env.clone().unwrap_or_else(|| format!("MESOS_STREAM_{}", pipe.stream));
            spec.fds.push(ExtraFd { env: name, fd: OwnedFd::from(theirs) });
        }
        Some(fd) => {
            let place = spec.stdio_fds.get_mut(fd as usize);
            let place =
                place.ok_or_else(|| format!("stream {} can't be descriptor {fd}: only 0, 1 and 2", pipe.stream))?;
            if let Some(name) = &pipe.env {
                env.insert(name.into(), fd.to_string().into());
            }
            *place = Some(OwnedFd::from(theirs));
        }
    }
    let (read, write) = ours.into_split();
    let (writes, waiting_writes) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (stream, written) = (pipe.stream, streams.written.clone());
    let gone = Gone { process, stream, waiting: waiting.clone(), written };
    tokio::spawn(write_all(write, waiting_writes, gone));
    tokio::spawn(read_all(read, process, pipe.stream, streams.pieces.clone()));
    if child.streams.insert(pipe.stream, Stream { writes, waiting }).is_some() {
        return Err(format!("stream {} is given twice", pipe.stream));
    }
    child.open += 1;
    Ok(())
}

/// What can't be written is told like what was: nobody is to wait for it. Its end closes our half: that is how the process
/// reads an end of file.
async fn write_all(mut write: OwnedWriteHalf, mut writes: mpsc::UnboundedReceiver<Vec<u8>>, gone: Gone) {
    let mut broken = false;
    while let Some(data) = writes.recv().await {
        broken = broken || write.write_all(&data).await.is_err();
        gone.waiting.fetch_sub(data.len(), Ordering::Relaxed);
        let bytes = data.len() as u64;
        // The executor is ending, otherwise.
        let _ = gone.written.send(Written { process: gone.process, stream: gone.stream, bytes });
    }
}

/// Whom the writer of a stream tells how far it is.
struct Gone {
    process: u64,
    stream: u32,
    waiting: Arc<AtomicUsize>,
    written: mpsc::UnboundedSender<Written>,
}

async fn read_all(mut read: OwnedReadHalf, process: u64, stream: u32, pieces: mpsc::Sender<Piece>) {
    // Most pieces are a line: a new buffer for each would cost more than all else that is done with it.
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = read.read(&mut buffer).await.unwrap_or(0);
        let data = buffer[..length].to_vec();
        if pieces.send(Piece { process, stream, data }).await.is_err() || length == 0 {
            return;
        }
    }
}
