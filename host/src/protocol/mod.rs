//! What travels between the parts: protobuf messages, over gRPC streams between machines and over channels within a process.
//!
//! ```text
//! MasterClient ──┬── remote: gRPC to whichever leads ──▶ server ──┐
//!                └── local: channels ─────────────────────────────┴──▶ master shell
//! ```

#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mesos.rs"));
}

pub use generated::mesos::host::*;

pub mod agents;
pub mod client;
pub(crate) mod remote;
pub mod link;
pub mod token;
