//! What happens to an agent, and what it wants done: data both, so that tests and the simulator can read, delay and drop it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mesos_plugin_api::v1::executor::Frame;
use mesos_plugin_api::v1::{ExitStatus, FrameworkId, Reason, TaskId};

pub use super::checkpoint::{Checkpoint, ExecutorLaunch, Launch, TaskLaunch};
use super::volumes::Mount;
use crate::protocol::{VolumeId, VolumeRecord, agent_call, agent_event};

/// What the agent calls a task or an executor for as long as it knows it; names its container too. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub u64);

impl fmt::Debug for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What happens to an agent.
#[derive(Debug, Clone)]
pub enum Event {
    /// The first event.
    Started,
    /// A way to the master is open.
    Connected,
    /// It broke, or couldn't be opened.
    Disconnected {
        /// For people.
        cause: String,
    },
    /// Another master leads, so that it is no use to wait longer.
    LeaderFound,
    /// The batch that follows is of a master of this epoch.
    EpochHeard {
        /// As in the batch.
        epoch: u64,
    },
    /// The master says something.
    Master(agent_event::Event),
    /// The sandbox is there with all that was to be fetched.
    Prepared {
        /// Whose.
        id: LocalId,
        /// Why not, otherwise.
        outcome: Result<(), Refusal>,
    },
    /// The process runs.
    Launched {
        /// Whose.
        id: LocalId,
    },
    /// The process never ran.
    LaunchFailed {
        /// Whose.
        id: LocalId,
        /// Why.
        refusal: Refusal,
    },
    /// The process has ended and nothing of its container is left.
    Exited {
        /// Whose.
        id: LocalId,
        /// How.
        exit: ExitStatus,
        /// Of an executor that ended badly: the last line of its standard error.
        last_words: Option<String>,
        /// Of a task: what it has written.
        output_bytes: Option<u64>,
    },
    /// An executor's process has connected, for the first time or again.
    ExecutorConnected {
        /// Whose.
        id: LocalId,
    },
    /// An executor's process says something; never its Hello, which the shell has checked.
    ExecutorFrame {
        /// Whose.
        id: LocalId,
        /// What.
        frame: Frame,
    },
    /// All that an executor's process has sent was read, and its connection is closed.
    ExecutorDisconnected {
        /// Whose.
        id: LocalId,
    },
    /// The volume is there and survives the machine's end.
    VolumeMade {
        /// Which.
        id: VolumeId,
        /// Why not, otherwise; for people.
        outcome: Result<(), String>,
    },
    /// The volume is gone, and stays gone.
    VolumeRemoved {
        /// Which.
        id: VolumeId,
        /// Why not, otherwise; for people.
        outcome: Result<(), String>,
    },
    /// The volumes of a task are in its sandbox.
    Mounted {
        /// Whose.
        id: LocalId,
        /// Why not, otherwise.
        outcome: Result<(), Refusal>,
    },
    /// Checkpoints up to and with this one survive the agent's process.
    Persisted {
        /// As in [`Effect::Persist`].
        seq: u64,
    },
    /// What there is of everything that was launched: the first event of an agent that was recovered, and again when another
    /// launcher has taken the place of one that died.
    Found {
        /// Those that are known to somebody.
        containers: BTreeMap<LocalId, Found>,
        /// What has become of the others.
        others: Others,
    },
    /// The launcher is gone, and with it the news of everything that it had launched.
    LauncherLost {
        /// For people.
        cause: String,
    },
    /// A deadline has come.
    Tick,
}

/// A container that somebody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is about to run; what comes of it is told.
    Launching,
    /// It runs; its end is told.
    Running,
    /// It has ended.
    Exited {
        /// How.
        exit: ExitStatus,
        /// As in [`Event::Exited`].
        last_words: Option<String>,
        /// As in [`Event::Exited`].
        output_bytes: Option<u64>,
    },
    /// It never ran.
    Failed(Refusal),
}

/// What has become of containers that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// The launcher that was asked for them never heard of them.
    Unstarted,
    /// The launcher that knew them has died.
    Lost,
    /// The machine was started anew.
    Rebooted,
}

/// Why something could not be made ready for a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What an agent wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Open a way to the master; answered by `Connected` or `Disconnected`.
    Connect,
    /// Close it; not answered.
    Disconnect,
    /// Tell the master; dropped when there is no connection.
    Send(agent_call::Call),
    /// Keep this; answered by `Persisted`, in order.
    Persist {
        /// From 1 on.
        seq: u64,
        /// What to keep.
        checkpoint: Checkpoint,
    },
    /// Make a sandbox and fetch what belongs there, and the plugin of an executor; answered by `Prepared`.
    Prepare {
        /// For whom.
        id: LocalId,
        /// What it will be.
        launch: Launch,
    },
    /// Make a volume's folder, durably; answered by `VolumeMade`.
    MakeVolume {
        /// Which, and what to remember of it.
        record: VolumeRecord,
    },
    /// Remove a volume with all that is in it; answered by `VolumeRemoved`.
    RemoveVolume {
        /// Which.
        id: VolumeId,
    },
    /// Let volumes be found in a sandbox that was prepared; answered by `Mounted`.
    Mount {
        /// For which task.
        id: LocalId,
        /// Who lives in the sandbox: the task itself or its executor.
        process: LocalId,
        /// Where.
        sandbox: PathBuf,
        /// Which, and as what.
        mounts: Vec<Mount>,
    },
    /// Stop preparing; not answered.
    Abandon {
        /// For whom.
        id: LocalId,
    },
    /// Launch what was prepared; answered by `Launched` or `LaunchFailed`, then `Exited`.
    Launch {
        /// What.
        id: LocalId,
    },
    /// A task runs in its executor's sandbox: let it be found by the task's name.
    ShareSandbox {
        /// The task.
        id: LocalId,
        /// Its framework.
        framework_id: FrameworkId,
        /// Its name.
        task_id: TaskId,
        /// Its executor.
        executor: LocalId,
    },
    /// Signal all processes of a container.
    Signal {
        /// Whose.
        id: LocalId,
        /// As of signal(7).
        signal: i32,
    },
    /// Tell an executor's process; dropped when it isn't connected.
    SendExecutor {
        /// Whom.
        id: LocalId,
        /// What.
        frame: Frame,
    },
    /// It has ended: whoever follows its output has all of it.
    Ended {
        /// Who.
        id: LocalId,
    },
    /// The agent's process ends, with this line.
    Exit {
        /// For people.
        message: String,
    },
    /// Something that only an operator can judge.
    Warn {
        /// For people.
        message: String,
    },
}

/// One event's moment and the effects so far.
pub(super) struct Out<'a> {
    pub now: mesos_plugin_api::Time,
    pub effects: &'a mut Vec<Effect>,
}

impl Out<'_> {
    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn warn(&mut self, message: String) {
        self.push(Effect::Warn { message });
    }
}

/// Doubles up to a bound.
pub(super) fn back_off(delay: Duration, max: Duration) -> Duration {
    (delay * 2).min(max)
}
