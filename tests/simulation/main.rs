//! `cargo xtask simulate`: many lives and a table of what has happened in them, or one life and its log.

use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};
use simulation::lives::{Lives, live_once};

fn main() -> ExitCode {
    let number = |name: &'static str| Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64));
    let matches = Command::new("simulate")
        .about("Live the lives of seeded worlds: the cluster's cores among faults")
        .arg(number("seeds").default_value("1000").help("How many"))
        .arg(number("from").default_value("1").help("The first"))
        .arg(number("seed").help("Only this one").conflicts_with_all(["seeds", "from"]))
        .arg(
            Arg::new("trace")
                .long("trace")
                .action(ArgAction::SetTrue)
                .requires("seed")
                .help("Show all that happens in it"),
        )
        .arg(number("failures").default_value("10").help("Stop at so many failures"))
        .get_matches();
    let get = |name| matches.get_one::<u64>(name).copied();
    match get("seed") {
        Some(seed) => one(seed, matches.get_flag("trace")),
        None => {
            let [from, seeds, failures] =
                ["from", "seeds", "failures"].map(|name| get(name).expect("it has a default"));
            many(from, seeds, failures as usize)
        }
    }
}

fn one(seed: u64, trace: bool) -> ExitCode {
    let outcome = live_once(seed, trace);
    print!("{}", outcome.counts);
    println!("seed {seed}: {} events, trace hash {:016x}", outcome.events, outcome.hash);
    match outcome.broken {
        Some(problem) => {
            println!("seed {seed}: {problem}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn many(from: u64, seeds: u64, failures_max: usize) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let lives = Lives::live(from, seeds, threads, failures_max);
    print!("{}", lives.counts);
    println!("{} seeds from {from}, {} events", lives.seeds, lives.events);
    for (seed, problem) in &lives.failures {
        println!("seed {seed}: {problem}\n    again: cargo xtask simulate --seed {seed} --trace");
    }
    let missing = lives.never_happened();
    if lives.seeds >= 100 && !missing.is_empty() {
        println!("never happened, so nothing is known about it: {}", missing.join("; "));
        return ExitCode::FAILURE;
    }
    if lives.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
