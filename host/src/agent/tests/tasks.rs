//! Command tasks and their updates.

use std::time::Duration;

use mesos_plugin_api::v1::{CommandInfo, ExitStatus, FrameworkInfo, Reason, Resources, TaskInfo, TaskState, Uri};

use super::env::{TestEnv, task};
use crate::agent::{Effect, Event, LocalId, Refusal, UPDATE_RETRY};
use crate::protocol::{RunTasks, agent_event};

const TERM: i32 = 15;
const KILL: i32 = 9;

fn told(task: &str, seq: u64, state: TaskState) -> (String, u64, TaskState) {
    (task.to_string(), seq, state)
}

#[test]
fn the_next_state_is_told_when_the_one_before_was_acknowledged() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.exited(1, ExitStatus::code(0));
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskRunning)]);
    env.acknowledge("t", 2);
    env.acknowledge("t", 0);
    assert!(env.states().is_empty(), "not that one");
    env.acknowledge("t", 1);
    env.acknowledge("t", 1);
    assert_eq!(env.states(), [told("t", 2, TaskState::TaskFinished)]);
    env.acknowledge("t", 2);
    env.acknowledge("t", 2);
    env.pass(Duration::from_secs(3600));
    assert!(env.states().is_empty(), "forgotten");
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    let mut env = TestEnv::new();
    env.persists = false;
    env.run(vec![task("t")]);
    assert!(!env.take().iter().any(|effect| matches!(effect, Effect::Prepare { .. })), "not started either");
    // One was the registration's.
    env.on(Event::Persisted { seq: 2 });
    env.launched(1);
    assert!(env.states().is_empty());
    env.on(Event::Persisted { seq: 3 });
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskRunning)]);
}

#[test]
fn an_update_is_told_again_ever_more_slowly() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.take();
    env.pass(UPDATE_RETRY - Duration::from_millis(1));
    assert!(env.states().is_empty());
    env.pass(Duration::from_millis(1));
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskRunning)]);
    env.pass(UPDATE_RETRY * 2);
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskRunning)]);
    env.pass(UPDATE_RETRY * 3);
    assert!(env.states().is_empty());
}

#[test]
fn the_master_soon_hears_of_an_end_that_is_behind_another_state() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.exited(1, ExitStatus::code(0));
    env.take();
    env.pass(Duration::from_secs(1));
    let updates = env.updates();
    assert_eq!(
        (updates[0].status.state(), updates[0].latest_state()),
        (TaskState::TaskRunning, TaskState::TaskFinished)
    );
}

#[test]
fn an_exit_says_how_it_was() {
    for (exit, state) in [
        (ExitStatus::code(0), TaskState::TaskFinished),
        (ExitStatus::code(2), TaskState::TaskFailed),
        (ExitStatus::signal(11), TaskState::TaskFailed),
        (ExitStatus::unknown(), TaskState::TaskLost),
    ] {
        let mut env = TestEnv::new();
        env.run(vec![task("t")]);
        env.launched(1);
        env.acknowledge("t", 1);
        env.exited(1, exit);
        let end = env.last();
        let reason = if exit.is_unknown() { Reason::ExitUnknown } else { Reason::CommandExited };
        assert_eq!((end.state(), end.exit, end.reason()), (state, Some(exit), reason));
    }
}

#[test]
fn a_task_known_already_is_not_run_again() {
    let mut env = TestEnv::new();
    env.run(vec![task("t"), task("t")]);
    env.run(vec![task("t")]);
    let launches = env.take().into_iter().filter(|effect| matches!(effect, Effect::Launch { .. })).count();
    assert_eq!(launches, 1);
}

#[test]
fn more_than_is_free_is_refused_whatever_the_master_thinks() {
    let mut env = TestEnv::new();
    env.run(vec![TaskInfo { resources: Resources::new(3.5, 1.0), ..task("a") }]);
    env.take();
    env.run(vec![task("b")]);
    let status = env.last();
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::InvalidOffers));
    assert_eq!(status.message(), "agent here refused the task: 1 cpus asked, 0.5 available");
    env.launched(1);
    env.exited(1, ExitStatus::code(0));
    env.take();
    env.run(vec![TaskInfo { resources: Resources::new(4.0, 1024.0), ..task("c") }]);
    assert!(env.take().contains(&Effect::Launch { id: LocalId(3) }), "free again though nothing was acknowledged");
}

