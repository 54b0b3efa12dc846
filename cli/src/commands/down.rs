//! `mesos down`: ends what `mesos up` started.

use anyhow::Result;
use clap::Command;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::output;
use crate::{cluster, local};

pub const VERB: Verb = Verb { name: "down", group: Group::Clusters, command, run };

fn command(command: Command) -> Command {
    command
        .about("End the cluster that 'mesos up' started")
        .long_about(
            "Ends the local cluster: its frameworks, so that commands in front of one end too, then its agents and its \
             master; what doesn't end in time is killed. Sandboxes are removed, logs and volumes stay. What a crash or a reboot has left \
             over is cleared away too.",
        )
        .after_long_help(examples(&[("mesos down", "ends it"), ("mesos down && mesos up -n 8", "starts it anew with 8 agents")]))
}

fn run(context: &Context) -> Result<i32> {
    let folders = cluster::state_folders(context)?;
    let ended = context.runtime()?.block_on(local::down(&folders, context.credentials()?))?;
    if !context.quiet() {
        output::remark(if ended { "the local cluster has ended" } else { "no local cluster runs" });
    }
    Ok(0)
}
