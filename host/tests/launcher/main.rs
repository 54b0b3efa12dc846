//! The launcher with real processes. This program is the launcher too, and the agents and executors that a test needs to
//! kill, so it has its own small harness: `cargo test -p mesos-host --test launcher -- [word of a test's name]`.

mod cases;
mod env;
mod roles;

use std::panic::catch_unwind;
use std::time::Instant;

fn main() {
    mesos_host::init();
    roles::run_if_asked();
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut failed = Vec::new();
    let mut passed_count = 0;
    for (name, case) in cases::ALL.iter().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        let passed = catch_unwind(case).is_ok();
        println!("test {name} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_millis());
        match passed {
            true => passed_count += 1,
            false => failed.push(*name),
        }
    }
    // As cargo's own harness says it, for whoever counts.
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed_count} passed; {} failed; 0 ignored", failed.len());
    if !failed.is_empty() {
        eprintln!("failed: {}", failed.join(", "));
        std::process::exit(1);
    }
}
