//! The registry in ZooKeeper, for the master that leads.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::sleep;
use zookeeper_client::{CheckWriteError, CheckWriter, Client, CreateMode, Error};

use super::candidates::Candidacy;
use super::records::{self, CHUNK_BYTES, Entry, FolderKind, LAYOUT, Parts, Snapshot};
use super::session::{Failure, Place, is_answer};
use crate::election::{CoordinatorError, Kept};

/// Records that are asked for before the first of them has come.
const READ_AHEAD: usize = 128;
/// Nodes that are deleted at once.
const DELETED_AT_ONCE: usize = 128;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A master's time as the leader.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) place: Place,
    pub(super) client: Client,
    pub(super) own: Candidacy,
}

/// Makes the folders where they are missing.
///
/// # Errors
/// They can't be made, or this isn't laid out as this version knows it.
pub(super) async fn prepare(place: &Place, client: &Client) -> Result<(), Failure> {
    let root = place.root();
    let failed = |error| place.failure("make", root, error);
    let shown = place.shown(CreateMode::Persistent);
    place.ask(client, || client.mkdir(root, &shown)).await.map_err(failed)?;
    check_layout(place, client).await?;
    make(place, client, &super::candidates::folder(place), b"", Shown::ToAll).await?;
    for folder in ["log", "parts", "snapshot"] {
        make(place, client, &place.node(folder), b"", Shown::ToOwner).await?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    ToAll,
    ToOwner,
}

async fn make(place: &Place, client: &Client, node: &str, data: &[u8], shown: Shown) -> Result<(), Failure> {
    let options = match shown {
        Shown::ToAll => place.shown(CreateMode::Persistent),
        Shown::ToOwner => place.hidden(CreateMode::Persistent),
    };
    match place.ask(client, || client.create(node, data, &options)).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(place.failure("make", node, error)),
    }
}

async fn check_layout(place: &Place, client: &Client) -> Result<(), Failure> {
    let node = place.node("layout");
    let found = place.ask(client, || client.check_stat(&node)).await;
    if found.map_err(|error| place.failure("read", &node, error))?.is_none() {
        make(place, client, &node, LAYOUT.to_string().as_bytes(), Shown::ToAll).await?;
    }
    let (data, _) = get(place, client, &node).await?;
    let text = String::from_utf8_lossy(&data).into_owned();
    if text.parse() == Ok(LAYOUT) {
        return Ok(());
    }
    Err(CoordinatorError::Layout { node, place: place.to_string(), found: text, known: LAYOUT }.into())
}

async fn get(place: &Place, client: &Client, node: &str) -> Result<(Vec<u8>, i32), Failure> {
    let answer = place.ask(client, || client.get_data(node)).await;
    answer.map(|(data, stat)| (data, stat.version)).map_err(|error| match error {
        Error::NoNode => incomplete(place, node),
        error => place.failure("read", node, error),
    })
}

fn incomplete(place: &Place, node: &str) -> Failure {
    CoordinatorError::Incomplete { node: node.to_string(), place: place.to_string() }.into()
}

impl Term {
    /// Everything that masters before this one have kept.
    pub(super) async fn read(&self) -> Result<Kept, Failure> {
        let (place, client) = (&self.place, &self.client);
        let root = place.root();
        // The server that we ask may be behind.
        let current = place.ask(client, || client.sync(root)).await;
        current.map_err(|error| place.failure("read", root, error))?;
        let mut kept = Kept::default();
        if let (Some(snapshot), _) = self.snapshot().await? {
            let node = place.node("snapshot");
            let joined = self.read_parts(&snapshot.parts).await?;
            kept.records = records::split(&joined).ok_or_else(|| incomplete(place, &node))?;
            kept.next = snapshot.next;
        }
        self.read_log(&mut kept).await?;
        Ok(kept)
    }

    async fn snapshot(&self) -> Result<(Option<Snapshot>, i32), Failure> {
        let node = self.place.node("snapshot");
        let (data, version) = get(&self.place, &self.client, &node).await?;
        if data.is_empty() {
            return Ok((None, version));
        }
        let snapshot = serde_json::from_slice(&data).map_err(|_| incomplete(&self.place, &node))?;
        Ok((Some(snapshot), version))
    }

    async fn read_log(&self, kept: &mut Kept) -> Result<(), Failure> {
        let node = |index| format!("{}/{}", self.place.node("log"), records::name_of(index));
        let mut asked = VecDeque::new();
        loop {
            while asked.len() < READ_AHEAD {
                asked.push_back(self.client.get_data(&node(kept.next + asked.len() as u64)));
            }
            let answer = asked.pop_front().expect("it was filled").await;
            let node = node(kept.next);
            let answer = match answer {
                Err(error) if !is_answer(&error) => self.place.ask(&self.client, || self.client.get_data(&node)).await,
                answer => answer,
            };
            let data = match answer {
                Ok((data, _)) => data,
                Err(Error::NoNode) => return Ok(()),
                Err(error) => return Err(self.place.failure("read", &node, error)),
            };
            let record = match Entry::decode(&data).ok_or_else(|| incomplete(&self.place, &node))? {
                Entry::Whole(record) => record,
                Entry::InParts(parts) => self.read_parts(&parts).await?,
            };
            kept.records.push(record);
            kept.next += 1;
        }
    }

    async fn read_parts(&self, parts: &Parts) -> Result<Vec<u8>, Failure> {
        let folder = self.folder(parts);
        let mut all = Vec::new();
        for number in 0..parts.count {
            all.extend(get(&self.place, &self.client, &format!("{folder}/{number:010}")).await?.0);
        }
        if parts.is_whole(&all) { Ok(all) } else { Err(incomplete(&self.place, &folder)) }
    }

