//! Keeps a detector true.

use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use zookeeper_client::{Client, Error, SessionState};

use super::session::{News, Place, SESSION_TIMEOUT};
use super::{ZooKeeperAddress, ZooKeeperAuth, candidates};
use crate::election::{Detector, Leader};

/// After an answer that only somebody's work in ZooKeeper changes.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

impl Detector {
    /// Whoever is the first in line there. While ZooKeeper is away that is who it was last: no master goes on without it for long.
    pub fn zookeeper(address: &ZooKeeperAddress, auth: Option<ZooKeeperAuth>) -> std::io::Result<Self> {
        let (tell, detector) = Self::channel(address.to_string());
        let place = Place::new(address, auth, SESSION_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Of its own: it is used from processes that have no runtime, too.
        thread::Builder::new().name("detector".into()).spawn(move || runtime.block_on(follow(place, tell)))?;
        Ok(detector)
    }
}

/// Ends when nobody listens any more.
async fn follow(place: Place, tell: watch::Sender<Option<Leader>>) {
    let keep = async {
        let mut news = News::default();
        loop {
            let client = place.connect(&mut news).await;
            tokio::select! {
                () = report(&place, client.clone(), &mut news) => {}
                () = session(&place, &client, &tell) => {}
            }
        }
    };
    tokio::select! {
        () = keep => {}
        () = tell.closed() => {}
    }
}

/// Tells what is seen in one session, until its end.
async fn session(place: &Place, client: &Client, tell: &watch::Sender<Option<Leader>>) {
    let mut refused = false;
    while !client.state().is_terminated() {
        match candidates::look(place, client).await {
            Ok((leader, watcher)) => {
                refused = false;
                tell.send_if_modified(|known| {
                    let is_news = *known != leader;
                    *known = leader;
                    is_news
                });
                watcher.changed().await;
            }
            Err(Error::NoAuth) => {
                if !std::mem::replace(&mut refused, true) {
                    let node = candidates::folder(place);
                    tracing::warn!(
                        "ZooKeeper doesn't let us read {node}; name the user it belongs to with --zk-auth-file"
                    );
                }
                sleep(REFUSED_PAUSE).await;
            }
            Err(error) => {
                tracing::debug!("{place}: {error}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Says when the connection goes and comes; returns when the session is over.
pub(super) async fn report(place: &Place, client: Client, news: &mut News) {
    let mut states = client.state_watcher();
    // It holds the session otherwise.
    drop(client);
    loop {
        match states.changed().await {
            SessionState::Disconnected => news.away(place, &"the connection is lost"),
            SessionState::SyncConnected | SessionState::ConnectedReadOnly => news.reached(place),
            SessionState::Expired | SessionState::Closed | SessionState::AuthFailed => return,
        }
    }
}
