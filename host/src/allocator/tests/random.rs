//! Random events: the books stay right, and nobody who wants something is forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::v1::GangRequest;
use proptest::prelude::*;

use super::env::{TestEnv, gang, resources};
use crate::allocator::{Event, GANG_AGED_AFTER};

/// What happens next; numbers choose among what there is then.
#[derive(Debug, Clone)]
enum Step {
    AddAgent(u8, u8),
    RemoveAgent(u8),
    UpdateAgent(u8, u8),
    Deactivate(u8, bool),
    AddFramework(u8),
    RemoveFramework(u8),
    Connect(u8, bool),
    Weight(u8, u8),
    Decline(u8, u8),
    Accept(u8, u8, u8),
    End(u8),
    Revive(u8),
    Suppress(u8),
    Gang(u8, u8, u8, u8),
    Cancel(u8, u8),
    Reserve(u8, u8),
    Unreserve(u8),
    UseReserved(u8, u8),
    Pass(u8),
    Cycle,
}

const AGENTS: u8 = 6;
const FRAMEWORKS: u8 = 5;

fn step() -> impl Strategy<Value = Step> {
    let any = || any::<u8>();
    prop_oneof![
        3 => (0..AGENTS, any()).prop_map(|(a, n)| Step::AddAgent(a, n)),
        1 => (0..AGENTS).prop_map(Step::RemoveAgent),
        1 => (0..AGENTS, any()).prop_map(|(a, n)| Step::UpdateAgent(a, n)),
        1 => (0..AGENTS, proptest::bool::ANY).prop_map(|(a, on)| Step::Deactivate(a, on)),
        3 => (0..FRAMEWORKS).prop_map(Step::AddFramework),
        1 => (0..FRAMEWORKS).prop_map(Step::RemoveFramework),
        1 => (0..FRAMEWORKS, proptest::bool::ANY).prop_map(|(f, on)| Step::Connect(f, on)),
        1 => (0..FRAMEWORKS, 1..4_u8).prop_map(|(f, w)| Step::Weight(f, w)),
        6 => (any(), any()).prop_map(|(o, s)| Step::Decline(o, s)),
        8 => (any(), any(), any()).prop_map(|(o, n, s)| Step::Accept(o, n, s)),
        6 => any().prop_map(Step::End),
        2 => (0..FRAMEWORKS).prop_map(Step::Revive),
        1 => (0..FRAMEWORKS).prop_map(Step::Suppress),
        4 => (0..FRAMEWORKS, any(), any(), any()).prop_map(|(f, n, p, c)| Step::Gang(f, n, p, c)),
        1 => (0..FRAMEWORKS, any()).prop_map(|(f, n)| Step::Cancel(f, n)),
        2 => (any(), any()).prop_map(|(o, n)| Step::Reserve(o, n)),
        1 => any().prop_map(Step::Unreserve),
        3 => (any(), 0..FRAMEWORKS).prop_map(|(v, f)| Step::UseReserved(v, f)),
        3 => (0..20_u8).prop_map(Step::Pass),
        10 => Just(Step::Cycle),
    ]
}

fn total(n: u8) -> mesos_plugin_api::v1::Resources {
    let gpus = if n.is_multiple_of(3) { ";gpus:2" } else { "" };
    resources(&format!("cpus:{};mem:{};ports:[{}-40]{gpus}", n % 4 + 1, 64 * (u32::from(n) % 5 + 1), 30 + n % 3))
}

fn agent(n: u8) -> String {
    format!("a{n}")
}

fn framework(n: u8) -> String {
    format!("f{n}")
}

fn request(n: u8, per: u8, constraint: u8) -> GangRequest {
    let plain = gang(
        &format!("g{}", n % 3),
        u32::from(n % 6) + 1,
        ["cpus:1", "cpus:0.5;mem:40", "mem:64"][usize::from(per % 3)],
    );
    match constraint % 6 {
        0 => GangRequest { agents: Some(u32::from(constraint / 6 % 3) + 1), ..plain },
        1 => GangRequest { max_slots_per_agent: Some(1), ..plain },
        2 => GangRequest { spread: Some(true), per_agent: Some(resources("cpus:0.25")), ..plain },
        3 => GangRequest { exclude_hosts: vec!["a0".into(), "host-a1".into()], ..plain },
        4 => GangRequest { within_ms: Some(7000), ..plain },
        _ => plain,
    }
}

fn pick(env: &TestEnv, n: u8) -> Option<usize> {
    env.offers.keys().nth(usize::from(n) % env.offers.len().max(1)).copied()
}

