//! An agent from the records of the one before it.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::executor::{frame, numbered::Body};
use mesos_plugin_api::v1::{ExitStatus, Reason, TaskState};

use super::env::{TestEnv, agent, executor_task, task};
use crate::agent::{Agent, Effect, Event, Found, LocalId, Others};

impl TestEnv {
    /// Another process in this agent's place: once from its records, and once from its snapshot, which have to agree.
    fn restarted(&self, found: &[(u64, Found)], others: Others) -> TestEnv {
        let settings = self.agent.settings.clone();
        let settings = || crate::agent::Settings {
            info: mesos_plugin_api::v1::AgentInfo { id: None, ..settings.info.clone() },
            ..settings.clone()
        };
        let core = Agent::recover(settings(), self.records.clone()).expect("it fits");
        let of_snapshot = Agent::recover(settings(), self.agent.checkpoints()).expect("it fits");
        core.sanity_check();
        assert_eq!(core.checkpoints(), of_snapshot.checkpoints(), "records and snapshot say the same");
        let (effects, records) = (self.effects.clone(), self.records.clone());
        let mut env = TestEnv { agent: core, now: self.now, effects, records, persists: true, prepares: true };
        let containers: BTreeMap<LocalId, Found> =
            found.iter().map(|(id, found)| (LocalId(*id), found.clone())).collect();
        env.on(Event::Found { containers, others });
        env
    }

    /// What it tells its master once it is registered.
    fn told(&mut self) -> Vec<(String, u64, TaskState)> {
        self.effects.clear();
        self.registered(2);
        self.states()
    }
}

/// With its records.
fn fresh() -> TestEnv {
    let mut env = TestEnv::apart();
    env.registered(1);
    env
}

fn exited(exit: ExitStatus) -> Found {
    Found::Exited { exit, last_words: None, output_bytes: None }
}

#[test]
fn a_task_that_runs_is_not_told_again_once_acknowledged() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    env.launched(1);
    let mut next = env.restarted(&[(1, Found::Running)], Others::Unstarted);
    assert_eq!(next.told(), [("t".to_string(), 1, TaskState::TaskRunning)], "it wasn't acknowledged");
    next = env.restarted(&[(1, Found::Running)], Others::Unstarted);
    next.registered(2);
    next.acknowledge("t", 1);
    let mut last = next.restarted(&[(1, Found::Running)], Others::Unstarted);
    assert_eq!(last.agent.id(), Some(&agent()));
    assert_eq!(last.told(), []);
    last.exited(1, ExitStatus::code(3));
    assert_eq!(last.states(), [("t".to_string(), 2, TaskState::TaskFailed)]);
}

#[test]
fn an_end_in_between_is_told_once() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    env.launched(1);
    env.acknowledge("t", 1);
    let mut next = env.restarted(&[(1, exited(ExitStatus::code(0)))], Others::Unstarted);
    next.exited(1, ExitStatus::code(0));
    let mut last = next.restarted(&[], Others::Unstarted);
    assert_eq!(last.told(), [("t".to_string(), 2, TaskState::TaskFinished)]);
    last.acknowledge("t", 2);
    assert_eq!(last.restarted(&[], Others::Unstarted).told(), []);
}

#[test]
fn a_launch_that_never_reached_the_launcher_is_started_and_one_that_may_have_is_not() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    let launches = |env: &TestEnv| env.effects.iter().filter(|effect| matches!(effect, Effect::Launch { .. })).count();
    assert_eq!(launches(&env.restarted(&[], Others::Unstarted)), launches(&env) + 1);
    assert_eq!(launches(&env.restarted(&[(1, Found::Launching)], Others::Unstarted)), launches(&env));
    let mut lost = env.restarted(&[], Others::Lost);
    assert_eq!(launches(&lost), launches(&env));
    lost.effects.clear();
    lost.registered(2);
    let end = lost.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskLost, Reason::ExitUnknown));
}

#[test]
fn a_reboot_loses_each_task_once() {
    let mut env = fresh();
    env.run(vec![task("t"), executor_task("u")]);
    env.launched(1);
    let mut next = env.restarted(&[], Others::Rebooted);
    assert_eq!(next.told().len(), 2, "one that ran is told so first");
    next.acknowledge("t", 1);
    assert_eq!(next.last().reason(), Reason::MachineRebooted);
    let mut last = next.restarted(&[], Others::Lost);
    last.effects.clear();
    last.registered(3);
    let told: Vec<_> = last.updates().into_iter().map(|update| update.status.reason()).collect();
    assert_eq!(told, [Reason::MachineRebooted; 2]);
}

#[test]
fn a_kill_is_carried_on() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    env.kill("t", None);
    let mut next = env.restarted(&[(1, Found::Running)], Others::Unstarted);
    assert_eq!(next.signals(), [(1, 15)], "it was launched and not told to end yet");
    let mut none = env.restarted(&[], Others::Unstarted);
    none.effects.clear();
    none.registered(2);
    assert_eq!(none.last().state(), TaskState::TaskKilled, "it is not started to be killed");
}

#[test]
fn what_an_executor_was_told_keeps_its_number_and_what_it_said_is_taken_once() {
    let mut env = fresh();
    env.run(vec![executor_task("t")]);
    env.launched(2);
    env.on(Event::ExecutorConnected { id: LocalId(2) });
    env.executor_update(2, 1, "t", TaskState::TaskRunning);
    env.numbered(2, 2, Body::Message(b"hello".to_vec()));
    env.say(1, "there");
    let mut next = env.restarted(&[(2, Found::Running)], Others::Unstarted);
    next.registered(2);
    next.effects.clear();
    next.on(Event::ExecutorConnected { id: LocalId(2) });
    let numbers: Vec<u64> = next
        .frames()
        .into_iter()
        .filter_map(|frame| match frame {
            frame::Frame::Numbered(numbered) => Some(numbered.seq),
            frame::Frame::Confirm(taken) => {
                assert_eq!(taken, 2, "both were taken");
                None
            }
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 2], "the task and the message, neither was confirmed, and the task is given once");
    next.numbered(2, 2, Body::Message(b"hello".to_vec()));
    assert!(next.calls().iter().all(|call| !matches!(call, crate::protocol::agent_call::Call::Message(_))));
    next.say(1, "there");
    assert!(next.frames().is_empty(), "it has that one");
}

#[test]
fn more_may_be_given_and_not_less_than_is_used() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    let with = |resources: &str| {
        let mut settings = env.agent.settings.clone();
        settings.info.resources = resources.parse().expect("resources");
        Agent::recover(settings, env.records.clone())
    };
    with("cpus:8;mem:1024").expect("more is fine").sanity_check();
    with("cpus:1;mem:16").expect("enough is fine").sanity_check();
    let refused = with("cpus:0.5;mem:1024").expect_err("too little").to_string();
    assert!(refused.contains("drain") && refused.contains("kill t"), "{refused}");
}

#[test]
fn ids_are_never_given_twice() {
    let mut env = fresh();
    env.run(vec![task("t")]);
    env.launched(1);
    env.exited(1, ExitStatus::code(0));
    env.acknowledge("t", 1);
    env.acknowledge("t", 2);
    let mut next = env.restarted(&[], Others::Unstarted);
    next.registered(2);
    next.effects.clear();
    next.run(vec![task("t")]);
    assert!(next.effects.contains(&Effect::Launch { id: LocalId(2) }));
}
