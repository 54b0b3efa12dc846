//! Standard input of the readers on this node, with an account of what they took.

use std::collections::BTreeMap;

use mesos_plugin_api::ExecutorCalls;

use super::tell;
use crate::messages::report::Report as Tell;
use crate::messages::{InputData, InputTaken};

/// The stream that stands for standard input in every process of ours.
pub(super) const STDIN_STREAM: u32 = 2;

/// The readers, and how much each has taken.
#[derive(Debug, Default)]
pub(super) struct InputReaders {
    taken: BTreeMap<u64, u64>,
    told: u64,
    had_readers: bool,
}

impl InputReaders {
    pub(super) fn new(processes: impl IntoIterator<Item = u64>) -> Self {
        let taken: BTreeMap<u64, u64> = processes.into_iter().map(|process| (process, 0)).collect();
        Self { had_readers: !taken.is_empty(), taken, told: 0 }
    }

    pub(super) fn give(&mut self, input: InputData, calls: &mut ExecutorCalls) {
        for process in self.taken.keys() {
            if !input.data.is_empty() {
                calls.write(*process, STDIN_STREAM, input.data.clone());
            }
            if input.end() {
                calls.close_stream(*process, STDIN_STREAM);
            }
        }
    }

    /// The slowest reader counts: so the window bounds what waits for it.
    pub(super) fn written(&mut self, process: u64, bytes: u64, calls: &mut ExecutorCalls) {
        if let Some(taken) = self.taken.get_mut(&process) {
            *taken += bytes;
            self.tell_progress(calls);
        }
    }

    pub(super) fn reader_ended(&mut self, process: u64, calls: &mut ExecutorCalls) {
        if self.taken.remove(&process).is_some() {
            self.tell_progress(calls);
        }
    }

    fn tell_progress(&mut self, calls: &mut ExecutorCalls) {
        let slowest = self.taken.values().copied().min();
        let closed = self.had_readers && slowest.is_none();
        if closed || slowest.is_some_and(|taken| taken > self.told) {
            self.told = slowest.unwrap_or(self.told);
            tell(calls, Tell::InputTaken(InputTaken { bytes: self.told, closed: closed.then_some(true) }));
        }
    }
}
