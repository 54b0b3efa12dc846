//! What clients uploaded to the master. Each master has a folder of its own: one that has just begun to lead gets it from those
//! who uploaded it, and until then hasn't got it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::FetchError;
use crate::protocol::client::{ClientError, MasterClient};

/// The way to the master at present, if there is one.
pub(in crate::agent::shell) type MasterSlot = Arc<watch::Sender<Option<Reached>>>;

/// A master that answers.
#[derive(Debug, Clone)]
pub(in crate::agent::shell) struct Reached {
    pub client: MasterClient,
    /// Since when.
    pub since: Instant,
}

/// How long a fetch waits for a master.
const MASTER_WAIT: Duration = Duration::from_secs(30);
/// How long those who uploaded something may take to find a new master and upload it there.
const UPLOADS_WAIT: Duration = Duration::from_secs(20);
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Fetches from whichever master leads, also when that changes meanwhile.
pub(super) async fn fetch(slot: &MasterSlot, sha256: &str, into: &Path) -> Result<(), FetchError> {
    let mut slot = slot.subscribe();
    let deadline = Instant::now() + MASTER_WAIT;
    loop {
        let found = timeout_at(deadline, slot.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(Result::ok).and_then(|found| found.clone());
        let master = found.ok_or_else(|| FetchError::Refused("there is no master at present".into()))?;
        let Err(problem) = master.client.get_blob(sha256, into).await else { return Ok(()) };
        if Instant::now() >= deadline || !may_pass(&problem, &master) {
            return Err(FetchError::Refused(problem.to_string()));
        }
        sleep(TRY_AGAIN).await;
    }
}

fn may_pass(problem: &ClientError, master: &Reached) -> bool {
    match problem {
        ClientError::NoLeader { .. } | ClientError::Unreachable { .. } | ClientError::Broken { .. } => true,
        ClientError::NotThere(_) => {
            matches!(master.client, MasterClient::Remote(_)) && master.since.elapsed() < UPLOADS_WAIT
        }
        _ => false,
    }
}
