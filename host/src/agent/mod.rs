//! The agent: runs a machine's share of the cluster's tasks, and tells how they fare.
//!
//! ```text
//!            master ◀──Link──▶ ┌─────────┐ effects ▶ launcher ──▶ task, executor
//!   executor process ◀─frames─▶│  shell  │ ◀ events            sandbox, fetcher, plugins
//!   whoever follows  ◀──gRPC───└────┬────┘
//!                                handle(now, event) → effects
//!                              ┌────┴────┐
//!                              │  core   │  connection · tasks · updates · executors · messages
//!                              └─────────┘
//!                          Persist │ ▲ recover
//!                                  ▼ │
//!                              checkpoints
//! ```
//!
//! The core decides and does no I/O; the shell carries out and decides nothing. The agent does not know what offers, roles or
//! gangs are (it only remembers a gang's name), nor how a process is isolated: that is the launcher's.

mod connection;
mod core;
mod event;
mod checkpoint;
mod recovery;
mod snapshot;
mod executors;
mod exchange;
pub(crate) mod messages;
mod tasks;
mod kills;
mod statuses;
mod timers;
mod updates;
mod sanity;
mod volumes;
pub mod shell;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, ExecutorLaunch, Launch, Position, TaskLaunch};
pub use connection::{RECONNECT_DELAY, RECONNECT_DELAY_MAX, REGISTER_TIMEOUT};
pub use core::{Agent, Settings};
pub use event::{Effect, Event, Found, LocalId, Others, Refusal};
pub use executors::EXECUTOR_WINDOW;
pub use recovery::RecoveryError;
pub use shell::{AgentConfig, AgentError, AgentHandle, Bounds, MachineFiles, Master, detect, start};
pub use tasks::Verdict;
pub use updates::{UPDATE_RETRY, UPDATE_RETRY_MAX};
pub use volumes::Mount;
