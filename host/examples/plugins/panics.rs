//! A plugin for the loader's tests that panics in every call.

use mesos_plugin_api::{
    Calls, CommandHost, Executor, Framework, Injector, Invocation, Plugin, Time, export_plugin, framework::Event,
};

struct Panics;

impl Plugin for Panics {
    fn command(&self, _: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        panic!("no command with {} words", invocation.path.len())
    }

    /// With the configuration `later` only the half panics.
    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        assert!(config == b"later", "no framework");
        Ok(Box::new(PanicsLater))
    }

    fn executor(&self, config: &[u8], _: Injector) -> Result<Box<dyn Executor>, String> {
        Err(config.first().map(u8::to_string).expect("no executor"))
    }
}

struct PanicsLater;

impl Framework for PanicsLater {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut Calls) {
        let Event::Stdin(stdin) = event else { return calls.stdout("fine") };
        calls.stdout(vec![stdin.data[stdin.data.len()]]);
    }
}

impl Drop for PanicsLater {
    fn drop(&mut self) {
        panic!("not even dropped in peace");
    }
}

export_plugin! {
    plugin: Panics,
    name: "panics",
    declaration: "
about = 'Panics in every call'
[[command]]
name = 'panic'
help = 'Panic'
",
}
