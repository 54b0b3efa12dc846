//! Checkpoints as the bytes of records.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::executor::Numbered;
use mesos_plugin_api::v1::{Reason, TaskState};

use crate::agent::checkpoint::{Checkpoint, ExecutorLaunch, Launch, Position, TaskLaunch};
use crate::agent::event::LocalId;
use crate::agent::tasks::Verdict;
use crate::protocol::agent_record::Record;
use crate::protocol::{
    EndedKept, KillKept, LaunchKept, MessageKept, PositionKept, RegisteredKept, TaskKept, TellKept, UpdateKept,
};

/// The id and the record of a checkpoint.
pub(super) fn encode(checkpoint: &Checkpoint) -> (u64, Record) {
    let id = match checkpoint {
        Checkpoint::Counted { id } => id.0,
        other => other.id().map_or(0, |id| id.0),
    };
    let record = match checkpoint.clone() {
        Checkpoint::Registered { agent_id, epoch } => Record::Registered(RegisteredKept { agent_id, epoch }),
        Checkpoint::Counted { .. } => Record::Counted(true),
        Checkpoint::Launch { launch, .. } => Record::Launch(match launch {
            Launch::Task(task) => task_kept(task),
            Launch::Executor(executor) => executor_kept(executor),
        }),
        Checkpoint::Task { executor, task, .. } => {
            Record::Task(TaskKept { executor: executor.0, launch: task_kept(task) })
        }
        Checkpoint::Refused { task, .. } => Record::Refused(task_kept(task)),
        Checkpoint::Tell { seq, body, scheduler_seq, at, .. } => Record::Tell(TellKept {
            numbered: Numbered { seq, body: Some(body) },
            at_ns: at.as_nanos(),
            incarnation: scheduler_seq.map(|(incarnation, _)| incarnation),
            scheduler_seq: scheduler_seq.map(|(_, seq)| seq),
        }),
        Checkpoint::Confirmed { seq, .. } => Record::Confirmed(seq),
        Checkpoint::Taken { seq, .. } => Record::Taken(seq),
        Checkpoint::Message { taken, seq, data, .. } => Record::Message(MessageKept { taken, seq, data }),
        Checkpoint::MessageAcknowledged { seq, .. } => Record::MessageAcknowledged(seq),
        Checkpoint::Position { position, .. } => Record::Position(PositionKept {
            taken: position.taken,
            told: position.told,
            said: position.said,
            heard_incarnation: position.heard.0,
            heard: position.heard.1,
            was_connected: position.was_connected,
            is_stopping: position.is_stopping,
        }),
        Checkpoint::Began { at, .. } => Record::TaskBeganNs(at.as_nanos()),
        Checkpoint::Update { status, taken, .. } => Record::Update(UpdateKept { status, taken }),
        Checkpoint::Acknowledged { update_seq, .. } => Record::Acknowledged(update_seq),
        Checkpoint::Kill { verdict, grace_ms, .. } => Record::Kill(KillKept {
            state: verdict.state.into(),
            reason: verdict.reason.into(),
            message: verdict.message,
            grace_ms,
        }),
        Checkpoint::Ended { exit, message, .. } => Record::Ended(EndedKept { exit, message }),
        Checkpoint::Forgotten { .. } => Record::Forgotten(true),
    };
    (id, record)
}

/// None where it is a record of the shell's own, or says less than it should.
pub(super) fn decode(id: u64, record: Record) -> Option<Checkpoint> {
    let id = LocalId(id);
    Some(match record {
        Record::Began(_) | Record::Launcher(_) | Record::Process(_) => return None,
        Record::Registered(RegisteredKept { agent_id, epoch }) => Checkpoint::Registered { agent_id, epoch },
        Record::Counted(_) => Checkpoint::Counted { id },
        Record::Launch(launch) => Checkpoint::Launch { id, launch: launch_of(launch)? },
        Record::Task(TaskKept { executor, launch }) => {
            Checkpoint::Task { id, executor: LocalId(executor), task: task_of(launch)? }
        }
        Record::Refused(launch) => Checkpoint::Refused { id, task: task_of(launch)? },
        Record::Tell(tell) => Checkpoint::Tell {
            id,
            seq: tell.numbered.seq,
            body: tell.numbered.body?,
            scheduler_seq: tell.incarnation.zip(tell.scheduler_seq),
            at: Time(tell.at_ns),
        },
        Record::Confirmed(seq) => Checkpoint::Confirmed { id, seq },
        Record::Taken(seq) => Checkpoint::Taken { id, seq },
        Record::Message(MessageKept { taken, seq, data }) => Checkpoint::Message { id, taken, seq, data },
        Record::MessageAcknowledged(seq) => Checkpoint::MessageAcknowledged { id, seq },
        Record::Position(kept) => Checkpoint::Position {
            id,
            position: Position {
                taken: kept.taken,
                told: kept.told,
                said: kept.said,
                heard: (kept.heard_incarnation, kept.heard),
                was_connected: kept.was_connected,
                is_stopping: kept.is_stopping,
            },
        },
        Record::TaskBeganNs(at) => Checkpoint::Began { id, at: Time(at) },
        Record::Update(UpdateKept { status, taken }) => Checkpoint::Update { id, status, taken },
        Record::Acknowledged(update_seq) => Checkpoint::Acknowledged { id, update_seq },
        Record::Kill(kill) => Checkpoint::Kill {
            id,
            verdict: Verdict {
                state: TaskState::try_from(kill.state).ok()?,
                reason: Reason::try_from(kill.reason).ok()?,
                message: kill.message,
            },
            grace_ms: kill.grace_ms,
        },
        Record::Ended(EndedKept { exit, message }) => Checkpoint::Ended { id, exit, message },
        Record::Forgotten(_) => Checkpoint::Forgotten { id },
    })
}

fn task_kept(task: TaskLaunch) -> LaunchKept {
    LaunchKept {
        framework: Arc::unwrap_or_clone(task.framework),
        agent_id: task.agent_id,
        sandbox: task.sandbox.as_os_str().as_bytes().to_vec(),
        task: Some(Arc::unwrap_or_clone(task.task)),
        gang_id: task.gang_id,
        over_by_ns: task.over_by.map(Time::as_nanos),
        executor: None,
    }
}

fn executor_kept(executor: ExecutorLaunch) -> LaunchKept {
    LaunchKept {
        framework: Arc::unwrap_or_clone(executor.framework),
        agent_id: executor.agent_id,
        sandbox: executor.sandbox.as_os_str().as_bytes().to_vec(),
        task: None,
        gang_id: None,
        over_by_ns: None,
        executor: Some(Arc::unwrap_or_clone(executor.executor)),
    }
}

fn launch_of(kept: LaunchKept) -> Option<Launch> {
    if kept.executor.is_none() {
        return task_of(kept).map(Launch::Task);
    }
    Some(Launch::Executor(ExecutorLaunch {
        framework: Arc::new(kept.framework),
        executor: Arc::new(kept.executor?),
        agent_id: kept.agent_id,
        sandbox: path_of(&kept.sandbox),
    }))
}

fn task_of(kept: LaunchKept) -> Option<TaskLaunch> {
    Some(TaskLaunch {
        framework: Arc::new(kept.framework),
        task: Arc::new(kept.task?),
        gang_id: kept.gang_id,
        agent_id: kept.agent_id,
        sandbox: path_of(&kept.sandbox),
        over_by: kept.over_by_ns.map(Time),
    })
}

fn path_of(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}
