//! The PMI-1 server of one node: answers its ranks from what it has, and joins their barriers into one.
//!
//! ```text
//! rank ──put──▶ values + unsent        rank ◀──get── values
//! ranks ──barrier_in, all of them──▶ Barrier(unsent) ──▶ … all nodes … ──▶ release(entries) ──barrier_out──▶ ranks
//! ```
//!
//! A value that another node's rank put is seen after the next barrier and not before, which is what PMI promises; so no `get`
//! ever leaves the node.

use std::collections::{BTreeMap, BTreeSet};

use crate::messages::{Barrier, Entry, Release};
use crate::pmi1::{KEY_BYTES_MAX, Reader, Reply, Request, VALUE_BYTES_MAX, WireError};

/// What a node's ranks may put between two barriers, in bytes: it travels in one message.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// The server; one for all ranks of a node.
#[derive(Debug)]
pub struct PmiServer {
    kvs_name: String,
    size: u32,
    ranks: BTreeMap<u32, Rank>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    unsent: Vec<Entry>,
    unsent_bytes: usize,
    waiting: BTreeSet<u32>,
    barrier: u64,
}

#[derive(Debug, Default)]
struct Rank {
    reader: Reader,
    stage: Stage,
}

/// How far a rank has come with MPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has said nothing: it is no MPI program, or not yet.
    #[default]
    Outside,
    /// After `MPI_Init`: the others count on it.
    Inside,
    /// After `MPI_Finalize`.
    Finalized,
}

/// What follows from a rank's bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To be written to the rank.
    Reply(u32, Reply),
    /// All ranks of the node wait; the other nodes must be asked.
    Barrier(Barrier),
    /// The rank wants the job to end.
    Abort {
        /// Who.
        rank: u32,
        /// Of the job.
        exit_code: i32,
        /// Why, if it says so.
        message: Option<String>,
    },
    /// The rank speaks no PMI-1; nothing more is read from it.
    Broken(u32, WireError),
}

impl PmiServer {
    /// For these ranks of a job of `size`; `mapping` tells them who shares a node. `kvs_name` is the same on all nodes, and no
    /// other job's that shares a machine with this one.
    pub fn new(kvs_name: &str, size: u32, ranks: &[u32], mapping: Option<&str>) -> Self {
        let mapping = mapping.map(|mapping| (b"PMI_process_mapping".to_vec(), mapping.as_bytes().to_vec()));
        Self {
            kvs_name: kvs_name.to_string(),
            size,
            ranks: ranks.iter().map(|rank| (*rank, Rank::default())).collect(),
            values: mapping.into_iter().collect(),
            unsent: Vec::new(),
            unsent_bytes: 0,
            waiting: BTreeSet::new(),
            barrier: 1,
        }
    }

    /// Takes what a rank wrote.
    pub fn receive(&mut self, rank: u32, data: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        self.rank(rank).reader.push(data);
        loop {
            match self.rank(rank).reader.next_request() {
                Ok(Some(request)) => self.answer(rank, request, &mut actions),
                Ok(None) => return actions,
                Err(error) => {
                    actions.push(Action::Broken(rank, error));
                    return actions;
                }
            }
        }
    }

    /// All nodes have come to the barrier. A release of another barrier than the one that is waited for is an old one, seen
    /// twice.
    pub fn release(&mut self, release: Release) -> Vec<Action> {
        if release.barrier != self.barrier || self.waiting.len() < self.ranks.len() {
            return Vec::new();
        }
        self.barrier += 1;
        self.values.extend(release.entries.into_iter().map(|entry| (entry.key, entry.value)));
        std::mem::take(&mut self.waiting).into_iter().map(|rank| Action::Reply(rank, Reply::BarrierOut)).collect()
    }

    /// How far the rank has come.
    pub fn stage(&self, rank: u32) -> Stage {
        self.ranks.get(&rank).map_or(Stage::Outside, |rank| rank.stage)
    }

    fn rank(&mut self, rank: u32) -> &mut Rank {
        self.ranks.get_mut(&rank).expect("bytes come only from ranks that this node has launched")
    }

