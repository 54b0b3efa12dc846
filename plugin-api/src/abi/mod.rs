//! The boundary between the host and a plugin: bytes, and as few functions as do.
//!
//! ```text
//!   host process                          │  plugin (.so)
//!                                         │
//!   Module::open(path) ── root module ────┼─▶ export_plugin! { … }
//!   Module::run_command ──────────────────┼─▶ BytePlugin::run_command
//!   Half::handle(now, event) ─────────────┼─▶ ByteHalf::handle     (framework or executor half)
//!   ByteHost::call(method, request) ◀─────┼── HostHandle::call
//!   tracing ◀─────────────────────────────┼── tracing              (`log`)
//! ```
//!
//! Nothing here knows what the bytes mean: they are the protobuf messages of the layers above, which evolve by
//! protobuf's rules ([`crate::codec`]), while this vtable hardly changes. A panic on either side stops at the boundary and becomes an
//! error that names the plugin, the call, the message and the place (`guard`). This folder is the only one that names
//! `abi_stable`, so that it can be replaced; [`GENERATION`] then goes up.

mod bytes;
#[doc(hidden)]
pub mod export;
mod guard;
mod layout;
mod log;
mod module;
mod open;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod in_process;

pub use bytes::{ByteHalf, ByteHost, BytePlugin};
pub use export::HostHandle;
pub use guard::Identity;
pub use open::{Half, Module, OpenError};

/// The generation of the boundary itself: what the symbol [`GENERATION_SYMBOL`] of a plugin returns.
/// It says how to find the root module, which is why it is read before anything else of the plugin.
pub const GENERATION: u32 = 1;

/// The plain C symbol, `extern "C" fn() -> u32`, that every plugin has.
pub const GENERATION_SYMBOL: &str = "mesos_plugin_abi";