#[test]
fn what_no_agent_can_run_is_an_error() {
    let mut env = TestEnv::new();
    let odd = TaskInfo { command: None, ..task("odd") };
    let empty = TaskInfo { command: Some(CommandInfo::default()), ..task("empty") };
    let elsewhere = TaskInfo { agent_id: "z".into(), ..task("elsewhere") };
    env.run(vec![odd, empty, elsewhere, task("../up")]);
    let found: Vec<_> = env.updates().into_iter().map(|u| (u.status.state(), u.status.reason())).collect();
    let invalid = (TaskState::TaskError, Reason::InvalidTask);
    assert_eq!(found, [invalid, invalid, invalid, (TaskState::TaskError, Reason::TaskInvalidId)]);
}

#[test]
fn files_that_are_fetched_are_worth_a_state_and_may_fail() {
    let mut env = TestEnv::new();
    env.prepares = false;
    let mut fetching = task("t");
    fetching.command.as_mut().unwrap().uris.push(Uri { value: "http://x/y".into(), ..Uri::default() });
    env.run(vec![fetching]);
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskStarting)]);
    env.refused(1, Reason::FetchFailed);
    env.acknowledge("t", 1);
    let end = env.last();
    assert_eq!((end.state(), end.reason(), end.message()), (TaskState::TaskFailed, Reason::FetchFailed, "no"));
}

#[test]
fn a_kill_is_term_and_after_the_grace_kill() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.acknowledge("t", 1);
    env.take();
    env.kill("t", None);
    assert_eq!(env.signals(), [(1, TERM)]);
    env.kill("t", None);
    assert!(env.signals().is_empty(), "asked for once");
    env.pass(Duration::from_millis(2999));
    assert!(env.signals().is_empty());
    env.pass(Duration::from_millis(1));
    assert_eq!(env.signals(), [(1, KILL)]);
    env.exited(1, ExitStatus::signal(9));
    env.acknowledge("t", 2);
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskKilled, Reason::KilledByFramework));
}

#[test]
fn a_later_kill_may_only_shorten_the_grace() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.kill("t", Some(10_000));
    env.kill("t", Some(60_000));
    env.kill("t", Some(100));
    env.take();
    env.pass(Duration::from_millis(100));
    assert_eq!(env.signals(), [(1, KILL)]);
}

#[test]
fn a_kill_before_the_launch_leaves_nothing_to_launch() {
    let mut env = TestEnv::new();
    env.prepares = false;
    env.run(vec![task("t")]);
    env.take();
    env.kill("t", None);
    assert!(env.effects.contains(&Effect::Abandon { id: LocalId(1) }));
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskKilled)]);
    env.on(Event::Prepared { id: LocalId(1), outcome: Ok(()) });
    assert_eq!(env.take(), [], "too late");
}

#[test]
fn a_kill_during_the_launch_is_carried_out_after_it() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.kill("t", None);
    env.take();
    env.launched(1);
    assert_eq!(env.effects.iter().filter(|effect| matches!(effect, Effect::Signal { .. })).count(), 1);
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskKilling)], "never running");
    env.exited(1, ExitStatus::signal(15));
    env.acknowledge("t", 1);
    assert_eq!(env.states(), [told("t", 2, TaskState::TaskKilled)]);
}

#[test]
fn a_failed_launch_of_a_killed_task_is_a_kill() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.kill("t", None);
    let refusal = Refusal { reason: Reason::CommandNotLaunched, message: "no".into() };
    env.on(Event::LaunchFailed { id: LocalId(1), refusal });
    assert_eq!(env.states(), [told("t", 1, TaskState::TaskKilled)]);
}