    async fn write_parts(&self, kind: FolderKind, index: u64, bytes: &[u8]) -> Result<Parts, Failure> {
        let parts = Parts::of(records::folder_name(kind, index, &self.own.id), bytes);
        let folder = self.folder(&parts);
        make(&self.place, &self.client, &folder, b"", Shown::ToOwner).await?;
        for (number, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            let node = format!("{folder}/{number:010}");
            make(&self.place, &self.client, &node, chunk, Shown::ToOwner).await?;
        }
        Ok(parts)
    }

    fn folder(&self, parts: &Parts) -> String {
        format!("{}/{}", self.place.node("parts"), parts.folder)
    }

    /// See [`Coordinator::append`](crate::election::Coordinator::append).
    pub(super) async fn append(&self, index: u64, record: &[u8]) -> Result<(), Failure> {
        let entry = if record.len() <= CHUNK_BYTES {
            Entry::Whole(record.to_vec())
        } else {
            Entry::InParts(self.write_parts(FolderKind::Record, index, record).await?)
        };
        let data = entry.encode(&self.own.id);
        let node = format!("{}/{}", self.place.node("log"), records::name_of(index));
        let options = self.place.hidden(CreateMode::Persistent);
        let written = self.commit(&node, |writer| writer.add_create(&node, &data, &options)).await?;
        // There already: it is ours if an attempt arrived whose answer was lost.
        if written || self.holds(&node, &data).await? {
            return Ok(());
        }
        Err(CoordinatorError::Superseded { index, place: self.place.to_string() }.into())
    }

    /// See [`Coordinator::compact`](crate::election::Coordinator::compact). What is replaced is still there.
    pub(super) async fn compact(&self, index: u64, records: &[Vec<u8>]) -> Result<Snapshot, Failure> {
        let parts = self.write_parts(FolderKind::Snapshot, index, &records::join(records)).await?;
        let snapshot = Snapshot { next: index, parts };
        let data = serde_json::to_vec(&snapshot).expect("it is numbers and texts");
        let node = self.place.node("snapshot");
        let (_, version) = self.snapshot().await?;
        let written = self.commit(&node, |writer| writer.add_set_data(&node, &data, Some(version))).await?;
        if written || self.holds(&node, &data).await? {
            return Ok(snapshot);
        }
        Err(CoordinatorError::Superseded { index, place: self.place.to_string() }.into())
    }

    /// Deletes what nobody reads any more. Whatever stays because the session ends is deleted after the next snapshot.
    pub(super) async fn sweep(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let log = self.place.node("log");
        let of_log = self.list(&log).await?.into_iter();
        let old = of_log.filter(|name| records::index_of(name).is_some_and(|index| index < snapshot.next));
        self.delete(old.map(|name| format!("{log}/{name}")).collect()).await?;
        let parts = self.place.node("parts");
        for name in self.list(&parts).await?.into_iter().filter(|name| records::is_spare(name, snapshot)) {
            let folder = format!("{parts}/{name}");
            let chunks = self.list(&folder).await?.into_iter().map(|chunk| format!("{folder}/{chunk}"));
            self.delete(chunks.chain([folder.clone()]).collect()).await?;
        }
        Ok(())
    }

    async fn list(&self, node: &str) -> Result<Vec<String>, Failure> {
        let names = self.place.ask(&self.client, || self.client.list_children(node)).await;
        names.map_err(|error| self.place.failure("list", node, error))
    }

    async fn delete(&self, nodes: Vec<String>) -> Result<(), Failure> {
        for some in nodes.chunks(DELETED_AT_ONCE) {
            // Gone already if the answer of the first attempt was lost.
            let each = |writer: &mut CheckWriter<'_>| some.iter().try_for_each(|node| writer.add_delete(node, None));
            self.commit(&some[0], each).await?;
        }
        Ok(())
    }

    /// Carries out one transaction, if this master is still in its place. False if a node that it wants to make is there, or one that
    /// it wants to change isn't as it was.
    async fn commit(
        &self,
        node: &str,
        mut add: impl FnMut(&mut CheckWriter<'_>) -> Result<(), Error>,
    ) -> Result<bool, Failure> {
        let failed = |error| self.place.failure("write", node, error);
        loop {
            let mut writer = self.client.new_check_writer(&self.own.node, None).map_err(failed)?;
            add(&mut writer).map_err(failed)?;
            match writer.commit().await {
                Ok(_) => return Ok(true),
                Err(CheckWriteError::CheckFailed { source: Error::NoNode }) => return Err(Failure::Session),
                Err(CheckWriteError::OperationFailed {
                    source: Error::NodeExists | Error::BadVersion | Error::NoNode,
                    ..
                }) => return Ok(false),
                Err(error) => {
                    let error = Error::from(error);
                    if is_answer(&error) {
                        return Err(failed(error));
                    }
                    if self.client.state().is_terminated() {
                        return Err(Failure::Session);
                    }
                    tracing::debug!("{node}: written again after: {error}");
                }
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn holds(&self, node: &str, data: &[u8]) -> Result<bool, Failure> {
        match self.place.ask(&self.client, || self.client.get_data(node)).await {
            Ok((found, _)) => Ok(found == data),
            Err(Error::NoNode) => Ok(false),
            Err(error) => Err(self.place.failure("read", node, error)),
        }
    }
}
