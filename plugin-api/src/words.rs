//! Ways to make and read the words that the protobuf contract can't express.

use std::fmt;
use std::time::Duration;

use crate::v1::attribute::Value as AttributeValue;
use crate::v1::exit_status::How;
use crate::v1::{
    Attribute, CommandInfo, EnvironmentVariable, ExitStatus, Filters, Offer, Resources, Source, TaskInfo, TaskState,
    TaskStatus,
};
use crate::{Time, v1};

impl TaskState {
    /// No other state follows, as far as the agent knows.
    pub fn is_terminal(self) -> bool {
        use TaskState::*;
        matches!(
            self,
            TaskFinished | TaskFailed | TaskKilled | TaskError | TaskLost | TaskDropped | TaskGone | TaskGoneByOperator
        )
    }

    /// `running` for `TASK_RUNNING`.
    pub fn word(self) -> &'static str {
        use TaskState::*;
        match self {
            TaskStaging => "staging",
            TaskStarting => "starting",
            TaskRunning => "running",
            TaskKilling => "killing",
            TaskFinished => "finished",
            TaskFailed => "failed",
            TaskKilled => "killed",
            TaskError => "error",
            TaskLost => "lost",
            TaskDropped => "dropped",
            TaskUnreachable => "unreachable",
            TaskGone => "gone",
            TaskGoneByOperator => "gone by operator",
            TaskUnknown => "unknown",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl ExitStatus {
    /// It ended by itself.
    pub fn code(code: i32) -> Self {
        Self { how: Some(How::Code(code)) }
    }

    /// A signal ended it.
    pub fn signal(signal: i32) -> Self {
        Self { how: Some(How::Signal(signal)) }
    }

    /// Nobody can say.
    pub fn unknown() -> Self {
        Self { how: Some(How::Unknown(true)) }
    }

    /// Whether nobody can say.
    pub fn is_unknown(&self) -> bool {
        matches!(self.how, None | Some(How::Unknown(_)))
    }

    /// Code 0.
    pub fn success(&self) -> bool {
        self.how == Some(How::Code(0))
    }

    /// As a shell would give it: the code, 128 + the signal, 255 if unknown.
    pub fn shell_code(&self) -> i32 {
        match self.how {
            Some(How::Code(code)) => code,
            Some(How::Signal(signal)) => 128 + signal,
            Some(How::Unknown(_)) | None => 255,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            Some(How::Code(code)) => write!(f, "exit code {code}"),
            Some(How::Signal(signal)) => write!(f, "signal {signal}{}", signal_name(signal)),
            Some(How::Unknown(_)) | None => f.write_str("an exit status that the kernel no longer gives"),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        4 => " (ILL)",
        6 => " (ABRT)",
        7 => " (BUS)",
        8 => " (FPE)",
        9 => " (KILL)",
        10 => " (USR1)",
        11 => " (SEGV)",
        12 => " (USR2)",
        13 => " (PIPE)",
        14 => " (ALRM)",
        15 => " (TERM)",
        24 => " (XCPU)",
        25 => " (XFSZ)",
        31 => " (SYS)",
        _ => "",
    }
}

impl TaskStatus {
    /// A status without any of its optional parts.
    pub fn new(task_id: v1::TaskId, state: TaskState) -> Self {
        Self {
            task_id,
            state: state.into(),
            agent_id: None,
            executor_id: None,
            source: None,
            reason: None,
            message: None,
            data: None,
            timestamp_ns: None,
            exit: None,
            update_seq: None,
            sandbox: None,
            output_bytes: None,
        }
    }

    /// The same with who says it, why, and a line for people.
    pub fn because(mut self, source: Source, reason: v1::Reason, message: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self.reason = Some(reason.into());
        self.message = Some(message.into());
        self
    }

    /// How the task ended, as a shell would give it; 1 for a task that never ran.
    pub fn shell_code(&self) -> i32 {
        self.exit.as_ref().map_or(1, ExitStatus::shell_code)
    }

    /// The same at that time.
    pub fn at(mut self, now: Time) -> Self {
        self.timestamp_ns = Some(now.as_nanos());
        self
    }
}

impl CommandInfo {
    /// Runs a program with these arguments.
    pub fn argv<S: Into<Vec<u8>>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Runs a line by `/bin/sh -c`.
    pub fn shell_line(line: impl Into<String>) -> Self {
        Self { shell: Some(line.into()), ..Self::default() }
    }

    /// The same with one variable more, replacing one of that name.
    pub fn with_env(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.set_env(name, value);
        self
    }

    /// Sets a variable, replacing one of that name.
    pub fn set_env(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.environment.retain(|variable| variable.name != name);
        self.environment.push(EnvironmentVariable { name: name.to_string(), value: value.into() });
    }
}

/// Between TERM and KILL, where neither the task nor the kill says.
pub const KILL_GRACE: Duration = Duration::from_secs(3);

impl TaskInfo {
    /// Between TERM and KILL, unless a kill says otherwise.
    pub fn kill_grace(&self) -> Duration {
        self.kill_grace_ms.map_or(KILL_GRACE, Duration::from_millis)
    }

    /// How long after its launch nothing is left of it, if it has a max_duration.
    pub fn over_within(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.max_duration_ms?).saturating_add(self.kill_grace()))
    }

    /// A task that runs a command by itself.
    pub fn command(
        id: impl Into<v1::TaskId>,
        agent_id: v1::AgentId,
        resources: Resources,
        command: CommandInfo,
    ) -> Self {
        let id = id.into();
        Self {
            name: id.to_string(),
            id,
            agent_id,
            resources,
            command: Some(command),
            executor: None,
            data: None,
            kill_grace_ms: None,
            max_duration_ms: None,
            labels: Vec::new(),
            volumes: Vec::new(),
        }
    }

    /// A task that an executor runs.
    pub fn executor(
        id: impl Into<v1::TaskId>,
        agent_id: v1::AgentId,
        resources: Resources,
        executor: v1::ExecutorInfo,
        data: Vec<u8>,
    ) -> Self {
        let command = Self::command(id, agent_id, resources, CommandInfo::default());
        Self { command: None, executor: Some(executor), data: Some(data), ..command }
    }
}

impl v1::Range {
    /// A single port.
    pub fn one(port: u64) -> Self {
        Self { begin: port, end: port }
    }
}

impl v1::ExecutorInfo {
    /// The executor half of the framework's own plugin.
    pub fn new(id: impl Into<v1::ExecutorId>, resources: Resources) -> Self {
        Self { id: id.into(), resources, ..Self::default() }
    }
}

impl TaskInfo {
    /// The same with a volume of its framework at `path` in its sandbox.
    pub fn mounting(mut self, volume: &str, path: &str) -> Self {
        let (name, path) = (volume.to_string(), path.to_string());
        self.volumes.push(v1::VolumeMount { name, path, read_only: None, reserved: None });
        self
    }