    fn answer(&mut self, rank: u32, request: Request, actions: &mut Vec<Action>) {
        let reply = match request {
            Request::Init => {
                self.rank(rank).stage = Stage::Inside;
                Reply::Init
            }
            Request::GetMaxes => Reply::Maxes,
            Request::GetAppnum => Reply::Appnum,
            Request::GetKvsName => Reply::KvsName(self.kvs_name.clone()),
            Request::GetUniverseSize => Reply::UniverseSize(self.size),
            Request::Put { key, value } => self.put(key, value),
            Request::Get { key } => self.values.get(&key).map_or(Reply::GotNothing, |value| Reply::Got(value.clone())),
            Request::Barrier => return self.enter_barrier(rank, actions),
            Request::Finalize => {
                self.rank(rank).stage = Stage::Finalized;
                Reply::Finalized
            }
            Request::Abort { exit_code, message } => {
                let message = message.map(|message| String::from_utf8_lossy(&message).into_owned());
                return actions.push(Action::Abort { rank, exit_code, message });
            }
            Request::Refused { answer, what } => Reply::Refused { answer, what },
        };
        actions.push(Action::Reply(rank, reply));
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Reply {
        let bytes = self.unsent_bytes + key.len() + value.len();
        if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX || bytes > UNSENT_BYTES_MAX {
            return Reply::PutRefused;
        }
        self.unsent_bytes = bytes;
        self.unsent.push(Entry { key: key.clone(), value: value.clone() });
        self.values.insert(key, value);
        Reply::Put
    }

    fn enter_barrier(&mut self, rank: u32, actions: &mut Vec<Action>) {
        let new = self.waiting.insert(rank);
        if new && self.waiting.len() == self.ranks.len() {
            self.unsent_bytes = 0;
            actions.push(Action::Barrier(Barrier { barrier: self.barrier, entries: std::mem::take(&mut self.unsent) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(server: &mut PmiServer, rank: u32, text: &str) -> Vec<Action> {
        server.receive(rank, text.as_bytes())
    }

    #[test]
    fn a_barrier_is_sent_once_all_local_ranks_are_in_and_carries_what_they_put() {
        let mut server = PmiServer::new("kvs_7", 4, &[2, 3], Some("(vector,(0,2,2))"));
        lines(&mut server, 2, "cmd=put kvsname=kvs_0 key=a value=x=1\n");
        assert_eq!(lines(&mut server, 2, "cmd=barrier_in\n"), []);
        let entries = vec![Entry { key: b"a".to_vec(), value: b"x=1".to_vec() }];
        assert_eq!(
            lines(&mut server, 3, "cmd=barrier_in\n"),
            [Action::Barrier(Barrier { barrier: 1, entries: entries.clone() })]
        );

        let other = Entry { key: b"b".to_vec(), value: b"y".to_vec() };
        let released = server.release(Release { barrier: 1, entries: vec![entries[0].clone(), other] });
        assert_eq!(released, [Action::Reply(2, Reply::BarrierOut), Action::Reply(3, Reply::BarrierOut)]);
        assert_eq!(
            lines(&mut server, 3, "cmd=get kvsname=kvs_0 key=b\n"),
            [Action::Reply(3, Reply::Got(b"y".to_vec()))]
        );
    }

    #[test]
    fn a_release_that_comes_twice_or_too_early_lets_nobody_through() {
        let mut server = PmiServer::new("kvs_7", 2, &[0], None);
        let release = |barrier| Release { barrier, entries: Vec::new() };
        assert_eq!(server.release(release(1)), []);
        lines(&mut server, 0, "cmd=barrier_in\n");
        assert_eq!(server.release(release(1)).len(), 1);
        lines(&mut server, 0, "cmd=barrier_in\n");
        assert_eq!(server.release(release(1)), []);
        assert_eq!(server.release(release(2)).len(), 1);
    }

    #[test]
    fn a_missing_key_and_an_oversized_value_are_answered_with_an_error() {
        let mut server = PmiServer::new("kvs_7", 1, &[0], None);
        let put = format!("cmd=put kvsname=kvs_0 key=a value={}\n", "v".repeat(VALUE_BYTES_MAX + 1));
        assert_eq!(lines(&mut server, 0, &put), [Action::Reply(0, Reply::PutRefused)]);
        assert_eq!(lines(&mut server, 0, "cmd=get kvsname=kvs_0 key=a\n"), [Action::Reply(0, Reply::GotNothing)]);
    }

    #[test]
    fn the_name_of_the_space_is_the_jobs() {
        let mut server = PmiServer::new("kvs_7", 1, &[0], None);
        let actions = lines(&mut server, 0, "cmd=get_my_kvsname\n");
        let [Action::Reply(0, reply)] = &actions[..] else { panic!("one reply: {actions:?}") };
        assert_eq!(reply.to_line(), b"cmd=my_kvsname kvsname=kvs_7\n");
    }

    #[test]
    fn stages_follow_init_and_finalize() {
        let mut server = PmiServer::new("kvs_7", 1, &[0], None);
        assert_eq!(server.stage(0), Stage::Outside);
        lines(&mut server, 0, "cmd=init pmi_version=1 pmi_subversion=1\n");
        assert_eq!(server.stage(0), Stage::Inside);
        lines(&mut server, 0, "cmd=finalize\n");
        assert_eq!(server.stage(0), Stage::Finalized);
    }
}
