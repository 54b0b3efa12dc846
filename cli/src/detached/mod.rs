//! Frameworks that run without a command in front: handed to the cluster, and looked at later.
//!
//! ```text
//! run --detach ──Detach──▶ master ──task──▶ run-framework ──what a terminal would show──▶ journal, in its sandbox
//!                            │                                                              │
//! frameworks attach ◀──which processes its scheduler had, how it ended──┘ ◀─────read────────┘
//! ```

mod attach;
mod hand_over;
mod journal;
mod scheduler;
mod watch;

pub use attach::attach;
pub use hand_over::hand_over;
pub use scheduler::run as run_scheduler;
