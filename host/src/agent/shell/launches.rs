//! What the launcher is asked to start for a task or an executor.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use mesos_plugin_api::v1::{CommandInfo, Resources};

use super::sandboxes::Place;
use super::users::Account;
use crate::agent::event::{ExecutorLaunch, Launch, TaskLaunch};
use crate::executor::{
    VARIABLE_AGENT_SOCKET, VARIABLE_EXECUTOR_ID, VARIABLE_FRAMEWORK_ID, VARIABLE_OUTPUT_BYTES, VARIABLE_PLUGIN,
    VARIABLE_TOKEN,
};
use crate::launcher::LaunchSpec;

/// The names of a task's output files in its sandbox.
pub(super) const OUTPUTS: [&str; 2] = ["stdout", "stderr"];

/// A process to launch, for whom, and what the agent adds for an executor.
pub(super) struct Launching<'a> {
    pub place: &'a Place,
    pub container: String,
    /// A program that calls `init` first.
    pub program: &'a Path,
    pub executor: Option<ExecutorPlace>,
}

/// How an executor's process finds its agent and its plugin.
pub(super) struct ExecutorPlace {
    pub socket: PathBuf,
    pub token: String,
    pub plugin: PathBuf,
    pub output_bytes_max: u64,
}

impl Launching<'_> {
    pub(super) fn spec(self) -> LaunchSpec {
        let mut spec = match &self.place.launch {
            Launch::Task(task) => self.task(task),
            Launch::Executor(executor) => self.executor(executor),
        };
        let sandbox = self.place.launch.sandbox().clone();
        spec.user = Some(self.place.account.user.clone());
        (spec.stdout, spec.stderr) = (Some(OUTPUTS[0].into()), Some(OUTPUTS[1].into()));
        spec.sandbox = Some(sandbox);
        spec
    }

    fn task(&self, task: &TaskLaunch) -> LaunchSpec {
        let empty = CommandInfo::default();
        let command = task.task.command.as_ref().unwrap_or(&empty);
        let mut spec = LaunchSpec::new(self.container.clone(), argv(command));
        spec.env = task_environment(task, &self.place.account);
        spec.cwd = working_directory(command, &task.sandbox);
        spec
    }

    fn executor(&self, executor: &ExecutorLaunch) -> LaunchSpec {
        let command = executor.executor.command.clone().unwrap_or_default();
        let mut spec =
            LaunchSpec::new(self.container.clone(), [self.program.as_os_str(), OsStr::new(crate::executor::MARKER)]);
        let mut env = environment(&command, &executor.sandbox, &executor.executor.resources, &self.place.account);
        env.insert(VARIABLE_FRAMEWORK_ID.into(), executor.framework.id.as_ref().map_or("", |id| id.as_str()).into());
        env.insert("MESOS_AGENT_ID".into(), executor.agent_id.as_str().into());
        env.insert(VARIABLE_EXECUTOR_ID.into(), executor.executor.id.as_str().into());
        if let Some(place) = &self.executor {
            env.insert(VARIABLE_AGENT_SOCKET.into(), place.socket.clone().into());
            env.insert(VARIABLE_TOKEN.into(), place.token.clone().into());
            env.insert(VARIABLE_OUTPUT_BYTES.into(), place.output_bytes_max.to_string().into());
            env.insert(VARIABLE_PLUGIN.into(), place.plugin.clone().into());
        }
        spec.env = env.into_iter().collect();
        spec.cwd = working_directory(&command, &executor.sandbox);
        spec.launch_channel = true;
        spec
    }
}

/// What the task's process gets; a command that is run beside it, too.
pub(super) fn task_environment(task: &TaskLaunch, account: &Account) -> Vec<(OsString, OsString)> {
    let empty = CommandInfo::default();
    let command = task.task.command.as_ref().unwrap_or(&empty);
    let mut env = environment(command, &task.sandbox, &task.task.resources, account);
    env.insert("MESOS_TASK_ID".into(), task.task.id.as_str().into());
    env.insert("MESOS_FRAMEWORK_ID".into(), task.framework.id.as_ref().map_or("", |id| id.as_str()).into());
    env.insert("MESOS_AGENT_ID".into(), task.agent_id.as_str().into());
    env.into_iter().collect()
}

/// The command's own, and what the agent says of the place.
fn environment(
    command: &CommandInfo,
    sandbox: &Path,
    resources: &Resources,
    account: &Account,
) -> BTreeMap<OsString, OsString> {
    let own = command.environment.iter();
    let mut env: BTreeMap<OsString, OsString> =
        own.map(|variable| (variable.name.clone().into(), OsString::from_vec(variable.value.clone()))).collect();
    env.entry("HOME".into()).or_insert_with(|| account.home.clone().into());
    env.insert("MESOS_SANDBOX".into(), sandbox.into());
    let ports = resources.ports().iter().flat_map(|range| range.begin..=range.end);
    for (number, port) in ports.enumerate() {
        env.insert(format!("PORT{number}").into(), port.to_string().into());
    }
    env
}

/// What only the agent knows, where a command asks for it by a variable without a value: the program that it is itself, and
/// where its master is.
pub(super) fn fill_in(spec: &mut LaunchSpec, program: &Path, master: &str) {
    for (name, value) in spec.env.iter_mut().filter(|(_, value)| value.is_empty()) {
        match name.to_str() {
            Some("MESOS_PROGRAM") => *value = program.into(),
            Some("MESOS_MASTER") => *value = master.into(),
            _ => {}
        }
    }
}

pub(super) fn argv(command: &CommandInfo) -> Vec<OsString> {
    match &command.shell {
        Some(line) => vec!["/bin/sh".into(), "-c".into(), line.into()],
        None => command.argv.iter().map(|arg| OsString::from_vec(arg.clone())).collect(),
    }
}

pub(super) fn working_directory(command: &CommandInfo, sandbox: &Path) -> PathBuf {
    match &command.working_directory {
        Some(path) => sandbox.join(OsStr::from_bytes(path)),
        None => sandbox.to_owned(),
    }
}
