//! What a client asks the launcher to start.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::proto;

/// One process to start, and what it gets.
#[derive(Debug)]
pub struct LaunchSpec {
    /// Unique among the containers that were not released; without `/`.
    pub container: String,
    /// The program, looked for in the `PATH` of `env` when it has no `/`, and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment; the launcher adds `MESOS_CONTAINER_ID` and the variables of `fds`.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Who it runs as; `None` is the launcher's own user. An executor's children always run as the executor's.
    pub user: Option<User>,
    /// Limits set before the user is; an executor's children can't exceed the executor's.
    pub rlimits: Vec<Rlimit>,
    /// `None` is 022.
    pub umask: Option<u32>,
    /// `None` is /dev/null; relative to the sandbox.
    pub stdin: Option<PathBuf>,
    /// Opened for appending, created as the task's user; `None` is /dev/null.
    pub stdout: Option<PathBuf>,
    /// As `stdout`.
    pub stderr: Option<PathBuf>,
    /// Descriptors for stdin, stdout and stderr, in place of files.
    pub stdio_fds: [Option<OwnedFd>; 3],
    /// stdin is a terminal, and becomes the one that controls the new session.
    pub terminal: bool,
    /// `Launched` brings a pidfd; each costs the kernel a file.
    pub wants_pidfd: bool,
    /// Descriptors that the child finds at 3, 4, 5 and so on.
    pub fds: Vec<ExtraFd>,
    /// Leads a session of its own, without a terminal.
    pub new_session: bool,
    /// What the main process leaves behind runs on after its end.
    pub keep_orphans: bool,
    /// Gets a channel to the launcher in `MESOS_LAUNCH_FD`, to launch below its own container.
    pub launch_channel: bool,
    /// Can't gain privileges by running a set-uid program.
    pub no_new_privs: bool,
    /// Where an executor may have its children's files; `None` is `cwd`.
    pub sandbox: Option<PathBuf>,
}

/// User, group and supplementary groups of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// A limit as of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Such as `libc::RLIMIT_NOFILE`.
    pub resource: u32,
    /// What is in force.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// A descriptor that the child inherits.
#[derive(Debug)]
pub struct ExtraFd {
    /// The variable that tells the child the number, such as `PMI_FD`.
    pub env: String,
    /// The launcher gets a copy; the caller's is closed when the spec is dropped.
    pub fd: OwnedFd,
}

impl LaunchSpec {
    /// A process in a session of its own with an empty environment in `/`, with everything else left out.
    pub fn new(container: impl Into<String>, argv: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            container: container.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: "/".into(),
            user: None,
            rlimits: Vec::new(),
            umask: None,
            stdin: None,
            stdout: None,
            stderr: None,
            stdio_fds: [None, None, None],
            terminal: false,
            wants_pidfd: false,
            fds: Vec::new(),
            new_session: true,
            keep_orphans: false,
            launch_channel: false,
            no_new_privs: false,
            sandbox: None,
        }
    }

    /// The message, and the descriptors that it names by position, the first of which goes to `fds_start`.
    pub(super) fn into_wire(self, fds_start: usize) -> (proto::LaunchSpec, Vec<OwnedFd>) {
        let (names, mut fds): (Vec<String>, Vec<OwnedFd>) =
            self.fds.into_iter().map(|extra| (extra.env, extra.fd)).unzip();
        let extra = |(i, env)| proto::ExtraFd { env, position: (fds_start + i) as u32 };
        let mut stdio_fds = Vec::new();
        for (number, fd) in (0..).zip(self.stdio_fds) {
            if let Some(fd) = fd {
                stdio_fds.push(proto::StdioFd { number, position: (fds_start + fds.len()) as u32 });
                fds.push(fd);
            }
        }
        let wire = proto::LaunchSpec {
            container: self.container,
            version_min: 1,
            argv: self.argv.into_iter().map(|arg| arg.into_vec().into()).collect(),
            env: self.env.into_iter().map(assignment).collect(),
            cwd: path(&self.cwd),
            user: self.user.map(|u| proto::User { uid: u.uid, gid: u.gid, groups: u.groups }),
            rlimits: self.rlimits.into_iter().map(wire_rlimit).collect(),
            umask: self.umask,
            stdin: self.stdin.as_deref().map(path),
            stdout: self.stdout.as_deref().map(path),
            stderr: self.stderr.as_deref().map(path),
            fds: names.into_iter().enumerate().map(extra).collect(),
            new_session: self.new_session,
            keep_orphans: self.keep_orphans,
            launch_channel: self.launch_channel,
            no_new_privs: self.no_new_privs,
            sandbox: self.sandbox.as_deref().map(path),
            stdio_fds,
            terminal: self.terminal,
            wants_pidfd: self.wants_pidfd,
        };
        (wire, fds)
    }
}

fn assignment((name, value): (OsString, OsString)) -> Bytes {
    let mut pair = name.into_vec();
    pair.push(b'=');
    pair.extend_from_slice(value.as_bytes());
    pair.into()
}

fn path(path: &Path) -> Bytes {
    Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

fn wire_rlimit(limit: Rlimit) -> proto::Rlimit {
    proto::Rlimit { resource: limit.resource, soft: limit.soft, hard: limit.hard }
}
