//! `cargo xtask simulate`: the cores in seeded worlds; or, with `--mutations`, in worlds where something was made wrong on purpose.

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::workspace;

mod mutations;

/// What takes most of an hour on two cores.
const NIGHTLY_SEEDS: &str = "10000";

/// Optimised, with assertions.
pub const PROFILE: &str = "simulation";

/// The command line.
pub fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64)).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).conflicts_with("from")
    };
    Command::new("simulate")
        .about("Let seeded worlds of the cluster's cores live among faults, and count what happens in them")
        .arg(number("seeds", "How many worlds [default: 1000, and 300 with --mutations]"))
        .arg(number("from", "The first seed [default: 1]"))
        .arg(number("seed", "Only this one").conflicts_with_all(["seeds", "from"]))
        .arg(flag("trace", "Show all that happens in it").requires("seed"))
        .arg(flag("nightly", "Ten thousand of them").conflicts_with_all(["seeds", "seed"]))
        .arg(flag("mutations", "Make one thing wrong after another in a copy, and show which seed catches it"))
}

/// True if every invariant held; with `--mutations`, if every mutation was caught.
///
/// # Errors
/// It doesn't build, or a mutation can't be applied.
pub fn run(matches: &ArgMatches) -> Result<bool> {
    if matches.get_flag("mutations") {
        return mutations::run(matches.get_one::<u64>("seeds").copied().unwrap_or(300));
    }
    let package = ["run", "--quiet", "--profile", PROFILE, "--package", "mesos-simulation", "--bin", "simulate", "--"];
    let mut command = workspace::cargo(&package);
    for name in ["seeds", "from", "seed"] {
        if let Some(number) = matches.get_one::<u64>(name) {
            command.arg(format!("--{name}")).arg(number.to_string());
        }
    }
    if matches.get_flag("nightly") {
        command.args(["--seeds", NIGHTLY_SEEDS]);
    }
    command.args(matches.get_flag("trace").then_some("--trace"));
    Ok(command.status()?.success())
}
