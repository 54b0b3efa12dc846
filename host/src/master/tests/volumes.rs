//! Volumes: made, offered to their owner alone, used, given up, found again.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, VolumeState, call::Call, event};
use mesos_plugin_api::v1::{Filters, FrameworkInfo, Offer, TaskInfo, TaskState};

use super::env::{TestEnv, refused, task};
use crate::master::{Caller, Effect, Event, LinkId};
use crate::protocol::{
    DestroyVolumeCall, ListVolumes, VolumeId, VolumeOutcome, VolumeRecord, VolumeRow, agent_call, agent_event,
    operator_call, operator_reply,
};

const HAS: &str = "cpus:2;mem:100;ports:[1-9]";
const KEPT: &str = "cpus:1;mem:64;ports:[5]";

fn id(name: &str) -> VolumeId {
    VolumeId { user: "u".into(), framework: "db".into(), name: name.into() }
}

fn record(name: &str) -> VolumeRecord {
    VolumeRecord { id: id(name), reserved: KEPT.parse().unwrap() }
}

fn on_data(name: &str, resources: &str) -> TaskInfo {
    task(name, "M-A1", resources).mounting("data", "db")
}

fn at_once() -> Option<Filters> {
    Some(Filters::refuse(Duration::ZERO))
}

impl TestEnv {
    fn create(&mut self, link: LinkId, offer: &Offer, reserve: &str, tasks: Vec<TaskInfo>) {
        let reserve = reserve.parse().unwrap();
        let create = scheduler::CreateVolume { name: "data".into(), agent_id: "M-A1".into(), reserve };
        self.create_this(link, offer, create, tasks);
    }

    fn create_this(&mut self, link: LinkId, offer: &Offer, create: scheduler::CreateVolume, tasks: Vec<TaskInfo>) {
        let (offer_ids, create_volumes) = (vec![offer.id.clone()], vec![create]);
        self.call(link, Call::Accept(scheduler::Accept { offer_ids, tasks, filters: at_once(), create_volumes }));
    }

    fn outcome(&mut self, agent: LinkId, name: &str, exists: bool, error: Option<&str>) {
        let outcome = VolumeOutcome { id: id(name), exists, error: error.map(str::to_string) };
        self.agent_says(agent, agent_call::Call::Volume(outcome));
    }

    /// State and message of each volume that a scheduler heard of, and the offers of volumes.
    fn heard(&mut self, link: LinkId) -> (Vec<(VolumeState, String)>, Vec<Offer>) {
        let (mut states, mut offers) = (Vec::new(), Vec::new());
        for event in self.events(link) {
            match event {
                event::Event::VolumeStatus(status) => {
                    states.push((status.state(), status.message.unwrap_or_default()));
                }
                event::Event::Offers(more) => {
                    offers.extend(more.offers.into_iter().filter(|offer| offer.volume().is_some()));
                }
                _ => {}
            }
        }
        (states, offers)
    }

    fn rows(&mut self) -> Vec<VolumeRow> {
        let rows = self.operator(operator_call::Call::ListVolumes(ListVolumes {})).into_iter();
        let row = |row| match row {
            Ok(operator_reply::Reply::Volume(row)) => row,
            other => panic!("{other:?}"),
        };
        rows.map(row).collect()
    }

    /// What anybody is offered of the agents, by a framework that has come for that.
    fn free(&mut self, name: &str) -> String {
        let link = self.framework(name);
        let offers = self.offers(link);
        let free = offers.iter().map(Offer::resources).fold(Default::default(), |sum, one| sum + &one);
        self.handle(Event::Disconnected { link });
        let free: mesos_plugin_api::v1::Resources = free;
        free.to_string()
    }
}

