//! Runners that die and are replaced, at every moment: what an executor says is done once, and it is answered once.
//!
//! ```text
//! executor: asks 1, 2, 3 …  ◀──agent (its own code for numbers)──▶  master (state)  ◀──▶  runner ✝ runner ✝ runner
//!                                                                                       a half that counts what it is asked
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::agent::messages::{Inbox, Outbox};
use mesos_plugin_api::framework::Started;

/// Counts what it is asked, keeps the count, and answers with it.
#[derive(Default)]
struct Counter {
    count: u64,
}

impl Framework for Counter {
    fn on_event(&mut self, _: Time, event: HalfEvent, calls: &mut Calls) {
        match event {
            HalfEvent::Started(Started { state, .. }) => {
                assert!(state.iter().all(|entry| entry.key == "count"), "the runner's own keys are hidden");
                self.count = state.first().map_or(0, |entry| number(&entry.value));
            }
            HalfEvent::Message(message) => {
                let asked = number(&message.data);
                assert!(
                    asked > self.count && asked <= self.count + 2,
                    "in order, none lost, none twice: {asked} after {}",
                    self.count
                );
                // Some need no state.
                if !asked.is_multiple_of(3) {
                    calls.put_state("count", Some(asked.to_le_bytes().to_vec()), asked);
                    self.count = asked;
                }
                calls.message(message.agent_id, message.executor_id, asked.to_le_bytes().to_vec());
            }
            _ => {}
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// Everything but the runner, which may be replaced.
struct World {
    runner: Runner,
    now: Time,
    chance: u64,
    /// In flight, each way, on the runner's connection.
    calls: VecDeque<Call>,
    events: VecDeque<MasterEvent>,
    state: BTreeMap<String, Vec<u8>>,
    /// What the master hasn't made durable yet.
    writing: VecDeque<scheduler::PutState>,
    incarnation: u64,
    written: u64,
    welcome_waits: bool,
    welcomed: bool,
    outbox: Outbox<Vec<u8>>,
    inbox: Inbox,
    answers: Vec<u64>,
}

const EXECUTOR_INCARNATION: u64 = 5;

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            runner: runner(None),
            now: Time(1),
            chance: seed,
            calls: VecDeque::new(),
            events: VecDeque::new(),
            state: BTreeMap::new(),
            writing: VecDeque::new(),
            incarnation: 0,
            written: 0,
            welcome_waits: false,
            welcomed: false,
            outbox: Outbox::new(Vec::len),
            inbox: Inbox::default(),
            answers: Vec::new(),
        };
        world.tell(Event::Connected);
        world
    }

    /// Less than `bound`.
    fn draw(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % bound
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.runner.handle(self.now, event, &mut effects);
        let call = |effect| if let Effect::Call(call) = effect { Some(call) } else { None };
        self.calls.extend(effects.into_iter().filter_map(call));
    }

    /// The runner's process dies; what is in flight either way is lost with its connection, but what the master has got it does.
    fn replace_runner(&mut self) {
        self.lose_connection();
        self.runner = runner(Some("secret".into()));
        self.tell(Event::Connected);
    }

    fn lose_connection(&mut self) {
        let arrived = self.draw(self.calls.len() as u64 + 1);
        (0..arrived).for_each(|_| self.master_takes());
        self.calls.clear();
        self.events.clear();
        (self.welcome_waits, self.welcomed) = (false, false);
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        match self.draw(12) {
            0..4 => self.master_takes(),
            4..8 => {
                if let Some(event) = self.events.pop_front() {
                    self.tell(Event::Master(scheduler::Event { event: Some(event) }));
                }
            }
            8 => self.master_keeps(),
            9 => self.agent_resends(),
            10 if self.calls.len() < 20 => {
                self.now = self.now + RESEND_AFTER;
                self.tell(Event::DeadlinePassed);
            }
            _ => match self.draw(12) {
                0 => self.replace_runner(),
                1 => {
                    self.lose_connection();
                    self.tell(Event::Disconnected("gone".into()));
                    self.tell(Event::Connected);
                }
                _ => {}
            },
        }
    }

    fn master_takes(&mut self) {
        match self.calls.pop_front() {
            Some(Call::Subscribe(subscribe)) => {
                if subscribe.incarnation.is_none() {
                    (self.incarnation, self.written) = (self.incarnation + 1, 0);
                }
                (self.welcome_waits, self.welcomed) = (true, false);
                self.welcome();
            }
            Some(Call::PutState(put)) if put.seq() > self.written => {
                self.written = put.seq();
                self.writing.push_back(put);
            }
            Some(Call::PutState(put)) if self.writing.iter().all(|writing| writing.seq != put.seq) => {
                let stored = scheduler::StateStored { seq: put.seq(), error: None };
                self.events.push_back(MasterEvent::StateStored(stored));
            }
            Some(Call::Message(message)) => self.agent_takes(message),
            Some(Call::MessageAcknowledge(acknowledge)) => drop(self.outbox.confirm(acknowledge.seq)),
            _ => {}
        }
    }

