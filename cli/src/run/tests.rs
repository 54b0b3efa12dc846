use mesos_plugin_api::FakeMaster;
use mesos_plugin_api::v1::framework::{Follow, Signal, call::Call};
use mesos_plugin_api::v1::{AgentId, ExitStatus, OfferId, Source};

use super::*;

fn job(count: u32) -> Job {
    Job {
        count,
        each: Resources::new(1.0, 100.0),
        command: CommandInfo::argv(["prog"]),
        max_duration: None,
        follow: true,
        label: false,
        max_fail: None,
    }
}

fn start(job: Job) -> FakeMaster {
    FakeMaster::new(Box::new(RunFramework::new(job)))
}

fn id(name: &str) -> TaskId {
    TaskId::from(name)
}

fn ended(task: &str, exit: ExitStatus) -> TaskStatus {
    let state = if exit.success() { TaskState::TaskFinished } else { TaskState::TaskFailed };
    let mut status =
        TaskStatus::new(id(task), state).because(Source::Agent, Reason::CommandExited, "the command ended");
    status.exit = Some(exit);
    status
}

fn follows(master: &FakeMaster) -> Vec<&Follow> {
    master.calls.iter().filter_map(|call| if let Call::Follow(follow) = call { Some(follow) } else { None }).collect()
}

fn kills(master: &FakeMaster) -> Vec<(String, Option<u64>)> {
    let kill = |call: &Call| match call {
        Call::Kill(kill) => Some((kill.task_id.to_string(), kill.grace_ms)),
        _ => None,
    };
    master.calls.iter().filter_map(kill).collect()
}

#[test]
fn tasks_fill_what_is_offered_and_the_rest_waits_for_room() {
    let mut master = start(job(7));
    master.add_agent("A1", "cpus:4;mem:350");
    master.add_agent("A2", "cpus:2;mem:1000");
    master.offer();
    let on = |agent: &str, master: &FakeMaster| {
        master.live_tasks().iter().filter(|task| task.agent_id == AgentId::from(agent)).count()
    };
    assert_eq!((on("A1", &master), on("A2", &master)), (3, 2), "memory bounds the one, cores the other");
    assert!(!master.calls.iter().any(|call| matches!(call, Call::Suppress(_))));
    master.update_with(ended("test.0", ExitStatus::code(0)));
    master.update_with(ended("test.1", ExitStatus::code(0)));
    master.offer();
    assert_eq!(master.live_tasks().len(), 5);
    assert!(master.calls.iter().any(|call| matches!(call, Call::Suppress(_))), "all are launched");
    for task in ["test.2", "test.3", "test.4", "test.5"] {
        master.update_with(ended(task, ExitStatus::code(0)));
        assert_eq!(master.finished, None);
    }
    master.update_with(ended("test.6", ExitStatus::code(0)));
    assert_eq!(master.finished, Some((0, None)));
}

#[test]
fn an_offer_without_room_is_declined() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:0.5;mem:1000");
    master.offer();
    assert!(matches!(master.calls.last(), Some(Call::Decline(_))), "{:?}", master.calls.last());
    assert!(master.open_offers().next().is_none());
}

#[test]
fn output_is_followed_once_from_the_first_sign_of_life() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    master.offer();
    assert!(follows(&master).is_empty(), "the master may not know it yet");
    master.update(&id("test.0"), TaskState::TaskStarting);
    master.update(&id("test.0"), TaskState::TaskRunning);
    master.update(&id("test.0"), TaskState::TaskRunning);
    master.update_with(ended("test.0", ExitStatus::code(0)));
    let follows = follows(&master);
    assert_eq!(follows.len(), 1);
    assert_eq!(
        follows[0].files.iter().map(|f| (f.path.as_str(), f.stderr)).collect::<Vec<_>>(),
        [("stdout", None), ("stderr", Some(true))]
    );
    assert!(follows[0].files.iter().all(|file| file.label.is_none()));
}

