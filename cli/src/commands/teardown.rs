//! `mesos teardown`: ends a framework.

use anyhow::Result;
use clap::{Arg, Command};
use mesos_host::protocol::{TeardownCall, operator_call};

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::Context;

pub const VERB: Verb = Verb { name: "teardown", group: Group::Programs, command, run };

fn command(command: Command) -> Command {
    command
        .about("End frameworks and all of their tasks")
        .long_about(
            "Ends frameworks: their tasks and executors are killed, what they stored is removed, and they can't come back under \
             their ids.",
        )
        .arg(Arg::new("framework").value_name("FRAMEWORK").required(true).num_args(1..).help("Ids or names"))
        .after_long_help(examples(&[
            ("mesos teardown train", "ends the framework named train"),
            ("mesos frameworks -q | xargs mesos teardown", "ends every framework"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let calls =
        context.texts("framework").into_iter().map(|framework| TeardownCall { framework, ..Default::default() });
    cluster::ask_each(context, calls.map(operator_call::Call::Teardown))
}
