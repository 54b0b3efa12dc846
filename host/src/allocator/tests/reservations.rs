//! What volumes keep: offered to nobody here, counted while it is in use, anybody's again when they are gone.

use super::env::{TestEnv, gang, resources};
use crate::allocator::Event;

const NOTHING: [&str; 0] = [];

#[test]
fn what_a_volume_keeps_is_offered_to_nobody() {
    let mut env = TestEnv::new().agents(&["cpus:4;mem:64;ports:[1-9]"]).frameworks(&["db", "web"]);
    env.cycle();
    env.reserve(env.offer_of("db", "a1"), &resources("cpus:1;mem:64;ports:[5]"));
    assert_eq!(env.cycle(), ["db: a1 cpus:3;ports:[1-4,6-9]"], "nor to its owner");
    env.decline("db", "a1", std::time::Duration::ZERO);
    assert_eq!(env.cycle(), ["web: a1 cpus:3;ports:[1-4,6-9]"]);
    env.give_back(env.offer_of("web", "a1"), None);
    env.tell(Event::RemoveFramework { id: "db".into() });
    assert_eq!(env.cycle(), ["web: a1 cpus:3;ports:[1-4,6-9]"], "whether or not the owner runs");
    env.decline("web", "a1", std::time::Duration::ZERO);
    env.unreserve(0);
    assert_eq!(env.cycle(), ["web: a1 cpus:4;mem:64;ports:[1-9]"]);
}

#[test]
fn it_counts_towards_a_share_while_it_is_in_use() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["db"]);
    env.cycle();
    env.reserve(env.offer_of("db", "a1"), &resources("cpus:2"));
    let mut env = env.frameworks(&["web"]);
    env.cycle();
    env.use_reserved(0, "db");
    let open: Vec<_> = env.offers.keys().copied().collect();
    open.into_iter().for_each(|offer| env.give_back(offer, None));
    assert_eq!(env.cycle(), ["web: a1 cpus:2"]);
    env.launch("web", "a1", "cpus:1", None);
    env.tell(Event::Revive { framework: "web".into() });
    assert_eq!(env.cycle(), ["web: a1 cpus:1"], "1 of 4 is less than 2 of 4");
    env.end(0);
    env.decline("web", "a1", std::time::Duration::ZERO);
    assert_eq!(env.cycle(), ["db: a1 cpus:1"], "what is idle costs nothing");
}

#[test]
fn a_gang_does_not_count_on_what_volumes_keep() {
    let mut env = TestEnv::new().agents(&["cpus:4", "cpus:4"]).frameworks(&["db", "mpi"]);
    env.cycle();
    let framework = env.offers.values().find(|offer| offer.parts[0].agent.as_str() == "a1").unwrap().framework.clone();
    env.reserve(env.offer_of(framework.as_str(), "a1"), &resources("cpus:1"));
    env.ask("mpi", gang("g", 8, "cpus:1"));
    let refused = env.status("mpi", "g").refused.clone().unwrap();
    assert_eq!(refused, "8 slots of cpus:1 asked; the cluster holds 7, on 2 of 2 agents");
    assert_eq!(env.cycle().len(), 1);
    let open: Vec<_> = env.offers.keys().copied().collect();
    open.into_iter().for_each(|offer| env.give_back(offer, None));
    env.ask("mpi", gang("g", 7, "cpus:1"));
    assert_eq!(env.cycle(), ["mpi: a2 cpus:4 (4 slots) + a1 cpus:3 (3 slots)"]);
    assert_eq!(env.cycle(), NOTHING);
}

#[test]
fn an_agent_that_shrank_below_what_it_keeps_offers_nothing() {
    let mut env = TestEnv::new().agents(&["cpus:4"]).frameworks(&["db"]);
    env.cycle();
    env.reserve(env.offer_of("db", "a1"), &resources("cpus:2"));
    env.cycle();
    env.decline("db", "a1", std::time::Duration::ZERO);
    env.tell(Event::UpdateAgent { id: "a1".into(), total: resources("cpus:1") });
    assert_eq!(env.cycle(), NOTHING);
    env.unreserve(0);
    assert_eq!(env.cycle(), ["db: a1 cpus:1"]);
}
