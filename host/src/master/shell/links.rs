//! The ends of all connections: what comes in is merged into one queue, what goes out is batched by link.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::scheduler;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use crate::master::LinkId;
use crate::protocol::link::{Batch, Link};
use crate::protocol::{AgentCall, AgentEvent, OperatorReply, agent_event};

/// What came in.
pub(super) enum Input {
    Agent(LinkId, Batch<AgentCall>),
    Scheduler(LinkId, Batch<scheduler::Call>),
    /// What waits for this link may go out.
    Room(LinkId),
    Closed(LinkId),
}

/// Events that may wait for one peer beyond its link's batches: all agents of a framework may speak at once, and what they say is
/// handed on faster than a busy machine lets it be read. Beyond it the peer is taken to be stuck.
const WAITING_MAX: usize = 1 << 18;
/// Of a batch, so that none is too large for a message.
const BATCH_EVENTS_MAX: usize = 4096;

/// All open links. Aborts a link's reader when it is removed.
pub(super) struct Links {
    inputs: mpsc::Sender<Input>,
    /// The master's, for every batch.
    epoch: u64,
    next: u64,
    open: BTreeMap<LinkId, Open>,
    /// Links with something to send.
    dirty: Vec<LinkId>,
}

struct Open {
    out: Out,
    reader: JoinHandle<()>,
    /// Tells when there is room again.
    room: Option<JoinHandle<()>>,
}

/// How sending went.
#[derive(PartialEq)]
enum Sent {
    /// Nothing waits any more.
    All,
    /// The rest has to wait.
    Full,
    /// The peer has left.
    Closed,
}

enum Out {
    Agent(mpsc::Sender<Batch<AgentEvent>>, Vec<AgentEvent>),
    Scheduler(mpsc::Sender<Batch<scheduler::Event>>, Vec<scheduler::Event>),
    Asker(mpsc::Sender<Result<OperatorReply, String>>, Vec<Result<OperatorReply, String>>),
}

impl Links {
    pub(super) fn new(inputs: mpsc::Sender<Input>, epoch: u64) -> Self {
        Self { inputs, epoch, next: 1, open: BTreeMap::new(), dirty: Vec::new() }
    }

    pub(super) fn add_agent(&mut self, link: Link<AgentEvent, AgentCall>) -> LinkId {
        let id = self.next_id();
        let reader = tokio::spawn(read(id, link.inbox, self.inputs.clone(), Input::Agent));
        self.open.insert(id, Open { out: Out::Agent(link.out, Vec::new()), reader, room: None });
        id
    }

    pub(super) fn add_scheduler(&mut self, link: Link<scheduler::Event, scheduler::Call>) -> LinkId {
        let id = self.next_id();
        let reader = tokio::spawn(read(id, link.inbox, self.inputs.clone(), Input::Scheduler));
        self.open.insert(id, Open { out: Out::Scheduler(link.out, Vec::new()), reader, room: None });
        id
    }

    pub(super) fn add_asker(&mut self, replies: mpsc::Sender<Result<OperatorReply, String>>) -> LinkId {
        let id = self.next_id();
        let (inputs, closed) = (self.inputs.clone(), replies.clone());
        let reader = tokio::spawn(async move {
            closed.closed().await;
            // The run loop has ended otherwise, and nobody needs to know.
            let _ = inputs.send(Input::Closed(id)).await;
        });
        self.open.insert(id, Open { out: Out::Asker(replies, Vec::new()), reader, room: None });
        id
    }

    pub(super) fn to_agent(&mut self, link: LinkId, event: agent_event::Event) {
        if let Some(Open { out: Out::Agent(_, waiting), .. }) = self.open.get_mut(&link) {
            waiting.push(AgentEvent { event: Some(event) });
            self.dirty.push(link);
        }
    }

    pub(super) fn to_scheduler(&mut self, link: LinkId, event: scheduler::event::Event) {
        if let Some(Open { out: Out::Scheduler(_, waiting), .. }) = self.open.get_mut(&link) {
            waiting.push(scheduler::Event { event: Some(event) });
            self.dirty.push(link);
        }
    }

    pub(super) fn reply(&mut self, link: LinkId, reply: Result<OperatorReply, String>) {
        if let Some(Open { out: Out::Asker(_, waiting), .. }) = self.open.get_mut(&link) {
            waiting.push(reply);
            self.dirty.push(link);
        }
    }

