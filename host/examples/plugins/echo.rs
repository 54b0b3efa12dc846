//! A plugin for the loader's tests: it answers with what it is given, and shows each way to the host.

use mesos_plugin_api::{
    Calls, CommandHost, Executor, Framework, Injector, Invocation, Plugin, Time, command::RunFramework, export_plugin,
    framework::Event,
};

struct Echo;

impl Plugin for Echo {
    /// Runs a framework with the first word as its configuration.
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        tracing::info!(words = invocation.trailing.len(), "command started");
        let config = invocation.trailing.first().cloned().unwrap_or_default();
        let run = RunFramework { name: "echo".into(), config, ..Default::default() };
        host.run_framework(run).map(|result| result.exit_code)
    }

    fn framework(&self, config: &[u8], injector: Injector) -> Result<Box<dyn Framework>, String> {
        Ok(Box::new(Echoing { prefix: String::from_utf8_lossy(config).into_owned(), events: 0, injector }))
    }

    fn executor(&self, config: &[u8], _: Injector) -> Result<Box<dyn Executor>, String> {
        Err(format!("no executor for {}", String::from_utf8_lossy(config)))
    }
}

/// Says its configuration, the time and the number of the event; a thread of its own injects the same.
struct Echoing {
    prefix: String,
    events: u32,
    injector: Injector,
}

impl Framework for Echoing {
    fn on_event(&mut self, now: Time, _: Event, calls: &mut Calls) {
        self.events += 1;
        let text = format!("{} {} {}", self.prefix, now.as_nanos(), self.events);
        calls.stdout(text.clone());
        let injector = self.injector.clone();
        let thread = std::thread::spawn(move || injector.inject(text.into_bytes()));
        thread.join().expect("the thread does not panic");
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
