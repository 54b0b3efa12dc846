//! `mesos run`: a command, as often as wanted, on whichever agents have room.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::{Arg, ArgAction, Command, value_parser};
use mesos_host::loader::ContentHash;
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::{GetCluster, operator_call, operator_reply};
use mesos_plugin_api::v1::{CommandInfo, FrameworkInfo, Resources, Uri};

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::{Context, hostname, user_name};
use crate::errors::usage;
use crate::foreground::{self, Options};
use crate::run::{Job, RunFramework};
use crate::settings::{RUN_CPUS, RUN_MEM, RUN_ROLE};
use crate::{names, values};

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
        .arg(
            Arg::new("command")
                .value_name("CMD")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .value_parser(value_parser!(OsString))
                .help("The command and its arguments"),
        )
        .after_long_help(examples(&[
            ("mesos run -- hostname", "one task"),
            ("mesos run -n 100 -l -- sh -c 'echo I am $MESOS_RUN_INDEX'", "a hundred, each line with its task's number"),
            ("mesos run --cpus 4 --mem 8g --uri ./train.py -- python3 train.py", "one with a file from here"),
            ("mesos run -e OMP_NUM_THREADS=4 -t 1h --max-fail 1 -n 10 -- ./step", "all ten, or none"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let job = job(context)?;
    let argv: Vec<OsString> = arguments(context);
    let name = context.text("name").map_or_else(|| program_name(&argv[0]), ToString::to_string);
    let given = context.text("name").is_some();
    let info = FrameworkInfo {
        name: if given { name } else { names::unique(&format!("{name}-")) },
        user: user_name(),
        role: context.read_or_default(&RUN_ROLE, |role| Ok(role.trim().to_string()))?,
        failover_timeout_ms: Some(FAILOVER_MS),
        hostname: hostname(),
        ..FrameworkInfo::default()
    };
    let files = context.texts("uri").iter().map(|text| InSandbox::parse(text)).collect::<Result<Vec<_>>>()?;
    let options = Options { quiet: context.quiet(), stdin: false };
    context.runtime()?.block_on(async {
        let cluster = cluster::find_or_embed(context).await?;
        let ran = start(&cluster.client, job, files, info, options).await;
        cluster.end().await;
        ran
    })
}

async fn start(
    client: &MasterClient,
    mut job: Job,
    files: Vec<InSandbox>,
    info: FrameworkInfo,
    options: Options,
) -> Result<i32> {
    refuse_what_never_fits(client, &job.each).await?;
    for file in files {
        job.command.uris.push(file.uri(client).await?);
    }
    let make = |_| Ok(Box::new(RunFramework::new(job)) as Box<dyn mesos_plugin_api::Framework>);
    Ok(foreground::run(client, info, None, make, options).await?.exit_code)
}

fn job(context: &Context) -> Result<Job> {
    let cpus = context.read_or_default(&RUN_CPUS, values::cpus)?;
    let mem = context.read_or_default(&RUN_MEM, values::megabytes)?;
    let mut command = CommandInfo::argv(arguments(context).into_iter().map(OsString::into_vec));
    for name in CARRIED {
        if let Some(value) = std::env::var_os(name) {
            command.set_env(name, value.into_vec());
        }
    }
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

fn arguments(context: &Context) -> Vec<OsString> {
    context.verb.get_many::<OsString>("command").expect("clap wants it").cloned().collect()
}

/// The last part of the program's path, as far as a name may have it.
fn program_name(program: &OsString) -> String {
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
    let replies = client.ask(operator_call::Call::GetCluster(GetCluster {})).await?;
    let agents = replies.into_iter().find_map(|reply| match reply {
        operator_reply::Reply::Cluster(state) => Some(state.agents),
        _ => None,
    });
    let agents = agents.unwrap_or_default();
    if agents.is_empty() || agents.iter().any(|agent| agent.resources.contains(each)) {
        return Ok(());
    }
    let all: Vec<String> = agents.iter().take(3).map(|a| format!("{} has {}", a.hostname, a.resources)).collect();
    let more =
        if agents.len() > 3 { format!(" and {} more agents have no more", agents.len() - 3) } else { String::new() };
    bail!("no agent can ever hold a task with {each}: {}{more}; ask for less with --cpus and --mem", all.join(", "))
}

/// A `--uri`.
#[derive(Debug, PartialEq)]
struct InSandbox {
    uri: Uri,
    /// The value is a path here.
    upload: bool,
}

impl InSandbox {
    fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let value = parts.next().unwrap_or_default().to_string();
        if value.is_empty() {
            return Err(usage(format!("--uri {text:?} names no file")));
        }
        let upload = !value.contains("://");
        if !upload && !["http://", "https://", "file:///"].iter().any(|scheme| value.starts_with(scheme)) {
            return Err(usage(format!("--uri {value}: only http://, https://, file:///path and paths here are known")));
        }
        let mut uri = Uri { value, ..Uri::default() };
        for part in parts {
            match part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value))) {
                ("sha256", Some(hex)) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    uri.sha256 = Some(hex.to_ascii_lowercase());
                }
                ("name", Some(name))
                    if !name.is_empty() && !name.starts_with('/') && !name.split('/').any(|p| p == "..") =>
                {
                    uri.output_file = Some(name.to_string());
                }
                ("extract", None) => uri.extract = Some(true),
                ("executable", None) => uri.executable = Some(true),
                ("cache", None) => uri.cache = Some(true),
                _ => {
                    let known =
                        "sha256=64 hexadecimal digits, name=FILE within the sandbox, extract, executable, cache";
                    return Err(usage(format!("--uri: {part:?} can't be used; after a comma there may be {known}")));
                }
            }
        }
        Ok(Self { uri, upload })
    }

    /// The URI for the agents, after an upload where it is a file of ours.
    async fn uri(self, client: &MasterClient) -> Result<Uri> {
        if !self.upload {
            return Ok(self.uri);
        }
        let path = Path::new(&self.uri.value);
        let problem = || format!("--uri {} can't be uploaded", path.display());
        let metadata = std::fs::metadata(path).with_context(problem)?;
        if !metadata.is_file() {
            bail!("--uri {}: not a file; upload a folder as an archive, with ,extract", path.display());
        }
        let hash = File::open(path).and_then(|mut file| ContentHash::of(&mut file)).with_context(problem)?.to_string();
        if let Some(wanted) = self.uri.sha256.filter(|wanted| *wanted != hash) {
            bail!("--uri {}: its SHA-256 is {hash}, not {wanted}", path.display());
        }
        client.put_blob(path, &hash).await.with_context(problem)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let executable = self.uri.executable.or(Some(metadata.permissions().mode() & 0o111 != 0));
        let output_file = self.uri.output_file.or(name);
        Ok(Uri { value: format!("blob:{hash}"), sha256: Some(hash), executable, output_file, ..self.uri })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_with_their_extras() {
        let hex = "ab".repeat(32);
        let parsed = InSandbox::parse(&format!("https://h/x.tgz,sha256={hex},extract,name=data/x.tgz")).expect("good");
        assert!(!parsed.upload);
        assert_eq!(parsed.uri.value, "https://h/x.tgz");
        assert_eq!((parsed.uri.sha256, parsed.uri.extract), (Some(hex), Some(true)));
        assert_eq!(parsed.uri.output_file.as_deref(), Some("data/x.tgz"));
        assert!(InSandbox::parse("./prog").expect("good").upload);
        assert!(!InSandbox::parse("file:///etc/hosts").expect("good").upload);
    }

    #[test]
    fn uris_that_lead_nowhere_or_out_of_the_sandbox_are_refused() {
        for bad in
            ["", ",extract", "ftp://h/x", "x,sha256=12", "x,name=/etc/passwd", "x,name=../x", "x,unzip", "file://h/x"]
        {
            let error = InSandbox::parse(bad).expect_err(bad);
            assert!(error.to_string().starts_with("--uri"), "{error}");
        }
    }

    #[test]
    fn variables_have_a_value_or_are_taken_from_here() {
        assert_eq!(variable_of("A=b=c").expect("good"), ("A".to_string(), b"b=c".to_vec()));
        assert_eq!(variable_of("PATH").expect("good").0, "PATH");
        assert!(variable_of("MESOS_NO_SUCH_VARIABLE").unwrap_err().to_string().contains("no such variable here"));
        assert!(variable_of("=x").is_err());
    }

    #[test]
    fn names_come_from_the_program() {
        assert_eq!(program_name(&"/usr/bin/python3.11".into()), "python3.11");
        assert_eq!(program_name(&"my prog/é".into()), "_");
        assert_eq!(program_name(&"/".into()), "run");
    }
}
