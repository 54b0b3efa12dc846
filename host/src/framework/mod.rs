//! The framework runner: between a master and the framework half of a plugin.
//!
//! ```text
//! master ──events──▶ Runner ──events──▶ Framework (the plugin's half)
//!        ◀──calls───        ◀──calls───
//!                     └──▶ the command in front: output, files to follow, bars, the end
//! ```
//!
//! The runner takes from the plugin what every framework would have to do alike: subscribing again after a lost connection,
//! acknowledging updates and messages once their effects are kept, numbering and resending messages, timers, voiding offers that a
//! lost connection made void, and all of this also where it takes the framework over from a runner that died. It does not know what
//! the framework schedules.
//!
//! One event is one transaction: what the half stores in answer to it is kept as a whole, together with how far messages were taken
//! and which were sent; what it says to others (messages, replies, acknowledgements) goes out when that is kept.

mod updates;
mod answers;
mod calls;
mod channels;
mod state;
mod unanswered;
pub mod shell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mesos_plugin_api::framework::{Event as HalfEvent, Follow, Output, Progress, Started};
use mesos_plugin_api::v1::framework::{Connected, Disconnected, Timer};
use mesos_plugin_api::v1::scheduler::{self, call::Call, event::Event as MasterEvent};
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo, GangRequest, OfferId, PluginRef};
use mesos_plugin_api::{Framework, Time};