#[test]
fn a_task_too_short_to_be_seen_running_is_followed_too_and_labels_are_numbers() {
    let mut master = start(Job { label: true, ..job(2) });
    master.add_agent("A1", "cpus:2;mem:200");
    master.offer();
    master.update_with(ended("test.1", ExitStatus::code(0)));
    assert_eq!(follows(&master)[0].files[0].label.as_deref(), Some("1: "));
    let second = &master.live_tasks()[0].command;
    let environment = &second.as_ref().expect("a command").environment;
    assert!(environment.iter().any(|v| v.name == "MESOS_RUN_INDEX" && v.value == b"0"));
}

#[test]
fn of_many_tasks_those_that_run_on_are_followed_after_a_while() {
    let mut master = start(job(3));
    master.add_agent("A1", "cpus:3;mem:300");
    master.offer();
    master.update(&id("test.0"), TaskState::TaskRunning);
    let half = FOLLOW_AFTER / 2;
    master.advance_to(master.now() + half);
    master.update(&id("test.1"), TaskState::TaskRunning);
    assert!(follows(&master).is_empty());
    master.advance_to(master.now() + half);
    let followed = |master: &FakeMaster| follows(master).iter().map(|f| f.task_id.to_string()).collect::<Vec<_>>();
    assert_eq!(followed(&master), ["test.0"]);
    master.advance_to(master.now() + half);
    assert_eq!(followed(&master), ["test.0", "test.1"]);
    master.update_with(ended("test.1", ExitStatus::code(0)));
    assert_eq!(followed(&master).len(), 2, "once");
}

#[test]
fn of_many_tasks_those_that_wrote_nothing_are_not_asked() {
    let mut master = start(job(4));
    master.add_agent("A1", "cpus:4;mem:400");
    master.offer();
    for (task, output_bytes) in [("test.0", Some(0)), ("test.1", Some(7)), ("test.2", None)] {
        master.update(&id(task), TaskState::TaskRunning);
        master.update_with(TaskStatus { output_bytes, ..ended(task, ExitStatus::code(0)) });
    }
    // Nobody has looked at what became of one that was lost.
    master.update(&id("test.3"), TaskState::TaskRunning);
    master.update(&id("test.3"), TaskState::TaskLost);
    master.advance_to(master.now() + 2 * FOLLOW_AFTER);
    let followed: Vec<_> = follows(&master).iter().map(|follow| follow.task_id.to_string()).collect();
    assert_eq!(followed, ["test.1", "test.2", "test.3"]);
}

#[test]
fn output_is_left_alone_on_request() {
    let mut master = start(Job { follow: false, ..job(1) });
    master.add_agent("A1", "cpus:1;mem:100");
    master.offer();
    master.update(&id("test.0"), TaskState::TaskRunning);
    assert!(follows(&master).is_empty());
}

#[test]
fn the_exit_status_is_the_first_failing_tasks() {
    let mut master = start(job(3));
    master.add_agent("A1", "cpus:3;mem:300");
    master.offer();
    master.update_with(ended("test.2", ExitStatus::signal(9)));
    master.update_with(ended("test.0", ExitStatus::code(3)));
    master.update_with(ended("test.1", ExitStatus::code(0)));
    let (code, message) = master.finished.clone().expect("all have ended");
    assert_eq!(code, 137);
    assert!(message.expect("a summary").starts_with("2 of 3 tasks failed"));
    let said: Vec<String> = master
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Output(output) => Some(String::from_utf8_lossy(&output.data).into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["mesos: task test.2 on host-A1: signal 9 (KILL)\n"], "one line, at once");
}

#[test]
fn a_single_task_says_which_where_and_why() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    master.offer();
    let status = TaskStatus::new(id("test.0"), TaskState::TaskFailed);
    master.update_with(status.because(Source::Agent, Reason::CommandNotLaunched, "prog: no such file"));
    assert_eq!(master.finished, Some((1, Some("task test.0 on host-A1: prog: no such file".to_string()))));
}

#[test]
fn a_lost_agent_fails_its_tasks() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    master.offer();
    master.update(&id("test.0"), TaskState::TaskRunning);
    master.lose_agent(&AgentId::from("A1"));
    let (code, message) = master.finished.expect("ended");
    assert_eq!((code, message.as_deref()), (1, Some("task test.0 on host-A1: agent lost")));
}

