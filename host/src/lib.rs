//! Master, agent, allocator, framework runner and launcher of mesos, as a library.
//!
//! ```text
//! agent ──resources──▶ master ──▶ allocator ──offers──▶ framework runner ──▶ plugin
//!   ▲                    ▲                                                     │ accept(tasks)
//!   │ status             └──────────────── calls ◀─────────────────────────────┘
//! executor ◀─ launch ─ isolation ◀─ agent ◀─ run task ─ master
//! ```

pub mod agent;
pub mod executor;
pub mod master;
pub mod allocator;
pub mod framework;
pub mod launcher;
pub mod registry;
pub mod election;
pub mod loader;
pub mod http;
pub mod cluster;
pub mod protocol;
mod kept;
mod hex;
mod time;

/// Takes over this process, and never returns, when this library has started it to be one of its helpers. A program that
/// starts clusters calls it first in `main`, before it makes threads.
pub fn init() {
    launcher::run_if_launcher();
    executor::run_if_executor();
    executor::knock::run_if_knock();
}
