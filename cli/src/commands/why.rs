//! `mesos why`: why something waits or is as it is.

use anyhow::Result;
use clap::{Arg, Command};
use mesos_host::protocol::{Why, operator_call, operator_reply};
use serde_json::json;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::output::Format;
use crate::{cluster, output};

pub const VERB: Verb = Verb { name: "why", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    command
        .about("Say why a framework waits, a task is in its state, an agent isn't used")
        .long_about(
            "Says why: a framework gets no offers, a gang waits, a task is in its state, an agent isn't used. The parts that \
             passed something over count their reasons and keep an example of each; this joins them into one answer.",
        )
        .arg(Arg::new("id").value_name("ID").required(true).help("A framework, a task or an agent: its id, or its name"))
        .after_long_help(examples(&[
            ("mesos why train", "why the framework named train has no tasks"),
            ("mesos why train.3", "why that task ended"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let format = context.format()?;
    let id = context.text("id").expect("clap wants it").to_string();
    let replies = cluster::ask(context, operator_call::Call::Why(Why { id: id.clone() }))?;
    let answers: Vec<String> = replies.into_iter().filter_map(answer).collect();
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&json!({ "id": id, "why": answers }))? + "\n",
        Format::Table | Format::Quiet => answers.iter().map(|answer| format!("{}\n", answer.trim_end())).collect(),
    };
    output::print(&text)?;
    Ok(0)
}

fn answer(reply: operator_reply::Reply) -> Option<String> {
    match reply {
        operator_reply::Reply::Why(text) => Some(text),
        _ => None,
    }
}
