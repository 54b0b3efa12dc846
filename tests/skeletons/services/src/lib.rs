//! A skeleton of web apps on this API: commands that change a running framework and watch what becomes of it.
//!
//! ```text
//! mesos services scale shop 4  ──Ask::Scale──▶ master ──Request──▶ ┌──────────────────────┐
//!   "2 of 4 run"  ◀──── pieces ◀────────────── master ◀──Reply─── │ framework.rs: wanted │ ◀─offers, updates─ master
//!   "4 of 4 run"  ◀──── done                                      │ and what runs        │ ──accept, kill──▶
//! mesos services watch shop    ──Ask::Watch──▶  the same, until    └──────────────────────┘
//!   Ctrl-C  ─────────────────▶ RequestCancelled                    keeps what is wanted; the rest it is told
//! ```

use mesos_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

mod framework;
#[cfg(test)]
mod tests;

use framework::Services;

/// What is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wanted {
    instances: usize,
    line: String,
}

/// What a command asks of the framework.
#[derive(Serialize, Deserialize)]
enum Ask {
    Scale(usize),
    Update(String),
    Watch,
}

struct Plug;

impl Plugin for Plug {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        let name = invocation.value("name").expect("it is required");
        let ask = match invocation.path[1].as_str() {
            "start" => {
                let line = invocation.value("line").expect("it is required").to_string();
                let wanted = Wanted { instances: invocation.get("instances", "a number of instances")?, line };
                return host.run(RunFramework::named(name, serde_json::to_vec(&wanted).expect("it has no maps")));
            }
            "scale" => Ask::Scale(invocation.get("instances", "a number of instances")?),
            "update" => Ask::Update(invocation.value("line").expect("it is required").to_string()),
            _ => Ask::Watch,
        };
        let mut left = invocation.parse::<u32>("lines", "a number of lines")?.unwrap_or(u32::MAX);
        host.request(name, serde_json::to_vec(&ask).expect("it has no maps"), &mut |piece| {
            println!("{}", String::from_utf8_lossy(piece));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(0)
    }

    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        let wanted =
            serde_json::from_slice(config).map_err(|error| format!("what is wanted can't be read: {error}"))?;
        Ok(Box::new(Services::new(wanted)))
    }
}

export_plugin! {
    plugin: Plug,
    name: "services",
    declaration: r#"
about = "Keeps instances of a command running"
[[command]]
name = "services"
help = "Start, change and watch services"
[[command.command]]
name = "start"
help = "Run a service until the end"
argument = [
    { name = "name", required = true, help = "Its name" },
    { name = "line", required = true, help = "A line for the shell" },
    { name = "instances", long = "instances", default = "1", help = "How many" },
]
[[command.command]]
name = "scale"
help = "Change how many run, and wait for it"
argument = [
    { name = "name", required = true, help = "Its name" },
    { name = "instances", required = true, help = "How many" },
]
[[command.command]]
name = "update"
help = "Replace one after the other by another command, and wait for it"
argument = [
    { name = "name", required = true, help = "Its name" },
    { name = "line", required = true, help = "A line for the shell" },
]
[[command.command]]
name = "watch"
help = "Show each change"
argument = [
    { name = "name", required = true, help = "Its name" },
    { name = "lines", long = "lines", help = "End after so many" },
]
"#,
}
