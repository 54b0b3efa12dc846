//! Masters that meet in ZooKeeper: one leads, and what it keeps lies there.
//!
//! ```text
//! /mesos/layout                              how all of this is laid out
//!       /masters/candidate-ID-0000000007     ephemeral; address and version of a master. The first in line leads
//!       /log/00000000000000000042            a record, made once and never changed
//!       /snapshot                            instead of which records, and in which folder below
//!       /parts/snapshot-…-42-ID/0000000000   what doesn't fit into one node
//! ```
//!
//! Whatever a leader writes is one transaction with a look at its own node in `masters`. That node ends with its session, so a
//! master that lost its session can't write, even before the next one has begun. A snapshot counts from the moment that
//! `/snapshot` names it, which is written last; what it replaces is deleted after that.
//!
//! A connection that is lost says nothing about the last request. Each is asked again until it is known what became of it, or the
//! session is over ([`session`]).

mod address;
mod auth;

mod session;
mod candidates;
mod follow;
mod records;
mod store;
mod coordinator;

pub use address::{AddressError, ZooKeeperAddress};
pub use auth::{AuthError, ZooKeeperAuth};
pub use coordinator::ZooKeeper;
pub use session::SESSION_TIMEOUT;
