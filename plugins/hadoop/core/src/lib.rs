//! The logic of the hadoop plugin: YARN's protocols, scheduling, containers, shuffle; no I/O.
//!
//! ```text
//! client ──Hadoop RPC──▶ command ──Request(Call)──▶ scheduler ──asks ◀▶ offers──▶ master
//!                                                    │    ▲
//!                                          Container │    │ Hello, Call (of application masters)
//!                                                    ▼    │
//! application master ──Hadoop RPC──▶ node, one an agent: container manager, localiser, shuffle ──▶ containers
//! ```

pub mod ids;
pub mod node;
pub mod rpc;
pub mod scheduler;
pub mod shuffle;
pub mod tokens;
pub mod writable;

/// The messages between the halves, made from `proto/hadoop.proto`, and YARN's in [`messages::yarn`].
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/mesos.hadoop.rs"));
    /// From `proto/yarn.proto`.
    pub mod yarn {
        include!(concat!(env!("OUT_DIR"), "/mesos.hadoop.yarn.rs"));
    }
}