use answers::{Answers, Cause};
use channels::Channels;
use state::Writes;
use unanswered::Unanswered;
use updates::Tasks;

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
    /// The master knows the framework.
    Registered {
        /// Under this id.
        framework_id: FrameworkId,
        /// And by this secret: whoever has both takes the framework over.
        secret: String,
    },
    /// Close the connection to the master and open another: this one doesn't lead any more. Answered by `Disconnected`.
    Disconnect,
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
    connected: bool,
    started: bool,
    ended: bool,
    /// For the half, from before it was started.
    early: Vec<HalfEvent>,
    /// What follows from the half's own calls. Were it given at once, a half that always calls again would never end.
    for_next_turn: VecDeque<HalfEvent>,
    offers: BTreeSet<OfferId>,
    suppressed: bool,
    gangs: BTreeMap<String, GangRequest>,
    tasks: Tasks,
    unanswered: Unanswered,
    /// To be asked for when there is a connection.
    reconciles: Vec<scheduler::Reconcile>,
    channels: Channels,
    writes: Writes,
    answers: Answers,
    timers: BTreeMap<u64, Time>,
    /// Which of the framework's schedulers this is, once the master has said so.
    incarnation: Option<u64>,
    /// Of the newest master that was heard.
    master_epoch: u64,
    /// Connected to an old master, to which nobody listens.
    leaving: bool,
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
            connected: false,
            started: false,
            ended: false,
            early: Vec::new(),
            for_next_turn: VecDeque::new(),
            offers: BTreeSet::new(),
            suppressed: false,
            gangs: BTreeMap::new(),
            tasks: Tasks::default(),
            unanswered: Unanswered::default(),
            reconciles: Vec::new(),
            channels: Channels::default(),
            writes: Writes::default(),
            answers: Answers::default(),
            timers: BTreeMap::new(),
            incarnation: None,
            master_epoch: 0,
            leaving: false,
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
        let resend = self.connected.then(|| self.channels.due_at(RESEND_AFTER)).flatten();
        let at_once = (!self.for_next_turn.is_empty()).then(Time::default);
        self.timers.values().copied().chain(resend).chain(at_once).min()
    }

    /// Of the newest master that it has heard of; goes with everything that it sends.
    pub fn epoch(&self) -> u64 {
        self.master_epoch
    }

    fn pass_deadlines(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let turn = std::mem::take(&mut self.for_next_turn);
        turn.into_iter().for_each(|event| self.give(now, event, effects));
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
        self.send_messages(now, RESEND_AFTER, effects);
    }

    /// Those that haven't been sent, or not for so long.
    fn send_messages(&mut self, now: Time, resend_after: Duration, effects: &mut Vec<Effect>) {
        if self.connected && !self.ended {
            let due = self.channels.due(now, resend_after);
            effects.extend(due.into_iter().map(|message| Effect::Call(Call::Message(message))));
        }
    }

    /// A master that was replaced and doesn't know it has nothing to say.
    fn epoch_heard(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        if epoch < self.master_epoch && !std::mem::replace(&mut self.leaving, true) {
            effects.push(Effect::Disconnect);
        }
    }

    fn subscribe(&mut self, effects: &mut Vec<Effect>) {
        let call = scheduler::Subscribe {
            framework: self.info.clone(),
            secret: self.secret.clone(),
            incarnation: self.incarnation,
        };
        effects.push(Effect::Call(Call::Subscribe(call)));
    }

    fn disconnected(&mut self, now: Time, message: String, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.connected, false) {
            return;
        }
        self.answers.forget_replies();
        for offer_id in std::mem::take(&mut self.offers) {
            self.give(now, HalfEvent::Rescind(scheduler::Rescind { offer_id }), effects);
        }
        self.give(now, HalfEvent::Disconnected(Disconnected { message: Some(message) }), effects);
    }

    fn master_says(&mut self, now: Time, event: MasterEvent, effects: &mut Vec<Effect>) {
        // What isn't for this connection: the master has yet to say that it knows us.
        if !self.connected && !matches!(event, MasterEvent::Subscribed(_) | MasterEvent::Error(_)) {
            return;
        }
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
                let seen = self.channels.has_taken(&message).then(|| answers::acknowledge(&message));
                for message in self.channels.received(message) {
                    let cause = Cause::Message(answers::acknowledge(&message));
                    self.give_for(now, HalfEvent::Message(message), cause, effects);
                }
                // Our acknowledgement was lost.
                if let Some(acknowledge) = seen {
                    self.answer(now, answers::Answer::Message(acknowledge), effects);
                }
            }
            MasterEvent::MessageAcknowledge(acknowledge) => {
                let (arrived, owed) = self.channels.acknowledged(&acknowledge);
                self.writes.messages_arrived(&arrived);
                if let Some(owed) = owed {
                    self.answer(now, answers::Answer::Message(owed), effects);
                }
                self.send_messages(now, RESEND_AFTER, effects);
            }
            MasterEvent::Failure(failure) => {
                self.unanswered.failed(&failure);
                for (executor, messages) in self.channels.forget(&failure.agent_id, failure.executor_id.as_ref()) {
                    self.writes.executor_gone(&executor, &messages);
                }
                self.give(now, HalfEvent::Failure(failure), effects);
            }
            MasterEvent::InverseOffers(offers) => self.give(now, HalfEvent::InverseOffers(offers), effects),
            MasterEvent::RescindInverseOffer(rescind) => {
                self.give(now, HalfEvent::RescindInverseOffer(rescind), effects);
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
            MasterEvent::VolumeStatus(status) => {
                self.unanswered.volume_is(&status);
                self.give(now, HalfEvent::VolumeStatus(status), effects);
            }
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
        self.master_epoch = subscribed.master_epoch;
        self.info.id = Some(subscribed.framework_id.clone());
        let recovered = self.secret.replace(subscribed.secret.clone()).is_some();
        self.incarnation = subscribed.incarnation;
        self.connected = true;
        let (framework_id, secret) = (subscribed.framework_id.clone(), subscribed.secret.clone());
        effects.push(Effect::Registered { framework_id, secret });
        if std::mem::replace(&mut self.started, true) {
            self.resume(now, effects);
        } else {
            self.start(now, subscribed, recovered, effects);
        }
        self.give(now, HalfEvent::Connected(Connected {}), effects);
    }

    /// The half's first event; of a framework that is taken over it hears all, its live tasks too.
    fn start(&mut self, now: Time, subscribed: scheduler::Subscribed, recovered: bool, effects: &mut Vec<Effect>) {
        self.channels.begin(subscribed.incarnation());
        let started = Started {
            framework: self.info.clone(),
            state: self.writes.restore(subscribed.state, &mut self.channels),
            recovered: Some(recovered),
            plugin: self.plugin.clone(),
        };
        self.give(now, HalfEvent::Started(started), effects);
        self.send_messages(now, Duration::ZERO, effects);
        if recovered && !self.ended {
            effects.push(Effect::Call(Call::Reconcile(scheduler::Reconcile { task_ids: Vec::new() })));
        }
        for event in std::mem::take(&mut self.early) {
            self.give(now, event, effects);
        }
    }

    /// Says again what a master that lost us, or a new one, has to know.
    fn resume(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.suppressed {
            effects.push(Effect::Call(Call::Suppress(scheduler::Suppress {})));
        }
        for request in self.gangs.values() {
            effects.push(Effect::Call(Call::RequestGang(scheduler::RequestGang { request: request.clone() })));
        }
        effects.extend(self.writes.unkept().map(|put| Effect::Call(Call::PutState(put))));
        effects.extend(self.unanswered.calls().map(Effect::Call));
        self.send_messages(now, Duration::ZERO, effects);
        effects
            .extend(std::mem::take(&mut self.reconciles).into_iter().map(|asked| Effect::Call(Call::Reconcile(asked))));
        // What the master itself said of them meanwhile is lost; what their agents say comes again anyway.
        let task_ids = self.tasks.live();
        if !task_ids.is_empty() {
            effects.push(Effect::Call(Call::Reconcile(scheduler::Reconcile { task_ids })));
        }
    }

    fn give(&mut self, now: Time, event: HalfEvent, effects: &mut Vec<Effect>) {
        self.give_for(now, event, Cause::Other, effects);
    }

    fn end(&mut self, exit_code: i32, message: Option<String>, effects: &mut Vec<Effect>) {
        // With the framework its state goes, so nobody has to wait for that any more.
        for answer in self.answers.take_all() {
            self.send_answer(answer, effects);
        }
        self.ended = true;
        if self.connected {
            effects.push(Effect::Call(Call::Teardown(scheduler::Teardown {})));
        }
        effects.push(Effect::Ended { exit_code, message });
    }
}
