//! The `mesos` command: args → run → exit code.

mod args;
mod cluster;
mod commands;
mod context;
mod daemon;
mod detached;
mod errors;
mod foreground;
mod help;
mod local;
mod names;
mod output;
mod plugin;
mod run;
mod sandbox;
mod settings;
mod terminal;
mod uris;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a launcher is this program again.
    mesos_host::init();
    let code = match args::run(std::env::args_os().collect()) {
        Ok(code) => code,
        Err(error) => errors::report(&error),
    };
    errors::exit_code(code)
}
