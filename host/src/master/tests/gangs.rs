//! Gangs: accepted whole, ended together, and what is held for them.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{Filters, GangRequest, Offer, TaskInfo, TaskState};

use super::env::{TestEnv, task};
use crate::master::LinkId;
use crate::protocol::{RunTasks, agent_event};

fn gang(id: &str) -> GangRequest {
    GangRequest { id: id.into(), slots: 4, per_slot: "cpus:1".parse().unwrap(), ..Default::default() }
}

fn request(env: &mut TestEnv, scheduler: LinkId, request: GangRequest) {
    env.call(scheduler, Call::RequestGang(scheduler::RequestGang { request }));
}

fn decline_all(env: &mut TestEnv, scheduler: LinkId) {
    let offer_ids = env.offers(scheduler).into_iter().map(|offer| offer.id).collect();
    let filters = Some(Filters::refuse(Duration::from_secs(3600)));
    env.call(scheduler, Call::Decline(scheduler::Decline { offer_ids, filters }));
}

fn runs(env: &mut TestEnv, agent: LinkId) -> Vec<RunTasks> {
    let runs = env.told(agent).into_iter().filter_map(|event| match event {
        agent_event::Event::RunTasks(run) => Some(run),
        _ => None,
    });
    runs.collect()
}

#[test]
fn a_gang_is_launched_whole_or_not_at_all() {
    let mut env = TestEnv::new();
    let (one, two) = (env.agent("h1", "cpus:2"), env.agent("h2", "cpus:2"));
    let scheduler = env.framework("f");
    decline_all(&mut env, scheduler);
    request(&mut env, scheduler, gang("g1"));
    let offer = env.offers(scheduler).remove(0);
    assert_eq!((offer.parts.len(), offer.gang_id.as_deref()), (2, Some("g1")));

    env.accept(scheduler, &offer, vec![task("a", "M-A1", "cpus:2"), task("b", "M-A2", "cpus:3")]);
    assert_eq!(env.updates(scheduler), [("b".into(), TaskState::TaskError), ("a".into(), TaskState::TaskError)]);
    request(&mut env, scheduler, gang("g2"));
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("a", "M-A1", "cpus:2")]);
    assert_eq!(env.updates(scheduler), [("a".into(), TaskState::TaskError)]);
    request(&mut env, scheduler, gang("g3"));
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("a", "M-A1", "cpus:2"), task("b", "M-A2", "cpus:2")]);
    assert_eq!((env.launched(one), env.launched(two)), (vec!["a".to_string()], vec!["b".to_string()]));

    env.report(one, "a", TaskState::TaskFailed, 1);
    assert!(matches!(&env.told(two)[..], [agent_event::Event::KillTask(kill)] if kill.task_id.as_str() == "b"));
}

#[test]
fn no_task_of_a_gang_runs_longer_than_the_gang() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    decline_all(&mut env, scheduler);
    request(&mut env, scheduler, GangRequest { max_duration_ms: Some(60_000), ..gang("g") });
    let offer = env.offers(scheduler).remove(0);
    let shorter = TaskInfo { max_duration_ms: Some(5000), ..task("short", "M-A1", "cpus:1") };
    let longer = TaskInfo { max_duration_ms: Some(90_000), ..task("long", "M-A1", "cpus:1") };
    env.accept(scheduler, &offer, vec![task("plain", "M-A1", "cpus:2"), shorter, longer]);
    let tasks: Vec<TaskInfo> = runs(&mut env, agent).into_iter().flat_map(|run| run.tasks).collect();
    let durations: Vec<_> = tasks.iter().map(|task| (task.id.as_str(), task.max_duration_ms.unwrap())).collect();
    assert_eq!(durations, [("plain", 60_000), ("short", 5000), ("long", 60_000)]);
}

/// `busy` runs on one of two agents for 60 s at the most; a gang wants both.
fn planned() -> (TestEnv, LinkId, LinkId, Offer) {
    let mut env = TestEnv::new();
    let (_one, two) = (env.agent("h1", "cpus:2"), env.agent("h2", "cpus:2"));
    let busy = env.framework("busy");
    let offer = env.offers(busy).into_iter().find(|offer| offer.parts[0].hostname == "h1").unwrap();
    let ends = TaskInfo { max_duration_ms: Some(57_000), ..task("t", "M-A1", "cpus:2") };
    env.accept(busy, &offer, vec![ends]);
    let open = env.master.offers.keys().cloned().collect();
    env.call(
        busy,
        Call::Decline(scheduler::Decline { offer_ids: open, filters: Some(Filters::refuse(Duration::ZERO)) }),
    );
    env.offers(busy);
    let mpi = env.framework("mpi");
    let open = env.master.offers.iter().filter(|(_, offer)| offer.framework_id.as_str() == "M-F1");
    let open = open.map(|(id, _)| id.clone()).collect();
    request(&mut env, mpi, gang("g"));
    env.call(
        busy,
        Call::Decline(scheduler::Decline { offer_ids: open, filters: Some(Filters::refuse(Duration::ZERO)) }),
    );
    env.call(busy, Call::Revive(scheduler::Revive {}));
    let lent =
        env.offers(busy).into_iter().find(|offer| offer.available_until_ns.is_some()).expect("held cores are lent");
    let status = env.events(mpi).into_iter().filter_map(|event| match event {
        event::Event::GangStatus(status) => status.planned_start_ns,
        _ => None,
    });
    assert_eq!(status.max(), Some((env.now + Duration::from_secs(60)).as_nanos()), "the framework hears when");
    (env, busy, two, lent)
}

#[test]
fn a_backfilled_task_is_over_before_the_planned_start() {
    let (mut env, busy, two, lent) = planned();
    let margin = Duration::from_millis(500);
    let until = lent.available_until_ns.unwrap();
    assert_eq!(until, (env.now + Duration::from_secs(60) - margin).as_nanos());
    let lasts = |ms| TaskInfo { max_duration_ms: Some(ms), ..task("late", "M-A2", "cpus:1") };
    assert!(!lent.has_time_for(env.now, lasts(56_501).over_within()));
    assert!(lent.has_time_for(env.now, lasts(56_500).over_within()), "3 s between TERM and KILL are left");

    let exact = TaskInfo { id: "exact".into(), ..lasts(56_500) };
    env.accept(busy, &lent, vec![lasts(56_501), task("endless", "M-A2", "cpus:1"), exact]);
    let refused = env.updates(busy);
    assert_eq!(refused, [("late".into(), TaskState::TaskError), ("endless".into(), TaskState::TaskError)]);
    let run = runs(&mut env, two).remove(0);
    assert_eq!(run.tasks[0].id.as_str(), "exact");
    assert_eq!(run.over_within_ms, Some(59_500), "the agent sees to it, however long its files take");
}
