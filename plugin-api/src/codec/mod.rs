//! Between the typed traits and the bytes of the boundary: the only place that turns one into the other.
//!
//! ```text
//! host                                        boundary                plugin
//!
//! CommandServer (a CommandHost) ◀── method, request ── CommandClient ◀── Plugin::command
//! FrameworkHalf ── Event ─────────────────────────────▶ CodedFramework ─▶ Framework::on_event
//!               ◀───────────────────────────── Calls ──
//! ExecutorHalf    the same with the executor's messages
//! InjectServer (an Injector) ◀── INJECT, bytes ──────── Injector of the plugin's threads
//! ```
//!
//! Both sides may be of different versions. An event that an older plugin doesn't know is ignored by it, and a method
//! that an older host doesn't know is an error that says so.

mod host;
mod plugin;

pub use host::{CommandServer, ExecutorHalf, FrameworkHalf, InjectServer};
pub use plugin::CodedPlugin;

use prost::Message;

/// The numbers of the host's methods. A number is never used again.
mod method {
    /// `RunFramework` → `RunFrameworkResult`.
    pub(super) const RUN_FRAMEWORK: u32 = 1;
    /// `RequestFramework` → `RequestHandle`.
    pub(super) const REQUEST: u32 = 2;
    /// `RequestHandle` → `ReplyPiece`; waits for it.
    pub(super) const NEXT_REPLY: u32 = 3;
    /// `Upload` → `Uploaded`.
    pub(super) const UPLOAD: u32 = 4;
    /// `ClusterRequest` → `Cluster`.
    pub(super) const CLUSTER: u32 = 5;
    /// Bytes for the half → nothing.
    pub(super) const INJECT: u32 = 6;
    /// `RequestHandle` → nothing; the rest of the answer isn't wanted.
    pub(super) const LEAVE_REPLY: u32 = 7;
}

fn decode<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| format!("{what} can't be understood: {error}"))
}

fn unknown_method(method: u32) -> String {
    let version = crate::declaration::API_VERSION;
    format!("this mesos (plugin API {version}) has no method {method} here; update mesos, or use an older plugin")
}

#[cfg(test)]
mod tests;
