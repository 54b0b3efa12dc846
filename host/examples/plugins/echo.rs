//! A plugin for the loader's tests: it answers with what it is given, and shows each way to the host.

use mesos_plugin_api::{
    abi::{ByteHalf, BytePlugin, HostHandle},
    export_plugin,
};

struct Echo;

impl BytePlugin for Echo {
    /// Asks the host's method 1 with the invocation, from a thread of its own, and exits with the reply's first byte.
    fn run_command(host: HostHandle, invocation: &[u8]) -> Result<i32, String> {
        tracing::info!(bytes = invocation.len(), "command started");
        let invocation = invocation.to_vec();
        let asking = std::thread::spawn(move || host.call(1, &invocation));
        let reply = asking.join().expect("the thread does not panic")?;
        Ok(reply.first().copied().unwrap_or(0).into())
    }

    fn new_framework(_host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        Ok(Box::new(Counting { prefix: config.to_vec(), events: 0 }))
    }

    fn new_executor(_host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        Err(format!("no executor for {}", String::from_utf8_lossy(config)))
    }
}

/// Answers with its configuration, the time, the number of the event and the event.
struct Counting {
    prefix: Vec<u8>,
    events: u32,
}

impl ByteHalf for Counting {
    fn handle(&mut self, now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String> {
        self.events += 1;
        let middle = format!(" {now_ns} {} ", self.events);
        Ok([&self.prefix, middle.as_bytes(), event].concat())
    }
}

export_plugin! {
    plugin: Echo,
    name: "echo-one",
    declaration: r#"
about = "Answers with what it is given"

[[command]]
name = "echo-run"
help = "Ask the host"
[[command.argument]]
name = "words"
help = "What to ask"
trailing = true

[[command]]
name = "echo-more"
help = "Ask the host for more"
[[command.command]]
name = "now"
help = "At once"
"#,
}
