//! Slots on several agents: all or nothing, held meanwhile, planned, lent.

use std::time::Duration;

use mesos_plugin_api::v1::GangRequest;

use super::env::{TestEnv, gang, resources, seconds};
use crate::allocator::{Event, GANG_AGED_AFTER, Passed};

const HOUR: Duration = Duration::from_secs(3600);
const NOTHING: [&str; 0] = [];

/// Agents of a cluster on which `busy` runs a task on each of the named ones, and `mpi` wants gangs only.
fn cluster(agents: &[&str], busy: &[(&str, &str, Option<u64>)]) -> TestEnv {
    let mut env = TestEnv::new().agents(agents).frameworks(&["busy"]);
    env.cycle();
    for (agent, task, max_secs) in busy {
        env.launch("busy", agent, task, *max_secs);
    }
    for offer in env.offers.keys().copied().collect::<Vec<_>>() {
        env.give_back(offer, Some(HOUR));
    }
    env.tell(Event::Suppress { framework: "busy".into() });
    let mut env = env.frameworks(&["mpi"]);
    env.tell(Event::Suppress { framework: "mpi".into() });
    env.cycle();
    env
}

#[test]
fn a_gang_is_one_offer_that_fills_few_agents() {
    let mut env = cluster(&["cpus:2;mem:64", "cpus:4;mem:64", "cpus:4;mem:64"], &[]);
    env.ask("mpi", gang("g", 6, "cpus:1;mem:1"));
    assert_eq!(env.cycle(), ["mpi: a2 cpus:4;mem:4 (4 slots) + a1 cpus:2;mem:2 (2 slots)"]);
    assert_eq!(env.cycle(), NOTHING);
}

#[test]
fn a_gang_can_be_spread() {
    let mut env = cluster(&["cpus:2", "cpus:4", "cpus:4"], &[]);
    env.ask("mpi", GangRequest { spread: Some(true), ..gang("g", 7, "cpus:1") });
    assert_eq!(env.cycle(), ["mpi: a2 cpus:3 (3 slots) + a3 cpus:2 (2 slots) + a1 cpus:2 (2 slots)"]);
}

#[test]
fn the_executors_share_comes_once_an_agent() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[]);
    env.ask("mpi", GangRequest { per_agent: Some(resources("cpus:0.5")), ..gang("g", 2, "cpus:1") });
    assert_eq!(env.cycle(), ["mpi: a1 cpus:1.5 (1 slots) + a2 cpus:1.5 (1 slots)"]);
}

#[test]
fn constraints_are_kept() {
    let four = ["cpus:4", "cpus:4", "cpus:4", "cpus:4"];
    let offered = |request: GangRequest| {
        let mut env = cluster(&four, &[]);
        env.ask("mpi", request);
        env.cycle().join("")
    };
    let exactly = GangRequest { agents: Some(3), ..gang("g", 4, "cpus:1") };
    assert_eq!(offered(exactly), "mpi: a1 cpus:2 (2 slots) + a2 cpus:1 (1 slots) + a3 cpus:1 (1 slots)");
    let at_most = GangRequest { max_slots_per_agent: Some(1), ..gang("g", 2, "cpus:1") };
    assert_eq!(offered(at_most), "mpi: a1 cpus:1 (1 slots) + a2 cpus:1 (1 slots)");
    let include = GangRequest { include_hosts: vec!["host-a3".into(), "a4".into()], ..gang("g", 6, "cpus:1") };
    assert_eq!(offered(include), "mpi: a3 cpus:4 (4 slots) + a4 cpus:2 (2 slots)");
    let exclude = GangRequest { exclude_hosts: vec!["host-a1".into()], ..gang("g", 4, "cpus:1") };
    assert_eq!(offered(exclude), "mpi: a2 cpus:4 (4 slots)");
}

