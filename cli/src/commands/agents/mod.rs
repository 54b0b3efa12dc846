//! `mesos agents`: the machines of the cluster.

mod plans;

use std::time::Duration;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_host::protocol::{AgentAbsence, AgentState, ListAgents, operator_call, operator_reply};
use serde::Serialize;

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::Context;
use crate::output::{self, NONE, Row, age, amounts, iso, now_ns};

pub const VERB: Verb = Verb { name: "agents", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    command
        .about("Show the agents, what they have and what is in use")
        .long_about(
            "Shows the agents of the cluster: each one's id, host and address, how much of its cores and memory is in use, \
             and its state: active; draining, and for how long; drained, deactivated; disconnected, unreachable, recovering (a \
             new master waits for it), lost or gone, and since when.",
        )
        .arg(Arg::new("all").long("all").short('a').action(ArgAction::SetTrue).help("Also those that are lost or gone"))
        .subcommands(plans::commands())
        .after_long_help(examples(&[
            ("mesos agents", "a table"),
            ("mesos agents -o json", "everything about them, offered resources and attributes too"),
            ("mesos agents -q | wc -l", "how many there are"),
            ("mesos agents drain node7 --grace 5m", "gives node7 no more tasks, and 5 minutes to those that it has"),
            ("mesos agents undrain node7", "offers it again"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    if let Some((verb, given)) = context.verb.subcommand() {
        return plans::run(context, verb, given);
    }
    let format = context.format()?;
    let list = ListAgents { all: context.given("all").then_some(true) };
    let replies = cluster::ask(context, operator_call::Call::ListAgents(list))?;
    let rows: Vec<Agent> = replies.into_iter().filter_map(row).collect();
    output::show(format, &rows, "no agents; 'mesos agent --master HOST:PORT' adds this machine")?;
    Ok(0)
}

fn row(reply: operator_reply::Reply) -> Option<Agent> {
    match reply {
        operator_reply::Reply::Agent(state) => Some(Agent::of(&state)),
        _ => None,
    }
}

/// What is shown of an agent.
#[derive(Debug, Serialize)]
struct Agent {
    id: String,
    hostname: String,
    address: String,
    connected: bool,
    state: &'static str,
    deactivated: bool,
    drain_deadline: Option<String>,
    absent_since: Option<String>,
    total: serde_json::Value,
    used: serde_json::Value,
    offered: serde_json::Value,
    tasks: u32,
    attributes: serde_json::Map<String, serde_json::Value>,
    registered: String,
    version: Option<String>,
    #[serde(skip)]
    state_text: String,
    #[serde(skip)]
    cpus: String,
    #[serde(skip)]
    mem: String,
    #[serde(skip)]
    since: Duration,
}

impl Agent {
    fn of(state: &AgentState) -> Self {
        let info = &state.agent;
        let total = &info.resources;
        Self {
            id: info.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            hostname: info.hostname.clone(),
            address: format!("{}:{}", info.address, info.port),
            connected: state.connected,
            state: word(state),
            deactivated: state.deactivated(),
            drain_deadline: state.drain_deadline_ns.map(iso),
            absent_since: state.absent_since_ns.map(iso),
            total: amounts::json(total),
            used: amounts::json(&state.used),
            offered: amounts::json(&state.offered),
            tasks: state.tasks,
            attributes: info.attributes.iter().map(|a| (a.name.clone(), a.value_text().into())).collect(),
            registered: iso(state.registered_ns),
            version: state.version.clone(),
            state_text: state_text(state, now_ns()),
            cpus: amounts::of(state.used.cpus_milli(), total.cpus_milli()),
            mem: amounts::of(state.used.mem_milli(), total.mem_milli()),
            since: Duration::from_nanos(now_ns().saturating_sub(state.registered_ns)),
        }
    }

    fn attributes_text(&self) -> String {
        let text = |(name, value): (&String, &serde_json::Value)| format!("{name}:{}", value.as_str().unwrap_or(NONE));
        let all: Vec<String> = self.attributes.iter().map(text).collect();
        if all.is_empty() { NONE.to_string() } else { all.join(";") }
    }
}

/// One word for programs; what keeps it away counts before what operators want of it.
fn word(state: &AgentState) -> &'static str {
    match state.absence.map(|_| state.absence()) {
        Some(AgentAbsence::AgentGone) => "gone",
        Some(AgentAbsence::AgentLost) => "lost",
        Some(AgentAbsence::AgentUnreachable) => "unreachable",
        Some(AgentAbsence::AgentRecovering) => "recovering",
        None if state.drained() => "drained",
        None if state.drain_deadline_ns.is_some() => "draining",
        None if state.deactivated() => "deactivated",
        None if state.connected => "active",
        None => "disconnected",
    }
}

/// All that matters of its state, for people.
fn state_text(state: &AgentState, now_ns: u64) -> String {
    let mut text = word(state).to_string();
    let span = |from: u64, to: u64| age(Duration::from_nanos(to.saturating_sub(from)));
    if let Some(since) = state.absent_since_ns {
        text += &format!(" {}", span(since, now_ns));
    } else if let ("draining", Some(deadline)) = (word(state), state.drain_deadline_ns) {
        text += &format!(" {}", span(now_ns, deadline));
    }
    let wanted = match () {
        () if state.drained() => "drained",
        () if state.drain_deadline_ns.is_some() => "draining",
        () if state.deactivated() => "deactivated",
        () => "",
    };
    if state.absent_since_ns.is_some() && !wanted.is_empty() {
        text += &format!(", {wanted}");
    } else if state.absence.is_none() && !state.connected && word(state) != "disconnected" {
        text += ", disconnected";
    }
    text
}

impl Row for Agent {
    const HEADINGS: &'static [&'static str] =
        &["ID", "HOST", "ADDRESS", "CPUS", "MEM (MB)", "TASKS", "STATE", "SINCE", "ATTRIBUTES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.hostname.clone(),
            self.address.clone(),
            self.cpus.clone(),
            self.mem.clone(),
            self.tasks.to_string(),
            self.state_text.clone(),
            age(self.since),
            self.attributes_text(),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use mesos_plugin_api::v1::{AgentId, AgentInfo, Attribute};

    use super::*;

    #[test]
    fn an_agent_shows_what_is_used_of_what_it_has() {
        let agent = AgentInfo {
            hostname: "node1".into(),
            address: "10.0.0.1".into(),
            port: 5051,
            resources: "cpus:4;mem:4096;gpus:2".parse().expect("resources"),
            attributes: vec![Attribute::text("rack", "r1")],
            id: Some(AgentId::from("m-A1")),
        };
        let state = AgentState {
            agent,
            connected: false,
            used: "cpus:1.5;mem:100".parse().expect("resources"),
            tasks: 3,
            ..AgentState::default()
        };
        let row = Agent::of(&state);
        let cells = row.cells();
        assert_eq!(cells[..7], ["m-A1", "node1", "10.0.0.1:5051", "1.5/4", "100/4096", "3", "disconnected"]);
        assert_eq!(cells[8], "rack:r1");
        let state = AgentState { drain_deadline_ns: Some(7_500_000_000), ..state };
        assert_eq!(state_text(&AgentState { connected: true, ..state.clone() }, 5_000_000_000), "draining 2s");
        assert_eq!(state_text(&AgentState { drained: Some(true), ..state.clone() }, 0), "drained, disconnected");
        let absence = Some(AgentAbsence::AgentUnreachable.into());
        let away = AgentState { absence, absent_since_ns: Some(1_000_000_000), ..state };
        assert_eq!(state_text(&away, 5_000_000_000), "unreachable 4s, draining");
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!(json["total"]["gpus"], 2.0);
        assert_eq!((json["used"]["cpus"].as_f64(), &json["attributes"]["rack"]), (Some(1.5), &"r1".into()));
    }
}
