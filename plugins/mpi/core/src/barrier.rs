//! The barrier over all nodes: one message in from each, one out to each.

use std::collections::BTreeMap;

use crate::messages::{Barrier, Entry, Release};

/// Waits for every node at one barrier after the other.
#[derive(Debug)]
pub struct Barriers {
    nodes: u32,
    barrier: u64,
    arrived: BTreeMap<u32, Vec<Entry>>,
}

impl Barriers {
    /// For a job on so many nodes.
    pub fn new(nodes: u32) -> Self {
        Self { nodes, barrier: 1, arrived: BTreeMap::new() }
    }

    /// A node has come; the release for all of them, if it was the last. One that comes for another barrier is seen twice.
    pub fn arrive(&mut self, node: u32, barrier: Barrier) -> Option<Release> {
        if barrier.barrier != self.barrier {
            return None;
        }
        self.arrived.insert(node, barrier.entries);
        if self.arrived.len() < self.nodes as usize {
            return None;
        }
        self.barrier += 1;
        let entries = std::mem::take(&mut self.arrived).into_values().flatten().collect();
        Some(Release { barrier: self.barrier - 1, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry {
        Entry { key: key.into(), value: b"v".to_vec() }
    }

    #[test]
    fn the_last_node_releases_all_with_the_keys_of_all() {
        let mut barriers = Barriers::new(2);
        assert_eq!(barriers.arrive(1, Barrier { barrier: 1, entries: vec![entry("b")] }), None);
        assert_eq!(barriers.arrive(1, Barrier { barrier: 1, entries: vec![entry("b")] }), None);
        let release = barriers.arrive(0, Barrier { barrier: 1, entries: vec![entry("a")] });
        assert_eq!(release, Some(Release { barrier: 1, entries: vec![entry("a"), entry("b")] }));
    }

    #[test]
    fn a_barrier_that_is_over_is_not_counted_again() {
        let mut barriers = Barriers::new(2);
        barriers.arrive(0, Barrier { barrier: 1, entries: vec![] });
        barriers.arrive(1, Barrier { barrier: 1, entries: vec![] });
        barriers.arrive(0, Barrier { barrier: 2, entries: vec![] });
        assert_eq!(barriers.arrive(1, Barrier { barrier: 1, entries: vec![] }), None);
        assert!(barriers.arrive(1, Barrier { barrier: 2, entries: vec![] }).is_some());
    }
}
