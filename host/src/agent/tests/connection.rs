//! The way to the master.

use std::time::Duration;

use mesos_plugin_api::v1::{ExitStatus, TaskState};

use super::env::{TestEnv, agent, task};
use crate::agent::{Effect, Event, RECONNECT_DELAY, RECONNECT_DELAY_MAX, REGISTER_TIMEOUT};
use crate::protocol::{Ping, Pong, Refused, Registered, agent_call, agent_event};

#[test]
fn a_lost_master_is_looked_for_ever_more_slowly_and_named_once() {
    let mut env = TestEnv::apart();
    env.on(Event::Started);
    assert_eq!(env.take(), [Effect::Connect]);
    let mut delay = RECONNECT_DELAY;
    for attempt in 0..12 {
        env.on(Event::Disconnected { cause: "gone".into() });
        let warned = env.take().iter().any(|effect| matches!(effect, Effect::Warn { .. }));
        assert_eq!(warned, attempt == 0);
        assert_eq!(env.agent.deadline(), Some(env.now + delay));
        env.pass(delay);
        assert_eq!(env.take(), [Effect::Connect]);
        delay = (delay * 2).min(RECONNECT_DELAY_MAX);
    }
    env.registered(1);
    env.on(Event::Disconnected { cause: "gone".into() });
    assert_eq!(env.agent.deadline(), Some(env.now + RECONNECT_DELAY), "from the start again");
}

#[test]
fn another_leader_is_gone_to_at_once_and_only_once() {
    let mut env = TestEnv::apart();
    env.on(Event::Started);
    for _ in 0..12 {
        env.on(Event::Disconnected { cause: "gone".into() });
        env.pass(RECONNECT_DELAY_MAX);
    }
    env.take();
    env.on(Event::LeaderFound);
    assert_eq!(env.take(), [], "a connection is being opened");
    env.on(Event::Disconnected { cause: "not ready".into() });
    assert_eq!(env.agent.deadline(), Some(env.now + RECONNECT_DELAY), "soon");
    env.on(Event::LeaderFound);
    assert_eq!(env.take(), [Effect::Connect]);
    assert_eq!(env.agent.deadline(), None);
    env.registered(1);
    env.take();
    env.on(Event::LeaderFound);
    assert_eq!(env.take(), [], "the link tells when it is left");
}

#[test]
fn a_silent_master_is_left() {
    let mut env = TestEnv::apart();
    env.on(Event::Connected);
    env.take();
    env.pass(REGISTER_TIMEOUT);
    assert!(env.take().contains(&Effect::Disconnect));
}

#[test]
fn an_old_master_has_nothing_to_say() {
    let mut env = TestEnv::new();
    env.registered(5);
    env.on(Event::Disconnected { cause: "gone".into() });
    env.take();
    env.registered(4);
    assert!(env.take().contains(&Effect::Disconnect));
    env.run(vec![task("t")]);
    assert!(env.states().is_empty(), "its tasks are not run");
    env.registered(5);
    env.run(vec![task("t")]);
    assert!(env.take().iter().any(|effect| matches!(effect, Effect::Launch { .. })));
}

#[test]
fn a_master_that_was_replaced_is_left_at_its_next_word() {
    let mut env = TestEnv::new();
    env.registered(5);
    env.take();
    assert_eq!(env.agent.epoch(), 5);
    env.on(Event::EpochHeard { epoch: 5 });
    assert_eq!(env.take(), []);
    env.on(Event::EpochHeard { epoch: 4 });
    assert!(env.take().contains(&Effect::Disconnect));
    env.master(agent_event::Event::Refused(Refused { message: "you are unknown".into() }));
    env.run(vec![task("t")]);
    assert_eq!(env.take(), []);
}

#[test]
fn a_master_that_has_not_registered_the_agent_has_nothing_to_say() {
    let mut env = TestEnv::apart();
    env.on(Event::Connected);
    env.take();
    env.run(vec![task("t")]);
    assert_eq!(env.take(), []);
}

#[test]
fn pings_are_answered_and_a_refusal_ends_the_agent() {
    let mut env = TestEnv::new();
    env.master(agent_event::Event::Ping(Ping {}));
    assert_eq!(env.calls(), [agent_call::Call::Pong(Pong {})]);
    env.master(agent_event::Event::Refused(Refused { message: "another token".into() }));
    assert_eq!(env.take(), [Effect::Exit { message: "another token".into() }]);
}

#[test]
fn a_registration_brings_all_that_is_here_and_then_all_that_was_not_acknowledged() {
    let mut env = TestEnv::new();
    env.run(vec![task("ended"), task("runs"), task("forgotten")]);
    for id in 1..=3 {
        env.launched(id);
    }
    env.exited(1, ExitStatus::code(0));
    env.exited(3, ExitStatus::code(0));
    env.acknowledge("forgotten", 1);
    env.acknowledge("forgotten", 2);
    env.acknowledge("runs", 1);
    env.on(Event::Disconnected { cause: "gone".into() });
    env.take();
    env.on(Event::Connected);
    let calls = env.calls();
    let [agent_call::Call::Register(register)] = &calls[..] else { panic!("{calls:?}") };
    let tasks: Vec<_> = register.tasks.iter().map(|task| (task.task.id.as_str(), task.status.state())).collect();
    assert_eq!(tasks, [("ended", TaskState::TaskFinished), ("runs", TaskState::TaskRunning)]);
    assert_eq!(register.agent.id, Some(agent()));
    assert_eq!(register.tasks[0].gang_id.as_deref(), Some("gang"));
    assert_eq!(register.frameworks.iter().map(|framework| framework.name.as_str()).collect::<Vec<_>>(), ["f"]);
    env.master(agent_event::Event::Registered(Registered { agent_id: agent(), master_epoch: 2, silence_ms: None }));
    let updates = env.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(
        (updates[0].status.state(), updates[0].latest_state()),
        (TaskState::TaskRunning, TaskState::TaskFinished)
    );
}

#[test]
fn what_happens_without_a_master_is_told_later() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.on(Event::Disconnected { cause: "gone".into() });
    env.launched(1);
    env.exited(1, ExitStatus::code(1));
    env.pass(Duration::from_secs(3600));
    assert!(env.states().is_empty());
    env.registered(2);
    assert_eq!(env.states(), [("t".into(), 1, TaskState::TaskRunning)]);
}

#[test]
fn a_master_that_falls_silent_is_left_and_looked_for_again() {
    let mut env = TestEnv::apart();
    env.on(Event::Connected);
    let silence_ms = Some(25_000);
    env.master(agent_event::Event::Registered(Registered { agent_id: agent(), master_epoch: 1, silence_ms }));
    env.pass(Duration::from_secs(20));
    env.master(agent_event::Event::Ping(Ping {}));
    env.take();
    env.pass(Duration::from_secs(24));
    assert!(env.take().is_empty(), "it has been heard");
    env.pass(Duration::from_secs(1));
    let effects = env.take();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Disconnect)), "{effects:?}");
    env.pass(RECONNECT_DELAY);
    assert!(matches!(env.take()[..], [Effect::Connect]));
}
