//! `mesos kill`: ends tasks.

use anyhow::Result;
use clap::{Arg, Command};
use mesos_host::protocol::{KillCall, TaskSelector, operator_call};

use super::{Group, Verb, examples, framework_arg};
use crate::cluster;
use crate::context::Context;

pub const VERB: Verb = Verb { name: "kill", group: Group::Programs, command, run };

fn command(command: Command) -> Command {
    command
        .about("End tasks: TERM, and KILL after their grace period")
        .long_about(
            "Ends tasks: each gets TERM, and KILL when its grace period is over (3 s unless its framework chose another). The \
             framework sees it as killed by an operator, and may start another one in its place: 'mesos teardown' ends all.",
        )
        .arg(Arg::new("task").value_name("TASK").required(true).num_args(1..).help("Ids, as 'mesos tasks' shows them"))
        .arg(framework_arg("Whose tasks, where several frameworks use the same id").short('f'))
        .after_long_help(examples(&[
            ("mesos kill train.3", "ends one task"),
            ("mesos tasks -q -f train | xargs mesos kill", "ends every task of a framework"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let framework = context.text("framework").map(ToString::to_string);
    let selectors = context.texts("task").into_iter().map(|task| TaskSelector { task, framework: framework.clone() });
    cluster::ask_each(context, selectors.map(|task| operator_call::Call::Kill(KillCall { task })))
}