    /// What of its resources comes out of the reservations of volumes, as far as the master has said.
    pub fn reserved(&self) -> Resources {
        self.volumes.iter().filter_map(|mount| mount.reserved.as_ref()).sum()
    }
}

impl v1::VolumeMount {
    /// Why the volume can't be where the task wants it, if so.
    pub fn path_problem(&self) -> Option<String> {
        let problem = volume_name_problem(&self.path)?;
        Some(format!("the path {:?} of its volume {} {problem}", self.path, self.name))
    }
}

/// The longest name of a volume, and of a mount's path, in bytes.
pub const VOLUME_NAME_MAX: usize = 128;

/// Why a text is no name for a volume or its mount, if so: both name a folder.
pub fn volume_name_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        _ if name.len() > VOLUME_NAME_MAX => Some("is longer than 128 bytes"),
        _ if name.starts_with('.') => Some("begins with a dot"),
        _ if name.contains('/') => Some("contains a slash"),
        _ if name.contains(char::is_control) => Some("contains a control character"),
        _ => None,
    }
}

impl Filters {
    /// Refuse for so long.
    pub fn refuse(duration: Duration) -> Self {
        Self { refuse_ms: Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// How long to refuse; 5 s unless it is said.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.refuse_ms.unwrap_or(5000))
    }
}

impl Offer {
    /// The agent of an ordinary offer; the first one of a gang's.
    pub fn agent(&self) -> &v1::AgentId {
        &self.parts[0].agent_id
    }

    /// Whether a task that is over so long after its launch (see [`TaskInfo::over_within`]) may use it: what is held for a gang
    /// is lent to those only that are over before the gang begins.
    pub fn has_time_for(&self, now: Time, over_within: Option<Duration>) -> bool {
        self.available_until_ns.is_none_or(|until| over_within.is_some_and(|over| (now + over).as_nanos() <= until))
    }

    /// The volume whose reservation it offers, if it is such an offer.
    pub fn volume(&self) -> Option<&v1::Volume> {
        self.parts.first()?.volume.as_ref()
    }

    /// All that it offers, summed over its agents.
    pub fn resources(&self) -> Resources {
        self.parts.iter().map(|part| &part.resources).sum()
    }
}

impl Attribute {
    /// An attribute that is a text.
    pub fn text(name: &str, value: &str) -> Self {
        Self { name: name.to_string(), value: Some(AttributeValue::Text(value.to_string())) }
    }

    /// The value as people write it.
    pub fn value_text(&self) -> String {
        match &self.value {
            Some(AttributeValue::Text(text)) => text.clone(),
            Some(AttributeValue::Scalar(milli)) => crate::resources::decimal(*milli),
            Some(AttributeValue::Ranges(ranges)) => {
                let parts: Vec<String> =
                    ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
                format!("[{}]", parts.join(","))
            }
            Some(AttributeValue::Set(set)) => format!("{{{}}}", set.item.join(",")),
            None => String::new(),
        }
    }
}
