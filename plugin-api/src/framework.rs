//! The framework half: a scheduler as a pure state machine.

use std::time::Duration;

use crate::Time;
pub use crate::v1::framework::event::Event;
use crate::v1::framework::{CancelTimer, Finish, PauseStdin, PutState, SetTimer, ToShell, call::Call};
pub use crate::v1::framework::{Follow, FollowFile, Output, Progress, Started};
use crate::v1::scheduler::{
    Accept, AcceptInverseOffers, CancelGang, CreateVolume, Decline, DeclineInverseOffers, DestroyVolume, Kill, Message,
    Reconcile, Reply, RequestGang, Revive, ShutdownExecutor, Suppress,
};
use crate::v1::{AgentId, ExecutorId, Filters, GangRequest, OfferId, TaskId, TaskInfo};

/// A scheduler: it is given every event, with the time, and answers with calls. It does no I/O and reads no clock, so that the
/// simulator can drive it; sockets and threads that it needs live in the plugin's shell, which hands bytes in (see
/// [`Injector`](crate::Injector)).
///
/// The first event is [`Event::Started`]. Each event is a transaction: all that is stored in answer to it ([`Calls::put_state`]) is
/// kept together or not at all, and messages, replies and the acknowledgement of the event go out when it is kept.
///
/// A framework outlives its scheduler's process: another one starts with [`Event::Started`] that carries what was stored, hears of
/// every live task by an update, and goes on. What was not kept of the last events is as if they hadn't been: messages from
/// executors come again that weren't done with, and what was said together with a change of the state is said if it hasn't
/// arrived. A status update, which says how a task *is*, may be seen twice.
pub trait Framework: Send {
    /// Takes one event and answers with calls.
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls);
}

/// The calls that a framework makes in answer to an event, in order.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Vec<Call>,
}

impl Calls {
    /// Launches tasks on offers; what they leave over is declined for the default time.
    pub fn accept(&mut self, offers: impl IntoIterator<Item = OfferId>, tasks: Vec<TaskInfo>) {
        self.accept_with(offers, tasks, None);
    }

    /// Launches tasks on offers; what they leave over is declined with `filters`.
    pub fn accept_with(
        &mut self,
        offers: impl IntoIterator<Item = OfferId>,
        tasks: Vec<TaskInfo>,
        filters: Option<Filters>,
    ) {
        let (offer_ids, create_volumes) = (offers.into_iter().collect(), Vec::new());
        self.push(Call::Accept(Accept { offer_ids, tasks, filters, create_volumes }));
    }

    /// Makes volumes on offers and launches tasks, which may mount them at once; what they leave over is declined for the default
    /// time. An [`Event::VolumeStatus`] answers for each volume.
    pub fn create_volumes(
        &mut self,
        offers: impl IntoIterator<Item = OfferId>,
        create_volumes: Vec<CreateVolume>,
        tasks: Vec<TaskInfo>,
    ) {
        let offer_ids = offers.into_iter().collect();
        self.push(Call::Accept(Accept { offer_ids, tasks, filters: None, create_volumes }));
    }

    /// Removes a volume with all that is in it; [`Event::VolumeStatus`] answers.
    pub fn destroy_volume(&mut self, agent_id: AgentId, name: &str) {
        self.push(Call::DestroyVolume(DestroyVolume { agent_id, name: name.to_string() }));
    }

    /// Gives an offer back and doesn't want these resources for so long.
    pub fn decline(&mut self, offer: OfferId, refuse: Duration) {
        self.push(Call::Decline(Decline { offer_ids: vec![offer], filters: Some(Filters::refuse(refuse)) }));
    }

    /// Wants offers again, of everything.
    pub fn revive(&mut self) {
        self.push(Call::Revive(Revive {}));
    }

    /// Wants no offers until it revives.
    pub fn suppress(&mut self) {
        self.push(Call::Suppress(Suppress {}));
    }

    /// Asks for slots on several agents at once; [`Event::GangStatus`] and in the end [`Event::Offers`] answer.
    pub fn request_gang(&mut self, request: GangRequest) {
        self.push(Call::RequestGang(RequestGang { request }));
    }

    /// Doesn't want the gang any more.
    pub fn cancel_gang(&mut self, id: &str) {
        self.push(Call::CancelGang(CancelGang { id: id.to_string() }));
    }

    /// Ends a task: TERM, and KILL after its grace period.
    pub fn kill(&mut self, task_id: TaskId, grace: Option<Duration>) {
        let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        self.push(Call::Kill(Kill { task_id, grace_ms }));
    }

