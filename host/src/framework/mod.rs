//! The framework runner: between a master and the framework half of a plugin.
//!
//! ```text
//! master ──events──▶ Runner ──events──▶ Framework (the plugin's half)
//!        ◀──calls───        ◀──calls───
//!                     └──▶ the command in front: output, files to follow, bars, the end
//! ```
//!
//! The runner takes from the plugin what every framework would have to do alike: subscribing again after a lost connection,
//! acknowledging updates once their effects are kept, numbering and resending messages, timers, voiding offers that a lost
//! connection made void. It does not know what the framework schedules.

mod messages;
pub mod shell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mesos_plugin_api::framework::{Event as HalfEvent, Follow, Output, Progress, Started};
use mesos_plugin_api::v1::framework::{Connected, Disconnected, PauseStdin, Timer, call::Call as HalfCall};
use mesos_plugin_api::v1::scheduler::{self, call::Call, event::Event as MasterEvent};
use mesos_plugin_api::v1::{
    AgentId, FrameworkInfo, GangRequest, OfferId, PluginRef, Reason, Source, TaskId, TaskState, TaskStatus,
};
use mesos_plugin_api::{Calls, Framework, Time};

use messages::Messages;

/// Ended tasks whose late, repeated updates are still recognised.
const ENDED_TASKS_MAX: usize = 20_000;

/// How often messages that weren't acknowledged are sent again.
const RESEND_AFTER: Duration = Duration::from_secs(2);

/// What happens to the runner.
#[derive(Debug)]
pub enum Event {
    /// A stream to a master was opened.
    Connected,
    /// It broke, or none can be opened.
    Disconnected(String),
    /// The batch that follows is of a master of this epoch.
    EpochHeard(u64),
    /// The master says something.
    Master(scheduler::Event),
    /// A thread of the plugin, the terminal or a signal has something for the half.
    ForHalf(HalfEvent),
    /// [`Runner::deadline`] has passed.
    DeadlinePassed,
}

/// What the shell carries out, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// To the master.
    Call(Call),
    /// Leave this master, which was replaced, and look for the one that leads; answered by `Disconnected`.
    Leave,
    /// The master knows the framework under this id.
    Registered(mesos_plugin_api::v1::FrameworkId),
    /// To the terminal of the command in front.
    Output(Output),
    /// Show these files there.
    Follow(Follow),
    /// Show this bar there.
    Progress(Progress),
    /// Hold standard input back, or let it come.
    PauseStdin(bool),
    /// The framework is over; a teardown has been called for if a master knows it.
    Ended {
        /// For the command in front.
        exit_code: i32,
        /// For standard error.
        message: Option<String>,
    },
}

/// The runner's state. See the module.
pub struct Runner {
    half: Box<dyn Framework>,
    info: FrameworkInfo,
    plugin: Option<PluginRef>,
    secret: Option<String>,
    /// The newest master's.
    epoch: u64,
    /// An old master, to which nobody listens.
    leaving: bool,
    connected: bool,
    started: bool,
    ended: bool,
    /// For the half, from before it was started.
    early: Vec<HalfEvent>,
    offers: BTreeSet<OfferId>,
    suppressed: bool,
    gangs: BTreeMap<String, GangRequest>,
    /// Where each live task is.
    live: BTreeMap<TaskId, AgentId>,
    /// The last update of each live task that the half has seen.
    seen: BTreeMap<TaskId, u64>,
    /// Ended tasks in the order of their end, and their last update.
    ended_tasks: VecDeque<(TaskId, u64)>,
    /// Calls that wait for a connection.
    queued: Vec<Call>,
    messages: Messages,
    timers: BTreeMap<u64, Time>,
    /// Writes of state that the master hasn't confirmed, by our number; the half's own number comes with them.
    writes: BTreeMap<u64, scheduler::PutState>,
    next_write: u64,
    /// Acknowledgements that wait until all writes up to that number are kept.
    held: VecDeque<(u64, scheduler::Acknowledge)>,
}

