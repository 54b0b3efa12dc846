//! What the half says to others in answer to an event: it goes out, in order, when all that was stored before it is kept.

use std::collections::VecDeque;

use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::call::Call as HalfCall;
use mesos_plugin_api::v1::scheduler::{Acknowledge, Message, MessageAcknowledge, Reply, call::Call};
use mesos_plugin_api::{Calls, Time};

use super::channels::Key;
use super::{Effect, RESEND_AFTER, Runner};

/// What made an event, and is acknowledged when the half is done with it.
pub(super) enum Cause {
    Update(Acknowledge),
    Message(MessageAcknowledge),
    Other,
}

/// Something for others.
#[derive(Debug)]
pub(super) enum Answer {
    Update(Acknowledge),
    Message(MessageAcknowledge),
    /// The next message to this executor.
    Release(Key),
    Reply(Reply),
}

/// What waits for writes, each with the last write before it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<(u64, Answer)>,
}

impl Answers {
    /// What waits only for writes before this one.
    pub(super) fn take_before(&mut self, oldest_write: Option<u64>) -> Vec<Answer> {
        let ready = |(needed, _): &&(u64, Answer)| oldest_write.is_none_or(|oldest| *needed < oldest);
        let count = self.waiting.iter().take_while(ready).count();
        self.waiting.drain(..count).map(|(_, answer)| answer).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Answer> {
        self.take_before(None)
    }

    /// Whoever asked was told that the framework went away.
    pub(super) fn forget_replies(&mut self) {
        self.waiting.retain(|(_, answer)| !matches!(answer, Answer::Reply(_)));
    }
}

impl Runner {
    /// Gives the half an event and carries out its calls as one transaction.
    pub(super) fn give_for(&mut self, now: Time, event: HalfEvent, cause: Cause, effects: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        let mut calls = Calls::default();
        self.half.on_event(now, event, &mut calls);
        let mut calls = calls.take();
        // A finish tears the framework down: the acknowledgement goes before it.
        let finish = calls.iter().position(|call| matches!(call, HalfCall::Finish(_)));
        let rest = finish.map(|at| calls.split_off(at)).unwrap_or_default();
        let answered = self.number_messages(&mut calls, &cause);
        self.keep(now, &calls, &cause, effects);
        self.carry_out(now, calls, effects);
        match cause {
            Cause::Update(acknowledge) => self.answer(now, Answer::Update(acknowledge), effects),
            Cause::Message(acknowledge) if !answered => self.answer(now, Answer::Message(acknowledge), effects),
            Cause::Message(_) | Cause::Other => {}
        }
        self.carry_out(now, rest, effects);
    }

    /// An executor that is answered learns by the answer itself that its message has arrived, so that it has either both or none
    /// when we die. Says whether it is answered.
    fn number_messages(&mut self, calls: &mut [HalfCall], cause: &Cause) -> bool {
        let asks = |message: &Message, of: &MessageAcknowledge| {
            message.agent_id == of.agent_id && message.executor_id == of.executor_id
        };
        let mut messages: Vec<&mut Message> = calls
            .iter_mut()
            .filter_map(|call| if let HalfCall::Message(message) = call { Some(message) } else { None })
            .collect();
        let mut answered = false;
        if let Cause::Message(acknowledge) = cause
            && let Some(answer) = messages.iter_mut().rev().find(|message| asks(message, acknowledge))
        {
            answer.answers = Some(acknowledge.clone());
            answered = true;
        }
        for message in messages {
            *message = self.channels.number(std::mem::take(message));
        }
        answered
    }

    /// Says something once all that was stored is kept.
    pub(super) fn answer(&mut self, now: Time, answer: Answer, effects: &mut Vec<Effect>) {
        if let Some(write) = self.writes.newest() {
            return self.answers.waiting.push_back((write, answer));
        }
        let released = matches!(answer, Answer::Release(_));
        self.send_answer(answer, effects);
        if released {
            self.send_messages(now, RESEND_AFTER, effects);
        }
    }

    /// What can't be said now is made good later: updates and messages come again, and messages stay until they have arrived.
    pub(super) fn send_answer(&mut self, answer: Answer, effects: &mut Vec<Effect>) {
        let call = match answer {
            Answer::Release(key) => return self.channels.release(&key),
            Answer::Update(acknowledge) => Call::Acknowledge(acknowledge),
            Answer::Message(acknowledge) => match self.channels.owe(acknowledge) {
                Some(acknowledge) => Call::MessageAcknowledge(acknowledge),
                None => return,
            },
            Answer::Reply(reply) => Call::Reply(reply),
        };
        if self.connected && !self.ended {
            effects.push(Effect::Call(call));
        }
    }
}

/// The acknowledgement of an executor's message.
pub(super) fn acknowledge(message: &Message) -> MessageAcknowledge {
    MessageAcknowledge {
        agent_id: message.agent_id.clone(),
        executor_id: message.executor_id.clone(),
        seq: message.seq(),
        incarnation: message.incarnation,
    }
}