/// An agent, and `db`, which wants no offers now, with a task on a volume that is ready.
fn running() -> (TestEnv, LinkId, LinkId) {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", HAS);
    let db = env.framework("db");
    let offer = env.offers(db).remove(0);
    env.call(db, Call::Suppress(scheduler::Suppress {}));
    env.create(db, &offer, KEPT, vec![on_data("t", KEPT)]);
    let told = env.told(agent);
    assert!(
        matches!(&told[..], [_, agent_event::Event::CreateVolume(create), agent_event::Event::RunTasks(run)]
            if create.volume == record("data") && run.tasks[0].reserved() == create.volume.reserved),
        "the volume before the task that mounts it: {told:?}"
    );
    assert_eq!(env.heard(db).0, [], "nothing is said before it is durable");
    env.outcome(agent, "data", true, None);
    assert_eq!(env.heard(db).0, [(VolumeState::VolumeReady, String::new())]);
    (env, agent, db)
}

#[test]
fn a_volume_is_offered_to_its_owner_alone_when_its_task_has_ended() {
    let (mut env, agent, db) = running();
    assert_eq!(env.free("web"), "cpus:1;mem:36;ports:[1-4,6-9]");
    env.report(agent, "t", TaskState::TaskFailed, 1);
    assert_eq!(env.free("web2"), "cpus:1;mem:36;ports:[1-4,6-9]");
    env.call(db, Call::Revive(scheduler::Revive {}));
    let offer = env.heard(db).1.remove(0);
    assert_eq!(offer.resources(), record("data").reserved);
    assert_eq!(offer.volume().unwrap().reserved, record("data").reserved);
    env.told(agent);
    env.accept(db, &offer, vec![on_data("t2", "cpus:1;ports:[5]")]);
    assert_eq!(env.launched(agent), ["t2"], "the volume's own offer is enough");
    let row = env.rows().remove(0);
    assert_eq!((row.used.to_string(), row.tasks[0].as_str()), ("cpus:1;ports:[5]".into(), "t2"));
}

#[test]
fn a_task_takes_from_the_reservation_first_and_the_rest_from_other_offers() {
    let (mut env, agent, db) = running();
    env.report(agent, "t", TaskState::TaskFinished, 1);
    env.acknowledge(db, "t", 1);
    env.told(agent);
    env.call(db, Call::Revive(scheduler::Revive {}));
    let offers = env.offers(db);
    assert_eq!(offers.len(), 2);
    let offer_ids = offers.into_iter().map(|offer| offer.id).collect();
    let tasks = vec![on_data("t", "cpus:1.5;ports:[5-6]"), task("plain", "M-A1", "mem:40")];
    env.call(db, Call::Suppress(scheduler::Suppress {}));
    env.call(db, Call::Accept(scheduler::Accept { offer_ids, tasks, ..Default::default() }));
    assert!(refused(env.events(db)).contains("40 MB mem asked, 36 MB available"), "the rest is the mount's alone");
    let run = env.told(agent).into_iter().find_map(|event| match event {
        agent_event::Event::RunTasks(run) => Some(run.tasks),
        _ => None,
    });
    assert_eq!(run.unwrap()[0].reserved().to_string(), "cpus:1;ports:[5]");
    assert_eq!(env.free("web"), "cpus:0.5;mem:36;ports:[1-4,7-9]");
    env.report(agent, "t", TaskState::TaskFinished, 1);
    assert_eq!(env.free("web2"), "cpus:1;mem:36;ports:[1-4,6-9]");
}

#[test]
fn a_framework_that_comes_back_under_its_name_finds_its_volume() {
    let (mut env, agent, db) = running();
    env.call(db, Call::Teardown(scheduler::Teardown::default()));
    env.report(agent, "t", TaskState::TaskKilled, 1);
    assert_eq!(env.free("web"), "cpus:1;mem:36;ports:[1-4,6-9]", "whether the owner runs or not");
    let info =
        |user: &str| FrameworkInfo { name: "db".into(), user: user.into(), role: "r".into(), ..Default::default() };
    let other = env.framework_of(info("v"), None);
    assert_eq!(env.heard(other), (vec![], vec![]), "another user's framework of the same name is another owner");
    env.handle(Event::Disconnected { link: other });

    let again = env.framework_of(info("u"), None);
    let events = env.events(again);
    assert!(
        matches!(&events[1], event::Event::VolumeStatus(status) if status.hostname.as_deref() == Some("h1")),
        "before the first offers: {events:?}"
    );
    let offers = events.into_iter().filter_map(|event| match event {
        event::Event::Offers(offers) => Some(offers.offers),
        _ => None,
    });
    let offer = offers.flatten().find(|offer| offer.volume().is_some()).unwrap();
    env.told(agent);
    env.accept(again, &offer, vec![on_data("t", KEPT)]);
    assert_eq!(env.launched(agent), ["t"]);
}

