//! The ends of all connections: what comes in is merged into one queue, what goes out is batched by link.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::scheduler;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::master::LinkId;
use crate::protocol::link::{Batch, Link};
use crate::protocol::{AgentCall, AgentEvent, OperatorReply, agent_event};

/// What came in.
pub(super) enum Input {
    Agent(LinkId, Batch<AgentCall>),
    Scheduler(LinkId, Batch<scheduler::Call>),
    Closed(LinkId),
}

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
        self.open.insert(id, Open { out: Out::Agent(link.out, Vec::new()), reader });
        id
    }

    pub(super) fn add_scheduler(&mut self, link: Link<scheduler::Event, scheduler::Call>) -> LinkId {
        let id = self.next_id();
        let reader = tokio::spawn(read(id, link.inbox, self.inputs.clone(), Input::Scheduler));
        self.open.insert(id, Open { out: Out::Scheduler(link.out, Vec::new()), reader });
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
        self.open.insert(id, Open { out: Out::Asker(replies, Vec::new()), reader });
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
        true
    }

    /// Sends what waits. Links whose queue is full are removed and returned: their peers are too slow, and sync when they reconnect.
    pub(super) fn flush(&mut self) -> Vec<LinkId> {
        let mut stuck = Vec::new();
        for link in std::mem::take(&mut self.dirty) {
            let Some(open) = self.open.get_mut(&link) else { continue };
            if !send(&mut open.out, self.epoch) {
                // One that has left is no news: its reader tells of it too.
                if !open.out.is_closed() {
                    tracing::warn!(link = link.0, "a peer does not read what is sent to it; closing its connection");
                }
                self.remove(link);
                stuck.push(link);
            }
        }
        stuck
    }

    fn next_id(&mut self) -> LinkId {
        self.next += 1;
        LinkId(self.next)
    }
}

impl Out {
    fn is_closed(&self) -> bool {
        match self {
            Self::Agent(sender, _) => sender.is_closed(),
            Self::Scheduler(sender, _) => sender.is_closed(),
            Self::Asker(sender, _) => sender.is_closed(),
        }
    }
}

/// Whether it went out, or nothing was to go.
fn send(out: &mut Out, epoch: u64) -> bool {
    match out {
        Out::Agent(sender, waiting) => send_batch(sender, waiting, epoch),
        Out::Scheduler(sender, waiting) => send_batch(sender, waiting, epoch),
        Out::Asker(sender, waiting) => {
            let replies = std::mem::take(waiting);
            if replies.len() <= sender.capacity() {
                return replies.into_iter().all(|reply| sender.try_send(reply).is_ok());
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
            true
        }
    }
}

fn send_batch<T>(sender: &mpsc::Sender<Batch<T>>, waiting: &mut Vec<T>, epoch: u64) -> bool {
    waiting.is_empty() || sender.try_send(Batch { epoch, items: std::mem::take(waiting) }).is_ok()
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
