//! Given / when / then on what the runner tells the master and the half.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::{PutState, Signal, call::Call as HalfCall};
use mesos_plugin_api::v1::scheduler::{self, call::Call, event::Event as MasterEvent};
use mesos_plugin_api::v1::{
    CommandInfo, FrameworkInfo, GangRequest, Offer, OfferId, OfferPart, Resources, TaskId, TaskInfo, TaskState,
    TaskStatus,
};
use mesos_plugin_api::{Calls, Framework, Time};

use super::{Effect, Event, RESEND_AFTER, Runner};

mod takeover;

/// A half that notes its events and answers with what the test has laid out.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(Vec<HalfEvent>, Vec<HalfCall>)>>);

impl Framework for Script {
    fn on_event(&mut self, _now: Time, event: HalfEvent, calls: &mut Calls) {
        let mut script = self.0.lock().unwrap();
        script.0.push(event);
        script.1.drain(..).for_each(|call| calls.push(call));
    }
}

struct TestEnv {
    runner: Runner,
    script: Script,
    now: Time,
}

impl TestEnv {
    /// Subscribed, with nothing noted yet.
    fn new() -> Self {
        let mut env = Self::unsubscribed();
        env.subscribed();
        env.seen();
        env
    }

    fn unsubscribed() -> Self {
        let script = Script::default();
        let info = FrameworkInfo { name: "f".into(), user: "u".into(), role: "r".into(), ..Default::default() };
        let mut env =
            Self { runner: Runner::new(Box::new(script.clone()), info, None, None), script, now: Time(1_000_000_000) };
        env.handle(Event::Connected);
        env
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.runner.handle(self.now, event, &mut effects);
        effects
    }

    fn subscribed(&mut self) -> Vec<Effect> {
        self.master(MasterEvent::Subscribed(scheduler::Subscribed {
            framework_id: "F1".into(),
            secret: "s".into(),
            master_epoch: 1,
            state: Vec::new(),
            incarnation: Some(1),
        }))
    }

    fn master(&mut self, event: MasterEvent) -> Vec<Effect> {
        self.handle(Event::Master(scheduler::Event { event: Some(event) }))
    }

    /// The half answers its next event with these calls.
    fn answers(&mut self, calls: impl IntoIterator<Item = HalfCall>) {
        self.script.0.lock().unwrap().1.extend(calls);
    }

    fn seen(&mut self) -> Vec<HalfEvent> {
        std::mem::take(&mut self.script.0.lock().unwrap().0)
    }

    fn offer(&mut self, id: &str) -> Vec<Effect> {
        let part = OfferPart { agent_id: "A1".into(), resources: Resources::new(1.0, 1.0), ..Default::default() };
        let offer = Offer { id: id.into(), framework_id: "F1".into(), parts: vec![part], ..Default::default() };
        self.master(MasterEvent::Offers(scheduler::Offers { offers: vec![offer] }))
    }

    fn update(&mut self, task: &str, state: TaskState, seq: u64) -> Vec<Effect> {
        let mut status = TaskStatus::new(task.into(), state);
        (status.update_seq, status.agent_id) = (Some(seq), Some("A1".into()));
        self.master(MasterEvent::Update(scheduler::Update { status }))
    }
}

fn launch(offer: &str, task: &str) -> HalfCall {
    let task = TaskInfo::command(task, "A1".into(), Resources::new(1.0, 1.0), CommandInfo::argv(["true"]));
    HalfCall::Accept(scheduler::Accept { offer_ids: vec![offer.into()], tasks: vec![task], ..Default::default() })
}

fn acknowledged(effects: &[Effect]) -> Vec<u64> {
    let acknowledge = |effect: &Effect| match effect {
        Effect::Call(Call::Acknowledge(acknowledge)) => Some(acknowledge.update_seq),
        _ => None,
    };
    effects.iter().filter_map(acknowledge).collect()
}

fn put(seq: u64) -> HalfCall {
    HalfCall::PutState(PutState { key: "k".into(), value: Some(vec![1]), seq: Some(seq) })
}

#[test]
fn started_comes_first_and_once() {
    let mut env = TestEnv::new();
    env.handle(Event::Disconnected("gone".into()));
    let effects = env.handle(Event::Connected);
    assert!(matches!(&effects[..], [Effect::Call(Call::Subscribe(s))] if s.secret.as_deref() == Some("s")));
    env.subscribed();
    let seen = env.seen();
    assert!(matches!(&seen[..], [HalfEvent::Disconnected(_), HalfEvent::Connected(_)]), "{seen:?}");
}

#[test]
fn updates_are_acknowledged_after_the_half_has_seen_them() {
    let mut env = TestEnv::new();
    env.answers([HalfCall::Revive(scheduler::Revive {})]);
    let effects = env.update("t", TaskState::TaskRunning, 1);
    assert!(matches!(&effects[..], [Effect::Call(Call::Revive(_)), Effect::Call(Call::Acknowledge(_))]));
}

