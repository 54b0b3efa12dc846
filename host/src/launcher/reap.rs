//! Deaths: whose they were, what the dead have left behind, and when a container is really over.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::channel::Role;
use super::containers::{Containers, Exit, State};
use super::failure::Failure;
use super::log::log;
use super::processes::{self, OrphanList};
use super::proto::{Scope, event::Event as Wire};
use super::server::Server;
use super::workers::Done;

/// How long what a main process left behind may take to die before its end is told anyway.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// In the middle of an exec a process has no environment to be read; it is looked at again after this long.
const EXEC_TIMEOUT: Duration = Duration::from_millis(20);

/// Processes whose parents died, which makes them children of the launcher.
pub(super) struct Orphans {
    list: OrphanList,
    known: BTreeMap<i32, Orphan>,
    /// Containers whose main process has ended and that have something left.
    ending: Vec<u64>,
    /// Children that were reaped before their launch was told.
    early: BTreeMap<i32, Exit>,
    /// When to look again at one whose environment could not be read.
    pub(super) look_again: Option<Instant>,
}

struct Orphan {
    owner: Owner,
    is_killed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Container(u64),
    /// Its container has ended and wanted it kept.
    Kept,
    /// It has hidden where it comes from: some container up to this one. It is killed when all of them have ended.
    Unknown {
        key_last: u64,
    },
}

impl Orphans {
    pub(super) fn new() -> io::Result<Self> {
        let (known, early) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { list: OrphanList::open()?, known, ending: Vec::new(), early, look_again: None })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Those of some containers.
    pub(super) fn of(&self, keys: &[u64]) -> Vec<i32> {
        let is_of = |orphan: &Orphan| matches!(orphan.owner, Owner::Container(key) if keys.contains(&key));
        self.known.iter().filter(|(_, orphan)| is_of(orphan)).map(|(&pid, _)| pid).collect()
    }

    /// Whether there is one that may be of any container, or of which nothing is known yet.
    fn are_unknown(&self) -> bool {
        let is_unknown = |orphan: &Orphan| matches!(orphan.owner, Owner::Unknown { .. });
        self.look_again.is_some() || self.known.values().any(is_unknown)
    }

    pub(super) fn deadline(&self, containers: &Containers) -> Option<Instant> {
        let deadline = |key: &u64| match containers.get(*key).state {
            State::Ending { deadline, .. } => Some(deadline),
            _ => None,
        };
        self.ending.iter().filter_map(deadline).chain(self.look_again).min()
    }

    fn live(&self, wanted: impl Fn(&Orphan) -> bool) -> Vec<i32> {
        self.known.iter().filter(|(_, orphan)| !orphan.is_killed && wanted(orphan)).map(|(&pid, _)| pid).collect()
    }

    /// Those that are there when a container has ended were to be kept, or can't be killed.
    fn keep_of(&mut self, key: u64) {
        for orphan in self.known.values_mut().filter(|orphan| orphan.owner == Owner::Container(key)) {
            orphan.owner = Owner::Kept;
        }
    }

    fn kill(&mut self, pids: &[i32]) {
        if !pids.is_empty() {
            processes::kill_trees(pids);
        }
        for pid in pids {
            if let Some(orphan) = self.known.get_mut(pid) {
                orphan.is_killed = true;
            }
        }
    }
}

impl Server {
    /// Takes in launches that are done and, when there were signals, what has died.
    pub(super) fn reap(&mut self, signalled: bool) {
        let mut exits = Vec::new();
        let mut terminate = false;
        if signalled {
            // Before reaping, so that what dies after it signals anew.
            terminate = self.take_signals();
            exits.extend(std::iter::from_fn(wait_any));
        }
        let (done, in_flight) = self.workers.collect();
        let mut has_failed = false;
        for (pid, exit) in &exits {
            if in_flight.contains(pid) || done.iter().any(|done| done.pid == Some(*pid)) {
                self.orphans.early.insert(*pid, *exit);
            }
        }
        for done in done {
            has_failed |= done.result.is_err();
            self.on_done(done);
        }
        for (pid, exit) in exits {
            match self.containers.with_pid(pid) {
                Some(key) => self.on_exit(key, exit),
                None => drop(self.orphans.known.remove(&pid)),
            }
        }
        let now = Instant::now();
        let is_due = self.orphans.look_again.is_some_and(|then| then <= now);
        if signalled || has_failed || is_due || !self.orphans.ending.is_empty() {
            self.settle(now);
        }
        if terminate {
            self.on_terminate();
        }
    }

