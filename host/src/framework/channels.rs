//! Messages between scheduler and executors: numbered, in order, resent until they are acknowledged, also by a scheduler that
//! takes over.
//!
//! ```text
//! scheduler, incarnation 3    ──(3,1) (3,2)──▶ agent, which keeps what it took until the executor has it ──▶ executor
//!        ✝  (3,3) was kept with the state, (3,4) wasn't
//! scheduler, incarnation 4    ──(3,3)──▶       new, or taken before: acknowledged either way
//!                             ──(4,1)──▶       then the new scheduler's own
//!                             ◀──(e,7)──       what no scheduler has acknowledged; e names the executor's process
//! ```
//!
//! A scheduler numbers in one row for each executor; incarnations and numbers are compared as pairs. Each message says up to where
//! none comes again (`settled`), so that whoever takes over, at either end, knows where to begin.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{Message, MessageAcknowledge};
use mesos_plugin_api::v1::{AgentId, ExecutorId};

/// Messages that came before the ones they follow and are kept until those come, for one executor.
const EARLY_MAX: usize = 1024;
/// Executors that are gone whose repeated messages are still recognised: one on a lost agent may come back with it.
const GONE_MAX: usize = 4096;

/// An executor.
pub(super) type Key = (AgentId, ExecutorId);

/// Both directions, by executor.
#[derive(Debug, Default)]
pub(super) struct Channels {
    incarnation: u64,
    peers: BTreeMap<Key, Peer>,
    /// Up to where executors were heard that are gone, in the order of their end.
    gone: VecDeque<(Key, (Option<u64>, u64))>,
    /// The highest number that one of those was sent. What is numbered anew goes on behind it: word of an executor's end may come
    /// late, when another of its name has taken what was numbered before.
    numbered_for_gone: u64,
}

#[derive(Debug, Default)]
struct Peer {
    last_numbered: u64,
    /// Not acknowledged, in order; the last `held` of them may not go out yet.
    outgoing: VecDeque<Outgoing>,
    held: usize,
    /// Which executor process numbers what comes.
    from: Option<u64>,
    last_received: u64,
    early: BTreeMap<u64, Message>,
    /// The executor hears of this when our answers to its earlier messages have arrived.
    owed: Option<MessageAcknowledge>,
}

#[derive(Debug)]
struct Outgoing {
    message: Message,
    /// Stored for a scheduler that takes over, or on its way there.
    kept: bool,
    /// The last try.
    sent: Option<Time>,
}

impl Channels {
    /// Numbers from here on are this scheduler's.
    pub(super) fn begin(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
    }

    /// What an earlier scheduler had kept: how far it had taken an executor's messages.
    pub(super) fn restore_taken(&mut self, taken: &MessageAcknowledge) {
        let peer = self.peers.entry((taken.agent_id.clone(), taken.executor_id.clone())).or_default();
        (peer.from, peer.last_received) = (taken.incarnation, taken.seq);
    }

    /// The same: a message that may not have arrived.
    pub(super) fn restore_sent(&mut self, message: Message) {
        let peer = self.peers.entry(key(&message)).or_default();
        let place = peer.outgoing.partition_point(|earlier| position(&earlier.message) < position(&message));
        peer.outgoing.insert(place, Outgoing { message, kept: true, sent: None });
    }

    // ── to executors ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Gives a message its number and keeps it until it is acknowledged; it goes out once it is released.
    pub(super) fn number(&mut self, message: Message) -> Message {
        let incarnation = self.incarnation;
        let peer = self.peer(key(&message));
        peer.last_numbered += 1;
        let message = Message { seq: Some(peer.last_numbered), incarnation: Some(incarnation), ..message };
        peer.outgoing.push_back(Outgoing { message: message.clone(), kept: false, sent: None });
        peer.held += 1;
        message
    }

    /// All on the way to an executor that isn't kept, which is from now on. Those of earlier events belong to it: who takes over
    /// is told that the messages that they answer were taken.
    pub(super) fn keep(&mut self, key: &Key) -> Vec<Message> {
        let outgoing = self.peers.get_mut(key).into_iter().flat_map(|peer| &mut peer.outgoing);
        let new =
            |outgoing: &mut Outgoing| (!std::mem::replace(&mut outgoing.kept, true)).then(|| outgoing.message.clone());
        outgoing.filter_map(new).collect()
    }

    /// The first that is held may go out.
    pub(super) fn release(&mut self, key: &Key) {
        // Its executor is gone, otherwise.
        if let Some(peer) = self.peers.get_mut(key) {
            peer.held = peer.held.saturating_sub(1);
        }
    }

    /// What hasn't been sent, or not for so long.
    pub(super) fn due(&mut self, now: Time, resend_after: Duration) -> Vec<Message> {
        let mut due = Vec::new();
        for peer in self.peers.values_mut() {
            let (settled, sendable) = (peer.settled(), peer.sendable(self.incarnation));
            for outgoing in peer.outgoing.iter_mut().take(sendable) {
                if outgoing.sent.is_none_or(|sent| sent + resend_after <= now) {
                    outgoing.sent = Some(now);
                    due.push(Message { settled, ..outgoing.message.clone() });
                }
            }
        }
        due
    }

