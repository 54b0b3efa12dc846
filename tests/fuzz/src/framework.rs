//! The framework runner, between a master and a half that both say anything.

use std::collections::{BTreeSet, VecDeque};

use mesos_host::framework::{Effect, Event, Runner};
use mesos_plugin_api::v1::scheduler::{self, call::Call, event::Event as MasterEvent};
use mesos_plugin_api::v1::{FrameworkInfo, Offer, TaskState, TaskStatus, framework};
use mesos_plugin_api::{Calls, Framework, Time};

use crate::input::{Input, goes_round};

pub(crate) fn run(bytes: &[u8]) {
    // What the half calls, and what happens.
    let (calls, events) = bytes.split_at(bytes.len() / 2);
    let half = Half { calls: decoded_calls(calls) };
    let info = FrameworkInfo { name: "f".into(), user: "u".into(), role: "r".into(), ..FrameworkInfo::default() };
    let mut world = World {
        runner: Runner::new(Box::new(half), info, None, None),
        now: Time(1_000_000_000),
        told: BTreeSet::new(),
        ended: false,
    };
    let mut input = Input::new(events);
    world.handle(Event::Connected);
    while let Some(step) = input.step(12) {
        if let Some(event) = event(step, &mut input, &mut world) {
            world.handle(event);
        }
    }
}

struct World {
    runner: Runner,
    now: Time,
    /// Task and number of each update that the runner was told of.
    told: BTreeSet<(String, u64)>,
    ended: bool,
}

impl World {
    fn handle(&mut self, event: Event) {
        if let Event::Master(scheduler::Event { event: Some(MasterEvent::Update(update)) }) = &event
            && let Some(seq) = update.status.update_seq
        {
            self.told.insert((update.status.task_id.to_string(), seq));
        }
        let mut effects = Vec::new();
        self.runner.handle(self.now, event, &mut effects);
        for effect in effects {
            assert!(!self.ended, "nothing follows the end: {effect:?}");
            match effect {
                Effect::Call(call) => {
                    if let Call::Acknowledge(acknowledge) = &call {
                        let key = (acknowledge.task_id.to_string(), acknowledge.update_seq);
                        assert!(self.told.contains(&key), "{acknowledge:?}: only what was told is acknowledged");
                    }
                    goes_round(&scheduler::Call { call: Some(call) });
                }
                Effect::Ended { .. } => self.ended = true,
                _ => {}
            }
        }
    }
}

fn event(step: u8, input: &mut Input<'_>, world: &mut World) -> Option<Event> {
    let said = |event| Some(Event::Master(scheduler::Event { event: Some(event) }));
    match step {
        0 => Some(Event::Connected),
        1 => Some(Event::Disconnected("gone".into())),
        2 => {
            let id = if input.seldom() { input.text() } else { "M-F1".into() };
            let subscribed =
                scheduler::Subscribed { framework_id: id.into(), secret: "s".into(), ..Default::default() };
            said(MasterEvent::Subscribed(subscribed))
        }
        3 => Some(Event::Master(input.message()?)),
        4 => {
            let mut status = TaskStatus::new(format!("t{}", input.byte() % 4).into(), TaskState::TaskRunning);
            status.state = i32::from(input.byte() % 16);
            status.agent_id = (!input.seldom()).then(|| "a".into());
            status.update_seq = (!input.seldom()).then(|| input.number());
            said(MasterEvent::Update(scheduler::Update { status }))
        }
        5 => {
            let offer = Offer { id: format!("o{}", input.byte() % 4).into(), ..Offer::default() };
            said(MasterEvent::Offers(scheduler::Offers { offers: vec![offer] }))
        }
        6 => {
            let offer_id = format!("o{}", input.byte() % 4).into();
            said(MasterEvent::Rescind(scheduler::Rescind { offer_id }))
        }
        7 => {
            let (data, seq) = (input.bytes().to_vec(), Some(input.number()));
            said(MasterEvent::Message(scheduler::Message {
                agent_id: "a".into(),
                executor_id: "e".into(),
                data,
                seq,
                ..Default::default()
            }))
        }
        8 => {
            let (agent_id, executor_id) = ("a".into(), "e".into());
            let acknowledge =
                scheduler::MessageAcknowledge { agent_id, executor_id, seq: input.number(), ..Default::default() };
            said(MasterEvent::MessageAcknowledge(acknowledge))
        }
        9 => {
            let error = input.seldom().then(|| "no".to_string());
            said(MasterEvent::StateStored(scheduler::StateStored { seq: input.number(), error }))
        }
        10 => Some(Event::ForHalf(input.message::<framework::Event>()?.event?)),
        _ => {
            let at = world.runner.deadline();
            world.now = input.later(world.now, at);
            Some(Event::DeadlinePassed)
        }
    }
}

/// Calls some of what it was given with each event.
struct Half {
    calls: VecDeque<Option<framework::call::Call>>,
}

impl Framework for Half {
    fn on_event(&mut self, _: Time, _: mesos_plugin_api::framework::Event, calls: &mut Calls) {
        while let Some(Some(call)) = self.calls.pop_front() {
            calls.push(call);
        }
    }
}

/// The calls in the order in which they are made; `None` ends those of one event.
fn decoded_calls(bytes: &[u8]) -> VecDeque<Option<framework::call::Call>> {
    let mut input = Input::new(bytes);
    let mut calls = VecDeque::new();
    while let Some(step) = input.step(4) {
        calls.push_back(if step == 0 { None } else { input.message::<framework::Call>().and_then(|call| call.call) });
    }
    calls
}
