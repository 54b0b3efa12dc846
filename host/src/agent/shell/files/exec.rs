//! Commands that are run beside a task: in its sandbox, as its user, with its environment, launched like any other process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mesos_plugin_api::v1::ExitStatus;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::super::launches::{argv, task_environment, working_directory};
use super::super::sandboxes::{Place, Sandbox};
use crate::agent::event::Launch;
use crate::launcher::{LaunchSpec, LauncherClient, Request, Scope};
use crate::protocol::exec_output::Output;
use crate::protocol::{ExecInput, ExecOutput, ExecStart, exec_input};

/// Begins the names of containers that no task has.
pub(in crate::agent::shell) const CONTAINER_PREFIX: &str = "exec-";
/// Pieces of output that wait for a slow client.
const OUTPUTS_MAX: usize = 8;
const CHUNK: usize = 64 << 10;

/// Who waits for the ends of containers.
type Waiting = BTreeMap<String, oneshot::Sender<Result<ExitStatus, String>>>;

type Outputs = mpsc::Sender<Result<ExecOutput, Status>>;

/// Commands that run beside tasks.
#[derive(Clone)]
pub(in crate::agent::shell) struct Execs {
    launcher: Arc<Mutex<LauncherClient>>,
    incarnation: String,
    last: Arc<AtomicU64>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Our ends of what the command has as standard descriptors.
struct Ends {
    stdin: AsyncFd<OwnedFd>,
    stdout: AsyncFd<OwnedFd>,
    /// None with a terminal, where everything is one.
    stderr: Option<AsyncFd<OwnedFd>>,
}

impl Execs {
    pub(in crate::agent::shell) fn new(launcher: LauncherClient, incarnation: &str) -> Self {
        let incarnation = incarnation.to_string();
        Self { launcher: Arc::new(Mutex::new(launcher)), incarnation, last: Arc::default(), waiting: Arc::default() }
    }

    /// What the launcher says of such a container.
    pub(in crate::agent::shell) fn over(&self, container: &str, outcome: Result<ExitStatus, String>) {
        if let Some(waiting) = self.waiting().remove(container) {
            // The client is gone, otherwise.
            let _ = waiting.send(outcome);
        }
    }

    /// The one before it has died, and with it the news of what runs.
    pub(in crate::agent::shell) fn replace_launcher(&self, launcher: LauncherClient) {
        *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = launcher;
        for waiting in std::mem::take(&mut *self.waiting()).into_values() {
            // The client is gone, otherwise.
            let _ = waiting.send(Err("the launcher died; what runs is unknown".to_string()));
        }
    }

    fn launcher(&self) -> LauncherClient {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn start(
        &self,
        sandbox: Sandbox,
        start: ExecStart,
        input: Streaming<ExecInput>,
    ) -> Result<ReceiverStream<Result<ExecOutput, Status>>, Status> {
        let (Some(place), Some(path)) = (&sandbox.place, &sandbox.path) else {
            return Err(Status::failed_precondition(
                "the task has ended, or runs within an executor; nothing can run beside it",
            ));
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let container = format!("{CONTAINER_PREFIX}{}-{number}", self.incarnation);
        let (spec, ends) = spec(&container, path, place, &start)
            .map_err(|error| Status::resource_exhausted(format!("cannot make the command's descriptors: {error}")))?;
        let (over, outcome) = oneshot::channel();
        self.waiting().insert(container.clone(), over);
        let launched = self.launcher().send(vec![Request::Launch(Box::new(spec))]).await;
        launched.map_err(|error| Status::unavailable(error.to_string()))?;
        let (outputs, receiver) = mpsc::channel(OUTPUTS_MAX);
        let execs = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = execs.serve(&container, ends, input, outcome, &outputs) => {}
                // Nobody looks any more.
                () = outputs.closed() => {}
            }
            execs.waiting().remove(&container);
            let kill =
                Request::Signal { container: container.clone(), signal: libc::SIGKILL, scope: Scope::WholeContainer };
            // One that has ended was released and is unknown to the launcher.
            let _ = execs.launcher().send(vec![kill]).await;
        });
        Ok(ReceiverStream::new(receiver))
    }