/// What is offered or runs on an agent, or is a framework's, goes with it.
fn forget(env: &mut TestEnv, agent: Option<&str>, framework: Option<&str>) {
    // The master removes a framework when its tasks have ended, and what they had of volumes is back there.
    for index in (0..env.tasks.len()).rev() {
        if env.tasks[index].volume.is_some() && Some(env.tasks[index].framework.as_str()) == framework {
            env.end(index);
        }
    }
    env.volumes.retain(|_, volume| Some(volume.agent.as_str()) != agent);
    env.tasks.retain(|task| Some(task.agent.as_str()) != agent && Some(task.framework.as_str()) != framework);
    let mut gone = Vec::new();
    for (number, offer) in &mut env.offers {
        // The rest of a gang's offer is rescinded by the master; here it lives on without that part.
        offer.parts.retain(|part| Some(part.agent.as_str()) != agent);
        if offer.parts.is_empty() || Some(offer.framework.as_str()) == framework {
            gone.push(*number);
        }
    }
    gone.iter().for_each(|number| drop(env.offers.remove(number)));
    env.gangs.retain(|(owner, _), _| Some(owner.as_str()) != framework);
}

fn run(env: &mut TestEnv, known: &mut BTreeSet<String>, step: Step) {
    match step {
        Step::AddAgent(a, n) => {
            forget(env, Some(&agent(a)), None);
            let id = agent(a);
            env.tell(Event::AddAgent {
                hostname: format!("host-{id}"),
                id: id.as_str().into(),
                total: total(n),
                used: vec![],
            });
        }
        Step::RemoveAgent(a) => {
            forget(env, Some(&agent(a)), None);
            env.tell(Event::RemoveAgent { id: agent(a).into() });
        }
        Step::UpdateAgent(a, n) => env.tell(Event::UpdateAgent { id: agent(a).into(), total: total(n) }),
        Step::Deactivate(a, true) => env.tell(Event::DeactivateAgent { id: agent(a).into() }),
        Step::Deactivate(a, false) => env.tell(Event::ActivateAgent { id: agent(a).into() }),
        Step::AddFramework(f) => {
            known.insert(framework(f));
            env.tell(Event::AddFramework { id: framework(f).into(), role: format!("r{}", f % 2) });
        }
        Step::RemoveFramework(f) => {
            known.remove(&framework(f));
            forget(env, None, Some(&framework(f)));
            env.tell(Event::RemoveFramework { id: framework(f).into() });
        }
        Step::Connect(f, true) => env.tell(Event::ActivateFramework { id: framework(f).into() }),
        Step::Connect(f, false) => env.tell(Event::DeactivateFramework { id: framework(f).into() }),
        Step::Weight(f, w) => env.tell(Event::SetWeight { role: format!("r{}", f % 2), weight: f64::from(w) }),
        Step::Decline(o, s) => {
            if let Some(offer) = pick(env, o) {
                let refuse = (s > 20).then(|| Duration::from_secs(u64::from(s % 5) * 2));
                env.give_back(offer, refuse);
            }
        }
        Step::Accept(o, n, s) => {
            if let Some(offer) = pick(env, o) {
                let part = &env.offers[&offer].parts[0].resources;
                let task = resources(["cpus:0.5", "cpus:1;mem:32", "cpus:0.25;ports:[35-36]"][usize::from(n % 3)]);
                let task = if part.contains(&task) { task } else { part.clone() };
                let until = env.offers[&offer].until;
                // On a lent offer only what ends before is launched, as the master sees to it.
                let max_secs = match until {
                    Some(until) if until > env.now => Some(until.since(env.now).as_secs()),
                    Some(_) => return env.give_back(offer, Some(Duration::from_secs(5))),
                    None => (s % 3 == 0).then_some(u64::from(s)),
                };
                env.accept(offer, &task, max_secs);
            }
        }
        Step::End(t) => {
            if !env.tasks.is_empty() {
                env.end(usize::from(t) % env.tasks.len());
            }
        }
        Step::Revive(f) => env.tell(Event::Revive { framework: framework(f).into() }),
        Step::Suppress(f) => env.tell(Event::Suppress { framework: framework(f).into() }),
        Step::Gang(f, n, p, c) => env.ask(&framework(f), request(n, p, c)),
        Step::Cancel(f, n) => {
            env.gangs.remove(&(framework(f).as_str().into(), format!("g{}", n % 3)));
            env.tell(Event::CancelGang { framework: framework(f).into(), id: format!("g{}", n % 3) });
        }
        Step::Reserve(o, n) => {
            if let Some(offer) = pick(env, o).filter(|offer| env.offers[offer].until.is_none()) {
                let part = &env.offers[&offer].parts[0].resources;
                env.reserve(
                    offer,
                    &part.common(&resources(["cpus:0.5", "cpus:1;ports:[31-35]", "mem:32"][usize::from(n % 3)])),
                );
            }
        }
        Step::Unreserve(v) => env.unreserve(usize::from(v)),
        Step::UseReserved(v, f) if known.contains(&framework(f)) => env.use_reserved(usize::from(v), &framework(f)),
        Step::UseReserved(..) => {}
        Step::Pass(secs) => env.now = env.now + Duration::from_secs(u64::from(secs)),
        Step::Cycle => drop(env.cycle()),
    }
}

