//! The way to the master: register, answer, and come back when it breaks.

use std::time::Duration;

use mesos_plugin_api::v1::{AgentId, FrameworkId};

use super::core::{After, Agent};
use super::event::{Checkpoint, Effect, LocalId, Out, back_off};
use super::executors::MESSAGE_RETRY;
use super::timers::Timer;
use crate::protocol::{ExecutorRecord, Pong, Register, Registered, TaskRecord, agent_call, agent_event};

/// The wait before the first attempt to reconnect; doubles with each that fails.
pub const RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// As far as that doubles.
pub const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(10);
/// How long a master may take to answer a registration.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    delay: Duration,
    /// The newest master's.
    epoch: u64,
    /// Said once for each time that it breaks.
    complained: bool,
    /// A master that says nothing for so long is out of reach.
    silence_max: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Apart,
    Registering,
    Registered,
}

impl Default for Connection {
    fn default() -> Self {
        Self { state: State::Apart, delay: RECONNECT_DELAY, epoch: 0, complained: false, silence_max: None }
    }
}

impl Connection {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Agent {
    pub(super) fn restore_epoch(&mut self, epoch: u64) {
        self.connection.epoch = epoch;
    }

    pub(super) fn is_registered(&self) -> bool {
        self.connection.state == State::Registered
    }

    /// To the master, if it knows this agent; whatever matters is sent again after a registration.
    pub(super) fn send(&self, call: agent_call::Call, out: &mut Out) {
        if self.is_registered() {
            out.push(Effect::Send(call));
        }
    }

    pub(super) fn on_connected(&mut self, out: &mut Out) {
        self.connection.state = State::Registering;
        self.timers.set(Timer::Register, out.now + REGISTER_TIMEOUT);
        out.push(Effect::Send(agent_call::Call::Register(self.register())));
    }

    pub(super) fn on_disconnected(&mut self, cause: &str, out: &mut Out) {
        if !std::mem::replace(&mut self.connection.complained, true) {
            out.warn(format!("no master: {cause}; trying again until one answers"));
        }
        self.connection.state = State::Apart;
        self.timers.cancel(Timer::Register);
        self.timers.cancel(Timer::Silence);
        self.timers.set(Timer::Reconnect, out.now + self.connection.delay);
        self.connection.delay = back_off(self.connection.delay, RECONNECT_DELAY_MAX);
    }

    /// The waits have grown long while nobody led.
    pub(super) fn on_leader_found(&mut self, out: &mut Out) {
        self.connection.delay = RECONNECT_DELAY;
        if self.timers.at(Timer::Reconnect).is_some() {
            self.timers.cancel(Timer::Reconnect);
            out.push(Effect::Connect);
        }
    }

    pub(super) fn on_register_timeout(&mut self, out: &mut Out) {
        out.push(Effect::Disconnect);
        self.on_disconnected("the master does not answer the registration", out);
    }

    /// The network may be broken without either end of the connection having heard of it.
    pub(super) fn on_silence(&mut self, out: &mut Out) {
        out.push(Effect::Disconnect);
        self.on_disconnected("the master has fallen silent", out);
    }

    fn heard_from_master(&mut self, out: &Out) {
        if let Some(silence) = self.connection.silence_max.filter(|_| self.is_registered()) {
            self.timers.set(Timer::Silence, out.now + silence);
        }
    }

    /// Until it has registered this agent, a master has nothing to say: it may be an old one.
    pub(super) fn on_master(&mut self, event: agent_event::Event, out: &mut Out) {
        use agent_event::Event;
        self.heard_from_master(out);
        match event {
            Event::Registered(registered) => self.on_registered(registered, out),
            Event::Refused(refused) => {
                if self.connection.state != State::Apart {
                    out.push(Effect::Exit { message: refused.message });
                }
            }
            Event::Ping(_) => {
                if self.connection.state != State::Apart {
                    out.push(Effect::Send(agent_call::Call::Pong(Pong {})));
                }
            }
            _ if !self.is_registered() => {}
            Event::RunTasks(run) => self.on_run_tasks(run, out),
            Event::KillTask(kill) => self.on_kill_task(kill, out),
            Event::ShutdownExecutor(shutdown) => {
                self.on_shutdown_executor(shutdown.framework_id, shutdown.executor_id, out);
            }
            Event::ShutdownFramework(shutdown) => self.on_shutdown_framework(&shutdown.framework_id, out),
            Event::CreateVolume(create) => self.on_create_volume(create.volume, out),
            Event::DestroyVolume(destroy) => self.on_destroy_volume(destroy.id, out),
            Event::UpdateAcknowledge(acknowledge) => self.on_update_acknowledge(acknowledge, out),
            Event::Message(message) => self.on_scheduler_message(message.framework_id, message.message, out),
            Event::MessageAcknowledge(acknowledge) => {
                self.on_message_acknowledge(acknowledge.framework_id, &acknowledge.acknowledge, out);
            }
            Event::SchedulerBack(back) => self.send_all_of(&back.framework_id, out),
        }
    }