    /// Will have moved away in time from the agent of an [inverse offer](Event::InverseOffers).
    pub fn accept_inverse_offer(&mut self, id: OfferId) {
        self.push(Call::AcceptInverseOffers(AcceptInverseOffers { inverse_offer_ids: vec![id], filters: None }));
    }

    /// Won't move by itself: what still runs on the agent of an [inverse offer](Event::InverseOffers) in the end is killed.
    pub fn decline_inverse_offer(&mut self, id: OfferId) {
        self.push(Call::DeclineInverseOffers(DeclineInverseOffers { inverse_offer_ids: vec![id], filters: None }));
    }

    /// Ends an executor and its tasks.
    pub fn shutdown_executor(&mut self, agent_id: AgentId, executor_id: ExecutorId) {
        self.push(Call::ShutdownExecutor(ShutdownExecutor { agent_id, executor_id }));
    }

    /// Asks for the present state of these tasks, of all if empty; updates answer.
    pub fn reconcile(&mut self, task_ids: Vec<TaskId>) {
        self.push(Call::Reconcile(Reconcile { task_ids }));
    }

    /// Sends bytes to an executor: in order and once. They outlive this scheduler's process when state was stored in answer to the
    /// same event and they are at most 60 KB; or when they answer a message of that executor, which comes again otherwise.
    pub fn message(&mut self, agent_id: AgentId, executor_id: ExecutorId, data: Vec<u8>) {
        self.push(Call::Message(Message { agent_id, executor_id, data, ..Message::default() }));
    }

    /// A piece of the answer to a request.
    pub fn reply(&mut self, request_id: u64, data: impl Into<Vec<u8>>) {
        self.push(Call::Reply(Reply { request_id, data: Some(data.into()), done: None, error: None }));
    }

    /// Ends the answer to a request.
    pub fn reply_done(&mut self, request_id: u64) {
        self.push(Call::Reply(Reply { request_id, data: None, done: Some(true), error: None }));
    }

    /// Ends the answer to a request with an error for whoever asked.
    pub fn reply_error(&mut self, request_id: u64, error: impl Into<String>) {
        self.push(Call::Reply(Reply { request_id, data: None, done: Some(true), error: Some(error.into()) }));
    }

    /// Stores a value durably, or deletes it; [`Event::StateStored`] with `seq` follows. Nothing needs to wait for that: what is
    /// said to others goes out after it. Keys that begin with `mesos:` are refused.
    pub fn put_state(&mut self, key: &str, value: Option<Vec<u8>>, seq: u64) {
        self.push(Call::PutState(PutState { key: key.to_string(), value, seq: Some(seq) }));
    }

    /// Sets or moves a timer; [`Event::Timer`] with its id comes at that time.
    pub fn set_timer(&mut self, id: u64, at: Time) {
        self.push(Call::SetTimer(SetTimer { id, at_ns: at.as_nanos() }));
    }

    /// Takes a timer back.
    pub fn cancel_timer(&mut self, id: u64) {
        self.push(Call::CancelTimer(CancelTimer { id }));
    }

    /// Writes to standard output of the command in front.
    pub fn stdout(&mut self, data: impl Into<Vec<u8>>) {
        self.push(Call::Output(Output { data: data.into(), stderr: None }));
    }

    /// Writes to standard error of the command in front.
    pub fn stderr(&mut self, data: impl Into<Vec<u8>>) {
        self.push(Call::Output(Output { data: data.into(), stderr: Some(true) }));
    }

    /// Shows files of a task's sandbox on the terminal until the task has ended and all is shown.
    pub fn follow(&mut self, task_id: TaskId, files: Vec<FollowFile>) {
        self.push(Call::Follow(Follow { task_id, files }));
    }

    /// Shows what a task writes to stdout and stderr on the terminal.
    pub fn follow_output(&mut self, task_id: TaskId) {
        let file = |path: &str, stderr| FollowFile { path: path.to_string(), stderr, ..FollowFile::default() };
        self.follow(task_id, vec![file("stdout", None), file("stderr", Some(true))]);
    }

    /// Shows or moves a bar on the terminal.
    pub fn progress(&mut self, progress: Progress) {
        self.push(Call::Progress(progress));
    }

    /// Holds events from standard input back, or lets them come again.
    pub fn pause_stdin(&mut self, paused: bool) {
        self.push(Call::PauseStdin(PauseStdin { paused }));
    }

    /// Hands bytes to the plugin's own threads; see [`WithShell`](crate::WithShell).
    pub fn to_shell(&mut self, data: Vec<u8>) {
        self.push(Call::ToShell(ToShell { data }));
    }

    /// The framework has done its work; its command ends with this exit code.
    pub fn finish(&mut self, exit_code: i32, message: Option<String>) {
        self.push(Call::Finish(Finish { exit_code, message }));
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
