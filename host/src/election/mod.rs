//! Which master leads, and where it keeps what must survive it.
//!
//! ```text
//! master ──▶ registry::Log ──records──▶ Coordinator ──┬── Memory       the embedded cluster: it ends with its process
//!                                                     ├── LocalFile    one master a folder, told by a lock
//!                                                     └── ZooKeeper    several masters: one leads, the others wait
//! ```
//!
//! A record has an index, and is made only where none is: a master that was replaced finds its next place taken, and can't keep
//! anything more. What records say is the registry's affair.

mod detect;
mod local;
#[cfg(test)]
pub(crate) mod meeting;
mod memory;
mod zookeeper;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

pub use detect::{Detector, Leader};
pub use local::LocalFile;
pub use memory::Memory;
pub use zookeeper::{AddressError, AuthError, SESSION_TIMEOUT, ZooKeeper, ZooKeeperAddress, ZooKeeperAuth};

/// Where masters of one cluster meet. Its calls block.
pub trait Coordinator: Send {
    /// Waits until this master may lead, and gives what was kept. The address is for those who look for it.
    ///
    /// # Errors
    /// What is kept can't be read.
    fn lead(&mut self, address: &str) -> Result<Kept, CoordinatorError>;

    /// Returns when the record is durable at this index, which comes after the last one.
    ///
    /// # Errors
    /// It is there already, or can't be written; either way it isn't known to be durable, and this master's time is over.
    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError>;

    /// Keeps these records instead of all before `index`.
    ///
    /// # Errors
    /// As for [`append`](Self::append); what was kept before is still there.
    fn compact(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError>;

    /// Where that is, for people.
    fn place(&self) -> String;

    /// Ends the wait in [`lead`](Self::lead), or the leadership, from another thread: the next master needn't wait until this one
    /// is missed. Where there is no other master, that is nothing.
    fn resigner(&self) -> Resigner {
        Arc::new(|| {})
    }

    /// Says why this master leads no longer, if it hears of that before it writes again.
    fn lost(&self) -> watch::Receiver<Option<String>> {
        watch::channel(None).1
    }
}

/// See [`Coordinator::resigner`].
pub type Resigner = Arc<dyn Fn() + Send + Sync>;

/// What masters before this one have kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// In order.
    pub records: Vec<Vec<u8>>,
    /// The index of the record that comes next.
    pub next: u64,
}

/// Why nothing can be kept, or read.
#[derive(Debug, Error)]
pub enum CoordinatorError {
    /// Another master has taken over.
    #[error("another master leads now: it has written record {index} of {place}")]
    Superseded {
        /// Which record was to be written.
        index: u64,
        /// Where.
        place: String,
    },
    /// Its session is over: another master may have taken over.
    #[error(
        "this master's session with ZooKeeper at {place} has ended, and another one may lead; start it again to stand by"
    )]
    SessionLost {
        /// Where.
        place: String,
    },
    /// A node belongs to somebody else.
    #[error(
        "ZooKeeper at {servers} doesn't let this master {operation} {node}; name the user that it belongs to with --zk-auth-file"
    )]
    Forbidden {
        /// What was tried.
        operation: &'static str,
        /// On which node.
        node: String,
        /// Where.
        servers: String,
    },
    /// ZooKeeper refuses it for another reason.
    #[error(
        "the master can't {operation} {node} in {place}: {cause}; tasks run on, start it again when that is mended"
    )]
    ZooKeeper {
        /// What was tried.
        operation: &'static str,
        /// On which node.
        node: String,
        /// Where.
        place: String,
        /// As ZooKeeper says it.
        cause: String,
    },
    /// The nodes mean something else.
    #[error(
        "{node} in {place} says layout {found}, and this version of mesos knows {known}; start the one that wrote it, or a newer \
         one, or name another node with --zk"
    )]
    Layout {
        /// Which node says so.
        node: String,
        /// Where.
        place: String,
        /// What it says.
        found: String,
        /// What this version knows.
        known: u32,
    },
    /// A node of the registry is missing, or isn't what was written.
    #[error(
        "the registry in {place} is damaged: {node} is missing or wrong; put it back, or name another node with --zk: then agents \
         and frameworks are known again when they come back, but what frameworks have stored is lost"
    )]
    Incomplete {
        /// Which node.
        node: String,
        /// Where.
        place: String,
    },
    /// It has resigned, as it was asked to.
    #[error("this master has resigned")]
    Resigned,
    /// A file operation failed.
    #[error("the master can't {operation} {}: {cause}; tasks run on, start it again when that is mended", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// As the system says it.
        cause: io::Error,
    },
    /// Something in the middle isn't what was written: not the trace of a write that was cut short.
    #[error(
        "the registry {} is damaged at byte {at}, and more follows; put a copy of it there, or remove it: then agents and \
         frameworks are known again when they come back, but what frameworks have stored is lost",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// Not a registry, or one that this version can't read.
    #[error("{} was not written by this version of mesos; start the one that wrote it, or name another --work-dir", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
}
