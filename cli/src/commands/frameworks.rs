//! `mesos frameworks`: who uses the cluster.

use std::time::Duration;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_host::protocol::{FrameworkState, ListFrameworks, SchedulerState, operator_call, operator_reply};
use serde::Serialize;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::output::{self, NONE, Row, age, amounts, iso, now_ns};
use crate::{cluster, detached};

pub const VERB: Verb = Verb { name: "frameworks", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    let attach = Command::new("attach")
        .about("Show what a detached framework writes, from its beginning on")
        .long_about(
            "Shows what a framework that was started with --detach has written since its beginning, goes on until it has ended, \
             and ends with its exit code. Ctrl-C leaves the framework alone. One that has ended can be shown as long as the agents \
             keep its sandboxes.",
        )
        .arg(Arg::new("framework").value_name("FRAMEWORK").required(true).help("Its id or name"));
    command
        .about("Show the frameworks and what they use")
        .long_about(
            "Shows the frameworks: each job that runs on the cluster, 'mesos run' too, is one. With --all also those that have \
             ended, as far as the master remembers.",
        )
        .subcommand(attach)
        .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue).help("Also those that have ended"))
        .after_long_help(examples(&[
            ("mesos frameworks", "who uses the cluster now"),
            ("mesos frameworks attach train", "the output of one that was started with --detach"),
            ("mesos frameworks --all -o json", "everything about them, ended ones too"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    if let Some(("attach", given)) = context.verb.subcommand() {
        let framework = given.get_one::<String>("framework").expect("clap wants it");
        return context.runtime()?.block_on(async {
            let client = cluster::lasting(context).await?;
            detached::attach(&client, framework, context.quiet()).await
        });
    }
    let format = context.format()?;
    let completed = context.given("all").then_some(true);
    let replies = cluster::ask(context, operator_call::Call::ListFrameworks(ListFrameworks { completed }))?;
    let rows: Vec<Framework> = replies.into_iter().filter_map(row).collect();
    output::show(format, &rows, "no frameworks")?;
    Ok(0)
}

fn row(reply: operator_reply::Reply) -> Option<Framework> {
    match reply {
        operator_reply::Reply::Framework(state) => Some(Framework::of(&state)),
        _ => None,
    }
}

/// What is shown of a framework.
#[derive(Debug, Serialize)]
struct Framework {
    id: String,
    name: String,
    user: String,
    role: String,
    principal: Option<String>,
    plugin: Option<String>,
    state: &'static str,
    tasks: u32,
    used: serde_json::Value,
    offered: serde_json::Value,
    registered: String,
    ended: Option<String>,
    exit_code: Option<i32>,
    message: Option<String>,
    scheduler: Option<Scheduler>,
    #[serde(skip)]
    resources: String,
    #[serde(skip)]
    lifetime: Duration,
}

/// Where the scheduler of a detached framework is.
#[derive(Debug, Serialize)]
struct Scheduler {
    /// The last agent that had it.
    hostname: Option<String>,
    running: bool,
    restarts: u32,
    /// Why the one before this one ended.
    last_end: Option<String>,
}

impl Scheduler {
    fn of(state: &SchedulerState, over: bool) -> Self {
        let last = state.runs.last();
        Self {
            hostname: last.map(|run| run.hostname.clone()),
            running: !over && last.is_some_and(|run| run.ended.is_none()),
            restarts: state.restarts,
            last_end: state.runs.iter().rev().find_map(|run| run.ended.clone()),
        }
    }
}

impl Framework {
    /// Where its scheduler runs, or how it ended.
    fn scheduler_cell(&self) -> String {
        let Some(scheduler) = &self.scheduler else { return NONE.to_string() };
        if self.ended.is_some() {
            return self.exit_code.map_or_else(|| "ended".to_string(), |code| format!("exit code {code}"));
        }
        let place = match (&scheduler.hostname, scheduler.running) {
            (Some(hostname), true) => hostname.as_str(),
            _ => "starting",
        };
        match scheduler.restarts {
            0 => place.to_string(),
            1 => format!("{place}, 1 restart"),
            restarts => format!("{place}, {restarts} restarts"),
        }
    }

    fn of(state: &FrameworkState) -> Self {
        let info = &state.framework;
        Self {
            id: info.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: info.name.clone(),
            user: info.user.clone(),
            role: info.role.clone(),
            principal: state.principal.clone(),
            plugin: info.plugin.as_ref().map(|plugin| format!("{} {}", plugin.name, plugin.version)),
            state: match (state.ended_ns, state.connected) {
                (Some(_), _) => "ended",
                (None, true) => "connected",
                (None, false) => "disconnected",
            },
            exit_code: state.exit_code,
            message: state.end_message.clone(),
            scheduler: state.scheduler.as_ref().map(|scheduler| Scheduler::of(scheduler, state.ended_ns.is_some())),
            tasks: state.tasks,
            used: amounts::json(&state.used),
            offered: amounts::json(&state.offered),
            registered: iso(state.registered_ns),
            ended: state.ended_ns.map(iso),
            resources: state.used.to_string(),
            lifetime: Duration::from_nanos(state.ended_ns.unwrap_or_else(now_ns).saturating_sub(state.registered_ns)),
        }
    }
}

impl Row for Framework {
    const HEADINGS: &'static [&'static str] =
        &["ID", "NAME", "USER", "ROLE", "STATE", "SCHEDULER", "TASKS", "USES", "FOR"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.user.clone(),
            self.role.clone(),
            self.state.to_string(),
            self.scheduler_cell(),
            self.tasks.to_string(),
            self.resources.clone(),
            age(self.lifetime),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}
