//! Executors and their messages.

use std::time::Duration;

use mesos_plugin_api::v1::executor::{Numbered, frame::Frame, numbered::Body};
use mesos_plugin_api::v1::{ExitStatus, Reason, Resources, TaskInfo, TaskState, TaskStatus};

use super::env::{TestEnv, executor_task, task};
use crate::agent::executors::{
    EXECUTOR_KILL_MARGIN, EXECUTOR_REGISTER_TIMEOUT, EXECUTOR_SHUTDOWN_GRACE, MESSAGE_RETRY, MESSAGES_PENDING_MAX,
};
use crate::agent::updates::UPDATES_PENDING_MAX;
use crate::agent::{Effect, Event, LocalId};
use crate::protocol::agent_call::Call;

/// The first task is 1, its executor 2.
const EXECUTOR: u64 = 2;

/// An executor that runs the task `t`.
fn running() -> TestEnv {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t")]);
    env.launched(EXECUTOR);
    env.on(Event::ExecutorConnected { id: LocalId(EXECUTOR) });
    env.take();
    env
}

fn launches(frames: &[Frame]) -> Vec<(u64, String)> {
    let launch = |frame: &Frame| match frame {
        Frame::Numbered(Numbered { seq, body: Some(Body::Launch(task)) }) => Some((*seq, task.id.to_string())),
        _ => None,
    };
    frames.iter().filter_map(launch).collect()
}

fn messages(calls: Vec<Call>) -> Vec<(u64, Vec<u8>)> {
    let message = |call| match call {
        Call::Message(message) => Some((message.message.seq.expect("a number"), message.message.data)),
        _ => None,
    };
    calls.into_iter().filter_map(message).collect()
}

fn acknowledged(calls: Vec<Call>) -> Vec<u64> {
    let acknowledge = |call| match call {
        Call::MessageAcknowledge(acknowledge) => Some(acknowledge.acknowledge.seq),
        _ => None,
    };
    calls.into_iter().filter_map(acknowledge).collect()
}

#[test]
fn tasks_wait_for_their_executor_which_is_launched_once() {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t"), executor_task("u")]);
    let launched = env.effects.iter().filter(|effect| matches!(effect, Effect::Launch { .. })).count();
    assert_eq!((launched, env.frames()), (1, vec![]));
    // Both tasks have their numbers first.
    let executor = 3;
    env.launched(executor);
    env.on(Event::ExecutorConnected { id: LocalId(executor) });
    let frames = env.frames();
    assert!(matches!(frames[..2], [Frame::Welcome(_), Frame::Confirm(0)]), "{frames:?}");
    assert_eq!(launches(&frames), [(1, "t".into()), (2, "u".into())]);
}

#[test]
fn an_executor_counts_once() {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t"), executor_task("u"), executor_task("v")]);
    env.take();
    env.run(vec![task("w")]);
    assert_eq!(env.last().message(), "agent here refused the task: 1 cpus asked, 0.5 available");
}

#[test]
fn what_an_executor_did_not_confirm_is_sent_again() {
    let mut env = running();
    env.frame(EXECUTOR, Frame::Confirm(1));
    env.run(vec![executor_task("u"), executor_task("v")]);
    env.frame(EXECUTOR, Frame::Confirm(2));
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    env.take();
    env.on(Event::ExecutorConnected { id: LocalId(EXECUTOR) });
    assert_eq!(launches(&env.frames()), [(3, "v".into())]);
}

#[test]
fn what_an_executor_sends_again_counts_once() {
    let mut env = running();
    env.executor_update(EXECUTOR, 1, "t", TaskState::TaskRunning);
    env.executor_update(EXECUTOR, 1, "t", TaskState::TaskRunning);
    env.executor_update(EXECUTOR, 3, "t", TaskState::TaskFinished);
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(1)), "two is missing");
    env.numbered(EXECUTOR, 2, Body::Message(b"m".to_vec()));
    env.executor_update(EXECUTOR, 3, "t", TaskState::TaskFinished);
    env.acknowledge("t", 1);
    assert_eq!(env.states(), [("t".into(), 2, TaskState::TaskFinished)]);
}

#[test]
fn an_executors_word_counts_only_for_its_own_live_tasks() {
    let mut env = running();
    env.run(vec![task("other")]);
    env.take();
    for (seq, id) in [(1, "other"), (2, "nobody's")] {
        env.executor_update(EXECUTOR, seq, id, TaskState::TaskFinished);
    }
    env.executor_update(EXECUTOR, 3, "t", TaskState::TaskFinished);
    env.executor_update(EXECUTOR, 4, "t", TaskState::TaskRunning);
    assert_eq!(env.states(), [("t".into(), 1, TaskState::TaskFinished)]);
}

