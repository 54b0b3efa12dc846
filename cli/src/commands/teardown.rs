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
        .about("End a framework and all of its tasks")
        .long_about(
            "Ends a framework: its tasks and executors are killed, what it stored is removed, and it can't come back under its \
             id.",
        )
        .arg(Arg::new("framework").value_name("FRAMEWORK").required(true).help("Its id, or its name"))
        .after_long_help(examples(&[
            ("mesos teardown train", "ends the framework named train"),
            ("mesos frameworks -q | xargs -n1 mesos teardown", "ends every framework"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let framework = context.text("framework").expect("clap wants it").to_string();
    cluster::ask(context, operator_call::Call::Teardown(TeardownCall { framework }))?;
    Ok(0)
}
