//! Messages between scheduler and executors: numbered, in order, resent until they are acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{Message, MessageAcknowledge};
use mesos_plugin_api::v1::{AgentId, ExecutorId};

/// Messages that came before the ones they follow and are kept until those come, for one executor.
const EARLY_MAX: usize = 1024;

/// Both directions, by executor.
#[derive(Debug, Default)]
pub(super) struct Messages {
    peers: BTreeMap<(AgentId, ExecutorId), Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    last_sent: u64,
    /// Sent, not acknowledged, with the time of the last try.
    unacknowledged: VecDeque<(Time, Message)>,
    last_received: u64,
    early: BTreeMap<u64, Message>,
}

impl Messages {
    /// Gives a message its number and keeps it until it is acknowledged.
    pub(super) fn number(&mut self, now: Time, message: Message) -> Message {
        let peer = self.peers.entry((message.agent_id.clone(), message.executor_id.clone())).or_default();
        peer.last_sent += 1;
        let message = Message { seq: Some(peer.last_sent), ..message };
        peer.unacknowledged.push_back((now, message.clone()));
        message
    }

    pub(super) fn acknowledged(&mut self, acknowledge: &MessageAcknowledge) {
        let key = (acknowledge.agent_id.clone(), acknowledge.executor_id.clone());
        if let Some(peer) = self.peers.get_mut(&key) {
            while peer.unacknowledged.front().is_some_and(|(_, message)| message.seq() <= acknowledge.seq) {
                peer.unacknowledged.pop_front();
            }
        }
    }

    /// What to acknowledge after taking this one; nothing for one that can't be kept, which comes again.
    pub(super) fn received(&mut self, message: &Message) -> Option<MessageAcknowledge> {
        let peer = self.peers.entry((message.agent_id.clone(), message.executor_id.clone())).or_default();
        let early = message.seq() > peer.last_received + 1;
        if early && peer.early.len() >= EARLY_MAX {
            return None;
        }
        let mut seq = peer.last_received.max(if early { 0 } else { message.seq() });
        while !early && peer.early.contains_key(&(seq + 1)) {
            seq += 1;
        }
        Some(MessageAcknowledge { agent_id: message.agent_id.clone(), executor_id: message.executor_id.clone(), seq })
    }

    /// What may be given to the half now, in order: nothing for a repeated or early one.
    pub(super) fn deliver(&mut self, message: Message) -> Vec<Message> {
        let peer = self.peers.entry((message.agent_id.clone(), message.executor_id.clone())).or_default();
        if message.seq() > peer.last_received {
            peer.early.insert(message.seq(), message);
        }
        let mut ready = Vec::new();
        while let Some(next) = peer.early.remove(&(peer.last_received + 1)) {
            peer.last_received += 1;
            ready.push(next);
        }
        ready
    }

    /// The executor, or all on that agent, is gone with what was on its way.
    pub(super) fn forget(&mut self, agent: &AgentId, executor: Option<&ExecutorId>) {
        self.peers.retain(|(a, e), _| a != agent || executor.is_some_and(|executor| executor != e));
    }

    /// When the next message is due again.
    pub(super) fn resend_at(&self, after: Duration) -> Option<Time> {
        self.peers.values().filter_map(|peer| peer.unacknowledged.front()).map(|(sent, _)| *sent + after).min()
    }

    /// Messages that are due again.
    pub(super) fn resend(&mut self, now: Time, after: Duration) -> Vec<Message> {
        let mut due = Vec::new();
        for peer in self.peers.values_mut() {
            for (sent, message) in &mut peer.unacknowledged {
                if *sent + after <= now {
                    *sent = now;
                    due.push(message.clone());
                }
            }
        }
        due
    }
}
