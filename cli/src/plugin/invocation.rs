//! What was typed, as the plugin gets it.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Context as _, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;
use mesos_plugin_api::Invocation;
use mesos_plugin_api::declaration::{Argument, Command as Declared};
use mesos_plugin_api::v1::EnvironmentVariable;
use mesos_plugin_api::v1::command::ArgumentValues;

use crate::context::Context;

/// The invocation for a command line that was parsed by the declaration.
///
/// # Errors
/// This process's working directory is gone.
pub fn of(declared: &Declared, context: &Context) -> Result<Invocation> {
    let mut invocation = typed(declared, &context.verb);
    let here = std::env::current_dir().context("the working directory can't be found")?;
    invocation.working_directory = here.into_os_string().into_vec();
    invocation.environment = std::env::vars_os().filter_map(variable).collect();
    invocation.stdin_is_terminal = Some(std::io::stdin().is_terminal());
    invocation.stdout_is_terminal = Some(std::io::stdout().is_terminal());
    invocation.quiet = Some(context.quiet());
    Ok(invocation)
}

/// The words, and all arguments on the way to the last one.
pub fn typed(declared: &Declared, matches: &ArgMatches) -> Invocation {
    let mut invocation = Invocation::default();
    let (mut declared, mut matches) = (declared, matches);
    loop {
        invocation.path.push(declared.name.clone());
        for argument in &declared.arguments {
            if argument.trailing {
                invocation.trailing = trailing(argument, matches);
            } else {
                let values = values(argument, matches);
                invocation.arguments.push(ArgumentValues { name: argument.name.clone(), values });
            }
        }
        let Some((word, inner)) = matches.subcommand() else { return invocation };
        declared =
            declared.commands.iter().find(|command| command.name == word).expect("clap knows declared words only");
        matches = inner;
    }
}

fn values(argument: &Argument, matches: &ArgMatches) -> Vec<String> {
    let name = argument.name.as_str();
    let times = match (argument.flag, argument.repeated) {
        (true, true) => usize::from(matches.get_count(name)),
        (true, false) => usize::from(matches.value_source(name) == Some(ValueSource::CommandLine)),
        (false, _) => return matches.get_many::<String>(name).map(|all| all.cloned().collect()).unwrap_or_default(),
    };
    vec!["true".to_string(); times]
}

fn trailing(argument: &Argument, matches: &ArgMatches) -> Vec<Vec<u8>> {
    let all = matches.get_many::<OsString>(&argument.name);
    all.map(|all| all.map(|value| value.as_bytes().to_vec()).collect()).unwrap_or_default()
}

/// A variable whose name isn't text can't be said to a plugin; no shell makes one.
fn variable((name, value): (OsString, OsString)) -> Option<EnvironmentVariable> {
    Some(EnvironmentVariable { name: name.into_string().ok()?, value: value.into_vec() })
}
