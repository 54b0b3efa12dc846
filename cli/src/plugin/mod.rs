//! Commands that plugins bring: declared words become a command line, and what was typed becomes an invocation.
//!
//! ```text
//! word ─▶ declarations ─▶ clap command ─▶ matches ─▶ Invocation ─▶ load the one plugin ─▶ its command half ─▶ exit code
//! ```

pub mod host;
mod invocation;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};
use mesos_host::loader::{self, Catalogue, FindError};
use mesos_plugin_api::declaration::{Argument, Command as Declared};

use crate::context::Context;
use crate::errors::{nearest, usage};
use crate::{args, commands, help};

/// Runs a plugin's command.
///
/// # Errors
/// No plugin has the word, the plugin doesn't load, or it says so.
pub fn run(context: Context, word: &str) -> Result<i32> {
    let catalogue = help::catalogue(&context);
    let found = catalogue.find(word).map_err(|error| not_found(&catalogue, word, &error))?;
    let mut line = vec![OsString::from(format!("mesos {word}"))];
    line.extend(args::external_args(&context.verb));
    let matches = match command_line(found.command).bin_name(format!("mesos {word}")).try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => return args::parse_error(&error),
    };
    let context = Context { verb: matches, ..context };
    let invocation = invocation::of(found.command, &context)?;
    let plugin = loader::load(found.plugin)?;
    let host = Arc::new(host::Host::new(context, plugin.clone())?);
    let exit_code = plugin.run_command(host.clone(), &invocation);
    host.end();
    exit_code.map_err(|error| anyhow!("{error}"))
}

/// The command line of a plugin's word, for its help.
///
/// # Errors
/// No plugin has the word.
pub fn find(catalogue: &Catalogue, word: &str) -> Result<Command> {
    let found = catalogue.find(word).map_err(|error| not_found(catalogue, word, &error))?;
    Ok(command_line(found.command).bin_name(format!("mesos {word}")))
}

fn not_found(catalogue: &Catalogue, word: &str, error: &FindError) -> anyhow::Error {
    let FindError::Unknown { .. } = error else { return usage(error.to_string()) };
    let plugin_words: Vec<&str> = catalogue.commands().map(|found| found.command.name.as_str()).collect();
    let next = match nearest(word, commands::names().into_iter().chain(plugin_words)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "'mesos --help' shows all".to_string(),
    };
    usage(format!("there is no command '{word}', of mesos or of a plugin; {next}"))
}

/// What a plugin declares, with the flags of every command.
pub fn command_line(declared: &Declared) -> Command {
    with_global_args(command(declared), declared)
}

fn command(declared: &Declared) -> Command {
    let mut command = Command::new(declared.name.clone()).about(declared.help.clone()).hide(declared.hidden);
    if let Some(long) = &declared.long_help {
        command = command.long_about(format!("{}\n\n{long}", declared.help));
    }
    if !declared.examples.is_empty() {
        let lines = declared.examples.iter().map(|example| format!("  {}\n      {}\n", example.line, example.help));
        command = command.after_help(format!("Examples:\n{}", lines.collect::<String>()));
    }
    if !declared.commands.is_empty() {
        let alone = declared.arguments.iter().all(|argument| !argument.required);
        command = command.subcommand_required(alone).disable_help_subcommand(true);
    }
    let asks_help = |argument: &Argument| argument.short == Some('h') || argument.long.as_deref() == Some("help");
    command = command.disable_help_flag(true);
    if !declared.arguments.iter().any(asks_help) {
        command = command.arg(args::help_arg());
    }
    let command = command.args(declared.arguments.iter().map(arg));
    command.subcommands(declared.commands.iter().map(self::command))
}

fn arg(declared: &Argument) -> Arg {
    let value = declared.value.clone().unwrap_or_else(|| declared.name.to_uppercase());
    let mut arg = Arg::new(declared.name.clone()).help(declared.help.clone()).hide(declared.hidden);
    arg = arg.required(declared.required);
    if let Some(long) = &declared.long_help {
        arg = arg.long_help(format!("{}\n{long}", declared.help));
    }
    if let Some(long) = &declared.long {
        arg = arg.long(long.clone());
    }
    if let Some(short) = declared.short {
        arg = arg.short(short);
    }
    if declared.flag {
        return arg.action(if declared.repeated { ArgAction::Count } else { ArgAction::SetTrue });
    }
    // `-n -3` is for the plugin to refuse, in its own words.
    arg = arg.value_name(value).allow_negative_numbers(true);
    if let Some(default) = &declared.default {
        arg = arg.default_value(default.clone());
    }
    if declared.trailing {
        return arg.num_args(1..).trailing_var_arg(true).value_parser(value_parser!(OsString));
    }
    if !declared.possible.is_empty() {
        arg = arg.value_parser(PossibleValuesParser::new(declared.possible.clone()));
    }
    match (declared.repeated, declared.positional()) {
        (true, true) => arg.num_args(1..).action(ArgAction::Append),
        (true, false) => arg.action(ArgAction::Append),
        // The last one counts, as people expect who keep a line in an alias.
        (false, false) => arg.overrides_with(declared.name.clone()),
        (false, true) => arg,
    }
}

/// Our own flags, as far as the plugin doesn't use the words itself: `--output` is a plugin's own more often than not.
fn with_global_args(command: Command, declared: &Declared) -> Command {
    let mut used: Vec<&Argument> = Vec::new();
    all_arguments(declared, &mut used);
    let free = |arg: &Arg| {
        let taken =
            |argument: &&Argument| argument.name == arg.get_id().as_str() || argument.long.as_deref() == arg.get_long();
        !used.iter().any(taken)
    };
    let short_free = |short: char| !used.iter().any(|argument| argument.short == Some(short));
    let args = args::global_args().into_iter().filter(|arg| arg.get_id() != "plugin-dir" && free(arg)).map(|arg| {
        let short = arg.get_short().filter(|short| short_free(*short));
        arg.short(short).help_heading(args::GLOBAL_HEADING)
    });
    let args: Vec<Arg> = args.collect();
    give(command, &args)
}

/// To the command and those below it: a flag is typed after the last word.
fn give(command: Command, args: &[Arg]) -> Command {
    command.args(args.to_vec()).mut_subcommands(|inner| give(inner, args))
}

fn all_arguments<'a>(declared: &'a Declared, all: &mut Vec<&'a Argument>) {
    all.extend(&declared.arguments);
    declared.commands.iter().for_each(|inner| all_arguments(inner, all));
}
