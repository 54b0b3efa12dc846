//! `mesos tasks`: what runs, and what ran.

use std::time::Duration;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_host::protocol::{ListTasks, TaskRow, operator_call, operator_reply};
use mesos_plugin_api::v1::{Reason, TaskState};
use serde::Serialize;

use super::{Group, Verb, examples, framework_arg};
use crate::cluster;
use crate::context::Context;
use crate::output::{self, NONE, Row, age, amounts, iso, now_ns};

pub const VERB: Verb = Verb { name: "tasks", group: Group::Looking, command, run };

fn command(command: Command) -> Command {
    command
        .about("Show the tasks that run, with --all those that have ended too")
        .long_about(
            "Shows the tasks of all frameworks: where each runs, in which state it is and for how long. With --all also those \
             that have ended, as far as the master remembers, and why they ended.",
        )
        .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue).help("Also those that have ended"))
        .arg(framework_arg("Only this framework's").short('f'))
        .after_long_help(examples(&[
            ("mesos tasks", "what runs now"),
            ("mesos tasks --all -f train", "all tasks of the framework train, and how they ended"),
            ("mesos tasks -q -f train | xargs mesos kill", "ends them one by one"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let format = context.format()?;
    let all = context.given("all");
    let framework = context.text("framework").map(ToString::to_string);
    let replies =
        cluster::ask(context, operator_call::Call::ListTasks(ListTasks { all: all.then_some(true), framework }))?;
    let rows: Vec<Task> = replies.into_iter().filter_map(row).collect();
    let nothing = if all { "no tasks" } else { "no tasks run; --all shows those that have ended" };
    output::show(format, &rows, nothing)?;
    Ok(0)
}

fn row(reply: operator_reply::Reply) -> Option<Task> {
    match reply {
        operator_reply::Reply::Task(row) => Some(Task::of(&row)),
        _ => None,
    }
}

/// What is shown of a task.
#[derive(Debug, Serialize)]
struct Task {
    id: String,
    name: String,
    framework_id: String,
    framework: String,
    agent_id: String,
    hostname: String,
    /// `TASK_RUNNING`, as in Mesos.
    state: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
    exit_code: Option<i32>,
    resources: serde_json::Value,
    launched: String,
    running: Option<String>,
    ended: Option<String>,
    #[serde(skip)]
    word: &'static str,
    #[serde(skip)]
    uses: String,
    #[serde(skip)]
    lasted: Duration,
    #[serde(skip)]
    note: String,
}

impl Task {
    fn of(row: &TaskRow) -> Self {
        let status = &row.status;
        let reason = status.reason.is_some().then(|| status.reason()).filter(|reason| *reason != Reason::None);
        let begin = row.running_ns.unwrap_or(row.launched_ns);
        Self {
            id: row.task.id.to_string(),
            name: row.task.name.clone(),
            framework_id: row.framework_id.to_string(),
            framework: row.framework_name.clone(),
            agent_id: row.task.agent_id.to_string(),
            hostname: row.hostname.clone(),
            state: status.state().as_str_name(),
            reason: reason.map(|reason| reason.as_str_name()),
            message: status.message.clone(),
            exit_code: status.exit.as_ref().map(|exit| exit.shell_code()),
            resources: amounts::json(&row.task.resources),
            launched: iso(row.launched_ns),
            running: row.running_ns.map(iso),
            ended: row.ended_ns.map(iso),
            word: status.state().word(),
            uses: row.task.resources.to_string(),
            lasted: Duration::from_nanos(row.ended_ns.unwrap_or_else(now_ns).saturating_sub(begin)),
            note: note(row),
        }
    }
}

/// Why it is in its state, where that isn't plain.
fn note(row: &TaskRow) -> String {
    let status = &row.status;
    if status.state() == TaskState::TaskFinished {
        return NONE.to_string();
    }
    let exit = status.exit.as_ref().filter(|exit| !exit.success()).map(ToString::to_string);
    status.message.clone().filter(|message| !message.is_empty()).or(exit).unwrap_or_else(|| NONE.to_string())
}

impl Row for Task {
    const HEADINGS: &'static [&'static str] = &["ID", "FRAMEWORK", "HOST", "STATE", "USES", "FOR", "WHY"];
    const ENDS_IN_PROSE: bool = true;

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.framework.clone(),
            self.hostname.clone(),
            self.word.to_string(),
            self.uses.clone(),
            age(self.lasted),
            self.note.clone(),
        ]
    }

    fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use mesos_plugin_api::v1::{
        AgentId, CommandInfo, ExitStatus, FrameworkId, Resources, Source, TaskId, TaskInfo, TaskStatus,
    };

    use super::*;

    #[test]
    fn an_ended_task_says_how_long_it_ran_and_why_it_ended() {
        let id = TaskId::from("train.0");
        let status = TaskStatus::new(id.clone(), TaskState::TaskFailed);
        let mut status = status.because(Source::Agent, Reason::CommandExited, "");
        status.exit = Some(ExitStatus::signal(9));
        let task = TaskInfo::command(id, AgentId::from("A1"), Resources::new(1.0, 64.0), CommandInfo::argv(["x"]));
        let row = TaskRow {
            framework_id: FrameworkId::from("F1"),
            framework_name: "train".into(),
            task,
            status,
            hostname: "node1".into(),
            launched_ns: 1_000_000_000,
            running_ns: Some(2_000_000_000),
            ended_ns: Some(7_000_000_000),
        };
        let task = Task::of(&row);
        assert_eq!(task.cells(), ["train.0", "train", "node1", "failed", "cpus:1;mem:64", "5s", "signal 9 (KILL)"]);
        let json = serde_json::to_value(&task).expect("JSON");
        assert_eq!(json["state"], "TASK_FAILED");
        assert_eq!(json["reason"], "REASON_COMMAND_EXITED");
        assert_eq!(json["exit_code"], 137);
        assert_eq!(json["ended"], "1970-01-01T00:00:07.000Z");
    }
}