#[test]
fn a_task_that_never_started_is_launched_again_but_not_for_ever() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    let dropped = |task: &str| {
        TaskStatus::new(id(task), TaskState::TaskDropped).because(
            Source::Master,
            Reason::InvalidOffers,
            "offer rescinded",
        )
    };
    master.offer();
    master.update_with(dropped("test.0"));
    for attempt in 2..=10 {
        assert_eq!(master.finished, None);
        master.offer();
        master.update_with(dropped(&format!("test.0-{attempt}")));
    }
    assert_eq!(master.finished, Some((1, Some("task test.0-10 on host-A1: offer rescinded".to_string()))));
}

#[test]
fn the_first_interrupt_kills_and_the_second_one_without_grace() {
    let mut master = start(job(3));
    master.add_agent("A1", "cpus:2;mem:200");
    master.offer();
    master.send(Event::Signal(Signal { number: 2 }));
    assert_eq!(kills(&master), [("test.0".to_string(), None), ("test.1".to_string(), None)]);
    master.send(Event::Signal(Signal { number: 2 }));
    assert_eq!(kills(&master)[2..], [("test.0".to_string(), Some(0)), ("test.1".to_string(), Some(0))]);
    master.update(&id("test.0"), TaskState::TaskKilled);
    assert_eq!(master.finished, None);
    master.offer();
    assert_eq!(master.live_tasks().len(), 1, "nothing new is launched");
    master.update(&id("test.1"), TaskState::TaskKilled);
    assert_eq!(master.finished, Some((130, None)));
}

#[test]
fn an_interrupt_before_any_task_ends_at_once_and_other_signals_do_nothing() {
    let mut master = start(job(3));
    master.send(Event::Signal(Signal { number: 10 }));
    assert_eq!(master.finished, None);
    master.send(Event::Signal(Signal { number: 15 }));
    assert_eq!(master.finished, Some((143, None)));
}

#[test]
fn enough_failures_end_the_rest() {
    let mut master = start(Job { max_fail: Some(2), ..job(10) });
    master.add_agent("A1", "cpus:3;mem:300");
    master.offer();
    master.update_with(ended("test.0", ExitStatus::code(1)));
    assert!(kills(&master).is_empty());
    master.update_with(ended("test.1", ExitStatus::code(2)));
    assert_eq!(kills(&master), [("test.2".to_string(), None)]);
    master.update(&id("test.2"), TaskState::TaskKilled);
    let (code, message) = master.finished.expect("ended");
    assert_eq!(code, 1);
    assert!(message.expect("a summary").starts_with("2 of 10 tasks failed, 8 were ended or left out"));
}

#[test]
fn what_is_waited_for_is_said_after_a_second_and_taken_back() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    let bars = |master: &FakeMaster| {
        master
            .calls
            .iter()
            .filter_map(|call| if let Call::Progress(p) = call { Some(p.clone()) } else { None })
            .collect::<Vec<_>>()
    };
    master.advance_to(master.now() + Duration::from_millis(999));
    assert!(bars(&master).is_empty());
    master.advance_to(master.now() + Duration::from_millis(1));
    assert_eq!(bars(&master)[0].message.as_deref(), Some("waiting for an agent with cpus:1;mem:100 free"));
    master.offer();
    master.update(&id("test.0"), TaskState::TaskRunning);
    assert_eq!(bars(&master)[1].end, Some(true));
}

#[test]
fn an_offer_held_for_a_gang_takes_only_tasks_that_end_in_time() {
    // With the 3 s between TERM and KILL, before 10 s have passed.
    for (max_duration, launched) in [(None, 0), (Some(8), 0), (Some(7), 1)] {
        let mut run = RunFramework::new(Job { max_duration: max_duration.map(Duration::from_secs), ..job(1) });
        let part = OfferPart {
            agent_id: AgentId::from("A1"),
            hostname: "h".into(),
            address: "127.0.0.1".into(),
            resources: Resources::new(1.0, 100.0),
            attributes: Vec::new(),
            slots: None,
            volume: None,
        };
        let now = Time(5_000_000_000);
        let offer = Offer {
            id: OfferId::from("O1"),
            framework_id: "F1".into(),
            parts: vec![part],
            gang_id: None,
            available_until_ns: Some(15_000_000_000),
        };
        let mut calls = Calls::default();
        run.offered(now, &offer, &mut calls);
        assert_eq!(run.live.len(), launched, "{max_duration:?}");
    }
}