    /// Forgets a link after sending what waits for it; whether it was open.
    pub(super) fn remove(&mut self, link: LinkId) -> bool {
        let Some(mut open) = self.open.remove(&link) else { return false };
        send(&mut open.out, self.epoch);
        open.reader.abort();
        open.room.iter().for_each(JoinHandle::abort);
        true
    }

    /// Sends what waits. Links with too much of it are removed and returned: their peers don't read, and sync when they reconnect.
    pub(super) fn flush(&mut self) -> Vec<LinkId> {
        let mut stuck = Vec::new();
        for link in std::mem::take(&mut self.dirty) {
            let Some(open) = self.open.get_mut(&link).filter(|open| open.room.is_none()) else { continue };
            match send(&mut open.out, self.epoch) {
                Sent::All => continue,
                Sent::Full if open.out.waiting() <= WAITING_MAX => {
                    open.room = open.out.wait_for_room(link, self.inputs.clone());
                    continue;
                }
                Sent::Full => {
                    tracing::warn!(link = link.0, "a peer does not read what is sent to it; closing its connection");
                }
                // No news: its reader tells of it too.
                Sent::Closed => {}
            }
            self.remove(link);
            stuck.push(link);
        }
        stuck
    }

    /// There is room for more on that link.
    pub(super) fn room(&mut self, link: LinkId) {
        if let Some(open) = self.open.get_mut(&link) {
            open.room = None;
            self.dirty.push(link);
        }
    }

    fn next_id(&mut self) -> LinkId {
        self.next += 1;
        LinkId(self.next)
    }
}

impl Out {
    fn waiting(&self) -> usize {
        match self {
            Self::Agent(_, waiting) => waiting.len(),
            Self::Scheduler(_, waiting) => waiting.len(),
            Self::Asker(_, waiting) => waiting.len(),
        }
    }

    fn wait_for_room(&self, link: LinkId, inputs: mpsc::Sender<Input>) -> Option<JoinHandle<()>> {
        match self {
            Self::Agent(sender, _) => Some(tokio::spawn(tell_of_room(sender.clone(), link, inputs))),
            Self::Scheduler(sender, _) => Some(tokio::spawn(tell_of_room(sender.clone(), link, inputs))),
            Self::Asker(..) => None,
        }
    }
}

async fn tell_of_room<T>(sender: mpsc::Sender<Batch<T>>, link: LinkId, inputs: mpsc::Sender<Input>) {
    // One that has left is noticed by sending.
    let _ = sender.reserve().await;
    // The run loop has ended otherwise, and nobody needs to know.
    let _ = inputs.send(Input::Room(link)).await;
}

fn send(out: &mut Out, epoch: u64) -> Sent {
    match out {
        Out::Agent(sender, waiting) => send_batches(sender, waiting, epoch),
        Out::Scheduler(sender, waiting) => send_batches(sender, waiting, epoch),
        Out::Asker(sender, waiting) => {
            let replies = std::mem::take(waiting);
            if replies.len() <= sender.capacity() {
                let sent = replies.into_iter().all(|reply| sender.try_send(reply).is_ok());
                return if sent { Sent::All } else { Sent::Closed };
            }
            // A long listing goes out at the reader's pace; nothing else is held up by it.
            let sender = sender.clone();
            tokio::spawn(async move {
                for reply in replies {
                    if sender.send(reply).await.is_err() {
                        return;
                    }
                }
            });
            Sent::All
        }
    }
}

fn send_batches<T>(sender: &mpsc::Sender<Batch<T>>, waiting: &mut Vec<T>, epoch: u64) -> Sent {
    while !waiting.is_empty() {
        match sender.try_reserve() {
            Ok(room) => {
                let later = waiting.split_off(waiting.len().min(BATCH_EVENTS_MAX));
                room.send(Batch { epoch, items: std::mem::replace(waiting, later) });
            }
            Err(TrySendError::Full(())) => return Sent::Full,
            Err(TrySendError::Closed(())) => return Sent::Closed,
        }
    }
    Sent::All
}

async fn read<T: Send + 'static>(
    id: LinkId,
    mut inbox: mpsc::Receiver<Batch<T>>,
    inputs: mpsc::Sender<Input>,
    wrap: fn(LinkId, Batch<T>) -> Input,
) {
    while let Some(batch) = inbox.recv().await {
        if inputs.send(wrap(id, batch)).await.is_err() {
            return;
        }
    }
    // The run loop has ended otherwise, and nobody needs to know.
    let _ = inputs.send(Input::Closed(id)).await;
}