#[test]
fn what_an_agent_could_not_make_is_anybodys_again() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", HAS);
    let db = env.framework("db");
    let offer = env.offers(db).remove(0);
    env.call(db, Call::Suppress(scheduler::Suppress {}));
    env.create(db, &offer, KEPT, vec![on_data("t", "cpus:1")]);
    env.outcome(agent, "data", false, Some("disk full"));
    assert_eq!(env.heard(db).0, [(VolumeState::VolumeRefused, "disk full".to_string())]);
    assert_eq!(env.free("web"), "cpus:1;mem:100;ports:[1-9]", "the task has its part until it has failed");
    env.report(agent, "t", TaskState::TaskFailed, 1);
    assert_eq!(env.free("web2"), HAS);
    assert!(env.rows().is_empty());
    env.told(agent);
    env.outcome(agent, "data", true, None);
    assert!(matches!(&env.told(agent)[..], [agent_event::Event::DestroyVolume(destroy)] if destroy.id == id("data")));
}

#[test]
fn filters_suppress_and_timeouts_hold_for_volumes_too() {
    let (mut env, agent, db) = running();
    env.report(agent, "t", TaskState::TaskFinished, 1);
    assert!(env.heard(db).1.is_empty(), "it suppressed offers");
    env.call(db, Call::Revive(scheduler::Revive {}));
    let offer = env.heard(db).1.remove(0);
    let decline = |secs, offer: &Offer| {
        let filters = Some(Filters::refuse(Duration::from_secs(secs)));
        Call::Decline(scheduler::Decline { offer_ids: vec![offer.id.clone()], filters })
    };
    env.call(db, decline(60, &offer));
    env.after(Duration::from_secs(59));
    assert!(env.heard(db).1.is_empty());
    env.after(Duration::from_secs(1));
    let offer = env.heard(db).1.remove(0);
    env.call(db, decline(60, &offer));
    env.call(db, Call::Revive(scheduler::Revive {}));
    let offer = env.heard(db).1.remove(0);
    env.after(Duration::from_secs(30));
    let mut events = env.events(db).into_iter();
    let rescinds = |event| matches!(event, event::Event::Rescind(rescind) if rescind.offer_id == offer.id);
    assert!(events.any(rescinds), "an unanswered offer is taken back");
    env.after(Duration::from_secs(5));
    assert_eq!(env.heard(db).1.len(), 1);
    env.handle(Event::Disconnected { link: db });
    assert_eq!(env.rows().len(), 1);
}

#[test]
fn a_volume_is_destroyed_when_no_task_mounts_it() {
    let (mut env, agent, db) = running();
    let destroy = scheduler::DestroyVolume { agent_id: "M-A1".into(), name: "data".into() };
    env.call(db, Call::DestroyVolume(destroy.clone()));
    assert_eq!(env.heard(db).0, [(VolumeState::VolumeRefused, "the task t mounts it; kill that first".to_string())]);
    env.report(agent, "t", TaskState::TaskFinished, 1);
    env.call(db, Call::Revive(scheduler::Revive {}));
    let offer = env.heard(db).1.remove(0);
    env.told(agent);
    env.call(db, Call::DestroyVolume(destroy));
    assert!(matches!(&env.told(agent)[..], [agent_event::Event::DestroyVolume(_)]));
    env.accept(db, &offer, vec![on_data("late", "cpus:1")]);
    assert_eq!(env.updates(db), [("late".into(), TaskState::TaskDropped)], "its offer was rescinded");
    env.outcome(agent, "data", false, None);
    assert_eq!(env.heard(db).0, [(VolumeState::VolumeDestroyed, "destroyed by its framework".to_string())]);
    env.handle(Event::Disconnected { link: db });
    assert_eq!(env.free("web"), HAS);
}

