//! `mesos completions`: what a shell needs to complete our command line, plugins' words included.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use clap_complete::Shell;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::settings::OUTPUT;
use crate::{args, help, output, plugin};

pub const VERB: Verb = Verb { name: "completions", group: Group::Others, command, run };

fn command(command: Command) -> Command {
    let shells = PossibleValuesParser::new(["bash", "zsh", "fish", "elvish", "powershell"]);
    command
        .about("Write a completion script for your shell")
        .long_about(
            "Writes a script that teaches your shell to complete mesos: its verbs and flags, and the commands of the plugins that \
             are installed now. Write it again after installing a plugin.",
        )
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(shells).help("Which shell"))
        .after_long_help(examples(&[
            ("source <(mesos completions bash)", "for this bash; put the line into ~/.bashrc for every one"),
            ("mesos completions fish > ~/.config/fish/completions/mesos.fish", "for fish"),
            ("mesos completions zsh > ~/.zfunc/_mesos", "for zsh, with ~/.zfunc in its fpath"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let shell: Shell = context.text("shell").expect("clap wants it").parse().expect("clap allows only shells");
    let catalogue = help::catalogue(context);
    let words =
        catalogue.commands().filter(|found| !found.command.hidden).map(|found| plugin::command_line(found.command));
    let mut command = args::root().subcommands(words).mut_subcommands(with_formats);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "mesos", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Our own reader of `--output` has a better message, and the parser doesn't know what it reads.
fn with_formats(command: Command) -> Command {
    let is_ours = |arg: &Arg| arg.get_id() == OUTPUT.flag && arg.get_help_heading() == Some(args::GLOBAL_HEADING);
    if command.get_arguments().any(is_ours) {
        return command.mut_arg(OUTPUT.flag, |arg| arg.value_parser(["table", "json", "quiet"]));
    }
    command
}