#[test]
fn what_the_cluster_can_never_hold_is_refused_at_once() {
    let mut env = cluster(&["cpus:4;mem:64", "cpus:4;mem:64"], &[]);
    let mut refused = |request: GangRequest| {
        let id = request.id.clone();
        env.ask("mpi", request);
        env.status("mpi", &id).refused.clone().expect("it is refused")
    };
    assert_eq!(refused(gang("g1", 64, "cpus:1")), "64 slots of cpus:1 asked; the cluster holds 8, on 2 of 2 agents");
    assert_eq!(
        refused(GangRequest { agents: Some(3), ..gang("g2", 4, "cpus:1") }),
        "4 slots of cpus:1 on exactly 3 agents asked; the cluster holds 8, on 2 of 2 agents"
    );
    assert_eq!(
        refused(GangRequest { exclude_hosts: vec!["host-a1".into()], ..gang("g3", 5, "cpus:1") }),
        "5 slots of cpus:1, not on host-a1 asked; the cluster holds 4, on 1 of 2 agents"
    );
    assert!(refused(gang("g4", 0, "cpus:1")).starts_with("0 slots asked"));
    assert!(refused(gang("g5", 1, "")).starts_with("a slot that needs nothing"));
    assert!(refused(gang("g6", 1, "cpus:1;ports:[1-2]")).starts_with("ports, ranges and sets"));
    assert!(refused(GangRequest { agents: Some(2), ..gang("g7", 1, "cpus:1") }).contains("at least one"));
    assert_eq!(env.cycle(), NOTHING);
}

#[test]
fn an_empty_cluster_may_still_fill() {
    let mut env = TestEnv::new().frameworks(&["mpi"]);
    env.ask("mpi", gang("g", 2, "cpus:1"));
    env.cycle();
    assert_eq!(env.status("mpi", "g").waiting_for.as_deref(), Some("no agent is connected"));
    env.add_agent("a1", "cpus:2");
    assert_eq!(env.cycle(), ["mpi: a1 cpus:2 (2 slots)"]);
}

#[test]
fn what_is_free_is_held_until_the_rest_has_come() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:1.5", None)]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.tell(Event::Revive { framework: "busy".into() });
    assert_eq!(env.cycle(), NOTHING, "also the half core of a2 is held");
    let status = env.status("mpi", "g");
    assert_eq!(status.held, 2);
    assert_eq!(status.waiting_for.as_deref(), Some("2 of 4 slots of cpus:1 are in use: waiting for agent a2"));
    let why = env.allocator.why(&"busy".into());
    assert!(why.iter().any(|reason| reason.passed == Passed::HeldForGang && reason.count == 2), "{why:?}");
    env.end(0);
    assert_eq!(env.cycle(), ["mpi: a1 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
}

#[test]
fn others_use_what_is_not_held() {
    let mut env = cluster(&["cpus:4", "cpus:4"], &[("a1", "cpus:3", None)]);
    env.ask("mpi", GangRequest { include_hosts: vec!["a1".into()], ..gang("g", 2, "cpus:1.5") });
    env.tell(Event::Revive { framework: "busy".into() });
    assert_eq!(env.cycle(), ["busy: a2 cpus:4"]);
}

#[test]
fn a_cancelled_gang_gives_up_what_it_held() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", None)]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.tell(Event::Revive { framework: "busy".into() });
    assert_eq!(env.cycle(), NOTHING);
    env.tell(Event::CancelGang { framework: "mpi".into(), id: "g".into() });
    assert_eq!(env.cycle(), ["busy: a1 cpus:2"]);
}

#[test]
fn a_gang_that_waited_as_long_as_it_wanted_is_refused() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", None)]);
    env.ask("mpi", GangRequest { within_ms: Some(10_000), ..gang("g", 4, "cpus:1") });
    env.cycle();
    assert_eq!(env.allocator.deadline(), Some(seconds(1010)));
    env.after(10);
    assert_eq!(
        env.status("mpi", "g").refused.as_deref(),
        Some("gave up after 10s with 2 of 4 slots of cpus:1: 2 of 4 slots of cpus:1 are in use: waiting for agent a2")
    );
}

#[test]
fn the_smaller_share_goes_first_until_a_gang_has_waited_long() {
    // `mpi` has more than half; `busy` has nothing, and lets the offers lie.
    let mut env = cluster(&["cpus:6", "cpus:4"], &[]);
    env.ask("mpi", gang("first", 6, "cpus:1"));
    env.cycle();
    env.tell(Event::Revive { framework: "busy".into() });
    env.ask("mpi", gang("second", 4, "cpus:1"));
    assert_eq!(env.cycle(), ["busy: a2 cpus:4"]);
    let offer = env.offer_of("busy", "a2");
    env.give_back(offer, None);
    assert_eq!(env.cycle(), ["busy: a2 cpus:4"]);
    env.after(GANG_AGED_AFTER.as_secs());
    let offer = env.offer_of("busy", "a2");
    env.give_back(offer, None);
    assert_eq!(env.cycle(), ["mpi: a2 cpus:4 (4 slots)"]);
}

