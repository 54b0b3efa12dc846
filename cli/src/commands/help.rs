//! `mesos help`: the overview, or all about one command.

use anyhow::Result;
use clap::{Arg, Command};

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::{args, help, output, plugin};

pub const VERB: Verb = Verb { name: "help", group: Group::Others, command, run };

fn command(command: Command) -> Command {
    command
        .about("Show the overview, or all about one command")
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(0..)
                .help("The command, and its subcommand if it has some"),
        )
        .after_long_help(examples(&[("mesos help run", "the same as 'mesos run --help'")]))
}

fn run(context: &Context) -> Result<i32> {
    let words = context.texts("command");
    let Some((first, rest)) = words.split_first() else { return help::overview(context) };
    let own = args::root().find_subcommand(first).cloned();
    let mut command = match own {
        Some(command) => command.bin_name(format!("mesos {first}")),
        None => plugin::find(&help::catalogue(context), first)?,
    };
    for word in rest {
        let name = format!("{} {word}", command.get_bin_name().unwrap_or("mesos"));
        let inner = command.find_subcommand(word).cloned();
        command = inner.ok_or_else(|| crate::errors::usage(format!("there is no command '{name}'")))?.bin_name(name);
    }
    output::print(&command.render_long_help().to_string())?;
    Ok(0)
}
