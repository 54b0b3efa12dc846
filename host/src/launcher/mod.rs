//! The launcher: a small process per agent that is the parent of every task, and the clients that speak to it.
//!
//! ```text
//! agent ── start: re-exec of this program ──▶ launcher            parent and subreaper of all tasks; no async runtime
//!   │                                           │  main thread    sockets, deaths, orphans, the memory of every container
//!   ├── requests (SEQPACKET, specs, fds) ─────▶ │
//!   ◀── events (pidfds, exit statuses) ──────── │  one thread a core: vfork, exec
//!   ┊                                           ├──▶ task
//!   ┊ may die and come back: `connect`, `List`  └──▶ executor ──(channel it inherits)──▶ the same requests,
//!                                                     └─▶ its children                   below its own container
//! ```
//!
//! The launcher knows nothing of frameworks, resources or retries. It starts what it is told to, once per container name,
//! keeps every exit status until it is released, and ends a container as a whole: what its main process leaves behind is
//! killed, unless the spec keeps it, and only then is the end told.

mod client;
mod connection;
mod event;
mod spec;
mod start;
mod wire;

mod adoption;
mod channel;
mod containers;
mod failure;
mod folder;
mod log;
mod plan;
mod processes;
mod reap;
mod requests;
mod server;
mod spawn;
mod workers;

pub mod output;

#[doc(hidden)]
pub mod fuzz;

pub use client::{LauncherClient, LauncherEvents};
pub use connection::{Adoption, AgentLoss, CHANNEL_VARIABLE, Connection, ConnectionError, Launcher, Request, Scope};
pub use event::{Event, ExitStatus, Exited, LaunchFailed, Launched, Listed, Step};
pub use plan::CONTAINER_VARIABLE;
pub use spec::{ExtraFd, LaunchSpec, Rlimit, User};
pub use start::{StartError, connect, run_if_launcher, start, start_program};

pub(crate) use folder::SharedFolder;
pub(crate) use processes::start_time;

/// What this program's launcher and clients speak. Fields are only added, so that an older launcher serves a newer agent.
pub const PROTOCOL_VERSION: u32 = 1;

/// The messages, as generated from `proto/launcher.proto`.
#[allow(missing_docs, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/mesos.launcher.v1.rs"));
}
