//! `mesos logs`: what a task writes, or wrote.

use std::sync::Arc;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_plugin_api::framework::FollowFile;

use super::{Group, Verb, examples, framework_arg};
use crate::cluster;
use crate::context::Context;
use crate::foreground::{Follower, Screen, Wanted};
use crate::sandbox::Sandboxes;

pub const VERB: Verb = Verb { name: "logs", group: Group::Programs, command, run };

fn command(command: Command) -> Command {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    command
        .about("Show what a task writes, or wrote")
        .long_about(
            "Shows a task's standard output and standard error, each on our own, read from its agent. A task that has ended can \
             be asked as long as its agent keeps the sandbox. Of very long output the agent keeps the end only.",
        )
        .arg(Arg::new("task").value_name("TASK").required(true).help("Its id, as 'mesos tasks --all' shows it"))
        .arg(framework_arg("Whose task, where several have that id"))
        .arg(switch("follow").short('f').help("Go on until the task has ended"))
        .arg(switch("stdout").help("Standard output only"))
        .arg(switch("stderr").conflicts_with("stdout").help("Standard error only"))
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("PATH")
                .conflicts_with_all(["stdout", "stderr"])
                .help("Another file of its sandbox"),
        )
        .after_long_help(examples(&[
            ("mesos logs train.3", "what it has written so far"),
            ("mesos logs -f --stderr train.3", "its standard error, until it ends"),
            ("mesos logs --file results/model.bin train.3 > model.bin", "a file that it made"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let wanted = Wanted {
        task: context.text("task").expect("clap wants it").to_string(),
        framework: context.text("framework").map(ToString::to_string),
        agent: None,
        files: files(context),
        growing: context.given("follow"),
    };
    context.runtime()?.block_on(async {
        let client = cluster::lasting(context).await?;
        let screen = Screen::start(true);
        let shown = Follower::new(Arc::new(Sandboxes::new(client)), &screen, wanted)?.run(0).await;
        screen.end().await;
        shown.map(|()| 0)
    })
}

fn files(context: &Context) -> Vec<FollowFile> {
    let file = |path: &str, stderr: bool| FollowFile {
        path: path.to_string(),
        stderr: stderr.then_some(true),
        ..FollowFile::default()
    };
    match context.text("file") {
        Some(path) => vec![file(path, false)],
        None if context.given("stdout") => vec![file("stdout", false)],
        None if context.given("stderr") => vec![file("stderr", true)],
        None => vec![file("stdout", false), file("stderr", true)],
    }
}
