//! The launcher's memory: every container until it is released, and how its messages look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::failure::Failure;
use super::plan::Inherited;
use super::processes::start_time as start_time_of;
use super::proto::{self, event::Event as Wire, listed};

/// Containers that are not released, at most.
pub(super) const CONTAINERS_MAX: usize = 100_000;
/// Bytes of the name of a container, at most.
pub(super) const NAME_BYTES_MAX: usize = 255;
const MESSAGE_BYTES_MAX: usize = 2048;

#[derive(Debug)]
pub(super) struct Container {
    /// `task`, or `executor/child`.
    pub name: String,
    /// The executor that launched it.
    pub parent: Option<u64>,
    /// What it has launched itself.
    pub children: Vec<u64>,
    pub inherit: Option<Arc<Inherited>>,
    pub keep_orphans: bool,
    /// Of a main process that another launcher has launched: it isn't our child.
    pub adopted: Option<OwnedFd>,
    pub state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// A worker has it; a signal that came meanwhile is sent as soon as there is a process.
    Launching {
        signal: Option<(i32, proto::Scope)>,
    },
    Running {
        pid: i32,
        start_time: u64,
    },
    /// The main process has ended; what it left is being killed.
    Ending {
        pid: i32,
        start_time: u64,
        exit: Exit,
        deadline: Instant,
    },
    Exited {
        exit: Exit,
        leftover: u32,
        is_alone: bool,
    },
    Failed(Failure),
}

/// How a main process ended, as wait4 tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    /// Only its parent is told.
    pub status: Option<i32>,
    pub user_us: u64,
    pub system_us: u64,
    pub max_rss_bytes: u64,
}

#[derive(Default)]
pub(super) struct Containers {
    /// In the order of their launch.
    pub by_key: BTreeMap<u64, Container>,
    by_name: HashMap<String, u64>,
    /// Main processes that were not reaped.
    by_pid: HashMap<i32, u64>,
    adopted: BTreeSet<u64>,
    key_last: u64,
}

impl Containers {
    pub(super) fn insert(&mut self, container: Container) -> u64 {
        self.key_last += 1;
        let key = self.key_last;
        if let Some(parent) = container.parent.and_then(|parent| self.by_key.get_mut(&parent)) {
            parent.children.push(key);
        }
        let before = self.by_name.insert(container.name.clone(), key);
        assert!(before.is_none(), "container {} exists already", container.name);
        self.by_key.insert(key, container);
        key
    }

    pub(super) fn remove(&mut self, key: u64) {
        let Some(container) = self.by_key.remove(&key) else { return };
        self.by_name.remove(&container.name);
        self.adopted.remove(&key);
        if let Some(parent) = container.parent.and_then(|parent| self.by_key.get_mut(&parent)) {
            parent.children.retain(|&child| child != key);
        }
    }

    /// Remembered apart: there are none, mostly.
    pub(super) fn adopted(&self) -> impl Iterator<Item = (u64, &Container)> {
        self.adopted.iter().filter_map(|key| Some((*key, self.by_key.get(key)?)))
    }

    pub(super) fn adopt(&mut self, key: u64, pidfd: OwnedFd) {
        self.get_mut(key).adopted = Some(pidfd);
        self.adopted.insert(key);
    }

    pub(super) fn named(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    pub(super) fn with_pid(&self, pid: i32) -> Option<u64> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn key_last(&self) -> u64 {
        self.key_last
    }

    pub(super) fn set_running(&mut self, key: u64, pid: i32, start_time: u64) {
        self.by_pid.insert(pid, key);
        self.get_mut(key).state = State::Running { pid, start_time };
    }

    /// The process is reaped; its number may be another's from now on.
    pub(super) fn set_ending(&mut self, key: u64, exit: Exit, deadline: Instant) {
        let State::Running { pid, start_time } = self.get_mut(key).state else { panic!("only what runs can end") };
        self.by_pid.remove(&pid);
        self.get_mut(key).state = State::Ending { pid, start_time, exit, deadline };
    }

    pub(super) fn get(&self, key: u64) -> &Container {
        self.by_key.get(&key).expect("keys are of containers that exist")
    }

    pub(super) fn get_mut(&mut self, key: u64) -> &mut Container {
        self.by_key.get_mut(&key).expect("keys are of containers that exist")
    }

    /// The container and everything launched below it.
    pub(super) fn subtree(&self, key: u64) -> Vec<u64> {
        let mut keys = vec![key];
        let mut next = 0;
        while next < keys.len() {
            keys.extend(&self.get(keys[next]).children);
            next += 1;
        }
        keys
    }
}

impl Container {
    pub(super) fn new(name: String, parent: Option<u64>, keep_orphans: bool) -> Self {
        let state = State::Launching { signal: None };
        Self { name, parent, children: Vec::new(), inherit: None, keep_orphans, adopted: None, state }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Launching { .. } | State::Running { .. } | State::Ending { .. })
    }

