//! How often each thing that the simulation is for has happened. A count of zero over a run means that it proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    counts: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// It has happened.
    pub fn add(&mut self, name: &'static str, times: u64) {
        *self.counts.entry(name).or_default() += times;
    }

    /// How often.
    pub fn get(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Adds those of another world.
    pub fn merge(&mut self, other: &Counts) {
        other.counts.iter().for_each(|(name, times)| self.add(name, *times));
    }

    /// Those that never happened.
    pub fn missing(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.get(name) == 0).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(name, times)| writeln!(f, "{times:>12}  {name}"))
    }
}
