//! How a launcher comes to be, and how an agent finds one that runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect as connect_socket, listen, socket,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use super::connection::{AgentLoss, Connection, ConnectionError};
use super::folder::SharedFolder;
use super::log::{self, log};
use super::server::Server;
use super::workers::Workers;

const OWN_PROGRAM: &str = "/proc/self/exe";
const PROGRAM_NAME: &str = "mesos-launcher";
const SOCKET_NAME: &str = "launcher.sock";
const LOCK_NAME: &str = "launcher.lock";
const LOG_NAME: &str = "launcher.log";
/// How long a process that was killed may take to give its locks back after its sockets.
const AGENT_DIES_WITHIN: Duration = Duration::from_secs(5);
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection to a launcher.
#[expect(missing_docs, reason = "the fields are what their names say")]
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing listens in the work directory.
    #[error("no launcher runs in {work_dir}: {source}; start one")]
    NotRunning { work_dir: PathBuf, source: io::Error },
    /// The process could not be made.
    #[error("could not run the launcher of {work_dir}: {source}")]
    Spawn { work_dir: PathBuf, source: io::Error },
    /// It gave up; in its own words.
    #[error("the launcher of {work_dir} did not start: {message}")]
    Refused { work_dir: PathBuf, message: String },
    /// It runs but doesn't answer.
    #[error("the launcher of {work_dir} gave no welcome: {source}")]
    Hello { work_dir: PathBuf, source: ConnectionError },
}

/// Starts the launcher of a work directory, as a process of its own that outlives this one, and connects to it. The process
/// is this program once more: its `main` calls [`run_if_launcher`] first.
///
/// # Errors
/// When one runs there already, among other reasons.
pub fn start(work_dir: &Path, on_agent_loss: AgentLoss) -> Result<Connection, StartError> {
    start_program(Path::new(OWN_PROGRAM), work_dir, on_agent_loss, None)
}

/// As [`start`], with another program that calls [`run_if_launcher`]: for one that embeds a cluster and keeps its `main`;
/// and with a folder above the work directory that the last launcher removes which has a share in it.
///
/// # Errors
/// As `start`.
pub fn start_program(
    program: &Path,
    work_dir: &Path,
    on_agent_loss: AgentLoss,
    shared: Option<&Path>,
) -> Result<Connection, StartError> {
    let spawn_error = |source| StartError::Spawn { work_dir: work_dir.to_owned(), source };
    let (ours, theirs) = super::wire::pair().map_err(spawn_error)?;
    let mut command = Command::new(program);
    command.arg0(PROGRAM_NAME).arg(work_dir.canonicalize().map_err(spawn_error)?).arg(policy_text(on_agent_loss));
    command.args(shared.map(Path::canonicalize).transpose().map_err(spawn_error)?);
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(spawn_error)?;
    // It holds a copy of the launcher's end of the channel, which must not outlive the launcher's.
    drop(command);
    // The launcher is a child of this child, which ends at once: nobody has to wait for the launcher.
    child.wait().map_err(spawn_error)?;
    let mut connection = Connection::new(ours);
    match connection.hello(on_agent_loss, HELLO_TIMEOUT) {
        Ok(_) => Ok(connection),
        Err(ConnectionError::Closed) => {
            let mut message = String::new();
            let _ = child.stderr.take().expect("a pipe was asked for").read_to_string(&mut message);
            Err(StartError::Refused { work_dir: work_dir.to_owned(), message: message.trim().to_owned() })
        }
        Err(source) => Err(StartError::Hello { work_dir: work_dir.to_owned(), source }),
    }
}

/// Connects to the launcher that runs for a work directory, instead of the agent that was connected before.
///
/// # Errors
/// `NotRunning` when there is none.
pub fn connect(work_dir: &Path, on_agent_loss: AgentLoss) -> Result<Connection, StartError> {
    let socket =
        try_connect(work_dir).map_err(|source| StartError::NotRunning { work_dir: work_dir.to_owned(), source })?;
    let mut connection = Connection::new(socket);
    let hello = connection.hello(on_agent_loss, HELLO_TIMEOUT);
    hello.map_err(|source| StartError::Hello { work_dir: work_dir.to_owned(), source })?;
    Ok(connection)
}

/// Is a launcher, and never returns, when this process was started as one: by an agent, or by a supervisor as
/// `mesos-launcher WORK_DIR keep`, to which agents connect. To be called first in `main`, before there are threads; does nothing
/// otherwise.
pub fn run_if_launcher() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|name| name != PROGRAM_NAME) {
        return;
    }
    let (work_dir, policy) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let policy = policy.to_str().and_then(policy_of).unwrap_or(AgentLoss::Kill);
    let shared = args.next().map(PathBuf::from);
    match run(Path::new(&work_dir), policy, shared.as_deref()) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            log(&format!("ended by an error: {error}"));
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