#[test]
fn a_large_environment_is_split_over_calls() {
    let mut big = job(20);
    big.command.set_env("BIG", vec![b'x'; 2 << 20]);
    let mut master = start(big);
    master.add_agent("A1", "cpus:20;mem:2000");
    master.offer();
    assert_eq!(master.live_tasks().len(), 7, "16 MB of them");
    let Some(Call::Accept(accept)) = master.calls.iter().rev().find(|call| matches!(call, Call::Accept(_))) else {
        panic!("an accept")
    };
    assert_eq!(accept.filters.as_ref().and_then(|filters| filters.refuse_ms), Some(0), "the rest is wanted at once");
    master.offer();
    master.offer();
    assert_eq!(master.live_tasks().len(), 20);
}

#[test]
fn five_thousand_tasks_move_the_bar_at_most_ten_times_a_second() {
    let mut master = start(job(5000));
    master.add_agent("A1", "cpus:5000;mem:500000");
    master.offer();
    for index in 0..4999 {
        master.update_with(ended(&format!("test.{index}"), ExitStatus::code(0)));
    }
    let bars = |master: &FakeMaster| master.calls.iter().filter(|call| matches!(call, Call::Progress(_))).count();
    assert_eq!(bars(&master), 1);
    master.advance_to(master.now() + BAR_INTERVAL);
    assert_eq!(bars(&master), 2, "the last state is shown");
    master.update_with(ended("test.4999", ExitStatus::code(0)));
    assert_eq!(master.finished, Some((0, None)));
}

fn said(master: &FakeMaster) -> String {
    let text = |call: &Call| match call {
        Call::Output(output) if output.stderr == Some(true) => Some(String::from_utf8_lossy(&output.data).into_owned()),
        _ => None,
    };
    master.calls.iter().filter_map(text).collect()
}

fn is(task: &str, state: TaskState, reason: Reason) -> TaskStatus {
    TaskStatus::new(task.into(), state).because(Source::Master, reason, "the reason")
}

#[test]
fn a_task_that_a_drain_ended_starts_again_elsewhere() {
    let mut master = start(job(1));
    master.add_agent("A1", "cpus:1;mem:100");
    master.offer();
    master.drain_agent(&"A1".into(), Time(5_000_000_000));
    assert!(master.calls.iter().any(|call| matches!(call, Call::DeclineInverseOffers(_))));
    assert!(kills(&master).is_empty(), "it may end before that");
    master.update_with(is("test.0", TaskState::TaskKilled, Reason::AgentDraining));
    assert!(said(&master).contains("test.0 was ended and starts again elsewhere: the reason"), "{}", said(&master));
    master.offer();
    assert!(master.live_tasks().is_empty());
    master.add_agent("A2", "cpus:1;mem:100");
    master.offer();
    assert_eq!(master.live_tasks()[0].id.as_str(), "test.0-2");
    master.update_with(ended("test.0-2", ExitStatus::code(0)));
    assert_eq!(master.finished, Some((0, None)));
}

#[test]
fn a_task_out_of_reach_is_waited_for_unless_the_job_is_to_end() {
    let mut master = start(job(2));
    master.add_agent("A1", "cpus:1;mem:100");
    master.add_agent("A2", "cpus:1;mem:100");
    master.offer();
    for _ in 0..2 {
        master.update_with(is("test.0", TaskState::TaskUnreachable, Reason::AgentRemoved));
    }
    assert_eq!(said(&master).matches("test.0 may still run: the reason").count(), 1, "{}", said(&master));
    master.update_with(is("test.0", TaskState::TaskRunning, Reason::Reconciliation));
    assert_eq!(master.finished, None);
    master.update_with(is("test.0", TaskState::TaskUnreachable, Reason::AgentRemoved));
    master.send(Event::Signal(mesos_plugin_api::v1::framework::Signal { number: 2 }));
    assert_eq!(master.finished, None, "the other one ends in order");
    master.update_with(is("test.1", TaskState::TaskUnreachable, Reason::AgentRemoved));
    assert_eq!(master.finished, Some((130, None)));
}
