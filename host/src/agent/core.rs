//! The agent's state, and which part of it answers to which event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, AgentInfo, ExecutorId, FrameworkId, FrameworkInfo, Reason, Resources, TaskId};

use super::connection::Connection;
use super::event::{Checkpoint, Effect, Event, LocalId, Out};
use super::executors::Executor;
use super::tasks::Task;
use super::timers::{Timer, Timers};
use super::volumes::Volume;
use crate::protocol::{VolumeId, VolumeRecord};

/// What an agent is and has.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name, address, port, resources, attributes; the id if it had one before.
    pub info: AgentInfo,
    /// Of this program.
    pub version: String,
    /// Signs the tokens for the output of this agent's tasks.
    pub secret: Vec<u8>,
    /// Changes when the machine boots.
    pub boot_id: Option<String>,
    /// Below it are `sandboxes/FRAMEWORK/TASK` and `executors/FRAMEWORK/EXECUTOR`.
    pub work_dir: PathBuf,
    /// What its disk keeps of volumes.
    pub volumes: Vec<VolumeRecord>,
}

/// An agent, without its I/O.
#[derive(Debug)]
pub struct Agent {
    pub(super) settings: Settings,
    pub(super) connection: Connection,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) tasks: BTreeMap<LocalId, Task>,
    pub(super) by_task: BTreeMap<(FrameworkId, TaskId), LocalId>,
    pub(super) executors: BTreeMap<LocalId, Executor>,
    pub(super) by_executor: BTreeMap<(FrameworkId, ExecutorId), LocalId>,
    /// Neither a live task nor a live executor has it.
    pub(super) free: Resources,
    /// Tasks that wait until what is being killed gives its resources back, in order.
    pub(super) queue: VecDeque<LocalId>,
    pub(super) volumes: BTreeMap<VolumeId, Volume>,
    pub(super) timers: Timers,
    pub(super) id_last: u64,
    persist_last: u64,
    after: BTreeMap<u64, After>,
}

/// A framework that has something here.
#[derive(Debug)]
pub(super) struct Framework {
    pub info: Arc<FrameworkInfo>,
    /// Shut down: what is left of it is being killed, and nobody wants to hear of it.
    pub removed: bool,
    /// Its tasks and executors.
    pub members: BTreeSet<LocalId>,
}

/// What waits for a checkpoint.
#[derive(Debug)]
pub(super) enum After {
    Nothing,
    Start(LocalId),
    Publish(LocalId, u64),
    Confirm(LocalId, u64),
    Tell(LocalId, u64),
}

impl Agent {
    /// An agent with nothing on it.
    pub fn new(mut settings: Settings) -> Self {
        Self {
            free: settings.info.resources.clone(),
            volumes: std::mem::take(&mut settings.volumes).into_iter().map(Volume::found).collect(),
            settings,
            connection: Connection::default(),
            frameworks: BTreeMap::new(),
            tasks: BTreeMap::new(),
            by_task: BTreeMap::new(),
            executors: BTreeMap::new(),
            by_executor: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: Timers::default(),
            id_last: 0,
            persist_last: 0,
            after: BTreeMap::new(),
        }
    }

