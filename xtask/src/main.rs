//! Development commands, run as `cargo xtask …`.
//!
//! ```text
//! demo      a real MPI program through an embedded cluster, from a clean machine
//! test      everything that must hold before a change goes in; `.ci/run` calls it
//! bench     figures, each as a ratio to what the machine can do
//! fuzz      look for bytes on which something does not hold
//! simulate  the cores in seeded worlds among faults; --seed N --trace repeats one
//! install   what a user needs, into a folder
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

mod workspace;

mod bench;
mod demo;
mod fuzz;
mod install;
mod simulate;
mod test;

fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if everything held.
fn run(matches: &ArgMatches) -> Result<bool> {
    match matches.subcommand().expect("clap wants one") {
        ("demo", _) => demo::run(),
        ("test", matches) => {
            let filter: Vec<String> = matches.get_many("filter").unwrap_or_default().cloned().collect();
            test::run(matches.get_flag("all"), &filter)
        }
        ("bench", matches) => {
            let [pairs, tasks] =
                ["pairs", "tasks"].map(|name| *matches.get_one::<u32>(name).expect("it has a default"));
            bench::run(&bench::Options {
                pairs: pairs as usize,
                tasks: tasks as usize,
                names: matches.get_many("name").unwrap_or_default().cloned().collect(),
                write: matches.get_flag("write"),
            })
        }
        ("fuzz", matches) => {
            let target = matches.get_one::<String>("target").expect("clap wants it");
            let seconds = *matches.get_one::<u32>("seconds").expect("it has a default");
            fuzz::run(target, seconds, matches.get_flag("keep"))
        }
        ("simulate", matches) => simulate::run(matches),
        ("install", matches) => install::run(matches.get_one::<PathBuf>("prefix").expect("clap wants it")),
        (other, _) => unreachable!("clap knows no {other}"),
    }
}

fn command() -> Command {
    let demo = Command::new("demo")
        .about("Install what is missing, build, and run a real MPI program with 4 ranks through the embedded cluster");
    let test = Command::new("test")
        .about("Check format, lints, unit tests, documentation, tidiness and the whole with real processes")
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Also the tests that take minutes"))
        .arg(Arg::new("filter").num_args(0..=2).value_name("FILTER").help(
            "A step or group of integration tests and then a part of a test's name, or only that; see CONTRIBUTING.md",
        ));
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let at_least_one = value_parser!(u32).range(1..);
        Arg::new(name).long(name).value_name("N").default_value(default).value_parser(at_least_one).help(help)
    };
    let bench = Command::new("bench")
        .about("Measure, and print a table in Markdown")
        .arg(number("pairs", "20", "How many pairs of measurements, or rounds, each figure takes"))
        .arg(number("tasks", "5000", "How many tasks one measurement runs"))
        .arg(
            Arg::new("write")
                .long("write")
                .action(ArgAction::SetTrue)
                .help("Put the rows into docs/speed.md and README.md too"),
        )
        .arg(
            Arg::new("name")
                .num_args(0..)
                .value_name("NAME")
                .help("Only these: tasks, latency, control, failover, allocator, mpi"),
        );
    let fuzz = Command::new("fuzz")
        .about("Look for bytes on which a target of tests/fuzz does not hold")
        .arg(Arg::new("target").value_name("TARGET").required(true).help("A file of fuzz/fuzz_targets, such as master"))
        .arg(number("seconds", "60", "How long"))
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("Then replace fuzz/corpus/TARGET by the fewest inputs that reach as much as all that was found"),
        );
    let prefix =
        Arg::new("prefix").long("prefix").required(true).value_name("DIR").value_parser(value_parser!(PathBuf));
    let install = Command::new("install")
        .about("Build for release and copy the program, its plugins, completions and documents into a folder")
        .arg(prefix.help("The folder, such as ~/.local or /usr/local"));
    Command::new("cargo xtask")
        .about("Development commands of mesos")
        .max_term_width(100)
        .subcommand_required(true)
        .subcommands([demo, test, bench, fuzz, simulate::command(), install])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
