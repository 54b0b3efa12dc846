//! How a framework that was handed to the cluster stands, whoever leads.

use std::time::Duration;

use anyhow::{Result, bail};
use mesos_host::protocol::client::{MasterClient, Replies};
use mesos_host::protocol::{FrameworkState, WatchFramework, operator_call, operator_reply};
use tokio::sync::mpsc;

/// Between two tries to reach a master.
const RETRY: Duration = Duration::from_millis(500);

/// So often in a row the master may refuse before that is believed.
const REFUSALS_MAX: u32 = 10;

/// What is heard of a framework.
pub enum News {
    /// It stands so now. The last when it has ended.
    State(Box<FrameworkState>),
    /// No master answers; said once.
    MasterLost(String),
    /// One answers again.
    MasterBack,
    /// The master doesn't tell any more, and why.
    Refused(String),
}

/// Hears of a framework until it has ended.
///
/// # Errors
/// No framework like that was handed to the cluster, or it isn't ours.
pub async fn watch(client: &MasterClient, framework: &str) -> Result<mpsc::Receiver<News>> {
    let call = operator_call::Call::Watch(WatchFramework { framework: framework.to_string() });
    let mut replies = client.operate(call.clone()).await?;
    // The first says whether there is such a framework.
    let first = match replies.recv().await {
        Some(Ok(reply)) => state(reply.reply),
        Some(Err(refusal)) => bail!("{refusal}"),
        None => bail!("the master ended; try again when another leads"),
    };
    let (sender, news) = mpsc::channel(16);
    let client = client.clone();
    tokio::spawn(async move {
        if let Some(state) = first {
            let over = state.ended_ns.is_some();
            if sender.send(News::State(Box::new(state))).await.is_err() || over {
                return;
            }
        }
        follow(&client, call, replies, &sender).await;
    });
    Ok(news)
}

/// Until it has ended, is refused, or nobody listens.
async fn follow(
    client: &MasterClient,
    call: operator_call::Call,
    mut replies: Replies,
    sender: &mpsc::Sender<News>,
) -> Option<()> {
    let (mut lost, mut refused) = (false, 0);
    loop {
        let mut refusals = None;
        while let Some(reply) = replies.recv().await {
            let reply = match reply {
                Ok(reply) => reply,
                // A broken stream says so like a refusal; a master that refuses does it again.
                Err(line) => {
                    refusals = Some(line);
                    continue;
                }
            };
            let Some(state) = state(reply.reply) else { continue };
            let over = state.ended_ns.is_some();
            if std::mem::take(&mut lost) {
                sender.send(News::MasterBack).await.ok()?;
            }
            refused = 0;
            sender.send(News::State(Box::new(state))).await.ok().filter(|()| !over)?;
        }
        refused += u32::from(refusals.is_some());
        if let Some(line) = refusals.filter(|_| refused > REFUSALS_MAX) {
            return sender.send(News::Refused(line)).await.ok();
        }
        replies = loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = sender.closed() => return None,
            }
            match client.operate(call.clone()).await {
                Ok(replies) => break replies,
                Err(error) if !std::mem::replace(&mut lost, true) => {
                    sender.send(News::MasterLost(error.to_string())).await.ok()?;
                }
                Err(_) => {}
            }
        };
    }
}

fn state(reply: Option<operator_reply::Reply>) -> Option<FrameworkState> {
    match reply {
        Some(operator_reply::Reply::Framework(state)) => Some(state),
        _ => None,
    }
}