#[test]
fn max_duration_counts_from_the_launch() {
    let mut env = TestEnv::new();
    env.run(vec![TaskInfo { max_duration_ms: Some(5000), kill_grace_ms: Some(1000), ..task("t") }]);
    env.pass(Duration::from_secs(60));
    env.launched(1);
    env.acknowledge("t", 1);
    env.take();
    env.pass(Duration::from_secs(5));
    assert_eq!(env.signals(), [(1, TERM)]);
    env.pass(Duration::from_secs(1));
    assert_eq!(env.signals(), [(1, KILL)]);
    env.exited(1, ExitStatus::signal(9));
    env.acknowledge("t", 2);
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::MaxDurationReached));
}

#[test]
fn what_is_lent_until_a_gang_starts_is_free_by_then_however_long_the_fetch_takes() {
    let lent = TaskInfo { max_duration_ms: Some(7000), kill_grace_ms: Some(1000), ..task("t") };
    let run = |env: &mut TestEnv| {
        let framework = FrameworkInfo { id: Some("f".into()), name: "f".into(), ..FrameworkInfo::default() };
        let tasks = vec![lent.clone()];
        let run = RunTasks { framework, tasks, over_within_ms: Some(10_000), ..RunTasks::default() };
        env.master(agent_event::Event::RunTasks(run));
    };
    let mut late = TestEnv::new();
    run(&mut late);
    late.pass(Duration::from_secs(5));
    late.launched(1);
    late.acknowledge("t", 1);
    late.take();
    late.pass(Duration::from_secs(4));
    assert_eq!(late.signals(), [(1, TERM)], "3 s before its own time is over");
    late.pass(Duration::from_secs(1));
    assert_eq!(late.signals(), [(1, KILL)]);

    let mut never = TestEnv { prepares: false, ..TestEnv::new() };
    run(&mut never);
    never.take();
    never.pass(Duration::from_secs(9));
    let end = never.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::MaxDurationReached));
}

#[test]
fn nothing_is_told_after_a_terminal_state() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.exited(1, ExitStatus::code(0));
    env.acknowledge("t", 1);
    env.take();
    env.exited(1, ExitStatus::code(1));
    env.kill("t", None);
    env.launched(1);
    assert!(env.states().is_empty());
    env.acknowledge("t", 2);
    env.kill("t", None);
    assert!(env.calls().is_empty());
}

#[test]
fn a_framework_that_is_shut_down_is_killed_and_forgotten() {
    let mut env = TestEnv::new();
    env.run(vec![task("runs"), task("ended")]);
    env.launched(1);
    env.launched(2);
    env.exited(2, ExitStatus::code(0));
    env.take();
    env.shut_down_framework();
    assert_eq!(env.signals(), [(1, TERM)]);
    env.exited(1, ExitStatus::signal(15));
    env.pass(Duration::from_secs(3600));
    assert!(env.calls().is_empty(), "nobody wants to know");
    env.run_for("g", vec![TaskInfo { resources: Resources::new(4.0, 1024.0), ..task("t") }]);
    assert!(env.take().contains(&Effect::Launch { id: LocalId(3) }), "all is free");
}

#[test]
fn a_task_waits_for_what_a_framework_that_was_shut_down_still_holds() {
    let mut env = TestEnv::new();
    env.run(vec![TaskInfo { resources: Resources::new(3.0, 1.0), ..task("t") }]);
    env.launched(1);
    env.shut_down_framework();
    env.take();
    env.run_for("g", vec![TaskInfo { resources: Resources::new(2.0, 1.0), ..task("u") }]);
    assert_eq!(env.take(), [], "it waits");
    env.exited(1, ExitStatus::signal(15));
    assert!(env.take().contains(&Effect::Launch { id: LocalId(2) }));
}

#[test]
fn a_lost_launcher_loses_its_tasks_and_ends_the_agent() {
    let mut env = TestEnv::new();
    env.run(vec![task("t")]);
    env.launched(1);
    env.acknowledge("t", 1);
    env.take();
    env.on(Event::LauncherLost { cause: "killed".into() });
    assert!(env.effects.iter().any(|effect| matches!(effect, Effect::Exit { .. })));
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskLost, Reason::LauncherLost));
}
