//! The shell with real processes and a launcher of its own; the master is the test.
//!
//! This test program is the launcher too: [`HELPER`] runs before the test harness and takes over where it was started as one.

mod env;
mod executors;
mod files;
mod silent;
mod tasks;

/// Runs before `main`.
#[used]
// SAFETY: the loader calls it once, with one thread, after the standard library has its arguments; its type is right.
#[unsafe(link_section = ".init_array")]
static HELPER: extern "C" fn() = {
    extern "C" fn helper() {
        crate::executor::run_if_executor_of(executors::half);
        crate::init();
    }
    helper
};
