//! One deadline for each thing that an agent waits for.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;

use super::event::LocalId;

/// What is waited for. A timer that is set again moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next attempt to reach the master.
    Reconnect,
    /// The master's answer to Register.
    Register,
    /// A master that is silent until then is out of reach.
    Silence,
    /// A task has run for as long as it may.
    MaxDuration(LocalId),
    /// A container was told to end, and has had its time.
    KillGrace(LocalId),
    /// An update that wasn't acknowledged is sent again.
    ResendUpdate(LocalId),
    /// Messages of an executor that weren't acknowledged are sent again.
    ResendMessages(LocalId),
    /// An executor that was launched has not connected.
    ExecutorRegister(LocalId),
    /// An executor that has ended has not closed its connection.
    ExecutorDrain(LocalId),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    by_timer: BTreeMap<Timer, Time>,
    by_time: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        self.by_timer.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(super) fn at(&self, timer: Timer) -> Option<Time> {
        self.by_timer.get(&timer).copied()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The first timer whose time has come; it is not set any more.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        (at <= now).then(|| {
            self.cancel(timer);
            timer
        })
    }
}
