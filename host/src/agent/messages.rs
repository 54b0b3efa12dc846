//! Numbered messages in one direction: kept until they are confirmed, taken once and in order.

use std::collections::VecDeque;

/// What is sent: numbered from 1 on, kept until confirmed.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    seq_last: u64,
    pending: VecDeque<(u64, T)>,
    bytes: usize,
    size: fn(&T) -> usize,
}

impl<T> Outbox<T> {
    pub(super) fn new(size: fn(&T) -> usize) -> Self {
        Self { seq_last: 0, pending: VecDeque::new(), bytes: 0, size }
    }

    pub(super) fn push(&mut self, item: T) -> u64 {
        self.seq_last += 1;
        self.bytes += (self.size)(&item);
        self.pending.push_back((self.seq_last, item));
        self.seq_last
    }

    /// Takes off all up to and with `seq`, in order.
    pub(super) fn confirm(&mut self, seq: u64) -> Vec<T> {
        let mut confirmed = Vec::new();
        while self.pending.front().is_some_and(|(first, _)| *first <= seq) {
            let (_, item) = self.pending.pop_front().expect("looked at just now");
            self.bytes -= (self.size)(&item);
            confirmed.push(item);
        }
        confirmed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.pending.iter().map(|(seq, item)| (*seq, item))
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What was received: the number of the last that was taken.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    taken: u64,
}

impl Inbox {
    /// Whether it is the next; then it counts as taken. Anything else was taken before, or comes again after what is missing.
    pub(super) fn take(&mut self, seq: u64) -> bool {
        let is_next = seq == self.taken + 1;
        if is_next {
            self.taken = seq;
        }
        is_next
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
}
