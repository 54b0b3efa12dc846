//! Master, agent, allocator, framework runner and launcher of mesos, as a library.

pub mod launcher;

/// Takes over this process, and never returns, when this library has started it to be one of its helpers. A program that
/// starts clusters calls it first in `main`, before it makes threads.
pub fn init() {
    launcher::run_if_launcher();
}
