//! The executor half: what of a plugin runs on each agent, as a pure state machine.

use crate::Time;
pub use crate::v1::executor::event::Event;
use crate::v1::executor::{
    AnswerKnock, CancelTimer, CloseStream, Exit, Message, SetTimer, SignalProcess, Spawn, ToShell, UpdateTask, Write,
    call::Call,
};
pub use crate::v1::executor::{Pipe, Started};
use crate::v1::{TaskId, TaskState, TaskStatus};

/// Runs a framework's tasks on one agent. Processes are launched by the host for it; it sees their ends, and the bytes of the
/// pipes that it asked for. Like [`Framework`](crate::Framework) it does no I/O of its own.
pub trait Executor: Send {
    /// Takes one event and answers with calls.
    fn on_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls);
}

/// The calls that an executor makes in answer to an event, in order.
#[derive(Debug, Default)]
pub struct ExecutorCalls {
    calls: Vec<Call>,
}

impl ExecutorCalls {
    /// Tells the scheduler a task's new state.
    pub fn update(&mut self, status: TaskStatus) {
        self.push(Call::UpdateTask(UpdateTask { status }));
    }

    /// Tells the scheduler a task's new state, without more words.
    pub fn update_state(&mut self, task_id: &TaskId, state: TaskState) {
        self.update(TaskStatus::new(task_id.clone(), state));
    }

    /// Sends bytes to the scheduler: in order, and once, also where another scheduler process takes over meanwhile. One that died
    /// before it was done with them counts as not having got them.
    pub fn message(&mut self, data: Vec<u8>) {
        self.push(Call::Message(Message { data }));
    }

    /// Launches a process; [`Event::ProcessStarted`] or [`Event::ProcessFailed`] answers.
    pub fn spawn(&mut self, spawn: Spawn) {
        self.push(Call::Spawn(spawn));
    }

    /// Signals a process alone.
    pub fn signal(&mut self, process: u64, signal: i32) {
        self.push(Call::SignalProcess(SignalProcess { process, signal, group: None }));
    }

    /// Signals a process and all of its group.
    pub fn signal_group(&mut self, process: u64, signal: i32) {
        self.push(Call::SignalProcess(SignalProcess { process, signal, group: Some(true) }));
    }

    /// Writes to a pipe of a process; bytes for a process that is gone are dropped.
    pub fn write(&mut self, process: u64, stream: u32, data: Vec<u8>) {
        self.push(Call::Write(Write { process, stream, data }));
    }

    /// Closes our end of a pipe of a process.
    pub fn close_stream(&mut self, process: u64, stream: u32) {
        self.push(Call::CloseStream(CloseStream { process, stream }));
    }

    /// Lets the process that knocked end with this exit code.
    pub fn answer_knock(&mut self, knock: u64, exit_code: i32, message: Option<String>) {
        self.push(Call::AnswerKnock(AnswerKnock { knock, exit_code, message }));
    }

    /// Sets or moves a timer; [`Event::Timer`] with its id comes at that time.
    pub fn set_timer(&mut self, id: u64, at: Time) {
        self.push(Call::SetTimer(SetTimer { id, at_ns: at.as_nanos() }));
    }

    /// Takes a timer back.
    pub fn cancel_timer(&mut self, id: u64) {
        self.push(Call::CancelTimer(CancelTimer { id }));
    }

    /// Hands bytes to the plugin's own threads; see [`WithShell`](crate::WithShell).
    pub fn to_shell(&mut self, data: Vec<u8>) {
        self.push(Call::ToShell(ToShell { data }));
    }

    /// Ends the executor's process and all that it launched.
    pub fn exit(&mut self, message: Option<String>) {
        self.push(Call::Exit(Exit { message }));
    }

    /// Any call.
    pub fn push(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// All calls so far, in order; none are left.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}
