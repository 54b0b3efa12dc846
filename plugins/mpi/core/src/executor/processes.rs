//! What runs on this node, and how it is made to end.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::v1::executor::Spawn;
use mesos_plugin_api::{ExecutorCalls, Time};

use super::KILL_TIMER;

pub(super) const SIGUSR1: i32 = 10;
pub(super) const SIGUSR2: i32 = 12;
pub(super) const SIGKILL: i32 = 9;
pub(super) const SIGTERM: i32 = 15;
pub(super) const SIGCONT: i32 = 18;
pub(super) const SIGSTOP: i32 = 19;
pub(super) const SIGTSTP: i32 = 20;

/// The processes that were launched and haven't ended.
#[derive(Debug, Default)]
pub(super) struct Processes {
    live: BTreeSet<u64>,
    /// The last signal that ends: sent again to a process that starts after it.
    ending: Option<i32>,
    kill_at: Option<Time>,
}

impl Processes {
    pub(super) fn launch(&mut self, spawn: Spawn, calls: &mut ExecutorCalls) {
        self.live.insert(spawn.process);
        calls.spawn(spawn);
    }

    /// A signal that came before the process was there may have been lost.
    pub(super) fn started(&mut self, process: u64, calls: &mut ExecutorCalls) {
        if let Some(signal) = self.ending {
            calls.signal_group(process, signal);
        }
    }

    pub(super) fn ended(&mut self, process: u64) {
        self.live.remove(&process);
    }

    pub(super) fn none_left(&self) -> bool {
        self.live.is_empty()
    }

    /// TERM now, KILL after the grace. Whoever asks again may only shorten it.
    pub(super) fn stop(&mut self, now: Time, grace: Duration, calls: &mut ExecutorCalls) {
        if grace.is_zero() {
            return self.kill_now(calls);
        }
        if self.ending.is_none() {
            self.ending = Some(SIGTERM);
            self.signal_all(SIGTERM, calls);
            // One that is stopped sees TERM only when it goes on.
            self.signal_all(SIGCONT, calls);
        }
        let at = now + grace;
        if self.kill_at.is_none_or(|kill_at| at < kill_at) {
            self.kill_at = Some(at);
            calls.set_timer(KILL_TIMER, at);
        }
    }

    pub(super) fn kill_now(&mut self, calls: &mut ExecutorCalls) {
        self.ending = Some(SIGKILL);
        self.signal_all(SIGKILL, calls);
    }

    pub(super) fn stopping(&self) -> bool {
        self.ending.is_some()
    }

    /// A signal that the command in front got. What a terminal sends to a group goes to each rank's group; USR1 and USR2 go to
    /// the rank alone, since a shell around it would die of them. A rank is the leader of an orphaned group, where the kernel
    /// ignores TSTP: it is stopped by STOP.
    pub(super) fn signal_ranks(&self, signal: i32, calls: &mut ExecutorCalls) {
        match signal {
            SIGUSR1 | SIGUSR2 => self.live.iter().for_each(|process| calls.signal(*process, signal)),
            SIGTSTP => self.signal_all(SIGSTOP, calls),
            _ => self.signal_all(signal, calls),
        }
    }

    fn signal_all(&self, signal: i32, calls: &mut ExecutorCalls) {
        self.live.iter().for_each(|process| calls.signal_group(*process, signal));
    }
}
