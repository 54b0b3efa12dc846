//! A plugin for the loader's tests that panics in every call.

use mesos_plugin_api::{
    abi::{ByteHalf, BytePlugin, HostHandle},
    export_plugin,
};

struct Panics;

impl BytePlugin for Panics {
    fn run_command(_host: HostHandle, invocation: &[u8]) -> Result<i32, String> {
        panic!("no command with {} bytes", invocation.len())
    }

    /// With the configuration `later` only the half panics.
    fn new_framework(_host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        assert!(config == b"later", "no framework");
        Ok(Box::new(PanicsLater))
    }

    fn new_executor(_host: HostHandle, config: &[u8]) -> Result<Box<dyn ByteHalf>, String> {
        let nothing: Option<Box<dyn ByteHalf>> = None;
        let _ = config;
        Ok(nothing.expect("no executor"))
    }
}

struct PanicsLater;

impl ByteHalf for PanicsLater {
    fn handle(&mut self, _now_ns: u64, event: &[u8]) -> Result<Vec<u8>, String> {
        match event {
            b"fine" => Ok(b"fine".to_vec()),
            _ => Ok(vec![event[event.len()]]),
        }
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
