//! What is still to happen, in the order of time; what is due at one moment, in the order in which it was put in.

use std::collections::BTreeMap;

use mesos_plugin_api::Time;

/// What is to happen, and when.
#[derive(Debug)]
pub struct Queue<T> {
    due: BTreeMap<(Time, u64), T>,
    last: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), last: 0 }
    }
}

impl<T> Queue<T> {
    /// It will happen then.
    pub fn push(&mut self, at: Time, what: T) {
        self.last += 1;
        self.due.insert((at, self.last), what);
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next one.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.due.pop_first().map(|((at, _), what)| (at, what))
    }
}
