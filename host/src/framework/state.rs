//! What the half stores: all of one event in one write, with the runner's own part of it.
//!
//! The runner keeps what a scheduler that takes over must know beside what the half knows: up to where an executor's messages were
//! taken, when taking one has changed the state; and the messages that went out with such a change. So neither comes twice or is
//! lost with the process: a message whose effects are kept is not taken again, and what was said because of them is said again
//! until it has arrived.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::{PutState, call::Call as HalfCall};
use mesos_plugin_api::v1::scheduler::{self, Message, MessageAcknowledge, StateChange, StateEntry, call::Call};
use prost::Message as _;

use super::answers::Cause;
use super::channels::{self, Channels, Key};
use super::{Effect, Runner};

/// Keys that begin like this are the runner's.
const OWN: &str = "mesos:";
const TAKEN: &str = "mesos:taken/";
const SENT: &str = "mesos:sent/";
/// A larger message is not kept with the state: it is lost with the scheduler's process if it hasn't arrived, in bytes.
const KEPT_MESSAGE_BYTES_MAX: usize = 60 << 10;

/// Writes that the master hasn't confirmed, and what the next one has to carry.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last: u64,
    unkept: BTreeMap<u64, Write>,
    /// Keys of the runner that aren't needed any more.
    stale: Vec<String>,
}

#[derive(Debug)]
struct Write {
    changes: Vec<StateChange>,
    /// The half's own numbers, of each of its calls.
    seqs: Vec<u64>,
}

impl Writes {
    /// The newest write that isn't kept yet.
    pub(super) fn newest(&self) -> Option<u64> {
        self.unkept.last_key_value().map(|(number, _)| *number)
    }

    fn oldest(&self) -> Option<u64> {
        self.unkept.first_key_value().map(|(number, _)| *number)
    }

    /// Those that aren't kept, for a master that may not have got them.
    pub(super) fn unkept(&self) -> impl Iterator<Item = scheduler::PutState> {
        self.unkept
            .iter()
            .map(|(number, write)| scheduler::PutState { changes: write.changes.clone(), seq: Some(*number) })
    }

    fn add(&mut self, write: Write) -> scheduler::PutState {
        self.last += 1;
        let put = scheduler::PutState { changes: write.changes.clone(), seq: Some(self.last) };
        self.unkept.insert(self.last, write);
        put
    }

    /// Takes the runner's part out of a framework's state and gives the half's.
    pub(super) fn restore(&mut self, state: Vec<StateEntry>, channels: &mut Channels) -> Vec<StateEntry> {
        let (own, state): (Vec<_>, _) = state.into_iter().partition(|entry| entry.key.starts_with(OWN));
        for entry in own {
            if let (true, Ok(taken)) = (entry.key.starts_with(TAKEN), MessageAcknowledge::decode(&entry.value[..])) {
                channels.restore_taken(&taken);
            }
            if let (true, Ok(sent)) = (entry.key.starts_with(SENT), Message::decode(&entry.value[..])) {
                channels.restore_sent(sent);
            }
        }
        state
    }

    /// These need not be kept any more.
    pub(super) fn messages_arrived(&mut self, messages: &[Message]) {
        self.stale.extend(messages.iter().filter(|message| is_kept(message)).map(sent_key));
    }

    /// An executor is gone, and these messages to it with it.
    pub(super) fn executor_gone(&mut self, (agent, executor): &Key, messages: &[Message]) {
        self.stale.push(format!("{TAKEN}{agent}/{executor}"));
        self.messages_arrived(messages);
    }
}

impl Runner {
    /// Writes all that the half stores in answer to an event, if it stores anything.
    pub(super) fn keep(&mut self, now: Time, calls: &[HalfCall], cause: &Cause, effects: &mut Vec<Effect>) {
        let put = |call: &HalfCall| if let HalfCall::PutState(put) = call { Some(put.clone()) } else { None };
        let (puts, refused): (Vec<PutState>, Vec<PutState>) =
            calls.iter().filter_map(put).partition(|put| !put.key.starts_with(OWN));
        for put in refused {
            let error = Some(format!("keys that begin with {OWN:?} are not for plugins; rename {:?}", put.key));
            let stored = scheduler::StateStored { seq: put.seq(), error };
            self.give(now, HalfEvent::StateStored(stored), effects);
        }
        if puts.is_empty() {
            return;
        }
        let seqs = puts.iter().map(PutState::seq).collect();
        let mut changes: BTreeMap<String, Option<Vec<u8>>> =
            std::mem::take(&mut self.writes.stale).into_iter().map(|key| (key, None)).collect();
        changes.extend(puts.into_iter().map(|put| (put.key, put.value)));
        if let Cause::Message(taken) = cause {
            changes.insert(format!("{TAKEN}{}/{}", taken.agent_id, taken.executor_id), Some(taken.encode_to_vec()));
        }
        let spoken_to = |call: &HalfCall| if let HalfCall::Message(to) = call { Some(channels::key(to)) } else { None };
        let mut executors: BTreeSet<Key> = calls.iter().filter_map(spoken_to).collect();
        if let Cause::Message(taken) = cause {
            executors.insert((taken.agent_id.clone(), taken.executor_id.clone()));
        }
        for message in executors.iter().flat_map(|executor| self.channels.keep(executor)).filter(is_kept) {
            changes.insert(sent_key(&message), Some(message.encode_to_vec()));
        }
        let changes = changes.into_iter().map(|(key, value)| StateChange { key, value }).collect();
        let put = self.writes.add(Write { changes, seqs });
        if self.connected {
            effects.push(Effect::Call(Call::PutState(put)));
        }
    }

    pub(super) fn stored(&mut self, now: Time, stored: scheduler::StateStored, effects: &mut Vec<Effect>) {
        let Some(write) = self.writes.unkept.remove(&stored.seq) else { return };
        for answer in self.answers.take_before(self.writes.oldest()) {
            self.send_answer(answer, effects);
        }
        self.send_messages(now, super::RESEND_AFTER, effects);
        for seq in write.seqs {
            let stored = scheduler::StateStored { seq, error: stored.error.clone() };
            self.give(now, HalfEvent::StateStored(stored), effects);
        }
    }
}

fn is_kept(message: &Message) -> bool {
    message.data.len() <= KEPT_MESSAGE_BYTES_MAX
}

fn sent_key(message: &Message) -> String {
    let Message { agent_id, executor_id, .. } = message;
    format!("{SENT}{agent_id}/{executor_id}/{}.{}", message.incarnation(), message.seq())
}
