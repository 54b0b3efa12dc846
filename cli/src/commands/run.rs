//! `mesos run`: a command, as often as wanted, on whichever agents have room.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, Command};
use mesos_host::protocol::client::MasterClient;
use mesos_plugin_api::v1::{FrameworkInfo, Resources};

use super::{Group, Verb, examples, program};
use crate::cluster;
use crate::context::{Context, hostname, user_name};
use crate::errors::usage;
use crate::foreground::{self, Options};
use crate::run::{Job, RunFramework};
use crate::settings::{RUN_CPUS, RUN_MEM, RUN_ROLE};
use crate::uris::InSandbox;
use crate::{detached, names, values};

pub const VERB: Verb = Verb { name: "run", group: Group::Programs, command, run };

/// A dropped connection to the master doesn't end the tasks before that.
const FAILOVER_MS: u64 = 60_000;
/// Variables that go along: without them a command finds no programs and speaks another language than here.
const CARRIED: [&str; 6] = ["PATH", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME"];

fn command(command: Command) -> Command {
    command
        .about("Run a command on the cluster, once or many times, and show what it writes")
        .long_about(
            "Runs a command as one task, or with --count as many, on whichever agents have room, shows what they write, and ends \
             when all have ended. Its exit code is that of the first task that failed, 128 + the signal if one ended it; one \
             line names the task, its agent and why.\n\nThe command runs in a sandbox, a fresh folder on its agent, as the user \
             who typed this. It gets PATH, LANG, LC_ALL, TZ, USER and LOGNAME from here and what --env adds; with --count also \
             MESOS_RUN_INDEX, from 0 on, and MESOS_RUN_COUNT. It has no standard input.\n\nWithout a cluster it starts one of its \
             own on this machine and ends it afterwards. Ctrl-C kills the tasks, a second one without grace. Output of at most \
             256 tasks is followed at a time; that of the others is shown when it is their turn.",
        )
        .arg(Arg::new("name").long("name").value_name("NAME").help("What 'mesos frameworks' shows [default: the command's]"))
        .args([RUN_CPUS.arg(), RUN_MEM.arg()])
        .arg(Arg::new("count").short('n').long("count").value_name("N").help("How many tasks [default: 1]"))
        .arg(
            Arg::new("env").short('e').long("env").value_name("NAME[=VALUE]").action(ArgAction::Append).help(
                "A variable for the command; without a value, the one from here",
            ),
        )
        .arg(
            Arg::new("uri")
                .long("uri")
                .value_name("URI")
                .action(ArgAction::Append)
                .help("A file to put into the sandbox first")
                .long_help(
                    "A file to put into the sandbox first: http(s)://…, file:///path on the agent, or a path here, which is \
                     uploaded. After commas: sha256=HEX, name=FILE, extract, executable, cache.",
                ),
        )
        .arg(Arg::new("workdir").long("workdir").value_name("DIR").help("Run there, on the agent, and not in the sandbox"))
        .arg(Arg::new("max-duration").short('t').long("max-duration").value_name("TIME").help(
            "End a task that runs longer: 90s, 5m, 1h30m",
        ))
        .arg(RUN_ROLE.arg())
        .arg(Arg::new("label").short('l').long("label").action(ArgAction::SetTrue).help("Put the task's number before each line"))
        .arg(Arg::new("max-fail").long("max-fail").value_name("N").help(
            "End the other tasks after so many failures [default: they run on]",
        ))
        .arg(Arg::new("no-output").long("no-output").action(ArgAction::SetTrue).help(
            "Don't show what they write; 'mesos logs' does",
        ))
        .arg(Arg::new("detach").long("detach").action(ArgAction::SetTrue).help(
            "Hand it to the cluster and print its id; 'mesos frameworks attach' shows it",
        ))
        .arg(program::arg())
        .after_long_help(examples(&[
            ("mesos run -- hostname", "one task"),
            ("mesos run -n 100 -l -- sh -c 'echo I am $MESOS_RUN_INDEX'", "a hundred, each line with its task's number"),
            ("mesos run --cpus 4 --mem 8g --uri ./train.py -- python3 train.py", "one with a file from here"),
            ("mesos run --detach -- ./train", "one that goes on without this terminal"),
            ("mesos run -e OMP_NUM_THREADS=4 -t 1h --max-fail 1 -n 10 -- ./step", "all ten, or none"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let job = job(context)?;
    let own_name = || names::unique(&format!("{}-", program_name(program::path(context))));
    let info = FrameworkInfo {
        name: context.text("name").map_or_else(own_name, ToString::to_string),
        user: user_name(),
        role: context.read_or_default(&RUN_ROLE, |role| Ok(role.trim().to_string()))?,
        failover_timeout_ms: Some(FAILOVER_MS),
        hostname: hostname(),
        ..FrameworkInfo::default()
    };
    let files = context.texts("uri").iter().map(|text| InSandbox::parse(text)).collect::<Result<Vec<_>>>()?;
    let options = Options { quiet: context.quiet(), stdin: false };
    if context.given("detach") {
        return context.runtime()?.block_on(async {
            let client = cluster::lasting(context).await?;
            let job = ready(&client, job, files).await?;
            detached::hand_over(&client, info, job.to_bytes()).await.map(|_| 0)
        });
    }
    context.runtime()?.block_on(async {
        let cluster = cluster::find_or_embed(context).await?;
        let ran = start(&cluster.client, job, files, info, options).await;
        cluster.end().await;
        ran
    })
}

async fn start(
    client: &MasterClient,
    job: Job,
    files: Vec<InSandbox>,
    info: FrameworkInfo,
    options: Options,
) -> Result<i32> {
    let job = ready(client, job, files).await?;
    let make = |_| Ok(Box::new(RunFramework::new(job)) as Box<dyn mesos_plugin_api::Framework>);
    Ok(foreground::run(client, info, None, make, options).await?.exit_code)
}

/// With its files uploaded, where it can ever run.
async fn ready(client: &MasterClient, mut job: Job, files: Vec<InSandbox>) -> Result<Job> {
    refuse_what_never_fits(client, &job.each).await?;
    for file in files {
        job.command.uris.push(file.uri(client).await?);
    }
    Ok(job)
}

fn job(context: &Context) -> Result<Job> {
    let cpus = context.read_or_default(&RUN_CPUS, values::cpus)?;
    let mem = context.read_or_default(&RUN_MEM, values::megabytes)?;
    let mut command = program::typed(context, &CARRIED);
    for variable in context.texts("env") {
        let (name, value) = variable_of(&variable)?;
        command.set_env(&name, value);
    }
    command.working_directory = context.text("workdir").map(absolute).transpose()?;
    Ok(Job {
        count: context.parse("count", values::count)?.unwrap_or(1),
        each: Resources::new(cpus, mem),
        command,
        max_duration: context.parse("max-duration", values::duration)?,
        follow: !context.given("no-output"),
        label: context.given("label"),
        max_fail: context.parse("max-fail", values::count)?,
    })
}

/// The last part of the program's path, as far as a name may have it.
fn program_name(program: &OsStr) -> String {
    let last = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if clean.is_empty() { "run".to_string() } else { clean.chars().take(40).collect() }
}

fn variable_of(text: &str) -> Result<(String, Vec<u8>)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.as_bytes().to_vec()),
        None => match std::env::var_os(text) {
            Some(value) => (text, value.into_vec()),
            None => return Err(usage(format!("--env {text}: there is no such variable here; write {text}=VALUE"))),
        },
    };
    if name.is_empty() {
        return Err(usage(format!("--env {text:?} has no name; write NAME=VALUE")));
    }
    Ok((name.to_string(), value))
}

fn absolute(dir: &str) -> Result<Vec<u8>> {
    if !dir.starts_with('/') {
        return Err(usage(format!("--workdir {dir:?} is not absolute; it is a folder on the agents")));
    }
    Ok(dir.as_bytes().to_vec())
}

/// More than any agent has would wait for ever: it is said at once. Agents that are still to come are not known here.
async fn refuse_what_never_fits(client: &MasterClient, each: &Resources) -> Result<()> {
    let agents = cluster::state(client).await?.agents;
    if agents.is_empty() || agents.iter().any(|agent| agent.resources.contains(each)) {
        return Ok(());
    }
    let all: Vec<String> = agents.iter().take(3).map(|a| format!("{} has {}", a.hostname, a.resources)).collect();
    let more =
        if agents.len() > 3 { format!(" and {} more agents have no more", agents.len() - 3) } else { String::new() };
    bail!("no agent can ever hold a task with {each}: {}{more}; ask for less with --cpus and --mem", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_value_or_are_taken_from_here() {
        assert_eq!(variable_of("A=b=c").expect("good"), ("A".to_string(), b"b=c".to_vec()));
        assert_eq!(variable_of("PATH").expect("good").0, "PATH");
        assert!(variable_of("MESOS_NO_SUCH_VARIABLE").unwrap_err().to_string().contains("no such variable here"));
        assert!(variable_of("=x").is_err());
    }

    #[test]
    fn names_come_from_the_program() {
        assert_eq!(program_name("/usr/bin/python3.11".as_ref()), "python3.11");
        assert_eq!(program_name("my prog/é".as_ref()), "_");
        assert_eq!(program_name("/".as_ref()), "run");
    }
}