    fn welcome(&mut self) {
        if self.welcome_waits && self.writing.is_empty() {
            (self.welcome_waits, self.welcomed) = (false, true);
            let entry =
                |(key, value): (&String, &Vec<u8>)| scheduler::StateEntry { key: key.clone(), value: value.clone() };
            self.events.push_back(MasterEvent::Subscribed(scheduler::Subscribed {
                framework_id: "F1".into(),
                secret: "secret".into(),
                master_epoch: 1,
                state: self.state.iter().map(entry).collect(),
                incarnation: Some(self.incarnation),
                recovered: None,
            }));
        }
    }

    fn master_keeps(&mut self) {
        let Some(put) = self.writing.pop_front() else { return };
        let seq = put.seq();
        for change in put.changes {
            match change.value {
                Some(value) => drop(self.state.insert(change.key, value)),
                None => drop(self.state.remove(&change.key)),
            }
        }
        if self.welcomed {
            self.events.push_back(MasterEvent::StateStored(scheduler::StateStored { seq, error: None }));
        }
        self.welcome();
    }

    /// As in the agent's core.
    fn agent_takes(&mut self, message: scheduler::Message) {
        let position = (message.incarnation(), message.seq());
        if self.inbox.take_of(position.0, message.settled(), position.1) {
            self.answers.push(number(&message.data));
        }
        if position > self.inbox.position() {
            return;
        }
        if let Some(answers) = message.answers {
            self.outbox.confirm(answers.seq);
        }
        let (agent_id, executor_id) = (message.agent_id, message.executor_id);
        let (incarnation, seq) = (Some(position.0), position.1);
        let acknowledge = scheduler::MessageAcknowledge { agent_id, executor_id, seq, incarnation };
        self.events.push_back(MasterEvent::MessageAcknowledge(acknowledge));
    }

    fn ask(&mut self, number: u64) {
        self.outbox.push(number.to_le_bytes().to_vec());
        self.agent_resends();
    }

    fn agent_resends(&mut self) {
        let message = |(seq, data): (u64, &Vec<u8>)| scheduler::Message {
            agent_id: "A1".into(),
            executor_id: "e".into(),
            data: data.clone(),
            seq: Some(seq),
            incarnation: Some(EXECUTOR_INCARNATION),
            settled: Some(self.outbox.settled()),
            answers: None,
        };
        let messages: Vec<_> = self.outbox.iter().map(message).map(MasterEvent::Message).collect();
        // The master drops what comes for a scheduler that isn't there.
        if self.welcomed && self.events.len() < 40 {
            self.events.extend(messages);
        }
    }
}

fn runner(secret: Option<String>) -> Runner {
    let id = secret.as_ref().map(|_| "F1".into());
    let info = FrameworkInfo { name: "f".into(), user: "u".into(), role: "r".into(), id, ..Default::default() };
    Runner::new(Box::new(Counter::default()), info, None, secret)
}

#[test]
fn whenever_a_runner_dies_each_message_is_done_and_answered_once() {
    let mut replaced = 0;
    for seed in 0..400 {
        let mut world = World::new(seed);
        let asked = 20;
        for number in 1..=asked {
            world.ask(number);
            (0..world.draw(30)).for_each(|_| world.step());
        }
        for _ in 0..20_000 {
            if world.answers.len() as u64 == asked && world.outbox.is_empty() {
                break;
            }
            world.step();
        }
        assert_eq!(world.answers, (1..=asked).collect::<Vec<_>>(), "seed {seed}");
        assert!(world.outbox.is_empty(), "seed {seed}: all is acknowledged");
        replaced += world.incarnation;
    }
    assert!(replaced > 2000, "runners die often: {replaced}");
}

#[test]
fn a_runner_that_takes_over_reconciles_and_is_told_the_state() {
    let mut world = World::new(1);
    world.state.insert("count".into(), 7u64.to_le_bytes().to_vec());
    world.runner = runner(Some("secret".into()));
    world.calls.clear();
    world.tell(Event::Connected);
    world.master_takes();
    let subscribed = world.events.pop_front().expect("welcomed");
    world.tell(Event::Master(scheduler::Event { event: Some(subscribed) }));
    assert!(matches!(&world.calls.make_contiguous()[..], [Call::Reconcile(all)] if all.task_ids.is_empty()));
}

#[test]
fn a_master_that_leads_no_more_is_left() {
    let mut env = TestEnv::new();
    env.handle(Event::Disconnected("gone".into()));
    env.handle(Event::Connected);
    let effects = env.master(MasterEvent::Subscribed(scheduler::Subscribed {
        framework_id: "F1".into(),
        secret: "s".into(),
        master_epoch: 0,
        state: Vec::new(),
        incarnation: Some(1),
        recovered: None,
    }));
    assert_eq!(effects, [Effect::Disconnect]);
}