#[test]
fn a_repeated_update_is_acknowledged_but_not_seen() {
    let mut env = TestEnv::new();
    env.update("t", TaskState::TaskRunning, 1);
    env.update("t", TaskState::TaskFinished, 2);
    env.seen();
    for (state, seq) in [(TaskState::TaskFinished, 2), (TaskState::TaskRunning, 1)] {
        assert_eq!(acknowledged(&env.update("t", state, seq)), [seq]);
    }
    assert!(env.seen().is_empty());
}

#[test]
fn an_acknowledgement_waits_for_the_state_written_before_it() {
    let mut env = TestEnv::new();
    env.answers([put(70)]);
    env.offer("O1");
    env.answers([put(71), put(72)]);
    assert!(acknowledged(&env.update("t", TaskState::TaskRunning, 1)).is_empty());
    let stored = |seq| MasterEvent::StateStored(scheduler::StateStored { seq, error: None });
    assert!(acknowledged(&env.master(stored(1))).is_empty());
    assert_eq!(acknowledged(&env.master(stored(2))), [1]);
    let seen = env.seen();
    assert!(
        matches!(&seen[..], [_, _, HalfEvent::StateStored(a), HalfEvent::StateStored(b), HalfEvent::StateStored(c)]
            if (a.seq, b.seq, c.seq) == (70, 71, 72))
    );
}

#[test]
fn the_last_update_is_acknowledged_before_the_teardown() {
    let mut env = TestEnv::new();
    env.answers([HalfCall::Finish(mesos_plugin_api::v1::framework::Finish { exit_code: 3, message: None })]);
    let effects = env.update("t", TaskState::TaskFailed, 1);
    assert!(matches!(
        &effects[..],
        [
            Effect::Call(Call::Acknowledge(_)),
            Effect::Call(Call::Teardown(_)),
            Effect::Ended { exit_code: 3, message: None }
        ]
    ));
    assert!(env.offer("O1").is_empty(), "nothing follows the end");
}

#[test]
fn a_rescinded_offer_launches_nothing() {
    let mut env = TestEnv::new();
    env.offer("O1");
    env.answers([launch("O1", "late")]);
    env.seen();
    let effects = env.master(MasterEvent::Rescind(scheduler::Rescind { offer_id: OfferId::from("O1") }));
    let launches = |effect: &Effect| matches!(effect, Effect::Call(Call::Accept(accept)) if !accept.tasks.is_empty());
    assert!(!effects.iter().any(launches));
    let seen = env.seen();
    assert!(
        matches!(&seen[..], [HalfEvent::Rescind(_), HalfEvent::Update(u)] if u.status.state() == TaskState::TaskDropped)
    );
}

#[test]
fn a_lost_connection_voids_offers_and_is_made_good() {
    let mut env = TestEnv::new();
    env.offer("O1");
    env.answers([launch("O1", "t")]);
    env.offer("O2");
    env.answers([HalfCall::Suppress(scheduler::Suppress {})]);
    env.update("t", TaskState::TaskRunning, 1);
    let request = GangRequest { id: "g".into(), slots: 1, per_slot: Resources::new(1.0, 1.0), ..Default::default() };
    env.answers([HalfCall::RequestGang(scheduler::RequestGang { request }), put(5)]);
    env.update("t", TaskState::TaskRunning, 2);
    env.seen();

    env.handle(Event::Disconnected("gone".into()));
    assert!(
        matches!(&env.seen()[..], [HalfEvent::Rescind(r), HalfEvent::Disconnected(_)] if r.offer_id.as_str() == "O2")
    );
    let kill = scheduler::Kill { task_id: TaskId::from("t"), grace_ms: None };
    env.answers([HalfCall::Kill(kill)]);
    assert!(env.handle(Event::ForHalf(HalfEvent::Signal(Signal { number: 2 }))).is_empty());

    env.handle(Event::Connected);
    let effects = env.subscribed();
    let calls: Vec<&Call> =
        effects.iter().filter_map(|e| if let Effect::Call(call) = e { Some(call) } else { None }).collect();
    assert!(
        matches!(
            &calls[..],
            [Call::Suppress(_), Call::RequestGang(_), Call::PutState(put), Call::Kill(_), Call::Reconcile(reconcile)]
                if put.seq == Some(1) && reconcile.task_ids == [TaskId::from("t")]
        ),
        "{calls:?}"
    );
}

