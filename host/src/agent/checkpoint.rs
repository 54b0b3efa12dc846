//! What survives the death of the agent's process: records that the core emits in order, and builds itself from again.

use std::path::PathBuf;
use std::sync::Arc;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::numbered::Body;
use mesos_plugin_api::v1::{
    AgentId, CommandInfo, ExecutorInfo, ExitStatus, FrameworkInfo, PluginRef, TaskInfo, TaskStatus,
};

use super::event::LocalId;
use super::tasks::Verdict;

/// One step that is not forgotten. What is said of an executor's tasks comes after the executor, of a task after the task.
#[derive(Debug, Clone, PartialEq)]
pub enum Checkpoint {
    /// The master's name for this agent, and the master's epoch.
    Registered {
        /// The name.
        agent_id: AgentId,
        /// The epoch.
        epoch: u64,
    },
    /// No local id up to and with this one is given again. Only in what [`Agent::checkpoints`](super::Agent::checkpoints) says.
    Counted {
        /// The last one.
        id: LocalId,
    },
    /// A task or an executor is about to start.
    Launch {
        /// Which.
        id: LocalId,
        /// All that is needed to find it again.
        launch: Launch,
    },
    /// A task is about to be given to an executor.
    Task {
        /// Which.
        id: LocalId,
        /// The executor.
        executor: LocalId,
        /// The task.
        task: TaskLaunch,
    },
    /// A task will not be launched; its one update follows.
    Refused {
        /// Which.
        id: LocalId,
        /// The task.
        task: TaskLaunch,
    },
    /// An executor's process is about to be told.
    Tell {
        /// The executor.
        id: LocalId,
        /// The number of the frame.
        seq: u64,
        /// What.
        body: Body,
        /// The scheduler's incarnation and number, if it is its message.
        scheduler_seq: Option<(u64, u64)>,
        /// When.
        at: Time,
    },
    /// An executor's process has everything up to and with this number.
    Confirmed {
        /// The executor.
        id: LocalId,
        /// The number.
        seq: u64,
    },
    /// What an executor's process has sent was taken up to and with this number.
    Taken {
        /// The executor.
        id: LocalId,
        /// The number.
        seq: u64,
    },
    /// An executor's process has a message for its scheduler.
    Message {
        /// The executor.
        id: LocalId,
        /// The number of the frame that it came in.
        taken: u64,
        /// The message's own number.
        seq: u64,
        /// The message.
        data: Vec<u8>,
    },
    /// The scheduler has every message of an executor up to and with this number.
    MessageAcknowledged {
        /// The executor.
        id: LocalId,
        /// The number.
        seq: u64,
    },
    /// How far an executor has come. Only in what [`Agent::checkpoints`](super::Agent::checkpoints) says.
    Position {
        /// The executor.
        id: LocalId,
        /// As far.
        position: Position,
    },
    /// A task runs, or was given to its executor. Only in what [`Agent::checkpoints`](super::Agent::checkpoints) says.
    Began {
        /// Which.
        id: LocalId,
        /// When.
        at: Time,
    },
    /// A task's state is about to be told.
    Update {
        /// Whose.
        id: LocalId,
        /// The state.
        status: TaskStatus,
        /// The number of the frame of its executor that said so.
        taken: Option<u64>,
    },
    /// An update was acknowledged.
    Acknowledged {
        /// Whose.
        id: LocalId,
        /// Which.
        update_seq: u64,
    },
    /// A task is to be ended.
    Kill {
        /// Which.
        id: LocalId,
        /// What it comes to.
        verdict: Verdict,
        /// How long it has, in milliseconds.
        grace_ms: u64,
    },
    /// An executor has ended; its scheduler is yet to hear of it.
    Ended {
        /// Which.
        id: LocalId,
        /// How.
        exit: Option<ExitStatus>,
        /// For people.
        message: String,
    },
    /// Nobody will ask for it again.
    Forgotten {
        /// Which.
        id: LocalId,
    },
}

/// How far an executor has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The last frame that was taken from its process.
    pub taken: u64,
    /// The last frame that was numbered for its process.
    pub told: u64,
    /// The last message that was numbered for its scheduler.
    pub said: u64,
    /// Incarnation of its scheduler, and the last message that was taken from it.
    pub heard: (u64, u64),
    /// Its process has connected.
    pub was_connected: bool,
    /// It was told to end.
    pub is_stopping: bool,
}

impl Checkpoint {
    /// The task or executor that it is about; none if it is about the agent.
    pub fn id(&self) -> Option<LocalId> {
        match self {
            Self::Registered { .. } | Self::Counted { .. } => None,
            Self::Launch { id, .. }
            | Self::Task { id, .. }
            | Self::Refused { id, .. }
            | Self::Tell { id, .. }
            | Self::Confirmed { id, .. }
            | Self::Taken { id, .. }
            | Self::Message { id, .. }
            | Self::MessageAcknowledged { id, .. }
            | Self::Position { id, .. }
            | Self::Began { id, .. }
            | Self::Update { id, .. }
            | Self::Acknowledged { id, .. }
            | Self::Kill { id, .. }
            | Self::Ended { id, .. }
            | Self::Forgotten { id } => Some(*id),
        }
    }
}

/// A process to launch.
#[derive(Debug, Clone, PartialEq)]
pub enum Launch {
    /// A command task.
    Task(TaskLaunch),
    /// The executor half of a plugin.
    Executor(ExecutorLaunch),
}

/// A task and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskLaunch {
    /// Its framework; always with an id.
    pub framework: Arc<FrameworkInfo>,
    /// The task.
    pub task: Arc<TaskInfo>,
    /// Its gang.
    pub gang_id: Option<String>,
    /// The agent's name for itself, for the task's environment.
    pub agent_id: AgentId,
    /// Where it runs.
    pub sandbox: PathBuf,
    /// Nothing is left of it then, whatever it does.
    pub over_by: Option<Time>,
}

/// An executor and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorLaunch {
    /// Its framework; always with an id.
    pub framework: Arc<FrameworkInfo>,
    /// The executor.
    pub executor: Arc<ExecutorInfo>,
    /// The agent's name for itself.
    pub agent_id: AgentId,
    /// Where it runs.
    pub sandbox: PathBuf,
}

impl Launch {
    /// Whose it is.
    pub fn framework(&self) -> &FrameworkInfo {
        match self {
            Self::Task(task) => &task.framework,
            Self::Executor(executor) => &executor.framework,
        }
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &PathBuf {
        match self {
            Self::Task(task) => &task.sandbox,
            Self::Executor(executor) => &executor.sandbox,
        }
    }

    /// What is to be run, and as whom; of an executor only what surrounds it.
    pub fn command(&self) -> Option<&CommandInfo> {
        match self {
            Self::Task(task) => task.task.command.as_ref(),
            Self::Executor(executor) => executor.executor.command.as_ref(),
        }
    }

    /// The plugin that it needs.
    pub fn plugin(&self) -> Option<&PluginRef> {
        match self {
            Self::Task(_) => None,
            Self::Executor(executor) => Some(&executor.executor.plugin),
        }
    }
}
