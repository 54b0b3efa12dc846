//! Master, agent, allocator, framework runner and launcher of mesos, as a library.
//!
//! ```text
//! agent ──resources──▶ master ──▶ allocator ──offers──▶ framework runner ──▶ plugin
//!   ▲                    ▲                                                     │ accept(tasks)
//!   │ status             └──────────────── calls ◀─────────────────────────────┘
//! executor ◀─ launch ─ isolation ◀─ agent ◀─ run task ─ master
//! ```

pub mod master;
pub mod allocator;
pub mod framework;
pub mod loader;
pub mod http;
pub mod protocol;
mod time;
