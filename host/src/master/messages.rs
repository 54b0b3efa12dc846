//! What the master only passes on: bytes between scheduler and executor, requests from commands to frameworks.

use mesos_plugin_api::v1::scheduler::{self, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId};

use super::{Caller, Effect, LinkId, Master, Peer, authorise};
use crate::protocol::{
    ExecutorMessage, ExecutorMessageAcknowledge, OperatorReply, ReplyPiece, RequestFramework, agent_event,
    operator_reply,
};

/// A command waits for a framework's answer.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) framework_id: FrameworkId,
    asker: LinkId,
}

impl Master {
    // Messages carry numbers that their ends check: one that is dropped here, because its receiver is away, is sent again.

    pub(super) fn message_to_executor(&self, id: &FrameworkId, message: scheduler::Message, effects: &mut Vec<Effect>) {
        let agent = message.agent_id.clone();
        let event = ExecutorMessage { framework_id: id.clone(), message };
        self.tell_agent(&agent, agent_event::Event::Message(event), effects);
    }

    pub(super) fn acknowledge_to_executor(
        &self,
        id: &FrameworkId,
        acknowledge: scheduler::MessageAcknowledge,
        effects: &mut Vec<Effect>,
    ) {
        let agent = acknowledge.agent_id.clone();
        let event = ExecutorMessageAcknowledge { framework_id: id.clone(), acknowledge };
        self.tell_agent(&agent, agent_event::Event::MessageAcknowledge(event), effects);
    }

    pub(super) fn message_from_executor(&self, agent: &AgentId, message: ExecutorMessage, effects: &mut Vec<Effect>) {
        let ExecutorMessage { framework_id, message } = message;
        let scheduler_message = scheduler::Message { agent_id: agent.clone(), ..message };
        if self.frameworks.get(&framework_id).is_some_and(|framework| framework.ending.is_none()) {
            return self.tell(&framework_id, event::Event::Message(scheduler_message), effects);
        }
        // Nobody will read it, and the agent tells an executor's end only after its last message has arrived.
        let scheduler::Message { executor_id, seq, incarnation, .. } = scheduler_message;
        let seq = seq.unwrap_or(0);
        let acknowledge = scheduler::MessageAcknowledge { agent_id: agent.clone(), executor_id, seq, incarnation };
        let event = ExecutorMessageAcknowledge { framework_id, acknowledge };
        self.tell_agent(agent, agent_event::Event::MessageAcknowledge(event), effects);
    }

    pub(super) fn acknowledge_from_executor(
        &self,
        agent: &AgentId,
        acknowledge: ExecutorMessageAcknowledge,
        effects: &mut Vec<Effect>,
    ) {
        let scheduler_acknowledge =
            scheduler::MessageAcknowledge { agent_id: agent.clone(), ..acknowledge.acknowledge };
        self.tell(&acknowledge.framework_id, event::Event::MessageAcknowledge(scheduler_acknowledge), effects);
    }

    pub(super) fn request_framework(
        &mut self,
        asker: LinkId,
        caller: &Caller,
        request: RequestFramework,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let framework = self.find_framework(&request.framework)?;
        authorise::control(caller, framework)?;
        if framework.link.is_none() {
            return Err(format!(
                "the scheduler of {} ({}) is away; ask again when it is back (mesos frameworks)",
                framework.info.name, framework.id
            ));
        }
        let framework_id = framework.id.clone();
        let request_id = self.next_request;
        self.next_request += 1;
        self.links.insert(asker, Peer::Asker { request: request_id });
        self.requests.insert(request_id, PendingRequest { framework_id: framework_id.clone(), asker });
        let event = scheduler::Request { request_id, data: request.data, principal: Some(caller.principal.clone()) };
        self.tell(&framework_id, event::Event::Request(event), effects);
        Ok(())
    }

    pub(super) fn framework_replied(&mut self, id: &FrameworkId, reply: scheduler::Reply, effects: &mut Vec<Effect>) {
        let Some(request) = self.requests.get(&reply.request_id).filter(|request| request.framework_id == *id) else {
            return;
        };
        if reply.data.is_some() {
            let piece = ReplyPiece { data: reply.data, done: None };
            let reply = OperatorReply { reply: Some(operator_reply::Reply::Piece(piece)) };
            effects.push(Effect::Reply { link: request.asker, reply: Ok(reply) });
        }
        match reply.error {
            Some(error) => self.end_request(reply.request_id, Err(error), effects),
            None if reply.done == Some(true) => self.end_request(reply.request_id, Ok(()), effects),
            None => {}
        }
    }

    pub(super) fn end_request(&mut self, request_id: u64, outcome: Result<(), String>, effects: &mut Vec<Effect>) {
        let Some(request) = self.requests.remove(&request_id) else { return };
        if let Err(error) = outcome {
            effects.push(Effect::Reply { link: request.asker, reply: Err(error) });
        }
        self.close(request.asker, effects);
    }

    /// Whoever asked has hung up.
    pub(super) fn asker_left(&mut self, request_id: u64, effects: &mut Vec<Effect>) {
        if let Some(request) = self.requests.remove(&request_id) {
            let event = scheduler::RequestCancelled { request_id };
            self.tell(&request.framework_id, event::Event::RequestCancelled(event), effects);
        }
    }
}