    /// Takes one event and answers with effects, in the order in which they are to be carried out.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        let out = &mut Out { now, effects };
        match event {
            Event::Started => out.push(Effect::Connect),
            Event::Connected => self.on_connected(out),
            Event::Disconnected { cause } => self.on_disconnected(&cause, out),
            Event::LeaderFound => self.on_leader_found(out),
            Event::EpochHeard { epoch } => self.on_epoch(epoch, out),
            Event::Master(event) => self.on_master(event, out),
            Event::Prepared { id, outcome } => match outcome {
                Ok(()) => self.on_prepared(id, out),
                Err(refusal) => self.on_not_launched(id, refusal.reason, refusal.message, out),
            },
            Event::Launched { id } if self.tasks.contains_key(&id) => self.on_task_launched(id, out),
            Event::Launched { id } => self.on_executor_launched(id, out),
            Event::LaunchFailed { id, refusal } => self.on_not_launched(id, refusal.reason, refusal.message, out),
            Event::Exited { id, exit, output_bytes, .. } if self.tasks.contains_key(&id) => {
                self.on_task_exited(id, &exit, output_bytes, out);
            }
            Event::Exited { id, exit, last_words, .. } => self.on_executor_exited(id, exit, last_words, out),
            Event::ExecutorConnected { id } => self.on_executor_connected(id, out),
            Event::ExecutorFrame { id, frame } => self.on_executor_frame(id, frame, out),
            Event::ExecutorDisconnected { id } => self.on_executor_disconnected(id, out),
            Event::VolumeMade { id, outcome } => self.on_volume_made(id, outcome, out),
            Event::VolumeRemoved { id, outcome } => self.on_volume_removed(id, outcome, out),
            Event::Mounted { id, outcome } => self.on_mounted(id, outcome, out),
            Event::Persisted { seq } => self.on_persisted(seq, out),
            Event::Found { containers, others } => self.on_found(containers, others, out),
            Event::LauncherLost { cause } => self.on_launcher_lost(&cause, out),
            Event::Tick => {}
        }
        while let Some(timer) = self.timers.pop(now) {
            self.on_timer(timer, out);
        }
    }

    /// When the next [`Event::Tick`] is due, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The master's name for this agent, once there is one.
    pub fn id(&self) -> Option<&AgentId> {
        self.settings.info.id.as_ref()
    }

    /// Of the newest master that this agent has heard of; goes with everything that it sends.
    pub fn epoch(&self) -> u64 {
        self.connection.epoch()
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Out) {
        match timer {
            Timer::Reconnect => out.push(Effect::Connect),
            Timer::Register => self.on_register_timeout(out),
            Timer::Silence => self.on_silence(out),
            Timer::MaxDuration(id) => self.on_max_duration(id, out),
            Timer::KillGrace(id) => self.on_kill_grace(id, out),
            Timer::ResendUpdate(id) => self.send_update(id, out),
            Timer::ResendMessages(id) => self.resend_messages(id, out),
            Timer::ExecutorRegister(id) => self.on_executor_register_timeout(id, out),
            Timer::ExecutorDrain(id) => self.on_executor_disconnected(id, out),
        }
    }

    pub(super) fn next_id(&mut self) -> LocalId {
        self.id_last += 1;
        LocalId(self.id_last)
    }

    pub(super) fn persist(&mut self, checkpoint: Checkpoint, after: After, out: &mut Out) {
        self.persist_last += 1;
        self.after.insert(self.persist_last, after);
        out.push(Effect::Persist { seq: self.persist_last, checkpoint });
    }

    fn on_persisted(&mut self, seq: u64, out: &mut Out) {
        let later = self.after.split_off(&(seq + 1));
        for after in std::mem::replace(&mut self.after, later).into_values() {
            match after {
                After::Nothing => {}
                After::Start(id) if self.tasks.contains_key(&id) => self.start_task(id, out),
                After::Start(id) => self.start_executor(id, out),
                After::Publish(id, update_seq) => {
                    if self.tasks.get_mut(&id).is_some_and(|task| task.updates.durable(update_seq)) {
                        self.send_update(id, out);
                    }
                }
                After::Confirm(id, taken) => self.confirm_to_executor(id, taken, out),
                After::Tell(id, seq) => self.tell_process(id, seq, out),
            }
        }
    }

    /// What isn't launched has not been told of before, or is an executor whose tasks are.
    fn on_not_launched(&mut self, id: LocalId, reason: Reason, message: String, out: &mut Out) {
        if self.tasks.contains_key(&id) {
            self.on_task_not_launched(id, reason, message, out);
        } else {
            self.on_executor_not_launched(id, reason, message, out);
        }
    }

    pub(super) fn on_prepared(&mut self, id: LocalId, out: &mut Out) {
        if self.tasks.get(&id).is_some_and(Task::is_preparing) && !self.has_volumes(id, out) {
            return;
        }
        let expected = match (self.tasks.get_mut(&id), self.executors.get_mut(&id)) {
            (Some(task), _) => task.prepared(),
            (None, Some(executor)) => executor.prepared(),
            (None, None) => false,
        };
        if expected {
            out.push(Effect::Launch { id });
        }
    }

    fn on_kill_grace(&mut self, id: LocalId, out: &mut Out) {
        match self.tasks.get(&id).and_then(Task::executor) {
            Some(executor) => self.kill_executor_of(id, executor, out),
            None => out.push(Effect::Signal { id, signal: SIGKILL }),
        }
    }

    fn on_launcher_lost(&mut self, cause: &str, out: &mut Out) {
        let message = format!("the launcher is gone, and with it the news of what it had launched: {cause}");
        for id in self.executors.keys().copied().collect::<Vec<_>>() {
            self.lose_executor(id, Reason::LauncherLost, &message, out);
        }
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.lose_task(id, Reason::LauncherLost, &message, out);
        }
        out.push(Effect::Exit { message });
    }

    /// Forgets a framework of which nothing is left.
    pub(super) fn leave_framework(&mut self, framework_id: &FrameworkId, id: LocalId) {
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.members.remove(&id);
            if framework.members.is_empty() {
                self.frameworks.remove(framework_id);
            }
        }
    }

    pub(super) fn is_removed(&self, framework_id: &FrameworkId) -> bool {
        self.frameworks.get(framework_id).is_none_or(|framework| framework.removed)
    }
}

/// signal(7); cores have no libc.
pub(super) const SIGKILL: i32 = 9;
pub(super) const SIGTERM: i32 = 15;