    fn on_done(&mut self, done: Done) {
        let early = done.pid.and_then(|pid| self.orphans.early.remove(&pid));
        let started = match done.result {
            Ok(started) => started,
            // The child that failed is reaped like any other and nobody's.
            Err(failure) => return self.on_failed(done.key, failure),
        };
        let pid = done.pid.expect("what has started has a number");
        let State::Launching { signal } = self.containers.get(done.key).state else { panic!("launched once") };
        self.containers.set_running(done.key, pid, started.start_time);
        self.tell_launched(done.key, pid, started.start_time, started.pidfd);
        if let Some(exit) = early {
            self.on_exit(done.key, exit);
        } else if let Some((signal, scope)) = signal {
            self.signal(done.key, signal, scope);
        }
    }

    pub(super) fn on_failed(&mut self, key: u64, failure: Failure) {
        let name = self.containers.get(key).local_name();
        self.tell(key, Wire::LaunchFailed(failure.message(name)), None);
        self.containers.get_mut(key).state = State::Failed(failure);
        self.close_channel_of(key);
        self.forget_if_nobodys(key);
    }

    pub(super) fn on_exit(&mut self, key: u64, exit: Exit) {
        self.containers.set_ending(key, exit, Instant::now() + LEFTOVER_TIMEOUT);
        self.orphans.ending.push(key);
        self.close_channel_of(key);
        let children = self.containers.get(key).children.clone();
        if !children.is_empty() {
            // What an executor has launched is its own, and goes with it.
            self.signal(key, libc::SIGKILL, Scope::WholeContainer);
            children.into_iter().for_each(|child| self.forget_if_nobodys(child));
        }
    }

    /// Requests that an executor sent just before its end would be killed at once: they are left unread.
    fn close_channel_of(&mut self, key: u64) {
        self.channels.retain(|_, channel| channel.role != Role::Executor(key));
    }

    /// Finds what the dead have left, kills it, and ends the containers that have nothing left.
    fn settle(&mut self, now: Instant) {
        self.look_for_orphans();
        if self.orphans.look_again.is_some_and(|then| then <= now) {
            self.orphans.look_again = None;
        }
        let doomed = self.orphans.live(|orphan| self.is_doomed(orphan.owner));
        self.orphans.kill(&doomed);
        // An executor ends after what it has launched, which may be later in the list.
        let mut ending = std::mem::take(&mut self.orphans.ending);
        loop {
            let before = ending.len();
            ending.retain(|&key| !self.try_end(key, now));
            if ending.len() == before {
                break;
            }
        }
        self.orphans.ending = ending;
    }

    fn try_end(&mut self, key: u64, now: Instant) -> bool {
        let State::Ending { exit, deadline, .. } = self.containers.get(key).state else {
            panic!("only what is ending")
        };
        let children =
            self.containers.get(key).children.iter().filter(|&&child| self.containers.get(child).is_live()).count();
        let orphans = if self.containers.get(key).keep_orphans { 0 } else { self.orphans.of(&[key]).len() };
        let leftover = (orphans + children + self.kill_strays_of(key)) as u32;
        // One that nothing is known of yet may be of this container.
        if (leftover > 0 || self.orphans.look_again.is_some()) && now < deadline {
            return false;
        }
        if leftover > 0 {
            log(&format!("container {}: {leftover} processes can't be killed", self.containers.get(key).name));
        }
        let name = self.containers.get(key).local_name();
        let is_alone = leftover == 0 && !self.containers.get(key).keep_orphans && !self.orphans.are_unknown();
        self.containers.get_mut(key).state = State::Exited { exit, leftover, is_alone };
        self.tell(key, Wire::Exited(exit.message(name, leftover, is_alone)), None);
        self.orphans.keep_of(key);
        self.forget_if_nobodys(key);
        true
    }

