//! A skeleton of Hadoop on this API: containers that get their commands from a foreign application, on the machine they run on.
//!
//! ```text
//! an agent's machine                                                         wherever it runs now
//! ┌───────────────────────────────────────────────────────────┐             ┌─────────────────────────────┐
//! │ application ◀─lines─▶ socket.rs ◀─bytes─▶ machine.rs      │ ◀─messages─▶│ scheduler.rs                │ ◀─▶ master
//! │ "count"      ─────────────────────────────────────────────│────────────▶│ counts, keeps the count     │
//! │ "container"  ─────────────────────────────────────────────│────────────▶│ accepts an offer from here  │
//! │ "run c-1 …"  ───────────────────▶ process of task c-1     │             │ ✝ kill -9; the next one     │
//! │ "exit c-1 0" ◀────────────────────┘                       │             │   knows the count and the   │
//! └───────────────────────────────────────────────────────────┘             │   tasks, which ran on       │
//!                                                                            └─────────────────────────────┘
//! ```
//!
//! The task of a container starts without a command; it runs when the application says what. Only the scheduler's part is durable.

use mesos_plugin_api::prelude::*;

mod machine;
mod scheduler;
mod socket;
#[cfg(test)]
mod tests;

use machine::Machine;
use scheduler::Scheduler;

struct Containers;

impl Plugin for Containers {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        host.run(RunFramework::named(invocation.value("name").ok_or("give a name")?, ""))
    }

    fn framework(&self, _: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        Ok(Box::new(Scheduler::default()))
    }

    fn executor(&self, _: &[u8], injector: Injector) -> Result<Box<dyn Executor>, String> {
        let to_shell = socket::serve(injector).map_err(|error| format!("no socket for applications: {error}"))?;
        Ok(Box::new(WithShell::new(Machine::default(), to_shell)))
    }
}

/// What an application on some connection said, or is to hear: how it travels between socket, machine and scheduler.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Line {
    connection: u64,
    text: String,
}

impl Line {
    fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).expect("both ends are this plugin")
    }

    fn encode(connection: u64, text: impl Into<String>) -> Vec<u8> {
        serde_json::to_vec(&Self { connection, text: text.into() }).expect("it has no maps")
    }
}

export_plugin! {
    plugin: Containers,
    name: "containers",
    declaration: r#"
about = "Runs what applications on the agents ask for"
[[command]]
name = "containers"
help = "Serve applications until the end"
argument = [{ name = "name", required = true, help = "The framework's name" }]
"#,
}
