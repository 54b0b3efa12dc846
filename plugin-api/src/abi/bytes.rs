//! What each side of the boundary implements, in plain Rust and bytes.

use super::HostHandle;

/// A plugin as the boundary sees it.
///
/// Errors are messages for people: lower case, naming the thing.
pub trait BytePlugin: Send + Sync {
    /// Runs one of the plugin's commands to its end and returns the exit code. Blocks and does I/O.
    ///
    /// # Errors
    /// When the invocation can't be understood or the command failed in a way that has no exit code of its own.
    fn run_command(&self, host: HostHandle, invocation: &[u8]) -> Result<i32, String>;

    /// Makes the scheduler half of a framework.
    ///
    /// # Errors
    /// When the plugin has no framework half or refuses the configuration.
    fn new_framework(&self, host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String>;

    /// Makes the executor half that runs on an agent.
    ///
    /// # Errors
    /// When the plugin has no executor half or refuses the configuration.
    fn new_executor(&self, host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String>;
}

/// A framework or executor half: an event in, the calls it answers with out.
pub trait ByteHalf: Send {
    /// Handles one event at the time `now_ns`, in nanoseconds on the host's clock.
    ///
    /// # Errors
    /// When the event can't be understood; the host ends the half then.
    fn handle(&mut self, now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String>;
}

/// What a host offers to a command or a half, shared by the threads of the plugin.
pub trait ByteHost: Send + Sync {
    /// Carries out the method with this number; may block. An unknown method is an error, never a panic: it comes from
    /// a plugin that knows more than this host.
    ///
    /// # Errors
    /// Whatever kept the method from being carried out.
    fn call(&self, method: u32, request: &[u8]) -> Result<Vec<u8>, String>;
}
