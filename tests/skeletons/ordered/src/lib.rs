//! A skeleton of HBase on this API: services that start one after the other, each on its own volume and port, and are drained.
//!
//! ```text
//! ordered start store ─▶ scheduler.rs ──1 volume, port, task──▶ master ─▶ executor of keeper ─▶ service.rs ─▶ sh
//!                             │   ◀──2 running: it said "ready"────────────────────────────────  pipes: ready, drain
//!                             ├──3 the same for server, then for the next …
//!  Ctrl-C ───────────────────▶└──4 kill the last ──▶ "drain" ──▶ ends ──▶ kill the one before … ──▶ finish
//! ordered start store, again: each finds its volume, with what it had written, and on it its port
//! ```

use mesos_plugin_api::prelude::*;

mod scheduler;
mod service;
#[cfg(test)]
mod tests;

use scheduler::Scheduler;
use service::Service;

struct Ordered;

impl Plugin for Ordered {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        let name = invocation.value("name").expect("it is required");
        host.run(RunFramework::named(name, invocation.values("service").join("\n")))
    }

    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        let services = std::str::from_utf8(config).map_err(|error| format!("the services' names: {error}"))?;
        Ok(Box::new(Scheduler::new(services.lines().map(str::to_string).collect())))
    }

    fn executor(&self, _: &[u8], _: Injector) -> Result<Box<dyn Executor>, String> {
        Ok(Box::new(Service::default()))
    }
}

export_plugin! {
    plugin: Ordered,
    name: "ordered",
    declaration: r#"
about = "Runs services in order"
[[command]]
name = "ordered"
help = "Run services until the end"
argument = [
    { name = "name", required = true, help = "The name that finds their volumes again" },
    { name = "service", required = true, repeated = true, help = "Their names, in order" },
]
"#,
}
