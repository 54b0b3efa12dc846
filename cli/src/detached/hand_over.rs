//! `--detach`: gives a framework to the cluster and waits until its scheduler runs.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::{Detach, FrameworkState, operator_call, operator_reply};
use mesos_plugin_api::framework::FollowFile;
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo};

use super::watch::{News, watch};
use crate::foreground::{Follower, Screen, Wanted};
use crate::output;
use crate::sandbox::Sandboxes;

/// After so long without a scheduler the person in front is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often what a scheduler wrote is tried to be read.
const TRIES: u32 = 4;

/// Hands a framework to the cluster and prints its id once its scheduler runs.
///
/// # Errors
/// It is refused, or its scheduler can't start; what that has said is shown.
pub async fn hand_over(client: &MasterClient, framework: FrameworkInfo, config: Vec<u8>) -> Result<FrameworkId> {
    let replies = client.ask(operator_call::Call::Detach(Detach { framework, config })).await?;
    let id = replies.into_iter().find_map(|reply| match reply {
        operator_reply::Reply::Framework(state) => state.framework.id,
        _ => None,
    });
    let id = id.context("the master didn't say the framework's id")?;
    let mut news = watch(client, id.as_str()).await?;
    let mut patience = Box::pin(tokio::time::sleep(PATIENCE));
    let mut told = false;
    loop {
        let heard = tokio::select! {
            heard = news.recv() => heard,
            () = &mut patience, if !told => {
                told = true;
                output::remark(format!(
                    "waiting for an agent that starts the scheduler of {id}; Ctrl-C leaves it waiting"
                ));
                continue;
            }
        };
        match heard {
            Some(News::State(state)) if is_confirmed(&state) => break,
            Some(News::State(state)) if state.ended_ns.is_some() => return Err(never_started(client, &state).await),
            Some(News::State(_) | News::MasterBack) => {}
            Some(News::MasterLost(problem)) => output::remark(format!("{problem}; {id} is in the cluster")),
            Some(News::Refused(line)) => bail!("{line}"),
            None => bail!("the master didn't say whether the scheduler of {id} runs; see 'mesos frameworks'"),
        }
    }
    output::write(&mut std::io::stdout(), format!("{id}\n").as_bytes())?;
    std::io::stdout().flush()?;
    Ok(id)
}

fn is_confirmed(state: &FrameworkState) -> bool {
    state.scheduler.as_ref().is_some_and(|scheduler| scheduler.confirmed)
}

/// What the scheduler's process said goes to the person who wanted it.
async fn never_started(client: &MasterClient, state: &FrameworkState) -> anyhow::Error {
    if let Some((scheduler, run)) = state.scheduler.as_ref().and_then(|of| Some((of, of.runs.last()?))) {
        let wanted = Wanted {
            task: run.task_id.to_string(),
            framework: Some(scheduler.framework_id.to_string()),
            agent: Some(run.agent_id.clone()),
            files: vec![FollowFile { path: "stderr".to_string(), stderr: Some(true), ..FollowFile::default() }],
            growing: true,
        };
        let screen = Screen::start(true);
        if let Ok(follower) = Follower::new(Arc::new(Sandboxes::new(client.clone())), &screen, wanted) {
            // What can't be read is not the problem.
            let _ = follower.run(TRIES).await;
        }
        screen.end().await;
    }
    anyhow!("{}", state.end_message.clone().unwrap_or_else(|| "the framework ended before it began".to_string()))
}