/// From a fresh process to the launcher's loop: each step needs those before it.
fn run(work_dir: &Path, policy: AgentLoss, shared: Option<&Path>) -> io::Result<()> {
    // Whatever the agent failed to close on exec is not ours, and must not stay open in every task.
    // SAFETY: numbers only, and nothing of this process uses a descriptor above 2 yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    // A supervisor, such as systemd, is its parent otherwise, and no agent is there yet.
    let is_agents = io::stdin().as_fd().try_clone_to_owned().map(File::from)?.metadata()?.file_type().is_socket();
    if is_agents {
        detach()?;
    }
    save_memory();
    std::env::set_current_dir(work_dir)?;
    let _lock = lock(work_dir)?;
    // Before the agent hears from us, which has a share itself until then. Given back before the lock is.
    let share = shared.map(SharedFolder::share).transpose()?;
    log::open(Path::new(LOG_NAME))?;
    reset_signals()?;
    let listener = listen_in_current_dir()?;
    std::env::set_current_dir("/")?;
    let restore = raise_open_files()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_name(c"mesos-launcher")?;
    let first = if is_agents { Some(io::stdin().as_fd().try_clone_to_owned()?) } else { None };
    let mut server = Server::new(listener, first, policy, Workers::new(restore)?)?;
    log(&format!("launcher {} started, version {}", std::process::id(), env!("CARGO_PKG_VERSION")));
    close_stdio()?;
    notify_supervisor();
    let result = server.run();
    // Only now: whoever finds the socket must find the launcher. The lock is still ours.
    let _ = std::fs::remove_file(work_dir.join(SOCKET_NAME));
    log("launcher ended");
    if let Some(share) = share {
        let others = if server.died_with_agent() { AGENT_DIES_WITHIN } else { Duration::ZERO };
        share.leave(others);
    }
    result
}

/// Becomes a process that is no child of the agent's and not in its session: signals of its terminal pass by.
fn detach() -> io::Result<()> {
    // SAFETY: there is one thread yet, so that the child may do anything.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: ends this process without running what belongs to the child now.
        unsafe { libc::_exit(0) };
    }
    setsid()?;
    Ok(())
}

/// One heap for all threads: they hand small things to each other and compute nothing.
fn save_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's before there are threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Held until the process ends.
fn lock(work_dir: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(LOCK_NAME)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(lock)
        }
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            let dir = work_dir.display();
            Err(io::Error::other(format!("another launcher (pid {pid}) serves {dir}; connect to it, or end it first")))
        }
        Err((_, error)) => Err(error.into()),
    }
}

/// Everything is blocked, in this thread and those to come: signals are read from a descriptor, and none can reach a child
/// before its exec. Tasks inherit what is ignored, so that nothing may be.
fn reset_signals() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    // Past the C library, which keeps two signals to itself and has them ignored in what it spawns.
    let default = [0u64; 4];
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the default needs no code of ours; the kernel's struct is four words of zeroes.
        let set =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8) };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// By a name without folders: the work directory's may be longer than an address of a socket can be.
fn listen_in_current_dir() -> io::Result<OwnedFd> {
    match std::fs::remove_file(SOCKET_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(listener.as_raw_fd(), &UnixAddr::new(SOCKET_NAME)?);
    umask(before);
    bound?;
    listen(&listener, Backlog::new(8)?)?;
    Ok(listener)
}

fn try_connect(work_dir: &Path) -> io::Result<OwnedFd> {
    let dir = nix::fcntl::open(work_dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_fd().as_raw_fd());
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect_socket(socket.as_raw_fd(), &UnixAddr::new(std::ffi::OsStr::new(&path).as_bytes())?)?;
    Ok(socket)
}

/// Channels and pidfds need room; tasks get the limit back that the agent had.
fn raise_open_files() -> io::Result<Vec<(u32, [u64; 2])>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft == hard {
        return Ok(Vec::new());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(vec![(libc::RLIMIT_NOFILE, [soft, hard])])
}

/// What tasks find at 0, 1 and 2 unless they ask for files. It also ends the wait of the agent for words of an error.
fn close_stdio() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// As sd_notify(3): a supervisor that wants to know starts the agent only when there is something to connect to.
fn notify_supervisor() {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let Err(error) = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)) {
        log(&format!("cannot tell the supervisor at {} that this launcher is ready: {error}", name.display()));
    }
}

fn policy_text(policy: AgentLoss) -> String {
    match policy {
        AgentLoss::Kill => "kill".to_owned(),
        AgentLoss::Keep(None) => "keep".to_owned(),
        AgentLoss::Keep(Some(timeout)) => format!("keep:{}", timeout.as_millis()),
    }
}

fn policy_of(text: &str) -> Option<AgentLoss> {
    match text.split_once(':') {
        None if text == "kill" => Some(AgentLoss::Kill),
        None if text == "keep" => Some(AgentLoss::Keep(None)),
        Some(("keep", timeout)) => timeout.parse().ok().map(|ms| AgentLoss::Keep(Some(Duration::from_millis(ms)))),
        _ => None,
    }
}