impl Runner {
    /// A runner that isn't connected yet; with an id and a secret in hand it takes a framework over.
    pub fn new(
        half: Box<dyn Framework>,
        info: FrameworkInfo,
        plugin: Option<PluginRef>,
        secret: Option<String>,
    ) -> Self {
        Self {
            half,
            info,
            plugin,
            secret,
            epoch: 0,
            leaving: false,
            connected: false,
            started: false,
            ended: false,
            early: Vec::new(),
            offers: BTreeSet::new(),
            suppressed: false,
            gangs: BTreeMap::new(),
            live: BTreeMap::new(),
            seen: BTreeMap::new(),
            ended_tasks: VecDeque::new(),
            queued: Vec::new(),
            messages: Messages::default(),
            timers: BTreeMap::new(),
            writes: BTreeMap::new(),
            next_write: 1,
            held: VecDeque::new(),
        }
    }

    /// Takes one event. After [`Effect::Ended`] nothing more comes.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        match event {
            Event::Connected => {
                self.leaving = false;
                self.subscribe(effects);
            }
            Event::Disconnected(message) => self.disconnected(now, message, effects),
            Event::EpochHeard(epoch) => self.epoch_heard(epoch, effects),
            Event::Master(event) => {
                if let Some(event) = event.event.filter(|_| !self.leaving) {
                    self.master_says(now, event, effects);
                }
            }
            Event::ForHalf(event) if self.started => self.give(now, event, effects),
            // A half that knows nothing yet has nothing to end in order.
            Event::ForHalf(HalfEvent::Signal(signal)) if [2, 15].contains(&signal.number) => {
                self.end(128 + signal.number, None, effects);
            }
            // Standard input is there before the master has answered.
            Event::ForHalf(event) => self.early.push(event),
            Event::DeadlinePassed => {}
        }
        self.pass_deadlines(now, effects);
    }

    /// When [`Event::DeadlinePassed`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let resend = self.connected.then(|| self.messages.resend_at(RESEND_AFTER)).flatten();
        self.timers.values().copied().chain(resend).min()
    }

    /// Of the newest master that it has heard of; goes with everything that it sends.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    fn pass_deadlines(&mut self, now: Time, effects: &mut Vec<Effect>) {
        // Timers that a timer's event sets for now fire in the next turn, so that the loop ends.
        let due: Vec<(Time, u64)> = {
            let mut due: Vec<_> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, *id)).collect();
            due.sort();
            due
        };
        for (at, id) in due {
            if !self.ended && self.timers.get(&id) == Some(&at) {
                self.timers.remove(&id);
                self.give(now, HalfEvent::Timer(Timer { id }), effects);
            }
        }
        if self.connected && !self.ended {
            effects.extend(self.messages.resend(now, RESEND_AFTER).into_iter().map(|m| Effect::Call(Call::Message(m))));
        }
    }

    /// A master that was replaced and doesn't know it has nothing to say.
    fn epoch_heard(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        if epoch < self.epoch && !std::mem::replace(&mut self.leaving, true) {
            effects.push(Effect::Leave);
        }
    }

    fn subscribe(&mut self, effects: &mut Vec<Effect>) {
        let call = scheduler::Subscribe { framework: self.info.clone(), secret: self.secret.clone() };
        effects.push(Effect::Call(Call::Subscribe(call)));
    }

    fn disconnected(&mut self, now: Time, message: String, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.connected, false) {
            return;
        }
        for offer_id in std::mem::take(&mut self.offers) {
            self.give(now, HalfEvent::Rescind(scheduler::Rescind { offer_id }), effects);
        }
        self.give(now, HalfEvent::Disconnected(Disconnected { message: Some(message) }), effects);
    }

    fn master_says(&mut self, now: Time, event: MasterEvent, effects: &mut Vec<Effect>) {
        match event {
            MasterEvent::Subscribed(subscribed) => self.subscribed(now, subscribed, effects),
            MasterEvent::Offers(offers) => {
                for offer in &offers.offers {
                    self.offers.insert(offer.id.clone());
                    offer.gang_id.as_ref().map(|id| self.gangs.remove(id));
                }
                self.give(now, HalfEvent::Offers(offers), effects);
            }
            MasterEvent::Rescind(rescind) => {
                // Not ours any more if our answer crossed it.
                if self.offers.remove(&rescind.offer_id) {
                    self.give(now, HalfEvent::Rescind(rescind), effects);
                }
            }
            MasterEvent::Update(update) => self.updated(now, update.status, effects),
            MasterEvent::Message(message) => {
                if let Some(acknowledge) = self.messages.received(&message) {
                    for message in self.messages.deliver(message) {
                        self.give(now, HalfEvent::Message(message), effects);
                    }
                    effects.push(Effect::Call(Call::MessageAcknowledge(acknowledge)));
                }
            }
            MasterEvent::MessageAcknowledge(acknowledge) => self.messages.acknowledged(&acknowledge),
            MasterEvent::Failure(failure) => {
                self.messages.forget(&failure.agent_id, failure.executor_id.as_ref());
                self.give(now, HalfEvent::Failure(failure), effects);
            }
            MasterEvent::GangStatus(status) => {
                if status.refused.is_some() {
                    self.gangs.remove(&status.id);
                }
                self.give(now, HalfEvent::GangStatus(status), effects);
            }
            MasterEvent::Request(request) => self.give(now, HalfEvent::Request(request), effects),
            MasterEvent::RequestCancelled(request) => self.give(now, HalfEvent::RequestCancelled(request), effects),
            MasterEvent::StateStored(stored) => self.stored(now, stored, effects),
            MasterEvent::Error(error) => {
                let fatal = error.fatal == Some(true);
                let message = error.message.clone();
                if self.started {
                    self.give(now, HalfEvent::Error(error), effects);
                }
                if fatal && !self.ended {
                    self.ended = true;
                    effects.push(Effect::Ended { exit_code: 1, message: Some(message) });
                }
            }
        }
    }

    fn subscribed(&mut self, now: Time, subscribed: scheduler::Subscribed, effects: &mut Vec<Effect>) {
        self.epoch_heard(subscribed.master_epoch, effects);
        if self.leaving {
            return;
        }
        self.epoch = subscribed.master_epoch;
        self.info.id = Some(subscribed.framework_id.clone());
        let recovered = self.secret.replace(subscribed.secret).is_some();
        self.connected = true;
        effects.push(Effect::Registered(subscribed.framework_id));
        if !std::mem::replace(&mut self.started, true) {
            let started = Started {
                framework: self.info.clone(),
                state: subscribed.state,
                recovered: Some(recovered),
                plugin: self.plugin.clone(),
            };
            self.give(now, HalfEvent::Started(started), effects);
            for event in std::mem::take(&mut self.early) {
                self.give(now, event, effects);
            }
        } else {
            self.resume(now, effects);
        }
        self.give(now, HalfEvent::Connected(Connected {}), effects);
    }

    /// Says again what a master that lost us, or a new one, has to know.
    fn resume(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.suppressed {
            effects.push(Effect::Call(Call::Suppress(scheduler::Suppress {})));
        }
        for request in self.gangs.values() {
            effects.push(Effect::Call(Call::RequestGang(scheduler::RequestGang { request: request.clone() })));
        }
        for (number, put) in &self.writes {
            effects.push(Effect::Call(Call::PutState(scheduler::PutState { seq: Some(*number), ..put.clone() })));
        }
        effects.extend(std::mem::take(&mut self.queued).into_iter().map(Effect::Call));
        effects.extend(self.messages.resend(now, Duration::ZERO).into_iter().map(|m| Effect::Call(Call::Message(m))));
        // What the master itself said of them meanwhile is lost; what their agents say comes again anyway.
        if !self.live.is_empty() {
            let task_ids = self.live.keys().cloned().collect();
            effects.push(Effect::Call(Call::Reconcile(scheduler::Reconcile { task_ids })));
        }
    }

    fn updated(&mut self, now: Time, status: TaskStatus, effects: &mut Vec<Effect>) {
        let task_id = status.task_id.clone();
        let (seq, agent_id) = (status.update_seq, status.agent_id.clone());
        if seq.is_none_or(|seq| self.last_seen(&task_id).is_none_or(|seen| seen < seq)) {
            let terminal = status.state().is_terminal() || status.state() == TaskState::TaskUnknown;
            if terminal {
                self.live.remove(&task_id);
                self.seen.remove(&task_id);
                self.ended_tasks.push_back((task_id.clone(), seq.unwrap_or(u64::MAX)));
                if self.ended_tasks.len() > ENDED_TASKS_MAX {
                    self.ended_tasks.pop_front();
                }
            } else {
                agent_id.as_ref().map(|agent| self.live.insert(task_id.clone(), agent.clone()));
                seq.map(|seq| self.seen.insert(task_id.clone(), seq));
            }
            self.give_update(now, status, seq, effects);
        } else if let (Some(update_seq), Some(agent_id)) = (seq, agent_id) {
            // Seen before: our acknowledgement was lost.
            self.acknowledge(scheduler::Acknowledge { task_id, agent_id, update_seq }, effects);
        }
    }

    /// The half sees the update before it is acknowledged, and what it calls goes out before the acknowledgement.
    fn give_update(&mut self, now: Time, status: TaskStatus, seq: Option<u64>, effects: &mut Vec<Effect>) {
        let acknowledge = seq.zip(status.agent_id.clone()).map(|(update_seq, agent_id)| scheduler::Acknowledge {
            task_id: status.task_id.clone(),
            agent_id,
            update_seq,
        });
        let mut calls = Calls::default();
        self.half.on_event(now, HalfEvent::Update(scheduler::Update { status }), &mut calls);
        let mut calls = calls.take();
        // A finish tears the framework down: the acknowledgement goes before it.
        let finish = calls.iter().position(|call| matches!(call, HalfCall::Finish(_)));
        let rest = finish.map(|at| calls.split_off(at)).unwrap_or_default();
        self.carry_out(now, calls, effects);
        if let Some(acknowledge) = acknowledge {
            self.acknowledge(acknowledge, effects);
        }
        self.carry_out(now, rest, effects);
    }

    fn last_seen(&self, task_id: &TaskId) -> Option<u64> {
        let ended = || self.ended_tasks.iter().rev().find(|(id, _)| id == task_id).map(|(_, seq)| *seq);
        // The history is searched only for a task that isn't live: a repeated terminal update, which is rare.
        self.seen.get(task_id).copied().or_else(|| if self.live.contains_key(task_id) { None } else { ended() })
    }

    fn acknowledge(&mut self, acknowledge: scheduler::Acknowledge, effects: &mut Vec<Effect>) {
        match self.writes.last_key_value() {
            Some((last, _)) => self.held.push_back((*last, acknowledge)),
            None if self.connected => effects.push(Effect::Call(Call::Acknowledge(acknowledge))),
            // The agent sends the update again, and gets its acknowledgement then.
            None => {}
        }
    }

    fn stored(&mut self, now: Time, stored: scheduler::StateStored, effects: &mut Vec<Effect>) {
        let Some(put) = self.writes.remove(&stored.seq) else { return };
        let oldest = self.writes.keys().next().copied().unwrap_or(u64::MAX);
        while self.held.front().is_some_and(|(needed, _)| *needed < oldest) {
            let (_, acknowledge) = self.held.pop_front().expect("it has a front");
            effects.push(Effect::Call(Call::Acknowledge(acknowledge)));
        }
        let event = scheduler::StateStored { seq: put.seq.unwrap_or(0), error: stored.error };
        self.give(now, HalfEvent::StateStored(event), effects);
    }

    fn give(&mut self, now: Time, event: HalfEvent, effects: &mut Vec<Effect>) {
        if self.ended {
            return;
        }
        let mut calls = Calls::default();
        self.half.on_event(now, event, &mut calls);
        self.carry_out(now, calls.take(), effects);
    }

    fn carry_out(&mut self, now: Time, calls: Vec<HalfCall>, effects: &mut Vec<Effect>) {
        for call in calls {
            if self.ended {
                return;
            }
            match call {
                HalfCall::Accept(accept) => self.accept(now, accept, effects),
                HalfCall::Decline(decline) => {
                    self.offers.retain(|id| !decline.offer_ids.contains(id));
                    if self.connected {
                        effects.push(Effect::Call(Call::Decline(decline)));
                    }
                }
                HalfCall::Revive(revive) => {
                    self.suppressed = false;
                    if self.connected {
                        effects.push(Effect::Call(Call::Revive(revive)));
                    }
                }
                HalfCall::Suppress(suppress) => {
                    self.suppressed = true;
                    if self.connected {
                        effects.push(Effect::Call(Call::Suppress(suppress)));
                    }
                }
                HalfCall::RequestGang(gang) => {
                    self.gangs.insert(gang.request.id.clone(), gang.request.clone());
                    if self.connected {
                        effects.push(Effect::Call(Call::RequestGang(gang)));
                    }
                }
                HalfCall::CancelGang(cancel) => {
                    self.gangs.remove(&cancel.id);
                    if self.connected {
                        effects.push(Effect::Call(Call::CancelGang(cancel)));
                    }
                }
                HalfCall::Kill(kill) => self.send_or_queue(Call::Kill(kill), effects),
                HalfCall::ShutdownExecutor(shutdown) => self.send_or_queue(Call::ShutdownExecutor(shutdown), effects),
                HalfCall::Reconcile(reconcile) => self.send_or_queue(Call::Reconcile(reconcile), effects),
                HalfCall::Message(message) => {
                    let message = self.messages.number(now, message);
                    if self.connected {
                        effects.push(Effect::Call(Call::Message(message)));
                    }
                }
                // Whoever asked was told that the framework went away.
                HalfCall::Reply(reply) if self.connected => effects.push(Effect::Call(Call::Reply(reply))),
                HalfCall::Reply(_) => {}
                HalfCall::PutState(put) => self.put_state(put, effects),
                HalfCall::SetTimer(timer) => drop(self.timers.insert(timer.id, Time(timer.at_ns))),
                HalfCall::CancelTimer(timer) => drop(self.timers.remove(&timer.id)),
                HalfCall::Output(output) => effects.push(Effect::Output(output)),
                HalfCall::Follow(follow) => effects.push(Effect::Follow(follow)),
                HalfCall::Progress(progress) => effects.push(Effect::Progress(progress)),
                HalfCall::PauseStdin(PauseStdin { paused }) => effects.push(Effect::PauseStdin(paused)),
                HalfCall::Finish(finish) => self.end(finish.exit_code, finish.message, effects),
            }
        }
    }

    /// An offer that isn't open any more launches nothing, and the half hears of it as it would from the master.
    fn accept(&mut self, now: Time, accept: scheduler::Accept, effects: &mut Vec<Effect>) {
        let open = accept.offer_ids.iter().filter(|id| self.offers.remove(id)).count();
        if self.connected && open == accept.offer_ids.len() {
            self.live.extend(accept.tasks.iter().map(|task| (task.id.clone(), task.agent_id.clone())));
            return effects.push(Effect::Call(Call::Accept(accept)));
        }
        if self.connected {
            // Those that are still open are given back by the master.
            let offers = scheduler::Accept { tasks: Vec::new(), ..accept.clone() };
            effects.push(Effect::Call(Call::Accept(offers)));
        }
        for task in accept.tasks {
            let message = "an offer it was to run on had been rescinded";
            let status = TaskStatus::new(task.id, TaskState::TaskDropped);
            let mut status = status.because(Source::Master, Reason::InvalidOffers, message).at(now);
            status.agent_id = Some(task.agent_id);
            self.give(now, HalfEvent::Update(scheduler::Update { status }), effects);
        }
    }

    fn send_or_queue(&mut self, call: Call, effects: &mut Vec<Effect>) {
        if self.connected {
            effects.push(Effect::Call(call));
        } else {
            self.queued.push(call);
        }
    }

    fn put_state(&mut self, put: scheduler::PutState, effects: &mut Vec<Effect>) {
        let number = self.next_write;
        self.next_write += 1;
        self.writes.insert(number, put.clone());
        if self.connected {
            effects.push(Effect::Call(Call::PutState(scheduler::PutState { seq: Some(number), ..put })));
        }
    }

    fn end(&mut self, exit_code: i32, message: Option<String>, effects: &mut Vec<Effect>) {
        self.ended = true;
        if self.connected {
            effects.push(Effect::Call(Call::Teardown(scheduler::Teardown {})));
        }
        effects.push(Effect::Ended { exit_code, message });
    }
}
