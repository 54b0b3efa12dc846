//! The one source of chance of a world. Whoever needs some of their own gets a fork, so that one more draw there changes
//! nothing here.

use std::time::Duration;

/// Chance from a seed.
#[derive(Debug, Clone)]
pub struct Chance {
    rng: fastrand::Rng,
}

impl Chance {
    /// The same seed gives the same draws.
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// Chance for somebody else.
    pub fn fork(&mut self) -> Self {
        Self { rng: self.rng.fork() }
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, cases: u32) -> bool {
        self.rng.u32(0..100) < cases
    }

    /// From `0` to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.usize(0..end)
    }

    /// Both ends belong to it.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.rng.u64(from..=to)
    }

    /// From so many to so many milliseconds, to the nanosecond.
    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_nanos(self.between(from * 1_000_000, to * 1_000_000))
    }

    /// Mostly short, sometimes long, as waits on real machines are.
    pub fn wait(&mut self, mostly_ms: u64, rarely_ms: u64) -> Duration {
        let to = if self.percent(4) { rarely_ms } else { mostly_ms };
        self.ms(0, to)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}
