//! The simulation as tests: a thousand worlds, the seeds that once found something, and that a seed repeats itself.

use simulation::life::live;
use simulation::lives::{Lives, live_once};
use simulation::seeds::NAMED;

/// Few of them say enough where many fail.
const FAILURES_MAX: usize = 5;

#[test]
fn a_thousand_worlds_keep_all_invariants() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let lives = Lives::live(1, 1000, threads, FAILURES_MAX);
    println!("{}{} seeds, {} events", lives.counts, lives.seeds, lives.events);
    assert!(lives.failures.is_empty(), "{}", failures(&lives));
    assert_eq!(lives.never_happened(), Vec::<&str>::new(), "nothing is known of what never happened");
}

fn failures(lives: &Lives) -> String {
    let line = |(seed, problem): &(u64, String)| format!("\n{problem}\n  cargo xtask simulate --seed {seed} --trace");
    lives.failures.iter().map(line).collect()
}

#[test]
fn seeds_that_found_something_are_quiet() {
    for (name, seed) in NAMED {
        assert_eq!(live_once(*seed, false).broken, None, "{name}: cargo xtask simulate --seed {seed} --trace");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=3 {
        assert_eq!(live(seed, false).hash, live(seed, false).hash);
    }
    assert_ne!(live(1, false).hash, live(2, false).hash);
}