/// The master was dead when the kill was sent, and nobody knew yet.
#[test]
fn what_was_lost_with_a_connection_is_asked_for_again_until_it_is_answered() {
    let mut env = TestEnv::new();
    let executor_id = "e".into();
    let shutdown = scheduler::ShutdownExecutor { agent_id: "A1".into(), executor_id };
    let destroy = scheduler::DestroyVolume { agent_id: "A1".into(), name: "v".into() };
    env.answers([
        HalfCall::Kill(scheduler::Kill { task_id: "t".into(), grace_ms: Some(5) }),
        HalfCall::ShutdownExecutor(shutdown),
        HalfCall::DestroyVolume(destroy),
    ]);
    assert_eq!(env.update("t", TaskState::TaskRunning, 1).len(), 4);
    let again = |env: &mut TestEnv| {
        env.handle(Event::Disconnected("gone".into()));
        env.handle(Event::Connected);
        let asked = |effect: &Effect| match effect {
            Effect::Call(Call::Kill(kill)) => kill.grace_ms == Some(5),
            Effect::Call(Call::ShutdownExecutor(_) | Call::DestroyVolume(_)) => true,
            _ => false,
        };
        env.subscribed().iter().filter(|effect| asked(effect)).count()
    };
    assert_eq!(again(&mut env), 3);
    assert_eq!(again(&mut env), 3);

    env.update("t", TaskState::TaskKilled, 2);
    assert_eq!(again(&mut env), 2);
    let executor_id = Some("e".into());
    env.master(MasterEvent::Failure(scheduler::Failure { agent_id: "A1".into(), executor_id, ..Default::default() }));
    assert_eq!(again(&mut env), 1);
    let state = scheduler::VolumeState::VolumeDestroyed.into();
    let status = scheduler::VolumeStatus { agent_id: "A1".into(), name: "v".into(), state, ..Default::default() };
    env.master(MasterEvent::VolumeStatus(status));
    assert_eq!(again(&mut env), 0);
}

#[test]
fn messages_are_numbered_resent_and_delivered_in_order_once() {
    let mut env = TestEnv::new();
    let message = |data: u8, seq| {
        let (agent_id, executor_id) = ("A1".into(), "e".into());
        scheduler::Message { agent_id, executor_id, data: vec![data], seq, ..Default::default() }
    };
    env.answers([HalfCall::Message(message(1, None)), HalfCall::Message(message(2, None))]);
    env.update("t", TaskState::TaskRunning, 1);
    env.now = env.now + RESEND_AFTER;
    assert_eq!(env.runner.deadline(), Some(env.now));
    assert_eq!(env.handle(Event::DeadlinePassed).len(), 2);
    let acknowledge =
        scheduler::MessageAcknowledge { agent_id: "A1".into(), executor_id: "e".into(), seq: 1, incarnation: Some(1) };
    env.master(MasterEvent::MessageAcknowledge(acknowledge));
    env.now = env.now + RESEND_AFTER;
    let effects = env.handle(Event::DeadlinePassed);
    assert!(matches!(&effects[..], [Effect::Call(Call::Message(m))] if m.seq == Some(2)));

    env.seen();
    for seq in [2, 1, 1, 3, 2] {
        env.master(MasterEvent::Message(message(seq, Some(u64::from(seq)))));
    }
    let seen: Vec<u8> =
        env.seen().into_iter().map(|e| if let HalfEvent::Message(m) = e { m.data[0] } else { 0 }).collect();
    assert_eq!(seen, [1, 2, 3]);
}

/// The acknowledgement was lost with the connection to the agent, and the executor came back with it after it was given up.
#[test]
fn what_an_executor_says_again_after_its_agent_was_lost_is_not_heard_twice() {
    let mut env = TestEnv::new();
    let message = |incarnation, seq| {
        let (agent_id, executor_id) = ("A1".into(), "e".into());
        let (seq, incarnation, settled) = (Some(seq), Some(incarnation), Some(0));
        MasterEvent::Message(scheduler::Message {
            agent_id,
            executor_id,
            seq,
            incarnation,
            settled,
            ..Default::default()
        })
    };
    env.master(message(2, 1));
    env.master(message(2, 2));
    env.master(MasterEvent::Failure(scheduler::Failure { agent_id: "A1".into(), ..Default::default() }));
    env.seen();

    let effects = env.master(message(2, 1));
    assert!(matches!(&effects[..], [Effect::Call(Call::MessageAcknowledge(a))] if a.seq == 1), "so that it stops");
    env.master(message(2, 2));
    assert_eq!(env.seen(), []);
    env.master(message(2, 3));
    env.master(message(7, 1));
    assert_eq!(env.seen().len(), 2, "what is new is heard, and a new executor of that id too");
}

