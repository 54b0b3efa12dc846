//! A job of two nodes whose ranks write whatever they like.

use std::collections::BTreeSet;

use mesos_mpi_core::barrier::Barriers;
use mesos_mpi_core::messages::Release;
use mesos_mpi_core::pmi_server::{Action, PmiServer};
use mesos_mpi_core::pmi1::{Reader, Request, WireError};

use crate::input::Input;

const RANKS: [&[u32]; 2] = [&[0, 1], &[2]];

/// What libraries say, whole lines and parts of them.
const PHRASES: &[&[u8]] = &[
    b"cmd=init pmi_version=1 pmi_subversion=1\n",
    b"cmd=get_maxes\n",
    b"cmd=get_my_kvsname\n",
    b"cmd=put kvsname=kvs_0 key=a value=x=1 y\n",
    b"cmd=get kvsname=kvs_0 key=a\n",
    b"cmd=barrier_in\n",
    b"cmd=finalize\n",
    b"cmd=abort exitcode=3 message=no more\n",
    b"mcmd=spawn\nnprocs=1\ntotspawns=2\nspawnssofar=1\nendcmd\n",
    b"cmd=put key=",
    b" value=",
    b"\n",
];

pub(crate) fn run(bytes: &[u8]) {
    any_pieces_give_the_same_requests(bytes);
    let mut job = Job::new();
    let mut input = Input::new(bytes);
    while let Some(step) = input.step(5) {
        let rank = u32::from(input.byte() % 3);
        match step {
            0 => job.writes(rank, input.bytes()),
            1 => job.writes(rank, &[input.bytes(), b"\n"].concat()),
            2 | 3 => job.writes(rank, input.pick(PHRASES).expect("there are some")),
            _ => job.release_again(rank),
        }
    }
}

struct Job {
    nodes: Vec<PmiServer>,
    barriers: Barriers,
    last_release: Option<Release>,
    broken: BTreeSet<u32>,
    waiting: BTreeSet<u32>,
}

impl Job {
    fn new() -> Self {
        let server = |ranks: &&[u32]| PmiServer::new("kvs_1", 3, ranks, Some("(vector,(0,1,2),(1,1,1))"));
        Self {
            nodes: RANKS.iter().map(server).collect(),
            barriers: Barriers::new(RANKS.len() as u32),
            last_release: None,
            broken: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn writes(&mut self, rank: u32, data: &[u8]) {
        // Nothing more is read from one that speaks no PMI-1.
        if self.broken.contains(&rank) {
            return;
        }
        let node = RANKS.iter().position(|ranks| ranks.contains(&rank)).expect("each rank is on a node");
        let actions = self.nodes[node].receive(rank, data);
        let mut release = None;
        for action in actions {
            assert!(self.broken.is_empty() || !self.broken.contains(&rank), "nothing follows from a broken rank");
            match action {
                Action::Reply(to, reply) => {
                    assert_eq!(to, rank, "only a release answers others");
                    let line = reply.to_line();
                    assert_eq!(
                        line.iter().position(|byte| *byte == b'\n'),
                        Some(line.len() - 1),
                        "a reply is one line"
                    );
                }
                Action::Barrier(barrier) => release = self.barriers.arrive(node as u32, barrier).or(release),
                Action::Abort { rank: who, .. } => assert_eq!(who, rank),
                Action::Broken(who, error) => {
                    assert_eq!(who, rank);
                    assert!(!error.to_string().contains(char::is_control), "{error} is one line");
                    self.broken.insert(rank);
                }
            }
        }
        if let Some(release) = release {
            self.release(release);
        }
    }

    fn release(&mut self, release: Release) {
        let mut out = BTreeSet::new();
        for node in &mut self.nodes {
            for action in node.release(release.clone()) {
                let Action::Reply(rank, reply) = action else { panic!("a release lets ranks go: {action:?}") };
                assert_eq!(reply.to_line(), b"cmd=barrier_out rc=0\n");
                assert!(out.insert(rank), "rank {rank} leaves the barrier once");
            }
        }
        assert_eq!(out.len(), 3, "all leave the barrier together");
        self.waiting.clear();
        self.last_release = Some(release);
    }

    /// A message that comes twice lets nobody through.
    fn release_again(&mut self, node: u32) {
        let node = &mut self.nodes[node as usize % RANKS.len()];
        if let Some(release) = &self.last_release {
            assert_eq!(node.release(release.clone()), []);
        }
    }
}

fn any_pieces_give_the_same_requests(bytes: &[u8]) {
    let whole = requests([bytes]);
    assert_eq!(requests(bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(requests(bytes.chunks(7)), whole, "by seven");
}

fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<WireError>) {
    let (mut reader, mut requests) = (Reader::default(), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_request() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}
