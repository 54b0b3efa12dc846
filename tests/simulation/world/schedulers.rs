//! The schedulers: the real framework runner around a half, and what its shell does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesos_host::framework::{Effect, Event, Runner};
use mesos_host::master::Caller;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::{Signal, call::Call as HalfCall};
use mesos_plugin_api::v1::scheduler;
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo, PluginRef};
use mesos_plugin_api::{Calls, Framework, Time};

use super::{Happening, World};
use crate::network::{Packet, Peer, Way};
use crate::sight::Sight;
use crate::workload::{self, Workload};

/// Between tries to reach a master, as the shell has it.
const RETRY: Duration = Duration::from_millis(250);
/// How long a command waits for the end of its framework, as the shell has it.
const TEARDOWN_MAX: Duration = Duration::from_secs(15);

/// What a scheduler is to do.
pub type Work = Workload;

/// One scheduler's process, and what it knows over its restarts.
pub struct SchedulerNode {
    /// Its framework's name.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// Its runner while its process lives.
    pub runner: Option<Runner>,
    /// Rises with each process.
    pub incarnation: u64,
    /// Its way to the master.
    pub connection: Option<u64>,
    /// When its core's deadline passes.
    pub due: Option<Time>,
    /// Its framework, and the secret that proves it.
    pub known_as: Option<(FrameworkId, String)>,
    /// It is over, with this exit code.
    pub ended: Option<i32>,
    /// When.
    pub started: Time,
    heard: Heard,
}

/// Who speaks for everybody here.
pub fn caller() -> Caller {
    Caller { principal: "somebody".into(), user: None }
}

impl World {
    /// A scheduler that begins after so long.
    pub fn add_scheduler(&mut self, work: Work, wait: Duration) -> usize {
        let scheduler = self.schedulers.len();
        self.schedulers.push(SchedulerNode {
            name: format!("{}{scheduler}", work.name()),
            work,
            runner: None,
            incarnation: 0,
            connection: None,
            due: None,
            known_as: None,
            ended: None,
            started: self.now + wait,
            heard: Heard::default(),
        });
        self.after(wait, Happening::SchedulerStarts { scheduler });
        scheduler
    }

    pub(super) fn scheduler_starts(&mut self, scheduler: usize) {
        let chance = self.chance.fork();
        let node = &mut self.schedulers[scheduler];
        if node.runner.is_some() || node.ended.is_some() {
            return;
        }
        node.incarnation += 1;
        let half = workload::half(&node.work, node.incarnation, chance);
        let half = Box::new(Spy { half, heard: node.heard.clone() });
        let (id, secret) = node.known_as.clone().unzip();
        let info = FrameworkInfo {
            name: node.name.clone(),
            user: "user".into(),
            role: format!("role{}", scheduler % 2),
            id,
            failover_timeout_ms: node.work.failover_timeout_ms(),
            ..FrameworkInfo::default()
        };
        node.runner = Some(Runner::new(half, info, Some(plugin(node.work.name())), secret));
        self.watch.log(self.now, format_args!("scheduler {scheduler}"), &"starts");
        self.watch.see(self.now, &Sight::SchedulerStarted { scheduler });
        self.connect(Peer::Scheduler(scheduler));
    }

    /// Its process dies. The framework's scheduler may be started again; a command that a person runs is over.
    pub fn scheduler_dies(&mut self, scheduler: usize) -> bool {
        let node = &mut self.schedulers[scheduler];
        if node.runner.take().is_none() {
            return false;
        }
        node.incarnation += 1;
        node.due = None;
        if !node.work.is_restarted() || node.known_as.is_none() {
            node.ended = Some(-1);
        }
        self.watch.log(self.now, format_args!("scheduler {scheduler}"), &"dies");
        if let Some(connection) = self.schedulers[scheduler].connection.take() {
            self.client_dies(connection);
        }
        true
    }

    /// It begins again after so long.
    pub fn start_scheduler_after(&mut self, scheduler: usize, wait: Duration) {
        self.after(wait, Happening::SchedulerStarts { scheduler });
    }

    pub(super) fn retry_scheduler(&mut self, scheduler: usize) {
        let incarnation = self.schedulers[scheduler].incarnation;
        self.after(RETRY, Happening::SchedulerRetries { scheduler, incarnation });
    }