#[test]
fn a_task_killed_before_its_executor_connects_takes_it_along() {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t")]);
    env.launched(EXECUTOR);
    env.take();
    env.kill("t", None);
    assert!(env.effects.contains(&Effect::Signal { id: LocalId(EXECUTOR), signal: 9 }));
    assert_eq!(env.last().state(), TaskState::TaskKilled);
}

#[test]
fn a_kill_is_the_executors_affair() {
    let mut env = running();
    env.kill("t", Some(7));
    let frames = env.frames();
    let [Frame::Numbered(Numbered { seq: 2, body: Some(Body::Kill(kill)) })] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!(kill.grace_ms, Some(7));
    env.pass(Duration::from_secs(3600));
    assert!(env.signals().is_empty());
}

#[test]
fn an_executor_that_ignores_max_duration_is_killed() {
    let mut env = TestEnv::new();
    env.run(vec![TaskInfo { max_duration_ms: Some(1000), kill_grace_ms: Some(500), ..executor_task("t") }]);
    env.launched(EXECUTOR);
    env.on(Event::ExecutorConnected { id: LocalId(EXECUTOR) });
    env.pass(Duration::from_millis(1500) + EXECUTOR_KILL_MARGIN);
    assert_eq!(env.signals(), [(EXECUTOR, 9)]);
    env.exited(EXECUTOR, ExitStatus::signal(9));
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::MaxDurationReached));
}

#[test]
fn an_executor_that_never_connects_is_killed_and_its_tasks_fail() {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t")]);
    env.launched(EXECUTOR);
    env.pass(EXECUTOR_REGISTER_TIMEOUT);
    assert_eq!(env.signals(), [(EXECUTOR, 9)]);
    env.exited(EXECUTOR, ExitStatus::signal(9));
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::ExecutorUnregistered));
}

#[test]
fn the_last_words_of_an_executor_count() {
    let mut env = running();
    env.exited(EXECUTOR, ExitStatus::code(0));
    assert!(env.states().is_empty(), "there may be more to read");
    env.executor_update(EXECUTOR, 1, "t", TaskState::TaskFinished);
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    let calls = env.calls();
    assert!(
        matches!(&calls[..], [Call::Update(update), Call::ExecutorEnded(_)]
        if update.status.state() == TaskState::TaskFinished),
        "{calls:?}"
    );
}

#[test]
fn an_executor_whose_connection_stays_open_ends_all_the_same() {
    let mut env = running();
    env.exited(EXECUTOR, ExitStatus::signal(11));
    env.pass(Duration::from_secs(10));
    let end = env.updates().remove(0).status;
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    assert_eq!(end.exit, Some(ExitStatus::signal(11)));
}

#[test]
fn an_executor_is_asked_to_end_and_then_killed() {
    let mut env = running();
    env.shut_down_executor();
    env.shut_down_executor();
    let frames = env.frames();
    assert!(matches!(&frames[..], [Frame::Numbered(Numbered { body: Some(Body::Shutdown(_)), .. })]), "{frames:?}");
    env.run(vec![executor_task("u")]);
    assert_eq!(env.last().state(), TaskState::TaskDropped, "no more tasks");
    env.pass(EXECUTOR_SHUTDOWN_GRACE);
    assert_eq!(env.signals(), [(EXECUTOR, 9)]);
}

#[test]
fn an_executor_that_connects_before_its_launch_is_told_ends_if_it_is_to_end() {
    let mut env = TestEnv::new();
    env.run(vec![executor_task("t")]);
    env.shut_down_executor();
    env.on(Event::ExecutorConnected { id: LocalId(EXECUTOR) });
    env.launched(EXECUTOR);
    let frames = env.frames();
    assert!(launches(&frames).is_empty());
    assert!(matches!(&frames[..], [.., Frame::Numbered(Numbered { body: Some(Body::Shutdown(_)), .. })]));
    env.pass(EXECUTOR_SHUTDOWN_GRACE);
    assert_eq!(env.signals(), [(EXECUTOR, 9)]);
}

#[test]
fn messages_to_an_executor_come_once_in_order_and_are_acknowledged_when_it_has_them() {
    let mut env = running();
    for (seq, text) in [(1, "one"), (1, "one"), (3, "three"), (2, "two")] {
        env.say(seq, text);
    }
    let effects = env.take();
    let said = effects.iter().filter_map(|effect| match effect {
        Effect::SendExecutor { frame, .. } => match &frame.frame {
            Some(Frame::Numbered(Numbered { seq, body: Some(Body::Message(data)) })) => Some((*seq, data.clone())),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [(2, b"one".to_vec()), (3, b"two".to_vec())]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(_))), "not confirmed yet");
    env.frame(EXECUTOR, Frame::Confirm(2));
    assert_eq!(acknowledged(env.calls()), [1]);
    env.say(1, "one");
    assert_eq!(acknowledged(env.calls()), [1], "the acknowledgement was lost");
    env.frame(EXECUTOR, Frame::Confirm(3));
    assert_eq!(acknowledged(env.calls()), [2]);
}

