//! What a plugin exports: makers of its three halves.

use std::sync::Arc;

use crate::{CommandHost, Executor, Framework, Invocation};

/// A plugin. Only the halves that it has need to be written.
pub trait Plugin: Send + Sync + 'static {
    /// Runs one of the plugin's commands in the CLI's process and returns the exit code. May do I/O, talk to the terminal and
    /// start programs.
    ///
    /// # Errors
    /// A line for people; the exit code is 1 then.
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        let _ = host;
        Err(format!("{} has no command half", invocation.path.join(" ")))
    }

    /// Makes a scheduler from the bytes that the command gave to `run_framework`; `injector` lets threads of the plugin's
    /// shell hand in bytes.
    ///
    /// # Errors
    /// A line for people.
    fn framework(&self, config: &[u8], injector: Injector) -> Result<Box<dyn Framework>, String> {
        let _ = (config, injector);
        Err("this plugin has no framework half".to_string())
    }

    /// Makes an executor; `config` is what the framework put into `ExecutorInfo.config`.
    ///
    /// # Errors
    /// A line for people.
    fn executor(&self, config: &[u8], injector: Injector) -> Result<Box<dyn Executor>, String> {
        let _ = (config, injector);
        Err("this plugin has no executor half".to_string())
    }
}

/// Hands bytes from a plugin's own threads into its half, which gets them as an `Injected` event, in order.
#[derive(Clone)]
pub struct Injector {
    inject: Arc<dyn Fn(Vec<u8>) + Send + Sync>,
}

impl Injector {
    /// An injector that calls `inject`; made by the host, and by tests.
    pub fn new(inject: impl Fn(Vec<u8>) + Send + Sync + 'static) -> Self {
        Self { inject: Arc::new(inject) }
    }

    /// Hands bytes in. Never blocks; bytes for a half that has ended are dropped.
    pub fn inject(&self, data: Vec<u8>) {
        (self.inject)(data);
    }
}