    pub(super) fn scheduler_retries(&mut self, scheduler: usize, incarnation: u64) {
        let node = &self.schedulers[scheduler];
        if node.incarnation == incarnation && node.runner.is_some() && node.connection.is_none() {
            self.connect(Peer::Scheduler(scheduler));
        }
    }

    /// A signal that the command in front gets.
    pub fn signal_scheduler(&mut self, scheduler: usize, number: i32) {
        self.scheduler_handles(scheduler, Event::ForHalf(HalfEvent::Signal(Signal { number })));
    }

    pub(super) fn scheduler_handles(&mut self, scheduler: usize, event: Event) {
        let Some(mut runner) = self.schedulers[scheduler].runner.take() else { return };
        self.events += 1;
        self.watch.log(self.now, format_args!("scheduler {scheduler} ◀"), &event);
        if let Event::Master(scheduler::Event { event: Some(scheduler::event::Event::Subscribed(subscribed)) }) = &event
        {
            let known_as = (subscribed.framework_id.clone(), subscribed.secret.clone());
            self.schedulers[scheduler].known_as = Some(known_as);
        }
        let mut effects = Vec::new();
        runner.handle(self.now, event, &mut effects);
        self.schedulers[scheduler].due = runner.deadline();
        self.schedulers[scheduler].runner = Some(runner);
        for heard in self.schedulers[scheduler].heard.take() {
            match &heard {
                Word::Event(event) => self.watch.see(self.now, &Sight::HalfSaw { scheduler, event }),
                Word::Call(call) => self.watch.see(self.now, &Sight::HalfCalled { scheduler, call }),
            }
        }
        self.scheduler_carries_out(scheduler, effects);
    }

    fn scheduler_carries_out(&mut self, scheduler: usize, effects: Vec<Effect>) {
        let mut calls = Vec::new();
        let (mut ended, mut left) = (None, false);
        for effect in effects {
            self.watch.log(self.now, format_args!("scheduler {scheduler} ▶"), &effect);
            match effect {
                Effect::Call(call) => {
                    self.watch.see(self.now, &Sight::RunnerCalled { scheduler, call: &call });
                    calls.push(call);
                }
                Effect::Disconnect => left = true,
                Effect::Ended { exit_code, .. } => ended = Some(exit_code),
                _ => {}
            }
        }
        if let Some(connection) = self.schedulers[scheduler].connection.filter(|_| !calls.is_empty()) {
            self.send(connection, Way::Up, Packet::Calls(calls));
        }
        if left && let Some(connection) = self.schedulers[scheduler].connection.take() {
            self.hang_up(connection);
            self.retry_scheduler(scheduler);
        }
        if let Some(code) = ended {
            let node = &mut self.schedulers[scheduler];
            (node.ended, node.runner, node.due) = (Some(code), None, None);
            let incarnation = node.incarnation;
            self.after(TEARDOWN_MAX, Happening::SchedulerLeaves { scheduler, incarnation });
        }
    }

    pub(super) fn scheduler_leaves(&mut self, scheduler: usize, incarnation: u64) {
        if self.schedulers[scheduler].incarnation == incarnation
            && let Some(connection) = self.schedulers[scheduler].connection.take()
        {
            self.hang_up(connection);
        }
    }
}

/// Which plugin a half comes from.
pub fn plugin(name: &str) -> PluginRef {
    PluginRef { name: name.into(), version: "0.1.0".into(), sha256: "0".repeat(64), size: 1 }
}

/// What a half was given and answered, in order.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<Word>>>);

#[derive(Debug)]
enum Word {
    Event(HalfEvent),
    Call(HalfCall),
}

impl Heard {
    fn take(&self) -> Vec<Word> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, word: Word) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(word);
    }
}

/// Passes everything on and notes it.
struct Spy {
    half: Box<dyn Framework>,
    heard: Heard,
}

impl Framework for Spy {
    fn on_event(&mut self, now: Time, event: HalfEvent, calls: &mut Calls) {
        self.heard.push(Word::Event(event.clone()));
        self.half.on_event(now, event, calls);
        for call in calls.take() {
            self.heard.push(Word::Call(call.clone()));
            calls.push(call);
        }
    }
}