    /// The main process that runs. The number of one that isn't our child may be another's already.
    pub(super) fn main_process(&self) -> Option<i32> {
        let State::Running { pid, start_time } = self.state else { return None };
        (self.adopted.is_none() || start_time_of(pid) == Some(start_time)).then_some(pid)
    }

    /// Whether the main process has ended, or never ran.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state, State::Launching { .. } | State::Running { .. })
    }

    /// As its own launcher knows it: an executor says `child` for `executor/child`.
    pub(super) fn local_name(&self) -> String {
        match self.parent {
            Some(_) => self.name.rsplit_once('/').map_or(&*self.name, |(_, name)| name).to_owned(),
            None => self.name.clone(),
        }
    }

    pub(super) fn listed(&self, name: String) -> proto::Listed {
        let state = match &self.state {
            State::Launching { .. } => listed::State::Launching(name),
            // One that is ending still holds what it left behind; its end is told when that is gone.
            State::Running { pid, start_time } | State::Ending { pid, start_time, .. } => {
                listed::State::Running(launched(name, *pid, *start_time))
            }
            State::Exited { exit, leftover, is_alone } => {
                listed::State::Exited(exit.message(name, *leftover, *is_alone))
            }
            State::Failed(failure) => listed::State::Failed(failure.message(name)),
        };
        proto::Listed { state: Some(state) }
    }

    /// What is to be told of it again, if there is anything yet.
    pub(super) fn event(&self) -> Option<(Wire, Option<OwnedFd>)> {
        let name = self.local_name();
        Some(match &self.state {
            State::Launching { .. } | State::Ending { .. } => return None,
            State::Running { pid, start_time } => (Wire::Launched(launched(name, *pid, *start_time)), pidfd(*pid)),
            State::Exited { exit, leftover, is_alone } => {
                (Wire::Exited(exit.message(name, *leftover, *is_alone)), None)
            }
            State::Failed(failure) => (Wire::LaunchFailed(failure.message(name)), None),
        })
    }
}

/// A new pidfd for a process that was not reaped.
pub(super) fn pidfd(pid: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the kernel has just made this descriptor for us.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

pub(super) fn launched(container: String, pid: i32, start_time: u64) -> proto::Launched {
    proto::Launched { container, pid, start_time, pidfd: None }
}

impl Exit {
    pub(super) fn message(&self, container: String, leftover: u32, alone: bool) -> proto::Exited {
        let signalled = self.status.filter(|status| libc::WIFSIGNALED(*status));
        let status = match (self.status, signalled) {
            (None, _) => proto::exited::Status::Unknown(true),
            (_, Some(status)) => proto::exited::Status::Signal(libc::WTERMSIG(status)),
            (Some(status), None) => proto::exited::Status::Code(libc::WEXITSTATUS(status)),
        };
        proto::Exited {
            container,
            status: Some(status),
            core_dumped: signalled.is_some_and(|status| libc::WCOREDUMP(status)),
            user_us: self.user_us,
            system_us: self.system_us,
            max_rss_bytes: self.max_rss_bytes,
            leftover,
            alone,
        }
    }
}

impl Failure {
    pub(super) fn message(&self, container: String) -> proto::LaunchFailed {
        let end = (0..=MESSAGE_BYTES_MAX.min(self.message.len())).rev().find(|&end| self.message.is_char_boundary(end));
        let message = self.message[..end.unwrap_or(0)].to_owned();
        proto::LaunchFailed { container, step: self.step.into(), errno: self.errno, message }
    }
}
