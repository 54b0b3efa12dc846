//! What is fuzzed: each target takes bytes that anybody may have sent, and panics where something does not hold.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ── cargo fuzz: coverage, sanitizers, without end ──┐
//!                                                                              ├──▶ Target::run(bytes)
//! tests/corpora.rs ── fuzz/corpus/NAME/*, and mutations of them, in CI ────────┘
//! ```
//!
//! Targets of state machines read their bytes as a list of steps, so that a mutation of one byte is another step and the rest stays.

// A field that is added to a message later is left out until a target is made to know it.
#![allow(clippy::needless_update)]

mod input;
mod master;
mod agent;
mod framework;
mod pmi;
mod resources;
mod plugins;
mod launcher;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// As in `fuzz/fuzz_targets` and `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "master", run: master::run },
    Target { name: "agent", run: agent::run },
    Target { name: "framework", run: framework::run },
    Target { name: "pmi", run: pmi::run },
    Target { name: "resources", run: resources::run },
    Target { name: "plugins", run: plugins::run },
    Target { name: "launcher", run: launcher::run },
];

/// Runs the target of this name.
///
/// # Panics
/// There is none, or something does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target {name}")).run)(bytes);
}