/// Ends tasks and gives offers back, cycle by cycle, until each gang has started or was refused. Ordinary offers are accepted
/// for short tasks meanwhile, so that there is somebody to starve the gangs.
fn let_gangs_start(env: &mut TestEnv) -> bool {
    for round in 0..200 {
        env.now = env.now + Duration::from_secs(1 + GANG_AGED_AFTER.as_secs() / 50);
        env.end_due();
        if !env.tasks.is_empty() {
            env.end(round % env.tasks.len());
        }
        for offer in env.offers.keys().copied().collect::<Vec<_>>() {
            let fits = env.offers[&offer].parts[0].resources.contains(&resources("cpus:0.5"));
            let late = env.offers[&offer].until.is_some();
            if fits && !late && env.offers[&offer].gang.is_none() {
                env.accept(offer, &resources("cpus:0.5"), None);
            } else {
                env.give_back(offer, Some(Duration::from_secs(1)));
            }
        }
        env.cycle();
        let waiting = |(key, status): (&(_, String), &super::env::Status)| {
            let _: &(mesos_plugin_api::v1::FrameworkId, String) = key;
            status.refused.is_none()
        };
        if !env.gangs.iter().any(waiting) {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in any order: sanity_check runs after each step; and a second cycle at the same time has nothing to do.
    #[test]
    fn books_stay_right(steps in proptest::collection::vec(step(), 1..120)) {
        let mut env = TestEnv::new();
        let mut known = BTreeSet::new();
        for step in steps {
            run(&mut env, &mut known, step);
        }
        env.cycle();
        prop_assert_eq!(env.cycle(), Vec::<String>::new());
        prop_assert!(env.allocator.deadline().is_none_or(|at| at > env.now));
    }

    /// After any history, if all agents are there and everything comes back, all gangs that aren't refused start.
    #[test]
    fn gangs_start_if_tasks_end(steps in proptest::collection::vec(step(), 1..80)) {
        let mut env = TestEnv::new();
        let mut known = BTreeSet::new();
        for step in steps {
            run(&mut env, &mut known, step);
        }
        for a in 0..AGENTS {
            run(&mut env, &mut known, Step::AddAgent(a, 255));
        }
        for f in known.clone() {
            env.tell(Event::ActivateFramework { id: f.as_str().into() });
        }
        // A request from before may be larger than what the agents have become.
        env.cycle();
        let impossible = |status: &super::env::Status| {
            status.waiting_for.as_deref().is_some_and(|text| text.contains("agents are connected"))
        };
        env.gangs.retain(|_, status| !impossible(status));
        prop_assert!(let_gangs_start(&mut env), "these gangs never started: {:?}", env.gangs);
    }

    /// After any history, a framework that wants offers gets one within a round in which all others decline theirs.
    #[test]
    fn who_wants_offers_gets_one(steps in proptest::collection::vec(step(), 1..80), who in 0..FRAMEWORKS) {
        let mut env = TestEnv::new();
        let mut known = BTreeSet::new();
        for step in steps {
            run(&mut env, &mut known, step);
        }
        run(&mut env, &mut known, Step::AddAgent(0, 255));
        run(&mut env, &mut known, Step::AddFramework(who));
        for f in 0..FRAMEWORKS {
            for g in 0..3 {
                run(&mut env, &mut known, Step::Cancel(f, g));
            }
        }
        let wanted = framework(who);
        let before = env.offers_so_far;
        let mut got = false;
        for _ in 0..20 {
            env.cycle();
            got = env.offers.iter().any(|(number, offer)| *number >= before && offer.framework.as_str() == wanted);
            if got {
                break;
            }
            for offer in env.offers.keys().copied().collect::<Vec<_>>() {
                env.give_back(offer, Some(Duration::ZERO));
            }
        }
        prop_assert!(got, "{} got nothing", wanted);
    }
}