    /// Nobody will release what an executor has launched that is gone itself.
    fn forget_if_nobodys(&mut self, key: u64) {
        let container = self.containers.get(key);
        let Some(parent) = container.parent else { return };
        let parent = self.containers.by_key.get(&parent);
        let has_parent =
            parent.is_some_and(|parent| matches!(parent.state, State::Running { .. } | State::Launching { .. }));
        if !has_parent && !container.is_live() {
            self.containers.remove(key);
        }
    }

    /// Brings the orphans up to date; only those not seen before are looked at.
    pub(super) fn look_for_orphans(&mut self) {
        let containers = &self.containers;
        let listed = self.orphans.list.read(|pid| containers.with_pid(pid).is_some());
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return log(&format!("can't read the list of orphans: {error}")),
        };
        for pid in listed {
            let known = self.orphans.known.get(&pid);
            if known.is_some_and(|orphan| !matches!(orphan.owner, Owner::Unknown { .. })) {
                continue;
            }
            let is_killed = known.is_some_and(|orphan| orphan.is_killed);
            let before = known.map(|orphan| orphan.owner);
            if let Some(owner) = self.owner(pid, before) {
                if before.is_none() && matches!(owner, Owner::Unknown { .. }) {
                    self.orphans.look_again = Some(Instant::now() + EXEC_TIMEOUT);
                }
                self.orphans.known.insert(pid, Orphan { owner, is_killed });
            }
        }
    }

    /// By its session, which the kernel vouches for; else by the mark in its environment, which it may have removed.
    fn owner(&self, pid: i32, before: Option<Owner>) -> Option<Owner> {
        let marks = processes::marks(pid)?;
        let is_led =
            |key: &&u64| matches!(self.containers.get(**key).state, State::Ending { pid, .. } if pid == marks.session);
        let by_session =
            self.containers.with_pid(marks.session).or_else(|| self.orphans.ending.iter().find(is_led).copied());
        let by_name = || marks.container.as_deref().and_then(|name| self.containers.named(name));
        Some(match by_session.or_else(by_name) {
            Some(key) => Owner::Container(key),
            None if marks.keep => Owner::Kept,
            None => before.unwrap_or(Owner::Unknown { key_last: self.containers.key_last() }),
        })
    }

    /// Whether an orphan has outlived what it belongs to.
    fn is_doomed(&self, owner: Owner) -> bool {
        let container = |key: &u64| self.containers.by_key.get(key);
        let is_over = |key: &u64| container(key).is_none_or(|container| container.is_over());
        match owner {
            _ if self.stopping.is_some() => true,
            Owner::Container(key) => {
                container(&key).is_none_or(|container| container.is_over() && !container.keep_orphans)
            }
            Owner::Kept => false,
            Owner::Unknown { key_last } => self.containers.by_key.range(..=key_last).all(|(key, _)| is_over(key)),
        }
    }

    pub(super) fn kill_everything(&mut self) {
        for job in self.workers.cancel() {
            self.on_failed(job.key, Failure::spec("the launcher is ending"));
        }
        self.look_for_orphans();
        let mut roots = self.orphans.live(|_| true);
        for container in self.containers.by_key.values_mut() {
            if let State::Launching { signal } = &mut container.state {
                *signal = Some((libc::SIGKILL, Scope::WholeContainer));
            }
            roots.extend(container.main_process());
        }
        roots.extend(self.strays_of(&self.containers.by_key.keys().copied().collect::<Vec<_>>()));
        processes::kill_trees(&roots);
    }
}

/// Takes one child that has ended off the kernel's hands.
fn wait_any() -> Option<(i32, Exit)> {
    let mut status = 0;
    // SAFETY: a struct of numbers, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers lead to locals of the right type.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG | libc::__WALL, &mut usage) };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    let exit = Exit {
        status: Some(status),
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss as u64 * 1024,
    };
    (pid > 0).then_some((pid, exit))
}
