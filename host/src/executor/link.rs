//! The connection to the agent: opened again for ever, since an agent may restart.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use mesos_plugin_api::v1::executor::Frame;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::frames::{FrameReader, write_frame};

/// The wait before the first attempt to connect again; doubles with each that fails.
const RETRY: Duration = Duration::from_millis(20);
/// As far as that doubles.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Frames of the agent that wait for the plugin.
const FRAMES_MAX: usize = 256;

/// What a connection says.
pub(super) enum FromAgent {
    /// It is open; what is sent here goes to the agent. Frames wait without a bound here, since the window has one.
    Connected(mpsc::UnboundedSender<Frame>),
    Frame(Frame),
}

/// Connects, and connects again, until the receiver is dropped.
pub(super) fn open(socket: &Path) -> mpsc::Receiver<FromAgent> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    let socket = socket.to_owned();
    tokio::spawn(async move {
        let mut retry = RETRY;
        while !sender.is_closed() {
            match connect(&socket).await {
                Ok(stream) => {
                    retry = RETRY;
                    if let Err(error) = serve(stream, &sender).await {
                        tracing::debug!("the agent's connection broke: {error}");
                    }
                }
                Err(error) => tracing::debug!("no agent at {}: {error}", socket.display()),
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    });
    receiver
}

async fn serve(stream: UnixStream, sender: &mpsc::Sender<FromAgent>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let (frames, mut outgoing) = mpsc::unbounded_channel();
    if sender.send(FromAgent::Connected(frames)).await.is_err() {
        return Ok(());
    }
    let writing = async {
        while let Some(frame) = outgoing.recv().await {
            write_frame(&mut write, &frame).await?;
        }
        Ok(())
    };
    let reading = async {
        let mut reader = FrameReader::new(read);
        while let Some(frame) = reader.next().await? {
            if sender.send(FromAgent::Frame(frame)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        result = writing => result,
        result = reading => result,
    }
}

/// By a short name: the folder's own may be longer than a socket's address can be.
pub(super) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (folder, name) = (socket.parent().unwrap_or(Path::new("/")), socket.file_name().unwrap_or_default());
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    let folder = nix::fcntl::open(folder, flags, nix::sys::stat::Mode::empty())?;
    UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)).await
}
