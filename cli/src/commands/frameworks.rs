//! `mesos frameworks`: who uses the cluster.

use std::time::Duration;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_host::protocol::{FrameworkState, ListFrameworks, operator_call, operator_reply};
use serde::Serialize;

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::Context;
use crate::output::{self, Row, age, amounts, iso, now_ns};

pub const VERB: Verb = Verb { name: "frameworks", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    command
        .about("Show the frameworks and what they use")
        .long_about(
            "Shows the frameworks: each job that runs on the cluster, 'mesos run' too, is one. With --all also those that have \
             ended, as far as the master remembers.",
        )
        .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue).help("Also those that have ended"))
        .after_long_help(examples(&[
            ("mesos frameworks", "who uses the cluster now"),
            ("mesos frameworks --all -o json", "everything about them, ended ones too"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let format = context.format()?;
    let completed = context.given("all").then_some(true);
    let replies = cluster::ask(context, operator_call::Call::ListFrameworks(ListFrameworks { completed }))?;
    let rows: Vec<Framework> = replies.into_iter().filter_map(row).collect();
    output::show(format, &rows, "no frameworks")?;
    Ok(0)
}

fn row(reply: operator_reply::Reply) -> Option<Framework> {
    match reply {
        operator_reply::Reply::Framework(state) => Some(Framework::of(&state)),
        _ => None,
    }
}

/// What is shown of a framework.
#[derive(Debug, Serialize)]
struct Framework {
    id: String,
    name: String,
    user: String,
    role: String,
    principal: Option<String>,
    plugin: Option<String>,
    state: &'static str,
    tasks: u32,
    used: serde_json::Value,
    offered: serde_json::Value,
    registered: String,
    ended: Option<String>,
    #[serde(skip)]
    resources: String,
    #[serde(skip)]
    lifetime: Duration,
}

impl Framework {
    fn of(state: &FrameworkState) -> Self {
        let info = &state.framework;
        Self {
            id: info.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: info.name.clone(),
            user: info.user.clone(),
            role: info.role.clone(),
            principal: state.principal.clone(),
            plugin: info.plugin.as_ref().map(|plugin| format!("{} {}", plugin.name, plugin.version)),
            state: match (state.ended_ns, state.connected) {
                (Some(_), _) => "ended",
                (None, true) => "connected",
                (None, false) => "disconnected",
            },
            tasks: state.tasks,
            used: amounts::json(&state.used),
            offered: amounts::json(&state.offered),
            registered: iso(state.registered_ns),
            ended: state.ended_ns.map(iso),
            resources: state.used.to_string(),
            lifetime: Duration::from_nanos(state.ended_ns.unwrap_or_else(now_ns).saturating_sub(state.registered_ns)),
        }
    }
}

impl Row for Framework {
    const HEADINGS: &'static [&'static str] = &["ID", "NAME", "USER", "ROLE", "STATE", "TASKS", "USES", "FOR"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.user.clone(),
            self.role.clone(),
            self.state.to_string(),
            self.tasks.to_string(),
            self.resources.clone(),
            age(self.lifetime),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}
