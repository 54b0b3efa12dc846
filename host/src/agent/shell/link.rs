//! The way to the master: opened in a task of its own, so that the agent goes on meanwhile.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::Master;
use super::fetcher::{MasterSlot, Reached};
use crate::protocol::client::{ClientError, MasterClient};
use crate::protocol::link::{Batch, Link};
use crate::protocol::{AgentCall, AgentEvent};

pub(super) type MasterLink = Link<AgentCall, AgentEvent>;

/// How an attempt to open a link went.
pub(super) type Opened = Result<MasterLink, ClientError>;

/// Opens a link and says how that went.
pub(super) fn open(master: Master, slot: MasterSlot, opened: mpsc::Sender<Opened>) {
    tokio::spawn(async move {
        let link = async {
            let client = match master {
                Master::Local(local) => MasterClient::Local(local),
                Master::Remote(remote) => MasterClient::Remote(remote),
            };
            let link = client.agent_link().await?;
            slot.send_replace(Some(Reached { client, since: Instant::now() }));
            Ok(link)
        };
        // The agent has ended meanwhile, otherwise.
        let _ = opened.send(link.await).await;
    });
}

/// Another master leads; never, where there can't be another.
pub(super) async fn leader_found(master: &mut Master) {
    match master {
        Master::Local(_) => std::future::pending().await,
        Master::Remote(remote) => remote.leader_found().await,
    }
}

/// The next batch; never, while there is no link.
pub(super) async fn receive(link: &mut Option<MasterLink>) -> Option<Batch<AgentEvent>> {
    match link {
        Some(link) => link.inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Room for a batch; never, while there is nothing to send or no link. `None` when it broke.
pub(super) async fn room(out: Option<mpsc::Sender<Batch<AgentCall>>>) -> Option<mpsc::OwnedPermit<Batch<AgentCall>>> {
    match out {
        Some(out) => out.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}
