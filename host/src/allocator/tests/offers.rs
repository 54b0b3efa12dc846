//! Shares, filters, revive and suppress, agents that come and go.

use std::time::Duration;

use super::env::{TestEnv, resources, seconds, used};
use crate::allocator::{Event, Passed};

const HOUR: Duration = Duration::from_secs(3600);

/// Launches `task` on every offer of each framework, offers again, until nobody gets anything.
fn fill(env: &mut TestEnv, tasks: &[(&str, &str)]) {
    loop {
        env.cycle();
        let Some((&offer, offered)) = env.offers.iter().next() else { return };
        let (framework, task) = tasks.iter().find(|(name, _)| *name == offered.framework.as_str()).expect("known");
        let task = resources(task);
        if offered.parts[0].resources.contains(&task) {
            env.accept(offer, &task, None);
            env.tell(Event::Revive { framework: (*framework).into() });
        } else {
            env.give_back(offer, Some(HOUR));
        }
    }
}

#[test]
fn the_example_of_the_drf_paper() {
    // 9 cpus and 18 GB: A's tasks <1 cpu, 4 GB> get 3/9 of the cpus and 12/18 of the memory, B's <3, 1> 6/9 and 2/18.
    let mut env = TestEnv::new().agents(&["cpus:9;mem:18"]).frameworks(&["A", "B"]);
    fill(&mut env, &[("A", "cpus:1;mem:4"), ("B", "cpus:3;mem:1")]);
    assert_eq!(env.has("A"), resources("cpus:3;mem:12"));
    assert_eq!(env.has("B"), resources("cpus:6;mem:2"));
}

#[test]
fn a_weight_of_two_gets_twice_as_much() {
    let agents = vec!["cpus:1;mem:100"; 30];
    let mut env = TestEnv::new().agents(&agents).frameworks(&["f1/big", "f2/small"]);
    env.tell(Event::SetWeight { role: "big".into(), weight: 2.0 });
    env.cycle();
    assert_eq!(env.has("f1"), resources("cpus:20;mem:2000"));
    assert_eq!(env.has("f2"), resources("cpus:10;mem:1000"));
}

#[test]
fn a_role_shares_what_is_its_own() {
    // f1 and f2 live on one role, f3 on another: a quarter each and a half.
    let agents = vec!["cpus:1;mem:100"; 40];
    let mut env = TestEnv::new().agents(&agents).frameworks(&["f1/one", "f2/one", "f3/two"]);
    env.cycle();
    assert_eq!([env.has("f1").cpus(), env.has("f2").cpus(), env.has("f3").cpus()], [10.0, 10.0, 20.0]);
}

#[test]
fn a_custom_scalar_can_be_the_dominant_one() {
    // f1 has all of the gpus there are and little else: its share is 1, and f2 comes first for all the rest.
    let mut env = TestEnv::new().agents(&["cpus:1;mem:32;gpus:2", "cpus:9;mem:900"]).frameworks(&["f1"]);
    env.cycle();
    env.launch("f1", "a1", "cpus:0.1;gpus:2", None);
    env.decline("f1", "a2", Duration::ZERO);
    env.tell(Event::AddFramework { id: "f2".into(), role: "two".into() });
    assert_eq!(env.cycle(), ["f2: a2 cpus:9;mem:900", "f2: a1 cpus:0.9;mem:32"]);
}

#[test]
fn what_was_declined_comes_again_after_its_time() {
    let mut env = TestEnv::new().agents(&["cpus:4;mem:100"]).frameworks(&["f1"]);
    assert_eq!(env.cycle(), ["f1: a1 cpus:4;mem:100"]);
    env.decline("f1", "a1", Duration::from_secs(5));
    assert_eq!(env.cycle(), [""; 0]);
    assert_eq!(env.allocator.deadline(), Some(seconds(1005)));
    assert_eq!(env.after(4), [""; 0]);
    assert_eq!(env.after(1), ["f1: a1 cpus:4;mem:100"]);
    assert_eq!(env.allocator.deadline(), None);
}

#[test]
fn a_filter_does_not_hide_more_than_was_declined() {
    let mut env = TestEnv::new().agents(&["cpus:4;mem:100"]).frameworks(&["f1"]);
    env.cycle();
    env.launch("f1", "a1", "cpus:1", None);
    assert_eq!(env.cycle(), [""; 0], "the rest of 3 cpus is filtered for 5 s");
    env.end(0);
    assert_eq!(env.cycle(), ["f1: a1 cpus:4;mem:100"]);
}

#[test]
fn a_filter_is_one_frameworks_affair_and_one_agents() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1", "f2"]);
    assert_eq!(env.cycle(), ["f1: a1 cpus:4"]);
    env.decline("f1", "a1", HOUR);
    assert_eq!(env.cycle(), ["f2: a1 cpus:4"]);
    env.add_agent("a2", "cpus:4");
    assert_eq!(env.cycle(), ["f1: a2 cpus:4"]);
}

#[test]
fn revive_removes_filters() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1"]);
    env.cycle();
    env.decline("f1", "a1", HOUR);
    env.cycle();
    env.tell(Event::Revive { framework: "f1".into() });
    assert_eq!(env.cycle(), ["f1: a1 cpus:4"]);
    assert_eq!(env.allocator.deadline(), None);
}

#[test]
fn a_suppressed_framework_waits_for_its_revive() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1"]);
    env.tell(Event::Suppress { framework: "f1".into() });
    assert_eq!(env.cycle(), [""; 0]);
    env.tell(Event::Revive { framework: "f1".into() });
    assert_eq!(env.cycle(), ["f1: a1 cpus:4"]);
}