    /// A master that was replaced and doesn't know it has nothing to say.
    pub(super) fn on_epoch(&mut self, epoch: u64, out: &mut Out) {
        if self.connection.state != State::Apart && epoch < self.connection.epoch {
            out.push(Effect::Disconnect);
            self.on_disconnected("an old master answers, another one leads", out);
        }
    }

    fn on_registered(&mut self, registered: Registered, out: &mut Out) {
        self.on_epoch(registered.master_epoch, out);
        if self.connection.state != State::Registering {
            return;
        }
        self.timers.cancel(Timer::Register);
        let silence_max = registered.silence_ms.map(Duration::from_millis);
        let (state, epoch) = (State::Registered, registered.master_epoch);
        self.connection = Connection { state, epoch, silence_max, ..Connection::default() };
        self.heard_from_master(out);
        self.keep_id(registered.agent_id, registered.master_epoch, out);
        self.tell_of_volumes(out);
        self.send_all(out);
    }

    fn keep_id(&mut self, agent_id: AgentId, epoch: u64, out: &mut Out) {
        self.settings.info.id = Some(agent_id.clone());
        self.persist(Checkpoint::Registered { agent_id, epoch }, After::Nothing, out);
    }

    /// What the master may have missed.
    fn send_all(&mut self, out: &mut Out) {
        for id in self.tasks.keys().copied().collect::<Vec<LocalId>>() {
            self.send_update(id, out);
        }
        for id in self.executors.keys().copied().collect::<Vec<LocalId>>() {
            self.resend_messages(id, out);
            self.tell_if_ended(id, out);
        }
    }

    /// What a scheduler may have missed. It would come again anyway, but after waits that have grown long.
    fn send_all_of(&mut self, framework_id: &FrameworkId, out: &mut Out) {
        let tasks = self.tasks.iter().filter(|(_, task)| task.framework_id == *framework_id);
        for id in tasks.map(|(id, _)| *id).collect::<Vec<LocalId>>() {
            self.send_update(id, out);
        }
        let executors = self.executors.iter_mut().filter(|(_, executor)| executor.framework_id == *framework_id);
        let executors = executors.map(|(id, executor)| {
            executor.retry = MESSAGE_RETRY;
            *id
        });
        for id in executors.collect::<Vec<LocalId>>() {
            self.resend_messages(id, out);
        }
    }

    fn register(&self) -> Register {
        let tasks = self.tasks.values().filter(|task| !self.is_removed(&task.framework_id));
        let executors = self.executors.values().filter(|executor| !self.is_removed(&executor.framework_id));
        let frameworks = self.frameworks.values().filter(|framework| !framework.removed);
        Register {
            agent: self.settings.info.clone(),
            version: self.settings.version.clone(),
            secret: self.settings.secret.clone(),
            boot_id: self.settings.boot_id.clone(),
            tasks: tasks
                .map(|task| TaskRecord {
                    framework_id: task.framework_id.clone(),
                    task: (*task.info).clone(),
                    status: task.updates.latest().clone(),
                    gang_id: task.gang_id.clone(),
                })
                .collect(),
            executors: executors
                .map(|executor| ExecutorRecord {
                    framework_id: executor.framework_id.clone(),
                    executor: (*executor.info).clone(),
                })
                .collect(),
            frameworks: frameworks.map(|framework| (*framework.info).clone()).collect(),
            volumes: self.volume_records(),
        }
    }
}
