//! `mesos down`: ends what `mesos up` started.

use std::time::Duration;

use anyhow::Result;
use clap::Command;
use mesos_host::protocol::client::{ClientError, MasterClient};
use mesos_host::protocol::{ListFrameworks, TeardownCall, operator_call, operator_reply};

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::{cluster, local};

pub const VERB: Verb = Verb { name: "down", group: Group::Clusters, command, run };

fn command(command: Command) -> Command {
    command
        .about("End the cluster that 'mesos up' started")
        .long_about(
            "Ends the local cluster: what runs on it, its agents, then its master; what doesn't end in time is killed. \
             Sandboxes are removed, logs stay. What a crash or a reboot has left over is cleared away too.",
        )
        .after_long_help(examples(&[
            ("mesos down", "ends it"),
            ("mesos down && mesos up -n 8", "starts it anew with 8 agents"),
        ]))
}

/// How long frameworks may take to end their tasks; agents kill what is left.
const FRAMEWORKS_GRACE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn run(context: &Context) -> Result<i32> {
    let folders = cluster::state_folders(context)?;
    if let Some(record) = local::running(&folders)? {
        let end = end_frameworks(context, &record.master.address);
        // A master that doesn't answer is ended all the same.
        let _ = context.runtime()?.block_on(async { tokio::time::timeout(FRAMEWORKS_GRACE, end).await });
    }
    let ended = local::down(&folders)?;
    if !context.quiet() {
        eprintln!("mesos: {}", if ended { "the local cluster has ended" } else { "no local cluster runs" });
    }
    Ok(0)
}

/// Commands in front learn that their frameworks have ended; otherwise they would wait for the master to come back.
async fn end_frameworks(context: &Context, address: &str) -> Result<()> {
    let client = cluster::connect(context, address, "").await?;
    for framework in frameworks(&client).await? {
        // It may have ended by itself.
        let _ = client.ask(operator_call::Call::Teardown(TeardownCall { framework })).await;
    }
    while !frameworks(&client).await?.is_empty() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn frameworks(client: &MasterClient) -> Result<Vec<String>, ClientError> {
    let replies = client.ask(operator_call::Call::ListFrameworks(ListFrameworks { completed: None })).await?;
    let id = |reply| match reply {
        operator_reply::Reply::Framework(state) => state.framework.id.map(|id| id.to_string()),
        _ => None,
    };
    Ok(replies.into_iter().filter_map(id).collect())
}
