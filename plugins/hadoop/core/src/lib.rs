//! The logic of the hadoop plugin, no I/O. So far the wire: ids, tokens, Hadoop's writable forms, its RPC, and the messages between
//! the halves; scheduler, node and shuffle are not here yet, and no plugin is built from it.
//!
//! ```text
//! client ──Hadoop RPC──▶ command ──Request(Call)──▶ scheduler ──asks ◀▶ offers──▶ master
//!                                                    │    ▲
//!                                          Container │    │ Hello, Call (of application masters)
//!                                                    ▼    │
//! application master ──Hadoop RPC──▶ node, one an agent: container manager, localiser, shuffle ──▶ containers
//! ```

pub mod ids;
pub mod rpc;
pub mod tokens;
pub mod writable;

/// The messages between the halves, made from `proto/hadoop.proto`, and YARN's in [`messages::yarn`].
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/mesos.hadoop.rs"));
    /// From `proto/rpc.proto` and `proto/yarn.proto`.
    pub mod yarn {
        include!(concat!(env!("OUT_DIR"), "/mesos.hadoop.yarn.rs"));
    }
}
