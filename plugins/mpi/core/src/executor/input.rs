//! Standard input of the readers on this node, with an account of what they took.

use std::collections::BTreeMap;

use mesos_plugin_api::ExecutorCalls;
use mesos_plugin_api::v1::executor::Written;

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

    /// The slowest reader counts: so the window bounds what waits for it. What a process was written on other streams, such as
    /// the answers to PMI, is no input.
    pub(super) fn written(&mut self, written: &Written, calls: &mut ExecutorCalls) {
        if let Some(taken) = self.taken.get_mut(&written.process).filter(|_| written.stream == STDIN_STREAM) {
            *taken += written.bytes;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_pmi_are_no_input() {
        let mut readers = InputReaders::new([1]);
        let mut calls = ExecutorCalls::default();
        readers.written(&Written { process: 1, stream: STDIN_STREAM - 1, bytes: 50 }, &mut calls);
        assert!(calls.take().is_empty());
        readers.written(&Written { process: 1, stream: STDIN_STREAM, bytes: 50 }, &mut calls);
        assert_eq!((calls.take().len(), readers.told), (1, 50));
    }
}
