//! The executor's process: stands between an agent and a plugin's executor half, one process an executor.
//!
//! ```text
//! agent ◀── socket in the work folder: frames, numbered and confirmed ──▶ ┌────────┐ events ▶ ┌────────────────┐
//! launcher ◀── inherited channel: spawn, signal ────────────────────────▶ │ runner │          │ plugin's half  │
//! its processes ◀── socket pairs: bytes ─────────────────────────────────▶│        │ ◀ calls  │ (pure)         │
//! knock program ◀── socket in the sandbox: arguments, exit code ─────────▶└────────┘          └────────────────┘
//! ```
//!
//! It works on while its agent restarts: what it has to say waits, up to a bound, beyond which the plugin gets no events. It
//! doesn't know what its tasks are; when its half fails it ends with a line, and the agent reports the tasks.

mod children;
pub mod frames;
pub mod knock;
mod link;
mod runner;

use std::path::{Path, PathBuf};

use mesos_plugin_api::v1::executor::{call::Call, event::Event};
use mesos_plugin_api::v1::{ExecutorId, FrameworkId};
use mesos_plugin_api::{Injector, Time};

use crate::loader::{PluginFile, load};

/// The first argument of an executor's process.
pub const MARKER: &str = "mesos-executor";
/// Names the agent's socket.
pub const VARIABLE_AGENT_SOCKET: &str = "MESOS_EXECUTOR_SOCKET";
/// Proves to the agent which executor it is.
pub const VARIABLE_TOKEN: &str = "MESOS_EXECUTOR_TOKEN";
/// Names the plugin's file.
pub const VARIABLE_PLUGIN: &str = "MESOS_EXECUTOR_PLUGIN";
/// How large an output file of its processes may grow, in bytes.
pub const VARIABLE_OUTPUT_BYTES: &str = "MESOS_EXECUTOR_OUTPUT_BYTES";
/// The framework's id.
pub const VARIABLE_FRAMEWORK_ID: &str = "MESOS_FRAMEWORK_ID";
/// The executor's id.
pub const VARIABLE_EXECUTOR_ID: &str = "MESOS_EXECUTOR_ID";

/// A plugin's executor half, as its process sees it.
pub trait Half {
    /// Gives it an event and returns its calls.
    ///
    /// # Errors
    /// It has failed, and is of no use any more.
    fn handle(&mut self, now: Time, event: Event) -> Result<Vec<Call>, String>;
}

impl Half for mesos_plugin_api::codec::ExecutorHalf {
    fn handle(&mut self, now: Time, event: Event) -> Result<Vec<Call>, String> {
        Self::handle(self, now, event)
    }
}

/// Makes a half: of the plugin at a path, with a configuration, for threads that inject.
pub(crate) type Factory = fn(&Path, &[u8], Injector) -> Result<Box<dyn Half>, String>;

/// Who this process is to its agent.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    socket: PathBuf,
    token: String,
    plugin: PathBuf,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    output_bytes_max: u64,
}

/// Is an executor, and never returns, when this process was started as one; does nothing otherwise.
pub fn run_if_executor() {
    run_if_executor_of(load_half);
}

pub(crate) fn run_if_executor_of(factory: Factory) {
    if std::env::args_os().nth(1).is_none_or(|marker| marker != MARKER) {
        return;
    }
    let Some(identity) = identity() else { return };
    let log =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::WARN);
    // A program that embeds may have set up its own before.
    let _ = log.try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(runner::run(identity, factory)),
        Err(error) => Err(format!("cannot watch files and sockets: {error}")),
    };
    match outcome {
        Ok(()) => std::process::exit(0),
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    }
}

fn identity() -> Option<Identity> {
    let text = |name| std::env::var(name).ok();
    Some(Identity {
        socket: text(VARIABLE_AGENT_SOCKET)?.into(),
        token: text(VARIABLE_TOKEN)?,
        plugin: text(VARIABLE_PLUGIN)?.into(),
        framework_id: text(VARIABLE_FRAMEWORK_ID)?.into(),
        executor_id: text(VARIABLE_EXECUTOR_ID)?.into(),
        output_bytes_max: text(VARIABLE_OUTPUT_BYTES)?.parse().ok()?,
    })
}

fn load_half(path: &Path, config: &[u8], injector: Injector) -> Result<Box<dyn Half>, String> {
    let file = PluginFile::read(path).map_err(|problem| format!("plugin {}: {problem}", path.display()))?;
    let plugin = load(&file).map_err(|problem| problem.to_string())?;
    Ok(Box::new(plugin.new_executor(config, injector)?))
}
