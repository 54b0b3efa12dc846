//! `mesos volumes`: what agents keep for frameworks, and its end.

use anyhow::Result;
use clap::{Arg, Command};
use mesos_host::protocol::{DestroyVolumeCall, ListVolumes, VolumeRow, operator_call, operator_reply};
use serde::Serialize;

use super::{Group, Verb, examples, framework_arg};
use crate::cluster;
use crate::context::Context;
use crate::output::{self, NONE, Row, amounts};

pub const VERB: Verb = Verb { name: "volumes", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    let destroy = Command::new("destroy")
        .about("Remove a volume with all that is in it")
        .long_about(
            "Removes a volume with all that is in it, and gives what it reserves back to everybody. Refused while a task mounts \
             it. A volume belongs to a user: only that user and operators destroy it.",
        )
        .arg(Arg::new("name").value_name("NAME").required(true).help("Its name, as 'mesos volumes' shows it"))
        .arg(Arg::new("agent").long("agent").value_name("ID|HOST").help("Where it is, if several agents have one"))
        .arg(framework_arg("Whose it is, if several frameworks have one").value_name("NAME"));
    command
        .about("Show the volumes, what they reserve and who uses them")
        .long_about(
            "Shows the volumes of the agents that are registered: a volume is a folder on one agent that a framework made for \
             its tasks, with resources that only a framework of the same name and user is offered, whether one runs or not. It \
             outlives them, and restarts of its agent and of the machine, until somebody destroys it.",
        )
        .subcommand(destroy)
        .after_long_help(examples(&[
            ("mesos volumes", "a table"),
            ("mesos volumes -o json", "everything about them"),
            ("mesos volumes destroy data --framework hbase", "removes one for good"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    if let Some(("destroy", given)) = context.verb.subcommand() {
        let text = |name: &str| given.get_one::<String>(name).cloned();
        let (agent, framework) = (text("agent"), text("framework"));
        let call = DestroyVolumeCall { name: text("name").expect("clap wants it"), agent, framework };
        for reply in cluster::ask(context, operator_call::Call::DestroyVolume(call))? {
            if let (operator_reply::Reply::Done(done), false) = (reply, context.quiet()) {
                output::remark(done.message.unwrap_or_default());
            }
        }
        return Ok(0);
    }
    let format = context.format()?;
    let replies = cluster::ask(context, operator_call::Call::ListVolumes(ListVolumes {}))?;
    let rows: Vec<Volume> = replies.into_iter().filter_map(row).collect();
    output::show(format, &rows, "no volumes; frameworks make them for their tasks")?;
    Ok(0)
}

fn row(reply: operator_reply::Reply) -> Option<Volume> {
    match reply {
        operator_reply::Reply::Volume(row) => Some(Volume::of(row)),
        _ => None,
    }
}

/// What is shown of a volume.
#[derive(Debug, Serialize)]
struct Volume {
    name: String,
    framework: String,
    user: String,
    agent_id: String,
    hostname: String,
    reserved: serde_json::Value,
    used: serde_json::Value,
    tasks: Vec<String>,
    state: String,
    #[serde(skip)]
    reserved_text: String,
}

impl Volume {
    fn of(row: VolumeRow) -> Self {
        Self {
            name: row.volume.id.name,
            framework: row.volume.id.framework,
            user: row.volume.id.user,
            agent_id: row.agent_id.to_string(),
            hostname: row.hostname,
            reserved: amounts::json(&row.volume.reserved),
            used: amounts::json(&row.used),
            tasks: row.tasks.iter().map(ToString::to_string).collect(),
            state: row.state,
            reserved_text: row.volume.reserved.to_string(),
        }
    }
}

impl Row for Volume {
    const HEADINGS: &'static [&'static str] =
        &["NAME", "FRAMEWORK", "USER", "AGENT", "HOST", "RESERVED", "STATE", "TASKS"];

    fn cells(&self) -> Vec<String> {
        let tasks = if self.tasks.is_empty() { NONE.to_string() } else { self.tasks.join(",") };
        vec![
            self.name.clone(),
            self.framework.clone(),
            self.user.clone(),
            self.agent_id.clone(),
            self.hostname.clone(),
            self.reserved_text.clone(),
            self.state.clone(),
            tasks,
        ]
    }

    fn id(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use mesos_host::protocol::{VolumeId, VolumeRecord};

    use super::*;

    #[test]
    fn a_volume_shows_whose_it_is_and_who_uses_it() {
        let id = VolumeId { user: "u".into(), framework: "hbase".into(), name: "data".into() };
        let row = Volume::of(VolumeRow {
            volume: VolumeRecord { id, reserved: "cpus:1;disk:500;ports:[9000]".parse().expect("resources") },
            agent_id: "m-A1".into(),
            hostname: "node1".into(),
            used: "cpus:1".parse().expect("resources"),
            tasks: vec!["rs-1".into()],
            state: "ready".into(),
        });
        assert_eq!(
            row.cells(),
            ["data", "hbase", "u", "m-A1", "node1", "cpus:1;disk:500;ports:[9000]", "ready", "rs-1"]
        );
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!((&json["reserved"]["disk"], &json["tasks"][0]), (&500.0.into(), &"rs-1".into()));
    }
}
