//! `mesos up`: a cluster on this machine, in the background.

use anyhow::Result;
use clap::Command;

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::Context;
use crate::local::{self, Plan};
use crate::output;
use crate::settings::{MASTER, UP_AGENTS, UP_RESOURCES};
use crate::values;

pub const VERB: Verb = Verb { name: "up", group: Group::Clusters, command, run };

fn command(command: Command) -> Command {
    command
        .about("Start a cluster on this machine, in the background")
        .long_about(
            "Starts a master and agents on this machine in the background, and returns when all agents are registered. Later \
             commands of the same user find the cluster by themselves; 'mesos down' ends it. There is one for each user and \
             --state-dir; its logs are in the folder local/ below that.\n\nThe agents share this machine's cores and memory \
             unless --resources says what each has, which may be more than there is. They are named after this machine: HOST-1, \
             HOST-2, …",
        )
        .args([UP_AGENTS.arg(), UP_RESOURCES.arg()])
        .after_long_help(examples(&[
            ("mesos up", "one agent with all of this machine"),
            ("mesos up --agents 4 --resources 'cpus:2;mem:1024'", "four small ones"),
            ("mesos up && mesos run -n 100 -- ./step; mesos down", "for one job"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let plan = Plan {
        agents: context.read_or_default(&UP_AGENTS, values::count)?,
        resources: context.read(&UP_RESOURCES, values::resources)?,
        quiet: context.quiet(),
        credentials: context.credentials()?,
    };
    let folders = cluster::state_folders(context)?;
    context.runtime()?.block_on(local::up(&folders, &plan))?;
    if let Some(other) = context.find(&MASTER).filter(|_| !plan.quiet) {
        output::remark(format!("commands don't use it as long as {} names the master {}", other.source, other.text));
    }
    Ok(0)
}
