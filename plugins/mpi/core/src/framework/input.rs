//! Standard input on its way to the readers, with a bound on what waits for them.

use std::collections::BTreeMap;

use mesos_plugin_api::Calls;
use mesos_plugin_api::v1::framework::Stdin;

use crate::messages::{InputData, InputTaken};

/// What may be on its way to a reader that hasn't taken it, in bytes.
const WINDOW_BYTES: u64 = 512 << 10;

/// Where standard input goes, and how much of it is on its way.
#[derive(Debug, Default)]
pub(super) struct InputFlow {
    /// What each node with readers has taken.
    taken: BTreeMap<u32, u64>,
    sent: u64,
    waiting: Vec<Stdin>,
    open: bool,
    paused: bool,
}

impl InputFlow {
    /// Nobody reads yet.
    pub(super) fn hold(&mut self, calls: &mut Calls) {
        self.pause(true, calls);
    }

    /// These nodes have readers now; what came before is on its way.
    pub(super) fn open(&mut self, nodes: impl IntoIterator<Item = u32>, calls: &mut Calls) -> Vec<(u32, InputData)> {
        self.taken = nodes.into_iter().map(|node| (node, 0)).collect();
        self.open = true;
        let waiting = std::mem::take(&mut self.waiting);
        let data = waiting.into_iter().flat_map(|stdin| self.give(stdin, calls)).collect();
        self.pause_if_full(calls);
        data
    }

    /// What came from the terminal, for each node that has readers.
    pub(super) fn give(&mut self, stdin: Stdin, calls: &mut Calls) -> Vec<(u32, InputData)> {
        if !self.open {
            self.waiting.push(stdin);
            return Vec::new();
        }
        self.sent += stdin.data.len() as u64;
        let data = InputData { data: stdin.data, end: stdin.end };
        self.pause_if_full(calls);
        self.taken.keys().map(|node| (*node, data.clone())).collect()
    }

    /// A node's readers have come further, or are gone.
    pub(super) fn taken(&mut self, node: u32, taken: &InputTaken, calls: &mut Calls) {
        if taken.closed() {
            self.taken.remove(&node);
        } else if let Some(before) = self.taken.get_mut(&node) {
            *before = taken.bytes.max(*before);
        }
        self.pause_if_full(calls);
    }

    /// With no reader left, what still comes is dropped, and the writer before us in a pipe isn't held up.
    fn pause_if_full(&mut self, calls: &mut Calls) {
        let slowest = self.taken.values().min();
        let full = slowest.is_some_and(|taken| self.sent.saturating_sub(*taken) >= WINDOW_BYTES);
        self.pause(full, calls);
    }

    fn pause(&mut self, paused: bool, calls: &mut Calls) {
        if paused != self.paused {
            self.paused = paused;
            calls.pause_stdin(paused);
        }
    }
}
