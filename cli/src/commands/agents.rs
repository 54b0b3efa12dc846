//! `mesos agents`: the machines of the cluster.

use std::time::Duration;

use anyhow::Result;
use clap::Command;
use mesos_host::protocol::{AgentState, ListAgents, operator_call, operator_reply};
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
             and whether it is connected.",
        )
        .after_long_help(examples(&[
            ("mesos agents", "a table"),
            ("mesos agents -o json", "everything about them, offered resources and attributes too"),
            ("mesos agents -q | wc -l", "how many there are"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let format = context.format()?;
    let replies = cluster::ask(context, operator_call::Call::ListAgents(ListAgents {}))?;
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
    total: serde_json::Value,
    used: serde_json::Value,
    offered: serde_json::Value,
    tasks: u32,
    attributes: serde_json::Map<String, serde_json::Value>,
    registered: String,
    version: Option<String>,
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
            total: amounts::json(total),
            used: amounts::json(&state.used),
            offered: amounts::json(&state.offered),
            tasks: state.tasks,
            attributes: info.attributes.iter().map(|a| (a.name.clone(), a.value_text().into())).collect(),
            registered: iso(state.registered_ns),
            version: state.version.clone(),
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
            if self.connected { "connected" } else { "disconnected" }.to_string(),
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
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!(json["total"]["gpus"], 2.0);
        assert_eq!((json["used"]["cpus"].as_f64(), &json["attributes"]["rack"]), (Some(1.5), &"r1".into()));
    }
}
