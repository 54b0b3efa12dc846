//! The states that a task has come to and that its framework has not acknowledged: at least once, in order.

use std::collections::VecDeque;
use std::time::Duration;

use mesos_plugin_api::v1::{TaskState, TaskStatus};

use super::event::back_off;

/// How long an update may stay unacknowledged before it is sent again; doubles with each time.
pub const UPDATE_RETRY: Duration = Duration::from_secs(10);
/// As far as that doubles.
pub const UPDATE_RETRY_MAX: Duration = Duration::from_secs(600);
/// Unacknowledged updates of one task beyond which its executor is not listened to.
pub const UPDATES_PENDING_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Updates {
    seq_last: u64,
    pending: VecDeque<Pending>,
    latest: TaskStatus,
    retry: Duration,
}

#[derive(Debug)]
struct Pending {
    status: TaskStatus,
    durable: bool,
}

impl Updates {
    /// `first` is a state that is never told: staging.
    pub(super) fn new(first: TaskStatus) -> Self {
        Self { seq_last: 0, pending: VecDeque::new(), latest: first, retry: UPDATE_RETRY }
    }

    /// Numbers a state; it may be told when it is durable.
    pub(super) fn push(&mut self, mut status: TaskStatus) -> &TaskStatus {
        assert!(!self.latest.state().is_terminal(), "no state follows a terminal one");
        self.seq_last += 1;
        status.update_seq = Some(self.seq_last);
        self.latest = status.clone();
        self.pending.push_back(Pending { status, durable: false });
        &self.latest
    }

    /// Takes a state from a checkpoint: it was numbered before.
    pub(super) fn restore(&mut self, status: TaskStatus) {
        self.seq_last = status.update_seq.unwrap_or(self.seq_last + 1);
        self.latest = status.clone();
        self.pending.push_back(Pending { status, durable: true });
    }

    /// Those that wait for an acknowledgement, or the last one, and whether that was acknowledged.
    pub(super) fn kept(&self) -> (Vec<TaskStatus>, bool) {
        let is_acknowledged = self.pending.is_empty();
        let latest = (is_acknowledged && self.seq_last > 0).then(|| self.latest.clone());
        (self.pending.iter().map(|pending| pending.status.clone()).chain(latest).collect(), is_acknowledged)
    }

    /// It survives the agent's process. Returns whether it is the one to tell now.
    pub(super) fn durable(&mut self, seq: u64) -> bool {
        let pending = self.pending.iter_mut().find(|pending| pending.status.update_seq == Some(seq));
        if let Some(pending) = pending {
            pending.durable = true;
        }
        self.front().is_some_and(|status| status.update_seq == Some(seq))
    }

    /// The one to tell: the oldest that wasn't acknowledged.
    pub(super) fn front(&self) -> Option<&TaskStatus> {
        self.pending.front().filter(|pending| pending.durable).map(|pending| &pending.status)
    }

    /// Takes the front off if it is that one; anything else was acknowledged before, or never told.
    pub(super) fn acknowledge(&mut self, seq: u64) -> bool {
        let is_front = self.front().is_some_and(|status| status.update_seq == Some(seq));
        if is_front {
            self.pending.pop_front();
            self.retry = UPDATE_RETRY;
        }
        is_front
    }

    /// How long to wait for an acknowledgement this time.
    pub(super) fn next_retry(&mut self) -> Duration {
        let retry = self.retry;
        self.retry = back_off(retry, UPDATE_RETRY_MAX);
        retry
    }

    pub(super) fn latest(&self) -> &TaskStatus {
        &self.latest
    }

    pub(super) fn state(&self) -> TaskState {
        self.latest.state()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= UPDATES_PENDING_MAX
    }

    /// The framework knows all that there is to know.
    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty() && self.state().is_terminal()
    }
}
