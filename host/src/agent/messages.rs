//! Numbered messages in one direction: kept until they are confirmed, taken once and in order.

use std::collections::VecDeque;

/// What is sent: numbered from 1 on, kept until confirmed.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    seq_last: u64,
    pending: VecDeque<(u64, T)>,
    bytes: usize,
    size: fn(&T) -> usize,
}

impl<T> Outbox<T> {
    pub(crate) fn new(size: fn(&T) -> usize) -> Self {
        Self { seq_last: 0, pending: VecDeque::new(), bytes: 0, size }
    }

    pub(crate) fn push(&mut self, item: T) -> u64 {
        self.seq_last += 1;
        self.bytes += (self.size)(&item);
        self.pending.push_back((self.seq_last, item));
        self.seq_last
    }

    /// Takes an item from a checkpoint: it was numbered before.
    pub(crate) fn restore(&mut self, seq: u64, item: T) {
        self.seq_last = seq;
        self.bytes += (self.size)(&item);
        self.pending.push_back((seq, item));
    }

    /// Numbers go on after this one.
    pub(crate) fn restore_last(&mut self, seq: u64) {
        self.seq_last = self.seq_last.max(seq);
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut T> {
        self.pending.iter_mut().find(|(number, _)| *number == seq).map(|(_, item)| item)
    }

    /// Takes off all up to and with `seq`, in order.
    pub(crate) fn confirm(&mut self, seq: u64) -> Vec<T> {
        let mut confirmed = Vec::new();
        while self.pending.front().is_some_and(|(first, _)| *first <= seq) {
            let (_, item) = self.pending.pop_front().expect("looked at just now");
            self.bytes -= (self.size)(&item);
            confirmed.push(item);
        }
        confirmed
    }

    /// All up to and with this one were confirmed.
    pub(crate) fn settled(&self) -> u64 {
        self.pending.front().map_or(self.seq_last, |(first, _)| first - 1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.pending.iter().map(|(seq, item)| (*seq, item))
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What was received of a numbered stream: who numbered it, and the last that was taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    incarnation: u64,
    taken: u64,
}

impl Inbox {
    /// Whether it is the next; then it counts as taken. Anything else was taken before, or comes again after what is missing.
    pub(crate) fn take(&mut self, seq: u64) -> bool {
        let is_next = seq == self.taken + 1;
        if is_next {
            self.taken = seq;
        }
        is_next
    }

    /// The same where a newer incarnation numbers anew, and none up to and with `settled` comes again.
    pub(crate) fn take_of(&mut self, incarnation: u64, settled: u64, seq: u64) -> bool {
        if incarnation > self.incarnation {
            *self = Self { incarnation, taken: 0 };
        }
        if incarnation < self.incarnation {
            return false;
        }
        self.taken = self.taken.max(settled);
        self.take(seq)
    }

    /// What a checkpoint says was taken.
    pub(crate) fn restore(&mut self, incarnation: u64, taken: u64) {
        if (incarnation, taken) > self.position() {
            *self = Self { incarnation, taken };
        }
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whose numbers they are, and the last one.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.incarnation, self.taken)
    }
}