#[test]
fn only_its_user_or_an_operator_destroys_it_by_command() {
    let (mut env, agent, db) = running();
    let call = |name: &str, agent: Option<&str>| {
        let agent = agent.map(str::to_string);
        operator_call::Call::DestroyVolume(DestroyVolumeCall { name: name.into(), agent, framework: None })
    };
    let error = |answer: Vec<Result<operator_reply::Reply, String>>| answer.into_iter().next().unwrap().unwrap_err();
    assert!(error(env.operator(call("data", None))).contains("the task t mounts it"));
    env.report(agent, "t", TaskState::TaskFinished, 1);
    env.acknowledge(db, "t", 1);
    assert!(error(env.operator(call("date", None))).contains("no volume \"date\""));
    assert!(error(env.operator(call("data", Some("h2")))).contains("no volume"));
    env.caller = Caller { principal: "eve".into(), user: Some("eve".into()) };
    assert!(error(env.operator(call("data", None))).contains("data of db is u's"));
    env.caller = Caller { principal: "u".into(), user: Some("u".into()) };
    env.told(agent);
    let replies = |env: &mut TestEnv| {
        let replies = std::mem::take(&mut env.effects).into_iter().filter_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(reply.map(|reply| reply.reply.unwrap())),
            _ => None,
        });
        replies.collect::<Vec<_>>()
    };
    assert!(env.operator(call("data", Some("h1"))).is_empty(), "it waits for the agent");
    env.outcome(agent, "data", true, Some("input/output error"));
    assert_eq!(error(replies(&mut env)), "input/output error");
    assert!(env.operator(call("data", None)).is_empty());
    env.outcome(agent, "data", false, None);
    assert!(matches!(&replies(&mut env)[..], [Ok(operator_reply::Reply::Done(_))]));
    assert!(env.rows().is_empty());
}

#[test]
fn an_agent_that_comes_back_says_what_it_still_has() {
    let (mut env, agent, db) = running();
    env.report(agent, "t", TaskState::TaskFinished, 1);
    env.acknowledge(db, "t", 1);
    env.handle(Event::Disconnected { link: agent });
    let states = |env: &mut TestEnv| env.heard(db).0.into_iter().map(|(state, _)| state).collect::<Vec<_>>();
    assert_eq!(states(&mut env), [VolumeState::VolumeUnreachable]);
    assert!(env.rows().is_empty());

    env.volumes_found = vec![record("data")];
    env.agent("h1", HAS);
    assert_eq!(states(&mut env), [VolumeState::VolumeReady]);
    let again = env.link();
    env.handle(Event::AgentConnected { link: again });
    env.register(again, "h1", HAS, Some("M-A2"), Vec::new());
    assert_eq!(states(&mut env), [VolumeState::VolumeDestroyed], "its disk was lost");
    env.handle(Event::Disconnected { link: db });
    assert_eq!(env.free("web"), HAS);
}

#[test]
fn a_volume_that_is_being_made_when_the_agent_leaves_is_there_afterwards_or_refused() {
    for (found, state) in [(vec![record("data")], VolumeState::VolumeReady), (vec![], VolumeState::VolumeRefused)] {
        let mut env = TestEnv::new();
        let agent = env.agent("h1", HAS);
        let db = env.framework("db");
        let offer = env.offers(db).remove(0);
        env.create(db, &offer, KEPT, vec![task("t", "M-A1", "cpus:0.5")]);
        env.handle(Event::Disconnected { link: agent });
        env.heard(db);
        env.volumes_found = found;
        let link = env.link();
        env.handle(Event::AgentConnected { link });
        env.register(link, "h1", HAS, Some("M-A1"), Vec::new());
        assert_eq!(env.heard(db).0.remove(0).0, state);
    }
}

