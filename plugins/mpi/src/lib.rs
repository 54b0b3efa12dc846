//! The mpi plugin: the shell around [`mesos_mpi_core`] that touches files.
//!
//! ```text
//! command   parses, asks what the cluster has, uploads files ──Job──▶ framework (pure)
//! executor  looks at the program when its task is launched ──Inspected──▶ NodeExecutor (pure)
//! ```

mod command;
mod executor;
mod files;
mod shared_memory;

use mesos_mpi_core::JobFramework;
use mesos_plugin_api::{CommandHost, Executor, Framework, Injector, Invocation, Plugin, export_plugin};

/// Makes the three halves.
struct Mpi;

impl Plugin for Mpi {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        command::run(host, invocation)
    }

    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        Ok(Box::new(JobFramework::new(config)?))
    }

    fn executor(&self, config: &[u8], _: Injector) -> Result<Box<dyn Executor>, String> {
        Ok(Box::new(executor::InspectingExecutor::new(config)?))
    }
}

export_plugin! {
    plugin: Mpi,
    name: "mpi",
    declaration: include_str!("../plugin.toml"),
}