    /// When the next message is due again.
    pub(super) fn due_at(&self, resend_after: Duration) -> Option<Time> {
        let sent = self.peers.values().filter_map(|peer| peer.outgoing.front()?.sent);
        sent.map(|sent| sent + resend_after).min()
    }

    /// Takes off what has arrived, and gives it back; with an acknowledgement that had to wait for it.
    pub(super) fn acknowledged(&mut self, by: &MessageAcknowledge) -> (Vec<Message>, Option<MessageAcknowledge>) {
        let Some(peer) = self.peers.get_mut(&(by.agent_id.clone(), by.executor_id.clone())) else {
            return Default::default();
        };
        let arrived = (by.incarnation(), by.seq);
        let count = peer.outgoing.partition_point(|outgoing| position(&outgoing.message) <= arrived);
        let arrived = peer.outgoing.drain(..count).map(|outgoing| outgoing.message).collect();
        (arrived, if peer.answers() { None } else { peer.owed.take() })
    }

    /// An acknowledgement that may be sent now. It stands for all earlier messages too, and those that are answered are acknowledged
    /// by their answers: until these have arrived it waits.
    pub(super) fn owe(&mut self, acknowledge: MessageAcknowledge) -> Option<MessageAcknowledge> {
        match self.peers.get_mut(&(acknowledge.agent_id.clone(), acknowledge.executor_id.clone())) {
            Some(peer) if peer.answers() => {
                let newer = peer
                    .owed
                    .as_ref()
                    .is_none_or(|owed| (owed.incarnation, owed.seq) < (acknowledge.incarnation, acknowledge.seq));
                if newer {
                    peer.owed = Some(acknowledge);
                }
                None
            }
            _ => Some(acknowledge),
        }
    }

    // ── from executors ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// What may be given to the half now, in order. An early one is kept for later; what an older executor process of that id
    /// said is dropped.
    pub(super) fn received(&mut self, message: Message) -> Vec<Message> {
        let peer = self.peer(key(&message));
        if message.incarnation < peer.from {
            return Vec::new();
        }
        if message.incarnation > peer.from {
            (peer.from, peer.last_received) = (message.incarnation, 0);
            peer.early.clear();
        }
        peer.last_received = peer.last_received.max(message.settled());
        // One that can't be kept comes again.
        if message.seq() == peer.last_received + 1 || peer.early.len() < EARLY_MAX {
            peer.early.insert(message.seq(), message);
        }
        peer.early = peer.early.split_off(&(peer.last_received + 1));
        let mut ready = Vec::new();
        while let Some(next) = peer.early.remove(&(peer.last_received + 1)) {
            peer.last_received += 1;
            ready.push(next);
        }
        ready
    }

    /// Whether the half has seen it.
    pub(super) fn has_taken(&mut self, message: &Message) -> bool {
        let peer = self.peer(key(message));
        (message.incarnation, message.seq()) <= (peer.from, peer.last_received)
    }

    /// The executor, or all on that agent, is gone with what was on its way; gives back whom this concerns, and what.
    pub(super) fn forget(&mut self, agent: &AgentId, executor: Option<&ExecutorId>) -> Vec<(Key, Vec<Message>)> {
        let gone = |(a, e): &Key| a == agent && executor.is_none_or(|executor| executor == e);
        let gone: Vec<Key> = self.peers.keys().filter(|key| gone(key)).cloned().collect();
        let forget = |key: Key| {
            let peer = self.peers.remove(&key).expect("it was listed a line above");
            self.numbered_for_gone = self.numbered_for_gone.max(peer.last_numbered);
            if peer.from.is_some() {
                self.gone.push_back((key.clone(), (peer.from, peer.last_received)));
            }
            if self.gone.len() > GONE_MAX {
                self.gone.pop_front();
            }
            (key, peer.outgoing.into_iter().map(|outgoing| outgoing.message).collect())
        };
        gone.into_iter().map(forget).collect()
    }

    /// An executor that comes back with its agent goes on where it was: what it says again was heard.
    fn peer(&mut self, key: Key) -> &mut Peer {
        let (gone, last_numbered) = (&mut self.gone, self.numbered_for_gone);
        self.peers.entry(key).or_insert_with_key(|key| {
            let known = gone.iter().position(|(gone, _)| gone == key).and_then(|at| gone.remove(at));
            let (from, last_received) = known.map(|(_, position)| position).unwrap_or_default();
            Peer { from, last_received, last_numbered, ..Peer::default() }
        })
    }
}

impl Peer {
    /// How many may be on their way at once. What an earlier scheduler left goes one by one: between two of them numbers may be
    /// missing for ever, and an executor that has heard of this scheduler takes none of them any more.
    fn sendable(&self, incarnation: u64) -> usize {
        let released = self.outgoing.len().saturating_sub(self.held);
        match self.outgoing.front() {
            Some(first) if first.message.incarnation() != incarnation => released.min(1),
            _ => released,
        }
    }

    /// Whether answers to the executor's messages are on their way.
    fn answers(&self) -> bool {
        self.outgoing.iter().any(|outgoing| outgoing.message.answers.is_some())
    }

    fn settled(&self) -> Option<u64> {
        self.outgoing.front().map(|first| first.message.seq() - 1)
    }
}

pub(super) fn key(message: &Message) -> Key {
    (message.agent_id.clone(), message.executor_id.clone())
}

fn position(message: &Message) -> (u64, u64) {
    (message.incarnation(), message.seq())
}