#[test]
fn a_large_gang_is_not_starved_by_small_ones() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a1", "cpus:1", None), ("a2", "cpus:1", None)]);
    let mut env = {
        env.ask("mpi", gang("large", 4, "cpus:1"));
        env.after(GANG_AGED_AFTER.as_secs());
        env.frameworks(&["small"])
    };
    env.tell(Event::Suppress { framework: "small".into() });
    env.ask("small", gang("s", 1, "cpus:1"));
    assert_eq!(env.cycle(), NOTHING);
    env.end(0);
    assert_eq!(env.cycle(), NOTHING, "it holds 3 of 4");
    env.end(0);
    assert_eq!(env.cycle(), ["mpi: a1 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
}

#[test]
fn two_gangs_that_each_hold_half_do_not_block_each_other() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a1", "cpus:2", None), ("a2", "cpus:2", None)]);
    env = env.frameworks(&["other"]);
    env.tell(Event::Suppress { framework: "other".into() });
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.ask("other", gang("h", 4, "cpus:1"));
    env.cycle();
    env.end(0);
    env.cycle();
    env.end(0);
    assert_eq!(env.cycle(), ["mpi: a1 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
    let offer = env.offer_of("mpi", "a1");
    env.give_back(offer, None);
    assert_eq!(env.cycle(), ["other: a1 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
}

#[test]
fn what_is_held_is_lent_until_the_planned_start() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", Some(60))]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.tell(Event::Revive { framework: "busy".into() });
    assert_eq!(env.cycle(), ["busy: a1 cpus:2"]);
    assert_eq!(env.status("mpi", "g").planned_start, Some(seconds(1060)));
    let offer = env.offer_of("busy", "a1");
    assert_eq!(env.offers[&offer].until, Some(seconds(1060)));
    env.launch("busy", "a1", "cpus:1", Some(50));
    assert_eq!(env.cycle(), NOTHING, "the rest is filtered");
    env.now = seconds(1050);
    env.end_due();
    assert_eq!(env.cycle(), ["busy: a1 cpus:2"], "lent again for 10 s");
    let offer = env.offer_of("busy", "a1");
    env.give_back(offer, Some(HOUR));
    env.now = seconds(1060);
    env.end_due();
    assert_eq!(env.cycle(), ["mpi: a1 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
}

#[test]
fn a_second_gang_is_planned_around_the_first() {
    let mut env = cluster(
        &["cpus:2", "cpus:2", "cpus:2"],
        &[("a1", "cpus:2", Some(60)), ("a2", "cpus:2", Some(60)), ("a3", "cpus:2", Some(90))],
    );
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.ask("mpi", gang("h", 2, "cpus:1"));
    env.cycle();
    assert_eq!(env.status("mpi", "g").planned_start, Some(seconds(1060)));
    assert_eq!(env.status("mpi", "h").planned_start, Some(seconds(1090)));
}

#[test]
fn a_gang_without_a_known_start_lends_nothing() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", None)]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.tell(Event::Revive { framework: "busy".into() });
    assert_eq!(env.cycle(), NOTHING);
    assert_eq!(env.status("mpi", "g").planned_start, None);
}

#[test]
fn an_agent_that_goes_takes_its_hold_along() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", None)]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.cycle();
    env.tell(Event::RemoveAgent { id: "a1".into() });
    env.cycle();
    let status = env.status("mpi", "g");
    assert_eq!((status.held, status.waiting_for.as_deref()), (0, Some("1 agents are connected, with room for 2")));
    env.add_agent("a3", "cpus:2");
    env.end(0);
    assert_eq!(env.cycle(), ["mpi: a3 cpus:2 (2 slots) + a2 cpus:2 (2 slots)"]);
}

#[test]
fn asking_again_keeps_the_place_and_tells_how_things_stand() {
    let mut env = cluster(&["cpus:2", "cpus:2"], &[("a2", "cpus:2", None)]);
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.cycle();
    env.gangs.clear();
    env.ask("mpi", gang("g", 4, "cpus:1"));
    env.cycle();
    assert_eq!(env.status("mpi", "g").held, 2);
    assert_eq!(env.allocator.deadline(), Some(seconds(1000) + GANG_AGED_AFTER));
}
