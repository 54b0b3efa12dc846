//! The command that `run` and `exec` carry to an agent: how it is typed, and what of our environment goes along.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, ValueHint, value_parser};
use mesos_plugin_api::v1::CommandInfo;

use crate::context::Context;

/// The command and its arguments: everything from the first word on that is no flag of ours.
pub fn arg() -> Arg {
    Arg::new("command")
        .value_name("CMD")
        .required(true)
        .num_args(1..)
        .trailing_var_arg(true)
        .value_parser(value_parser!(OsString))
        .value_hint(ValueHint::CommandWithArguments)
        .help("The command and its arguments")
}

/// What was typed, with those of these variables that are set here.
pub fn typed(context: &Context, carried: &[&str]) -> CommandInfo {
    let mut command = CommandInfo::argv(words(context).map(|word| word.clone().into_vec()));
    for name in carried {
        if let Some(value) = std::env::var_os(name) {
            command.set_env(name, value.into_vec());
        }
    }
    command
}

/// Its first word.
pub fn path(context: &Context) -> &OsStr {
    words(context).next().expect("clap wants at least one")
}

fn words(context: &Context) -> impl Iterator<Item = &OsString> {
    context.verb.get_many::<OsString>("command").expect("clap wants it")
}
