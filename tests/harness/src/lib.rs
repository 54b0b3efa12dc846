//! What the tests over the whole share: real `mesos` processes, machines made of network namespaces, and real MPIs.
//!
//! ```text
//! Packages, Mpi     the parts of other systems, fetched once
//! ZooKeeper         real servers on loopback, to be killed and paused
//! Network           machines: a hub namespace with a bridge, a namespace for each agent
//! Mesos, Cmd        the binary under test in a home of its own; commands with a deadline
//! Cluster           master and agents on these machines, ended whole when it goes out of scope
//! Systemd           a systemd of a test's own, with no units but its
//! ```
//! Everything of one test lies in one temporary folder whose name is unique, so that whatever a test left running can be found by
//! that name, and by nothing else.

#![warn(missing_docs)]

pub mod poll;
pub mod skip;

pub mod cache;
pub mod jars;
pub mod mpi;
pub mod packages;
pub mod programs;

pub mod cluster;
pub mod command;
pub mod disk;
pub mod mesos;
pub mod network;
pub mod processes;
pub mod proxy;
pub mod systemd;
pub mod web;
pub mod zookeeper;

pub use cluster::Cluster;
pub use command::{Cmd, Finished, Running};
pub use mesos::Mesos;
pub use mpi::Mpi;
pub use proxy::Proxy;
pub use skip::Skip;
pub use systemd::Systemd;
pub use web::WebServer;
pub use zookeeper::ZooKeeper;
