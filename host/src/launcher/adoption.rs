//! What a launcher that died has left: its tasks run on, as somebody else's children, and are taken over by pid and start time.
//!
//! ```text
//! Adopt ─▶ pid and start time, or the mark in the environment ─▶ pidfd ─ readable ─▶ ended, nobody knows how ─▶ strays killed
//! ```

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::containers::{Container, Exit, State, pidfd};
use super::log::log;
use super::processes;
use super::proto;
use super::server::Server;

/// Strays are nobody's children that we would hear of: they are looked for again after this long.
const STRAYS_INTERVAL: Duration = Duration::from_millis(20);

impl Server {
    /// One that can't be found has ended, and is in no list.
    pub(super) fn on_adopt(&mut self, adopt: &proto::Adopt) {
        let name = &adopt.container;
        if self.stopping.is_some() || self.check_name(name).is_err() || self.containers.named(name).is_some() {
            return;
        }
        let recorded = (adopt.pid > 1 && adopt.start_time > 0).then_some((adopt.pid, adopt.start_time));
        let found = recorded.or_else(|| {
            let pid = processes::leader_of(name)?;
            Some((pid, processes::start_time(pid)?))
        });
        let Some((pid, start_time)) = found else { return };
        let Some(pidfd) = pidfd(pid) else { return };
        // Only now: the number may have become another's before there was a descriptor.
        if processes::start_time(pid) != Some(start_time) {
            return;
        }
        log(&format!("adopted container {name}, process {pid}"));
        let key = self.containers.insert(Container::new(name.clone(), None, false));
        self.containers.adopt(key, pidfd);
        self.containers.set_running(key, pid, start_time);
    }

    /// Those that run, and what becomes readable when they end.
    pub(super) fn adopted(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let running = |container: &&Container| matches!(container.state, State::Running { .. });
        let containers = self.containers.adopted().filter(move |(_, container)| running(container));
        containers.filter_map(|(key, container)| Some((key, container.adopted.as_ref()?.as_fd())))
    }

    pub(super) fn on_adopted_exit(&mut self, key: u64) {
        self.on_exit(key, Exit { status: None, user_us: 0, system_us: 0, max_rss_bytes: 0 });
    }

    /// What is left of those of these containers that were adopted, beside their main processes.
    pub(super) fn strays_of(&self, keys: &[u64]) -> Vec<i32> {
        let adopted = self.containers.adopted().filter(|(key, _)| keys.contains(key));
        let strays = adopted.flat_map(|(_, container)| match container.state {
            State::Running { pid, .. } | State::Ending { pid, .. } => processes::strays_of(&container.name, pid),
            _ => Vec::new(),
        });
        strays.collect()
    }

    /// How many of a container that has ended are left; they are killed.
    pub(super) fn kill_strays_of(&mut self, key: u64) -> usize {
        let strays = self.strays_of(&[key]);
        if !strays.is_empty() {
            processes::kill_trees(&strays);
            self.orphans.look_again.get_or_insert(Instant::now() + STRAYS_INTERVAL);
        }
        strays.len()
    }
}
