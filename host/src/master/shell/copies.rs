//! A master that stands by copies what clients uploaded to the leader: when its turn comes, agents find it here.
//!
//! ```text
//! leader ──names of all that it has, and of each that comes──▶ standby ──▶ those that are missing here
//! ```
//!
//! What was uploaded in the leader's last moments may be missing. Whoever uploaded it gives it to the next leader when it comes
//! back, if its process lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::blobs::BlobStore;
use crate::kept::Part;
use crate::protocol::BlobName;
use crate::protocol::client::{ClientError, RemoteMaster};

/// Names on their way to a standby.
const NAMES_MAX: usize = 256;
/// Before a leader that was lost, or isn't ready yet, is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Names of all that is here, then of what comes; ends when nobody reads them any more.
pub(super) fn names(store: Arc<BlobStore>) -> ReceiverStream<Result<BlobName, tonic::Status>> {
    let (sender, names) = mpsc::channel(NAMES_MAX);
    tokio::spawn(async move {
        let (mut added, mut told) = (store.added(), BTreeSet::new());
        loop {
            added.mark_unchanged();
            let here = store.names().unwrap_or_default();
            told.retain(|name| here.contains(name));
            for sha256 in here {
                if told.insert(sha256.clone()) && sender.send(Ok(BlobName { sha256 })).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = added.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    ReceiverStream::new(names)
}

/// Copies until it is aborted.
pub(super) async fn copy(store: Arc<BlobStore>, mut leader: RemoteMaster) {
    let mut warned = false;
    loop {
        match copy_from_leader(&store, &leader).await {
            // Such as another token: nobody could go on with this master either.
            Err(ClientError::Refused(problem)) if !std::mem::replace(&mut warned, true) => {
                tracing::warn!("the leader takes nothing from this master, which should be like it: {problem}");
            }
            Err(problem) => tracing::debug!(%problem, "uploads are not copied for now"),
            Ok(()) => {}
        }
        tokio::select! {
            () = leader.leader_found() => {}
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    }
}

async fn copy_from_leader(store: &Arc<BlobStore>, leader: &RemoteMaster) -> Result<(), ClientError> {
    let mut names = leader.blob_names().await?;
    while let Some(name) = names.recv().await {
        if let Err(problem) = copy_one(store, leader, &name).await {
            // The rest is worth having too; of a leader that is lost, the names end.
            tracing::warn!("the upload {name} can't be copied from the leader: {problem}");
        }
    }
    Ok(())
}

async fn copy_one(store: &Arc<BlobStore>, leader: &RemoteMaster, name: &str) -> Result<(), ClientError> {
    let refused = |error: super::BlobError| ClientError::Refused(error.to_string());
    if store.has(name).map_err(refused)?.present {
        return Ok(());
    }
    let part = Part::new(store.folder());
    leader.get_blob(name, part.path()).await?;
    let (store, name) = (store.clone(), name.to_string());
    // Reads all of it, to check it.
    let put = tokio::task::spawn_blocking(move || store.put_file(part.path(), &name)).await;
    put.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map(drop).map_err(refused)
}
