//! `mesos exec`: a command beside a running task.

use std::io::{IsTerminal, Read, Write};

use anyhow::{Result, anyhow};
use clap::{Arg, Command};
use mesos_host::protocol::agents::Answers;
use mesos_host::protocol::exec_input::Input;
use mesos_host::protocol::exec_output::Output;
use mesos_host::protocol::{ExecOutput, ExecStart};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Group, Verb, examples, framework_arg, program};
use crate::context::Context;
use crate::sandbox::{self, Sandboxes};
use crate::terminal::{RawTerminal, size};
use crate::{cluster, output};

pub const VERB: Verb = Verb { name: "exec", group: Group::Programs, command, run };

/// Bytes that are read from standard input at once.
const STDIN_BYTES: usize = 64 << 10;
/// Variables that go along: without them a command finds no programs and doesn't know our terminal.
const CARRIED: [&str; 5] = ["PATH", "TERM", "LANG", "LC_ALL", "TZ"];

fn command(command: Command) -> Command {
    command
        .about("Run a command in the sandbox of a running task")
        .long_about(
            "Runs a command on the task's agent, in its sandbox and as its user, with our standard input, output and error. Where \
             these are a terminal it gets one of its own. The exit code is the command's, 128 + the signal if one ended it.",
        )
        .arg(Arg::new("task").value_name("TASK").required(true).help("Its id, as 'mesos tasks' shows it"))
        .arg(framework_arg("Whose task, where several have that id"))
        .arg(program::arg())
        .after_long_help(examples(&[
            ("mesos exec train.3 -- sh", "a shell beside the task"),
            ("mesos exec train.3 -- ls -l", "what is in its sandbox"),
            ("mesos exec train.3 -- tar c results | tar x", "what it has made, here"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let task = context.text("task").expect("clap wants it");
    let framework = context.text("framework");
    let command = program::typed(context, &CARRIED);
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let size = terminal.then(size).flatten();
    let runtime = context.runtime()?;
    let code = runtime.block_on(async {
        let sandboxes = Sandboxes::new(cluster::lasting(context).await?);
        let located = sandboxes.locate(task, framework).await?;
        let (rows, columns) = (size.map(|(rows, _)| rows), size.map(|(_, columns)| columns));
        let start = ExecStart { access: sandbox::access(&located), command, rows, columns };
        let (input, output) = sandboxes.exec(&located, start).await?;
        let _raw = size.is_some().then(RawTerminal::enter).transpose()?;
        forward_input(input);
        show(output).await
    });
    // A thread may still read from the terminal.
    runtime.shutdown_background();
    code
}

async fn show(mut pieces: Answers<ExecOutput>) -> Result<i32> {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    while let Some(piece) = pieces.recv().await {
        match piece?.output {
            Some(Output::Stdout(data)) => output::write(&mut out, &data)?,
            Some(Output::Stderr(data)) => err.write_all(&data)?,
            Some(Output::Exit(exit)) => return Ok(exit.shell_code()),
            None => {}
        }
    }
    Err(anyhow!("the agent closed the connection before the command had ended"))
}

/// Standard input and signals, until the command has ended and nobody takes them any more.
fn forward_input(input: mpsc::Sender<Input>) {
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        let input = input.clone();
        // A signal that can't be caught ends us, and with the connection the command.
        let Ok(mut stream) = signal(kind) else { continue };
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if input.send(Input::Signal(kind.as_raw_value())).await.is_err() {
                    return;
                }
            }
        });
    }
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; STDIN_BYTES];
        loop {
            let piece = match stdin.read(&mut buffer) {
                Ok(length) if length > 0 => Input::Stdin(buffer[..length].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // An error is the end, too: a terminal that went away.
                _ => Input::StdinEnd(true),
            };
            let last = piece == Input::StdinEnd(true);
            if input.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
}
