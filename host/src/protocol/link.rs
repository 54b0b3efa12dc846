//! A stream of batches each way, whatever carries it.

use tokio::sync::mpsc;

/// Batches that may wait in one direction of a link before its sender has to.
pub const LINK_BATCHES_MAX: usize = 256;

/// What goes at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch<T> {
    /// Of the newest master that the sender has heard of; a master's own. Whoever has heard of a newer one takes nothing from it.
    pub epoch: u64,
    /// In order.
    pub items: Vec<T>,
}

/// One end of a connection: batches out, batches in. The connection is over when `inbox` yields `None` or `out` is closed.
#[derive(Debug)]
pub struct Link<Out, In> {
    /// To the other end.
    pub out: mpsc::Sender<Batch<Out>>,
    /// From the other end.
    pub inbox: mpsc::Receiver<Batch<In>>,
}

impl<Out, In> Link<Out, In> {
    /// Both ends of a connection within this process.
    pub fn pair() -> (Link<Out, In>, Link<In, Out>) {
        let (out, far_inbox) = mpsc::channel(LINK_BATCHES_MAX);
        let (far_out, inbox) = mpsc::channel(LINK_BATCHES_MAX);
        (Link { out, inbox }, Link { out: far_out, inbox: far_inbox })
    }
}
