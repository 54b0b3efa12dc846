//! The line of masters: who is in it, and who is first.

use serde::{Deserialize, Serialize};
use zookeeper_client::{Client, CreateMode, Error, OneshotWatcher};

use super::session::{Failure, Place};
use crate::election::Leader;
use crate::hex::{fresh_random, hex};

const FOLDER: &str = "masters";
const PREFIX: &str = "candidate-";

/// What a candidate's node says. Newer versions may say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Info {
    address: String,
    id: String,
    version: String,
}

/// This master's place in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidacy {
    /// Fresh in each session.
    pub(super) id: String,
    /// Its node.
    pub(super) node: String,
}

/// Their folder's node.
pub(super) fn folder(place: &Place) -> String {
    place.node(FOLDER)
}

/// The names of all candidates, the leader's first. Others' nodes are passed over.
pub(super) fn in_line(names: Vec<String>) -> Vec<String> {
    let mut line: Vec<(i64, String)> = names.into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
    line.sort();
    line.into_iter().map(|(_, name)| name).collect()
}

/// ZooKeeper counts on below zero when the number has overflown: then a later one is smaller, which takes two thousand million masters.
fn sequence(name: &str) -> Option<i64> {
    let (_, sequence) = name.strip_prefix(PREFIX)?.split_once('-')?;
    sequence.parse().ok()
}

fn leader(data: &[u8]) -> Option<Leader> {
    let Info { address, id, .. } = serde_json::from_slice(data).ok()?;
    Some(Leader { address, id })
}

/// Who leads, and what tells when somebody else may.
///
/// # Errors
/// The session is over, or the line can't be read.
pub(super) async fn look(place: &Place, client: &Client) -> Result<(Option<Leader>, OneshotWatcher), Error> {
    let folder = folder(place);
    loop {
        let listed = place.ask(client, || client.list_and_watch_children(&folder)).await;
        let (names, watcher) = match listed {
            // No master was ever here.
            Err(Error::NoNode) => match place.ask(client, || client.check_and_watch_stat(&folder)).await? {
                (None, watcher) => return Ok((None, watcher)),
                (Some(_), _) => continue,
            },
            listed => listed?,
        };
        let Some(first) = in_line(names).into_iter().next() else { return Ok((None, watcher)) };
        let node = format!("{folder}/{first}");
        match place.ask(client, || client.get_data(&node)).await {
            Ok((data, _)) => return Ok((leader(&data), watcher)),
            Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stands in line.
pub(super) async fn enter(place: &Place, client: &Client, address: &str) -> Result<Candidacy, Failure> {
    let (folder, id) = (folder(place), hex(&fresh_random::<8>()));
    let failed = |error| place.failure("stand in line in", &folder, error);
    let info = Info { address: address.to_string(), id: id.clone(), version: env!("CARGO_PKG_VERSION").to_string() };
    let data = serde_json::to_vec(&info).expect("it is three texts");
    let prefix = format!("{folder}/{PREFIX}{id}-");
    let options = place.shown(CreateMode::EphemeralSequential);
    place
        .ask(client, || async {
            // An attempt whose answer was lost may have made it.
            let known = client.list_children(&folder).await?;
            if known.iter().any(|name| name.contains(&id)) {
                return Ok(());
            }
            client.create(&prefix, &data, &options).await.map(drop)
        })
        .await
        .map_err(failed)?;
    // Twice, if the first attempt arrived after we looked: the first of them is ours, and the other goes.
    let names = place.ask(client, || client.list_children(&folder)).await.map_err(failed)?;
    let mut own = in_line(names).into_iter().filter(|name| name.contains(&id)).map(|name| format!("{folder}/{name}"));
    let node = own.next().ok_or(Failure::Session)?;
    for spare in own {
        match place.ask(client, || client.delete(&spare, None)).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Candidacy { id, node })
}

/// Returns when this candidate is the first in line.
pub(super) async fn wait_for_turn(place: &Place, client: &Client, own: &Candidacy) -> Result<(), Failure> {
    let folder = folder(place);
    let failed = |error| place.failure("read", &folder, error);
    loop {
        let listed = place.ask(client, || client.list_and_watch_children(&folder)).await;
        let (names, watcher) = listed.map_err(failed)?;
        let line = in_line(names);
        match line.iter().position(|name| own.node.ends_with(name.as_str())) {
            Some(0) => return Ok(()),
            Some(_) => drop(watcher.changed().await),
            None => return Err(Failure::Session),
        }
        if client.state().is_terminated() {
            return Err(Failure::Session);
        }
    }
}

/// Leaves the line, if it can be said to ZooKeeper.
pub(super) async fn leave(client: &Client, own: &Candidacy) {
    // Otherwise the session ends it.
    let _ = client.delete(&own.node, None).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_in_the_order_of_arrival() {
        let names = ["candidate-aa-0000000010", "lock-1", "candidate-ff-0000000002", "candidate-x", "candidate-00-z"];
        let line = in_line(names.map(String::from).to_vec());
        assert_eq!(line, ["candidate-ff-0000000002", "candidate-aa-0000000010"]);
    }

    #[test]
    fn a_newer_masters_node_is_read_and_any_other_bytes_are_nobody() {
        let newer = br#"{"address":"h:1","id":"a","version":"9","zone":"x"}"#;
        assert_eq!(leader(newer), Some(Leader { address: "h:1".into(), id: "a".into() }));
        for other in [&b""[..], b"h:1", b"{}", b"\xff"] {
            assert_eq!(leader(other), None);
        }
    }
}
