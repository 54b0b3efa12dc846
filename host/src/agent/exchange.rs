//! What an executor's process and its scheduler say to each other through the agent: numbered on each way, taken once and in
//! order, kept until confirmed. Beyond its bounds the agent takes no more, and whoever speaks waits.

use mesos_plugin_api::v1::executor::{Frame, Numbered, Started, frame, numbered::Body};
use mesos_plugin_api::v1::{FrameworkId, Reason, Source, TaskStatus, scheduler};

use super::core::{After, Agent};
use super::event::{Checkpoint, Effect, LocalId, Out, back_off};
use super::executors::{
    EXECUTOR_FRAME_BYTES_MAX, EXECUTOR_FRAMES_MAX, EXECUTOR_WINDOW, MESSAGE_RETRY, MESSAGE_RETRY_MAX, Phase, ToProcess,
};
use super::tasks::Phase as TaskPhase;
use super::timers::Timer;
use crate::protocol::{ExecutorMessage, ExecutorMessageAcknowledge, agent_call};

impl Agent {
    pub(super) fn on_executor_connected(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id).filter(|executor| executor.is_live()) else { return };
        executor.connected = true;
        executor.held.clear();
        let first = executor.phase != Phase::Running;
        executor.phase = Phase::Running;
        self.timers.cancel(Timer::ExecutorRegister(id));
        let executor = &self.executors[&id];
        let welcome = Started {
            framework: (*self.frameworks[&executor.framework_id].info).clone(),
            executor: (*executor.info).clone(),
            agent: self.settings.info.clone(),
            sandbox: executor.sandbox.display().to_string(),
            knock_program: None,
        };
        let mut tell = |frame| out.push(Effect::SendExecutor { id, frame: Frame { frame: Some(frame) } });
        tell(frame::Frame::Welcome(welcome));
        tell(frame::Frame::Confirm(executor.from_process.taken()));
        for (seq, item) in executor.to_process.iter().filter(|(_, item)| item.durable) {
            tell(frame::Frame::Numbered(Numbered { seq, body: Some(item.body.clone()) }));
        }
        if first && executor.is_stopping() {
            // It was told to end while nobody knew yet whether it runs.
            self.shut_down(id, out);
        } else {
            for task in executor.tasks.clone() {
                if self.tasks[&task].phase == (TaskPhase::WithExecutor { executor: id, given: false }) {
                    self.tell_of_task(task, id, out);
                }
            }
        }
    }

    /// Its process hears of it when that is durable: a number that it has seen is never another frame's.
    pub(super) fn to_process(&mut self, id: LocalId, body: Body, scheduler_seq: Option<(u64, u64)>, out: &mut Out) {
        let executor = self.executors.get_mut(&id).expect("the caller has it");
        let seq =
            executor.to_process.push(ToProcess { body: body.clone(), scheduler_seq, at: out.now, durable: false });
        self.persist(Checkpoint::Tell { id, seq, body, scheduler_seq, at: out.now }, After::Tell(id, seq), out);
    }

    pub(super) fn tell_process(&mut self, id: LocalId, seq: u64, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        let Some(item) = executor.to_process.get_mut(seq) else { return };
        item.durable = true;
        if executor.connected {
            let body = executor.to_process.get_mut(seq).expect("it was just there").body.clone();
            let frame = frame::Frame::Numbered(Numbered { seq, body: Some(body) });
            out.push(Effect::SendExecutor { id, frame: Frame { frame: Some(frame) } });
        }
    }

    pub(super) fn on_executor_frame(&mut self, id: LocalId, frame: Frame, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id).filter(|executor| executor.is_live()) else { return };
        match frame.frame {
            Some(frame::Frame::Confirm(seq)) => {
                let confirmed = executor.to_process.confirm(seq);
                if !confirmed.is_empty() {
                    self.persist(Checkpoint::Confirmed { id, seq }, After::Nothing, out);
                }
                if let Some(position) = confirmed.iter().filter_map(|item| item.scheduler_seq).max() {
                    self.acknowledge_to_scheduler(id, position, out);
                }
            }
            Some(frame::Frame::Numbered(numbered)) => {
                let next = executor.from_process.taken() + executor.held.len() as u64 + 1;
                if numbered.seq == next && executor.held.len() < EXECUTOR_WINDOW {
                    executor.held.push_back(numbered);
                }
                self.take_from_executor(id, out);
            }
            Some(frame::Frame::Hello(_) | frame::Frame::Welcome(_)) | None => {}
        }
    }

    /// Takes what there is room for; the rest waits, and with it the process, whose window is full then.
    pub(super) fn take_from_executor(&mut self, id: LocalId, out: &mut Out) {
        while let Some(executor) = self.executors.get_mut(&id) {
            let Some(first) = executor.held.front() else { break };
            let full = match &first.body {
                Some(Body::Update(status)) => {
                    let task = self.by_task.get(&(executor.framework_id.clone(), status.task_id.clone()));
                    task.is_some_and(|task| self.tasks[task].updates.is_full())
                }
                _ => executor.has_no_room(),
            };
            if full {
                break;
            }
            self.take_one(id, out);
        }
        if let Some(executor) = self.executors.get(&id) {
            let seq = executor.from_process.taken();
            self.persist(Checkpoint::Taken { id, seq }, After::Confirm(id, seq), out);
        }
    }

    /// The bounds don't hold for the last words, of which there is a window's full at the most.
    pub(super) fn take_all_from_executor(&mut self, id: LocalId, out: &mut Out) {
        while self.executors.get(&id).is_some_and(|executor| !executor.held.is_empty()) {
            self.take_one(id, out);
        }
    }

    fn take_one(&mut self, id: LocalId, out: &mut Out) {
        let executor = self.executors.get_mut(&id).expect("the caller has it");
        let frame = executor.held.pop_front().expect("the caller has looked");
        assert!(executor.from_process.take(frame.seq), "held frames are in order");
        match frame.body {
            Some(Body::Update(status)) => self.on_executor_update(id, status, frame.seq, out),
            Some(Body::Message(data)) => {
                let seq = executor.to_scheduler.push(data.clone());
                // Sent at once: after a crash the process says the same again, and it gets the same number.
                let kept = Checkpoint::Message { id, taken: frame.seq, seq, data: data.clone() };
                self.persist(kept, After::Nothing, out);
                self.send_message(id, seq, data, out);
                if self.timers.at(Timer::ResendMessages(id)).is_none() {
                    self.timers.set(Timer::ResendMessages(id), out.now + MESSAGE_RETRY);
                }
            }
            Some(Body::Launch(_) | Body::Kill(_) | Body::Shutdown(_)) | None => {}
        }
    }

    pub(super) fn confirm_to_executor(&mut self, id: LocalId, taken: u64, out: &mut Out) {
        if self.executors.get(&id).is_some_and(|executor| executor.connected) {
            out.push(Effect::SendExecutor { id, frame: Frame { frame: Some(frame::Frame::Confirm(taken)) } });
        }
    }

    fn on_executor_update(&mut self, executor: LocalId, status: TaskStatus, taken: u64, out: &mut Out) {
        let key = (self.executors[&executor].framework_id.clone(), status.task_id.clone());
        let known = self.by_task.get(&key).copied();
        let Some(id) = known.filter(|id| self.tasks[id].executor() == Some(executor)) else {
            // A task that has ended needs no second end; one that was never here is the plugin's mistake.
            if known.is_none() {
                out.warn(format!("an executor of {} speaks of task {}, which it doesn't have", key.0, key.1));
            }
            return;
        };
        let own = self.status(id, status.state(), out.now);
        let verdict = self.tasks[&id].verdict.as_ref().map(|(verdict, _)| verdict.clone());
        let terminal = status.state().is_terminal();
        let verdict = verdict.filter(|verdict| terminal && verdict.reason != Reason::KilledByFramework);
        let status = TaskStatus {
            agent_id: own.agent_id,
            executor_id: own.executor_id,
            sandbox: own.sandbox,
            source: Some(Source::Executor.into()),
            timestamp_ns: status.timestamp_ns.or(own.timestamp_ns),
            reason: status.reason.or(verdict.as_ref().map(|verdict| verdict.reason.into())),
            message: status.message.or(verdict.map(|verdict| verdict.message)),
            ..status
        };
        if terminal {
            self.end_taken(id, status, Some(taken), out)
        } else {
            self.publish_taken(id, status, Some(taken), out)
        }
    }

    // ── its scheduler ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_scheduler_message(
        &mut self,
        framework_id: FrameworkId,
        message: scheduler::Message,
        out: &mut Out,
    ) {
        // To an executor that isn't here: its scheduler hears of the end.
        let key = (framework_id, message.executor_id.clone());
        let Some(&id) = self.by_executor.get(&key) else { return };
        let framework_id = key.0;
        let executor = self.executors.get_mut(&id).expect("indexed");
        let full =
            executor.to_process.len() >= EXECUTOR_FRAMES_MAX || executor.to_process.bytes() >= EXECUTOR_FRAME_BYTES_MAX;
        if !executor.is_live() || full {
            return;
        }
        let Some(seq) = message.seq else { return self.to_process(id, Body::Message(message.data), None, out) };
        let incarnation = message.incarnation();
        if executor.from_scheduler.take_of(incarnation, message.settled(), seq) {
            self.to_process(id, Body::Message(message.data), Some((incarnation, seq)), out);
        } else if let Some(confirmed) = self.confirmed_by_process(id, incarnation) {
            // Sent again: the acknowledgement was lost, or is still to come from the process.
            self.acknowledge_to_scheduler(id, confirmed, out);
        }
        // An early one answers nothing yet: it comes again after what is missing. One that was taken has answered.
        let taken = (incarnation, seq) <= self.executors[&id].from_scheduler.position();
        if let Some(answers) = message.answers.filter(|_| taken) {
            self.on_message_acknowledge(framework_id, &answers, out);
        }
    }

    /// Up to where the process has confirmed what this incarnation of its scheduler sent.
    fn confirmed_by_process(&self, id: LocalId, incarnation: u64) -> Option<(u64, u64)> {
        let executor = &self.executors[&id];
        let (newest, taken) = executor.from_scheduler.position();
        if incarnation < newest {
            // What it sent was taken before, or never comes again.
            return Some((incarnation, u64::MAX));
        }
        let waiting = executor.to_process.iter().find_map(|(_, item)| item.scheduler_seq);
        let waiting = waiting.filter(|(of, _)| *of == newest).map(|(_, seq)| seq);
        Some((newest, waiting.map_or(taken, |first| first - 1))).filter(|(_, seq)| *seq > 0)
    }

    fn acknowledge_to_scheduler(&self, id: LocalId, (incarnation, seq): (u64, u64), out: &mut Out) {
        let (Some(executor), Some(agent_id)) = (self.executors.get(&id), self.id()) else { return };
        let (agent_id, executor_id) = (agent_id.clone(), executor.info.id.clone());
        let acknowledge = scheduler::MessageAcknowledge { agent_id, executor_id, seq, incarnation: Some(incarnation) };
        let framework_id = executor.framework_id.clone();
        self.send(agent_call::Call::MessageAcknowledge(ExecutorMessageAcknowledge { framework_id, acknowledge }), out);
    }

    pub(super) fn on_message_acknowledge(
        &mut self,
        framework_id: FrameworkId,
        acknowledge: &scheduler::MessageAcknowledge,
        out: &mut Out,
    ) {
        let Some(&id) = self.by_executor.get(&(framework_id, acknowledge.executor_id.clone())) else { return };
        if acknowledge.incarnation.is_some_and(|incarnation| incarnation != id.0) {
            return; // Meant for an earlier executor of this id.
        }
        let executor = self.executors.get_mut(&id).expect("indexed");
        if executor.to_scheduler.confirm(acknowledge.seq).is_empty() {
            return;
        }
        executor.retry = MESSAGE_RETRY;
        self.timers.cancel(Timer::ResendMessages(id));
        self.persist(Checkpoint::MessageAcknowledged { id, seq: acknowledge.seq }, After::Nothing, out);
        let executor = &self.executors[&id];
        if !executor.to_scheduler.is_empty() {
            self.timers.set(Timer::ResendMessages(id), out.now + MESSAGE_RETRY);
        }
        if executor.is_live() {
            self.take_from_executor(id, out);
        }
        self.tell_if_ended(id, out);
    }

    /// All that wait, in order.
    pub(super) fn resend_messages(&mut self, id: LocalId, out: &mut Out) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        if executor.to_scheduler.is_empty() {
            return;
        }
        self.timers.set(Timer::ResendMessages(id), out.now + executor.retry);
        executor.retry = back_off(executor.retry, MESSAGE_RETRY_MAX);
        let pending: Vec<(u64, Vec<u8>)> =
            executor.to_scheduler.iter().map(|(seq, data)| (seq, data.clone())).collect();
        for (seq, data) in pending {
            self.send_message(id, seq, data, out);
        }
    }

    fn send_message(&self, id: LocalId, seq: u64, data: Vec<u8>, out: &mut Out) {
        let (executor, agent_id) = (&self.executors[&id], self.id().expect("executors come after the registration"));
        let (agent_id, executor_id) = (agent_id.clone(), executor.info.id.clone());
        let message = scheduler::Message {
            agent_id,
            executor_id,
            data,
            seq: Some(seq),
            incarnation: Some(id.0),
            settled: Some(executor.to_scheduler.settled()),
            answers: None,
        };
        let framework_id = executor.framework_id.clone();
        self.send(agent_call::Call::Message(ExecutorMessage { framework_id, message }), out);
    }
}