#[test]
fn who_declines_for_no_time_lets_others_go_first_and_then_gets_it_again() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1", "f2", "f3"]);
    for expected in ["f1", "f2", "f3", "f1", "f2", "f3"] {
        assert_eq!(env.cycle(), [format!("{expected}: a1 cpus:4")]);
        env.decline(expected, "a1", Duration::ZERO);
    }
}

#[test]
fn a_hundredth_of_a_core_is_offered_and_less_is_not() {
    let mut env = TestEnv::new().agents(&["cpus:0.01", "cpus:0.009;mem:31", "mem:32"]).frameworks(&["f1"]);
    assert_eq!(env.cycle(), ["f1: a1 cpus:0.01", "f1: a3 mem:32"]);
}

#[test]
fn no_agent_is_always_first() {
    let mut env = TestEnv::new().agents(&["cpus:1", "cpus:1", "cpus:1"]).frameworks(&["f1"]);
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(env.cycle()[0].clone());
        for agent in ["a1", "a2", "a3"] {
            let offer = env.offer_of("f1", agent);
            env.give_back(offer, None);
        }
    }
    first.sort();
    assert_eq!(first, ["f1: a1 cpus:1", "f1: a2 cpus:1", "f1: a3 cpus:1"]);
}

#[test]
fn draining_agents_are_not_offered() {
    let mut env = TestEnv::new().agents(&["cpus:1", "cpus:2"]).frameworks(&["f1"]);
    env.tell(Event::DeactivateAgent { id: "a1".into() });
    assert_eq!(env.cycle(), ["f1: a2 cpus:2"]);
    env.tell(Event::ActivateAgent { id: "a1".into() });
    assert_eq!(env.cycle(), ["f1: a1 cpus:1"]);
}

#[test]
fn an_agent_that_registers_with_tasks_offers_the_rest_and_counts_them() {
    let mut env = TestEnv::new().agents(&["cpus:4"]);
    let running = vec![used("f1", "cpus:3")];
    env.tell(Event::AddAgent { id: "a2".into(), hostname: "h2".into(), total: resources("cpus:4"), used: running });
    let mut env = env.frameworks(&["f1", "f2"]);
    assert_eq!(env.cycle(), ["f1: a2 cpus:1", "f2: a1 cpus:4"]);
}

#[test]
fn an_agent_that_shrinks_offers_nothing_until_enough_has_ended() {
    let mut env = TestEnv::new().agents(&["cpus:4;ports:[10-20]"]).frameworks(&["f1"]);
    env.cycle();
    env.launch("f1", "a1", "cpus:3;ports:[12-13]", None);
    env.tell(Event::UpdateAgent { id: "a1".into(), total: resources("cpus:2;ports:[10-20]") });
    env.tell(Event::Revive { framework: "f1".into() });
    assert_eq!(env.cycle(), [""; 0], "no cpus are left, and ports alone aren't offered");
    env.end(0);
    assert_eq!(env.cycle(), ["f1: a1 cpus:2;ports:[10-20]"]);
}

#[test]
fn what_comes_back_from_those_who_are_gone_is_ignored() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1"]);
    env.cycle();
    env.tell(Event::RemoveAgent { id: "a1".into() });
    env.decline("f1", "a1", HOUR);
    env.tell(Event::RemoveFramework { id: "f1".into() });
    env.tell(Event::Revive { framework: "f1".into() });
    assert_eq!(env.cycle(), [""; 0]);
}

#[test]
fn a_removed_frameworks_resources_are_free() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1", "f2"]);
    env.cycle();
    env.tell(Event::RemoveFramework { id: "f1".into() });
    assert_eq!(env.cycle(), ["f2: a1 cpus:4"]);
}

#[test]
fn a_disconnected_framework_gets_nothing_until_it_is_back() {
    let mut env = TestEnv::new().frameworks(&["f1"]);
    env.tell(Event::DeactivateFramework { id: "f1".into() });
    env.add_agent("a1", "cpus:4");
    assert_eq!(env.cycle(), [""; 0]);
    env.tell(Event::ActivateFramework { id: "f1".into() });
    assert_eq!(env.cycle(), ["f1: a1 cpus:4"]);
}

#[test]
#[should_panic(expected = "more comes back than was given out")]
fn giving_back_twice_is_a_broken_invariant() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["f1"]);
    env.cycle();
    env.launch("f1", "a1", "cpus:1", None);
    env.tell(Event::Recover {
        framework: "f1".into(),
        agent: "a1".into(),
        resources: resources("cpus:2"),
        back_by: None,
        refuse: None,
    });
}

#[test]
fn why_counts_what_passed_a_framework_over() {
    let mut env = TestEnv::new().agents(&["cpus:4", "cpus:2"]).frameworks(&["f1", "f2", "f3"]);
    env.cycle();
    env.decline("f1", "a1", HOUR);
    env.tell(Event::Suppress { framework: "f3".into() });
    env.cycle();
    let reasons = |framework: &str| -> Vec<(Passed, u64)> {
        env.allocator.why(&framework.into()).iter().map(|reason| (reason.passed, reason.count)).collect()
    };
    assert_eq!(reasons("f1"), [(Passed::NothingFree, 2), (Passed::Filtered, 1), (Passed::SmallerShareFirst, 1)]);
    assert_eq!(reasons("f3"), [(Passed::Suppressed, 1), (Passed::NothingFree, 2), (Passed::SmallerShareFirst, 2)]);
    let text: Vec<String> = env.allocator.why(&"f1".into()).iter().map(ToString::to_string).collect();
    assert_eq!(text[1], "1 times it had declined the same resources shortly before, such as a1");
}