    /// Its exit is told after all of its output.
    async fn serve(
        &self,
        container: &str,
        ends: Ends,
        mut input: Streaming<ExecInput>,
        outcome: oneshot::Receiver<Result<ExitStatus, String>>,
        outputs: &Outputs,
    ) {
        let Ends { stdin, stdout, stderr } = ends;
        let feed = async {
            let mut stdin = Some(stdin);
            while let Ok(Some(message)) = input.message().await {
                match message.input {
                    Some(exec_input::Input::Stdin(data)) => {
                        if let Some(end) = &stdin {
                            let _ = write_all(end, &data).await;
                        }
                    }
                    Some(exec_input::Input::StdinEnd(_)) => drop(stdin.take()),
                    Some(exec_input::Input::Signal(signal)) => {
                        let container = container.to_string();
                        let _ = self
                            .launcher()
                            .send(vec![Request::Signal { container, signal, scope: Scope::WholeContainer }])
                            .await;
                    }
                    Some(exec_input::Input::Start(_)) | None => {}
                }
            }
            drop(stdin);
            std::future::pending::<()>().await;
        };
        let drain = async {
            tokio::join!(copy(Some(stdout), outputs, Output::Stdout), copy(stderr, outputs, Output::Stderr));
            match outcome.await {
                Ok(Ok(exit)) => Ok(ExecOutput { output: Some(Output::Exit(exit)) }),
                Ok(Err(message)) => Err(Status::failed_precondition(message)),
                Err(_) => Err(Status::unavailable("the agent is ending")),
            }
        };
        tokio::select! {
            last = drain => drop(outputs.send(last).await),
            () = feed => {}
        }
    }
}

fn spec(container: &str, sandbox: &Path, place: &Place, start: &ExecStart) -> io::Result<(LaunchSpec, Ends)> {
    let mut spec = LaunchSpec::new(container, argv(&start.command));
    let Launch::Task(task) = &place.launch else { panic!("only tasks are found by their names") };
    let mut env: BTreeMap<_, _> = task_environment(task, &place.account).into_iter().collect();
    use std::os::unix::ffi::OsStringExt;
    env.extend(
        start
            .command
            .environment
            .iter()
            .map(|variable| (variable.name.clone().into(), std::ffi::OsString::from_vec(variable.value.clone()))),
    );
    spec.env = env.into_iter().collect();
    spec.cwd = working_directory(&start.command, sandbox);
    spec.sandbox = Some(PathBuf::from(sandbox));
    spec.user = Some(place.account.user.clone());
    let ends = match (start.rows, start.columns) {
        (Some(rows), Some(columns)) => {
            let size = Winsize { ws_row: rows as u16, ws_col: columns as u16, ws_xpixel: 0, ws_ypixel: 0 };
            let pty = openpty(Some(&size), None)?;
            let user = &place.account.user;
            if nix::unistd::Uid::effective().is_root() {
                std::os::unix::fs::fchown(&pty.slave, Some(user.uid), None)?;
            }
            spec.stdio_fds = [Some(pty.slave.try_clone()?), Some(pty.slave.try_clone()?), Some(pty.slave)];
            spec.terminal = true;
            Ends { stdin: watched(pty.master.try_clone()?)?, stdout: watched(pty.master)?, stderr: None }
        }
        _ => {
            let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC);
            let ((stdin, to), (from_out, stdout), (from_err, stderr)) = (pipe()?, pipe()?, pipe()?);
            spec.stdio_fds = [Some(stdin), Some(stdout), Some(stderr)];
            Ends { stdin: watched(to)?, stdout: watched(from_out)?, stderr: Some(watched(from_err)?) }
        }
    };
    Ok((spec, ends))
}

fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    nix::fcntl::fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: an owned descriptor stays the same open file until `AsyncFd` drops it.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

async fn write_all(end: &AsyncFd<OwnedFd>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = end.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, data)?)).await?;
        data = &data[written..];
    }
    Ok(())
}

/// Until nobody holds the other end any more; a terminal says that with an error.
async fn copy(from: Option<AsyncFd<OwnedFd>>, outputs: &Outputs, wrap: fn(Vec<u8>) -> Output) {
    let Some(from) = from else { return };
    loop {
        let mut data = vec![0; CHUNK];
        let read = from.async_io(Interest::READABLE, |fd| Ok(nix::unistd::read(fd, &mut data)?)).await;
        match read {
            Ok(length) if length > 0 => data.truncate(length),
            _ => return,
        }
        if outputs.send(Ok(ExecOutput { output: Some(wrap(data)) })).await.is_err() {
            return;
        }
    }
}