#[test]
fn messages_of_an_executor_are_sent_again_until_acknowledged() {
    let mut env = running();
    env.numbered(EXECUTOR, 1, Body::Message(b"one".to_vec()));
    env.numbered(EXECUTOR, 2, Body::Message(b"two".to_vec()));
    let (one, two) = ((1, b"one".to_vec()), (2, b"two".to_vec()));
    assert_eq!(messages(env.calls()), [one.clone(), two.clone()]);
    env.pass(MESSAGE_RETRY);
    assert_eq!(messages(env.calls()), [one, two.clone()]);
    env.acknowledge_messages(1);
    env.on(Event::Disconnected { cause: "gone".into() });
    env.registered(2);
    assert_eq!(messages(env.calls()), [two]);
    env.acknowledge_messages(2);
    env.pass(Duration::from_secs(3600));
    assert!(env.calls().is_empty());
}

#[test]
fn an_executor_that_says_too_much_waits_for_its_scheduler() {
    let mut env = running();
    let count = MESSAGES_PENDING_MAX as u64;
    for seq in 1..=count + 2 {
        env.numbered(EXECUTOR, seq, Body::Message(vec![1]));
    }
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(count)), "the rest isn't confirmed");
    env.acknowledge_messages(1);
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(count + 1)));
    env.acknowledge_messages(count);
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(count + 2)));
}

#[test]
fn an_executor_with_too_many_updates_waits_for_its_scheduler() {
    let mut env = running();
    let count = UPDATES_PENDING_MAX as u64;
    for seq in 1..=count + 1 {
        env.numbered(EXECUTOR, seq, Body::Update(TaskStatus::new("t".into(), TaskState::TaskRunning)));
    }
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(count)));
    env.acknowledge("t", 1);
    assert_eq!(env.frames().last(), Some(&Frame::Confirm(count + 1)));
}

#[test]
fn the_end_of_an_executor_is_told_after_its_last_message() {
    let mut env = running();
    env.numbered(EXECUTOR, 1, Body::Message(b"last".to_vec()));
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    env.exited(EXECUTOR, ExitStatus::code(0));
    let is_ended = |call: &Call| matches!(call, Call::ExecutorEnded(_));
    assert!(!env.calls().iter().any(is_ended));
    env.run(vec![executor_task("u")]);
    assert_eq!(env.last().state(), TaskState::TaskDropped, "its scheduler has to know first");
    env.acknowledge_messages(1);
    assert!(env.calls().iter().any(is_ended));
    env.run(vec![executor_task("v")]);
    assert!(env.take().iter().any(|effect| matches!(effect, Effect::Launch { .. })), "a new one");
}

#[test]
fn an_executor_that_ends_without_a_master_is_told_later() {
    let mut env = running();
    env.on(Event::Disconnected { cause: "gone".into() });
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    env.exited(EXECUTOR, ExitStatus::code(0));
    env.take();
    env.registered(2);
    assert!(env.calls().iter().any(|call| matches!(call, Call::ExecutorEnded(_))));
}

fn executors_ended(env: &mut TestEnv) -> usize {
    env.calls().iter().filter(|call| matches!(call, Call::ExecutorEnded(_))).count()
}

#[test]
fn an_executor_whose_only_task_is_refused_is_said_to_be_gone() {
    let mut env = TestEnv::new();
    let large = |id: &str| TaskInfo { resources: Resources::new(100.0, 1.0), ..executor_task(id) };
    env.run(vec![large("t"), executor_task("u")]);
    assert_eq!(executors_ended(&mut env), 0, "u has launched it");
    let mut env = TestEnv::new();
    env.run(vec![large("t"), large("u")]);
    assert_eq!(executors_ended(&mut env), 1);
}

#[test]
fn a_task_that_crosses_its_executors_end_launches_no_other() {
    let mut env = running();
    env.executor_update(EXECUTOR, 1, "t", TaskState::TaskFinished);
    env.on(Event::ExecutorDisconnected { id: LocalId(EXECUTOR) });
    env.exited(EXECUTOR, ExitStatus::code(0));
    assert_eq!(executors_ended(&mut env), 1);
    env.run_on_running(vec![executor_task("u")]);
    // The master may count a new one by now: it isn't told again.
    assert_eq!(executors_ended(&mut env), 0);
    env.run(vec![executor_task("v")]);
    let launched = env.take().into_iter().filter(|effect| matches!(effect, Effect::Prepare { .. })).count();
    assert_eq!(launched, 1, "only v has launched one");
}

#[test]
fn a_task_that_crosses_its_executors_end_is_dropped() {
    let mut env = TestEnv::new();
    env.run_on_running(vec![executor_task("u")]);
    assert_eq!(env.states(), [("u".into(), 1, TaskState::TaskDropped)]);
}
