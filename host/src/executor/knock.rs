//! Foreign processes that plug into an executor: a program in its sandbox sends its arguments to the executor, waits for the
//! answer, and ends with the exit code that the executor chose.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as BlockingStream;
use std::os::unix::{ffi::OsStringExt, fs::symlink};
use std::path::{Path, PathBuf};

use mesos_plugin_api::v1::executor::{AnswerKnock, Knock};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Names the socket to the processes of an executor.
pub const VARIABLE: &str = "MESOS_KNOCK";
const PROGRAM: &str = "mesos-knock";
const FOLDER: &str = ".mesos";
const SOCKET: &str = "knock.sock";
/// The largest message, in bytes: arguments and environment of a process together are at most 2 MB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What knocking processes do.
pub(super) enum Knocking {
    Knocked { argv: Vec<Vec<u8>>, answer: oneshot::Sender<AnswerKnock>, closed: oneshot::Receiver<()> },
}

/// Where knocks come in.
pub(super) struct Door {
    pub program: PathBuf,
    pub socket: PathBuf,
    pub knocks: mpsc::Receiver<Knocking>,
}

/// Makes the program's link and the socket in the sandbox.
pub(super) fn open(sandbox: &Path) -> io::Result<Door> {
    let folder = sandbox.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    let (program, socket) = (folder.join(PROGRAM), folder.join(SOCKET));
    for old in [&program, &socket] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    symlink(std::env::current_exe()?, &program)?;
    let opened = std::fs::File::open(&folder)?;
    let listener = UnixListener::bind(in_folder(&opened))?;
    let (sender, knocks) = mpsc::channel(16);
    tokio::spawn(async move {
        // Until the executor ends, which closes the receiver.
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sender.clone()));
        }
    });
    Ok(Door { program, socket, knocks })
}

/// By a short name: the folder's own may be longer than a socket's address can be.
fn in_folder(folder: &impl AsRawFd) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(SOCKET)
}

async fn serve(mut stream: UnixStream, knocks: mpsc::Sender<Knocking>) {
    let Ok(knock) = read_knock(&mut stream).await else { return };
    let (answer, answered) = oneshot::channel();
    let (_open, closed) = oneshot::channel();
    if knocks.send(Knocking::Knocked { argv: knock.argv, answer, closed }).await.is_err() {
        return;
    }
    let mut byte = [0];
    tokio::select! {
        answer = answered => if let Ok(answer) = answer {
            let bytes = framed(&answer);
            // It has gone meanwhile, otherwise.
            let _ = stream.write_all(&bytes).await;
        },
        // It says nothing more: this is its end, and `closed` is dropped with it.
        _ = stream.read(&mut byte) => {}
    }
}

async fn read_knock(stream: &mut UnixStream) -> io::Result<Knock> {
    let length = stream.read_u32().await? as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Knock::decode(&bytes[..]).map_err(io::Error::other)
}

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
}

/// Is the knocking program, and never returns, when this process was started as it; does nothing otherwise.
pub fn run_if_knock() {
    let mut args = std::env::args_os();
    let name = args.next().map(PathBuf::from);
    if name.as_deref().and_then(Path::file_name).is_none_or(|name| name != PROGRAM) {
        return;
    }
    let argv = args.map(OsStringExt::into_vec).collect();
    match knock(argv) {
        Ok(answer) => {
            if let Some(message) = answer.message.as_deref().filter(|message| !message.is_empty()) {
                eprintln!("{message}");
            }
            std::process::exit(answer.exit_code);
        }
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    }
}

fn knock(argv: Vec<Vec<u8>>) -> Result<AnswerKnock, String> {
    let path = std::env::var_os(VARIABLE).ok_or("MESOS_KNOCK is not set; this program runs within an executor")?;
    let gone = |error: io::Error| format!("the executor does not answer: {error}");
    let folder = Path::new(&path).parent().unwrap_or(Path::new("/")).to_owned();
    let folder = std::fs::File::open(folder).map_err(gone)?;
    let mut stream = BlockingStream::connect(in_folder(&folder)).map_err(gone)?;
    stream.write_all(&framed(&Knock { knock: 0, argv })).map_err(gone)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(gone)?;
    let mut bytes = vec![0; (u32::from_be_bytes(length) as usize).min(MESSAGE_BYTES_MAX)];
    stream.read_exact(&mut bytes).map_err(gone)?;
    AnswerKnock::decode(&bytes[..]).map_err(|error| format!("the executor's answer can't be read: {error}"))
}