#[test]
fn an_agent_that_has_become_too_small_still_has_its_volumes() {
    let mut env = TestEnv::new();
    env.volumes_found = vec![record("data"), record("other")];
    let agent = env.agent("h1", "cpus:1.5;mem:64;ports:[5]");
    let states: Vec<_> = env.rows().into_iter().map(|row| row.state).collect();
    assert_eq!(states, ["ready", "reserves more than its agent has"]);
    let db = env.framework("db");
    let offers = env.offers(db);
    let texts: Vec<_> = offers.iter().map(|offer| offer.resources().to_string()).collect();
    assert_eq!(texts, ["cpus:0.5", KEPT]);
    env.accept(db, &offers[0], vec![task("t", "M-A1", "cpus:0.5").mounting("other", "o")]);
    assert_eq!(env.launched(agent), ["t"], "it is mounted like any other");
    env.report(agent, "t", TaskState::TaskFinished, 1);
    let destroy = scheduler::DestroyVolume { agent_id: "M-A1".into(), name: "other".into() };
    env.call(db, Call::DestroyVolume(destroy));
    env.outcome(agent, "other", false, None);
    assert_eq!(env.rows().len(), 1);
}

#[test]
fn what_can_not_be_a_volume_is_refused_and_its_tasks_with_it() {
    let long = "x".repeat(129);
    for (name, on, reserve, problem) in [
        ("", "M-A1", "cpus:1", "is empty"),
        ("..", "M-A1", "cpus:1", "begins with a dot"),
        ("a/b", "M-A1", "cpus:1", "contains a slash"),
        (&long, "M-A1", "cpus:1", "longer than 128 bytes"),
        ("data", "M-A1", "", "reserves nothing"),
        ("data", "M-A1", "cpus:3", "3 cpus asked, 2 available"),
        ("data", "M-A9", "cpus:1", "M-A9 is not known"),
    ] {
        let mut env = TestEnv::new();
        env.agent("h1", HAS);
        let db = env.framework("db");
        let offer = env.offers(db).remove(0);
        let reserve = reserve.parse().unwrap();
        let create = scheduler::CreateVolume { name: name.into(), agent_id: on.into(), reserve };
        env.create_this(db, &offer, create, vec![task("t", "M-A1", "cpus:1").mounting(name, "v")]);
        let events = env.events(db);
        let message = events.iter().find_map(|event| match event {
            event::Event::VolumeStatus(status) => status.message.clone(),
            _ => None,
        });
        assert!(message.as_ref().is_some_and(|message| message.contains(problem)), "{message:?}");
        assert!(refused(events).contains("has no volume"));
    }
}

#[test]
fn what_can_not_be_a_mount_is_refused() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", HAS);
    let db = env.framework("db");
    let offer = env.offers(db).remove(0);
    let at = |id: &str, path: &str| task(id, "M-A1", "cpus:0.1").mounting("data", path);
    let wrong = vec![at("1", "v/w"), at("2", ".."), at("3", ""), at("4", "a").mounting("data", "b")];
    env.create(db, &offer, KEPT, wrong);
    let refusals = env.updates(db);
    assert_eq!(refusals.len(), 4);
    assert!(refusals.iter().all(|(_, state)| *state == TaskState::TaskError));
    assert!(env.launched(agent).is_empty());
}

#[test]
fn a_cluster_that_ends_with_its_command_keeps_no_volumes() {
    let mut env = TestEnv::new();
    env.master.config.embedded = true;
    env.agent("h1", HAS);
    let db = env.framework("db");
    let offer = env.offers(db).remove(0);
    env.create(db, &offer, KEPT, vec![]);
    assert!(env.heard(db).0[0].1.contains("'mesos up' starts one that stays"));
}