#[test]
fn the_next_message_is_new_to_an_executor_whose_predecessors_end_is_heard_of_late() {
    let mut env = TestEnv::new();
    let say = |data: u8| {
        let (agent_id, executor_id) = ("A1".into(), "E1".into());
        HalfCall::Message(scheduler::Message { agent_id, executor_id, data: vec![data], ..Default::default() })
    };
    let mut said = |call: HalfCall| {
        env.answers([call]);
        let effects = env.handle(Event::ForHalf(HalfEvent::Signal(Signal { number: 10 })));
        let failure =
            scheduler::Failure { agent_id: "A1".into(), executor_id: Some("E1".into()), exit: None, message: None };
        env.master(MasterEvent::Failure(failure));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Call(Call::Message(message)) => Some((message.seq(), message.settled())),
            _ => None,
        })
    };
    assert_eq!(said(say(1)), Some((1, 0)));
    // The one that took the first may be the one that lives.
    assert_eq!(said(say(2)), Some((2, 1)));
}

/// A half that always accepts the same offer.
struct Stubborn;

impl Framework for Stubborn {
    fn on_event(&mut self, _now: Time, _event: HalfEvent, calls: &mut Calls) {
        calls.push(launch("O1", "t"));
    }
}

#[test]
fn a_half_that_accepts_a_stale_offer_for_ever_lets_others_have_their_turn() {
    let mut env = TestEnv::new();
    env.runner.half = Box::new(Stubborn);
    env.handle(Event::ForHalf(HalfEvent::Signal(Signal { number: 10 })));
    assert!(env.runner.deadline().is_some_and(|due| due <= env.now), "it hears of the dropped task in the next turn");
    let effects = env.handle(Event::DeadlinePassed);
    assert!(effects.len() < 10, "{effects:?}");
}

#[test]
fn timers_fire_once_at_their_time() {
    let mut env = TestEnv::new();
    let at = env.now + Duration::from_secs(1);
    let timer = mesos_plugin_api::v1::framework::SetTimer { id: 9, at_ns: at.as_nanos() };
    env.answers([HalfCall::SetTimer(timer)]);
    env.update("t", TaskState::TaskRunning, 1);
    env.seen();
    env.handle(Event::DeadlinePassed);
    assert!(env.seen().is_empty());
    env.now = at;
    env.handle(Event::DeadlinePassed);
    env.handle(Event::DeadlinePassed);
    assert!(matches!(&env.seen()[..], [HalfEvent::Timer(t)] if t.id == 9));
}

#[test]
fn a_fatal_error_ends_the_framework_with_its_words() {
    let mut env = TestEnv::new();
    let error = scheduler::Error { message: "another scheduler took F1 over".into(), fatal: Some(true) };
    let effects = env.master(MasterEvent::Error(error));
    assert!(
        matches!(&effects[..], [Effect::Ended { exit_code: 1, message: Some(text) }] if text.contains("took F1 over"))
    );
}

#[test]
fn standard_input_that_comes_early_is_kept() {
    let mut env = TestEnv::unsubscribed();
    let stdin = |data: u8| HalfEvent::Stdin(mesos_plugin_api::v1::framework::Stdin { data: vec![data], end: None });
    env.handle(Event::ForHalf(stdin(1)));
    env.handle(Event::ForHalf(stdin(2)));
    assert!(env.seen().is_empty());
    env.subscribed();
    let seen = env.seen();
    assert!(matches!(
        &seen[..],
        [HalfEvent::Started(_), HalfEvent::Stdin(one), HalfEvent::Stdin(two), HalfEvent::Connected(_)]
            if (one.data[0], two.data[0]) == (1, 2)
    ));
}

#[test]
fn a_master_that_was_replaced_is_left() {
    let mut env = TestEnv::unsubscribed();
    let subscribed = |master_epoch| {
        let subscribed =
            scheduler::Subscribed { framework_id: "F1".into(), secret: "s".into(), master_epoch, ..Default::default() };
        Event::Master(scheduler::Event { event: Some(MasterEvent::Subscribed(subscribed)) })
    };
    env.handle(subscribed(2));
    assert_eq!((env.runner.epoch(), env.handle(Event::EpochHeard(2))), (2, Vec::new()));
    env.seen();

    assert_eq!(env.handle(Event::EpochHeard(1)), [Effect::Disconnect]);
    let error = MasterEvent::Error(scheduler::Error { message: "unknown".into(), fatal: Some(true) });
    assert_eq!(env.master(error), [], "it knows nothing of what has happened since");
    env.handle(Event::Disconnected("left".into()));
    env.handle(Event::Connected);
    assert_eq!(env.handle(subscribed(1)), [Effect::Disconnect]);
    env.handle(Event::Disconnected("left".into()));
    env.seen();

    env.handle(Event::Connected);
    env.handle(subscribed(3));
    assert_eq!(env.runner.epoch(), 3);
    assert!(matches!(&env.seen()[..], [HalfEvent::Connected(_)]));
}
