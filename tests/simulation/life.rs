//! A world's life: faults and work, then healing and rest, then the end of everything.
//!
//! ```text
//! faults ──▶ healed: jobs must get their turn ──▶ rest: all views must agree ──▶ end: nothing may be left
//! ```

use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::Resources;

use crate::counts::Counts;
use crate::invariants::Rest;
use crate::workload::{Workload, random, random::Habits};
use crate::world::World;

/// At least so many events make a life.
pub const EVENTS_MIN: u64 = 1000;
/// How long faults go on at the least.
const FAULTS_MIN: Duration = Duration::from_secs(30);
/// How long a job may wait for its turn, and take it, when nothing breaks.
const TURN_MAX: Duration = Duration::from_secs(900);
/// Updates are sent again after ten minutes at the latest; twice that, and some.
const REST_MAX: Duration = Duration::from_secs(1500);

/// What came of a life.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Equal for lives in which the same happened.
    pub hash: u64,
    /// What happened how often.
    pub counts: Counts,
    /// Events that cores took.
    pub events: u64,
    /// The first thing that did not hold, and when.
    pub broken: Option<String>,
}

/// Lives the life of a seed.
pub fn live(seed: u64, print: bool) -> Outcome {
    let mut world = World::new(seed, print);
    populate(&mut world);
    suffer(&mut world);
    get_turns(&mut world);
    rest(&mut world);
    end(&mut world);
    let broken = world.watch.broken.take().map(|(name, problem)| format!("{:?} {name}: {problem}", world.now));
    world.watch.count_invariants();
    Outcome { seed, hash: world.watch.hash(), counts: world.watch.counts, events: world.events, broken }
}

fn populate(world: &mut World) {
    for _ in 0..world.chance.between(2, 5) {
        let resources = Resources::new(world.chance.between(1, 4) as f64, 4096.0);
        world.add_agent(resources);
    }
    for _ in 0..world.chance.between(1, 3) {
        add_random(world);
    }
    add_jobs(world);
}

fn add_random(world: &mut World) {
    let habits = Habits::any(&mut world.chance);
    let wait = world.chance.ms(0, 3000);
    world.add_scheduler(Workload::Random(habits), wait);
}

fn add_jobs(world: &mut World) -> [usize; 2] {
    let jobs = [Workload::run(&mut world.chance), Workload::mpi(&mut world.chance)];
    jobs.map(|job| {
        let wait = world.chance.ms(0, 10_000);
        world.add_scheduler(job, wait)
    })
}

/// Time for faults. Frameworks that are over are followed by others.
fn suffer(world: &mut World) {
    let end = world.now + FAULTS_MIN;
    let most = world.chance.between(300, 5000);
    while world.watch.broken.is_none() && (world.events < EVENTS_MIN || world.now < end) {
        let wait = world.chance.ms(10, most);
        world.run_until(world.now + wait);
        world.break_something();
        if world.chance.percent(10) {
            add_jobs(world);
        }
        let alive = world.schedulers.iter().filter(|node| node.work.is_restarted() && node.ended.is_none()).count();
        if alive == 0 {
            add_random(world);
        }
    }
}

/// Nothing breaks any more: each job comes to its end though others hoard and compete.
fn get_turns(world: &mut World) {
    world.heal();
    world.start_master_after(Duration::ZERO);
    (0..world.agents.len()).for_each(|agent| world.start_agent_after(agent, Duration::ZERO));
    (0..world.schedulers.len()).for_each(|scheduler| world.start_scheduler_after(scheduler, Duration::ZERO));
    let settled = world.chance.ms(60_000, 90_000);
    world.run_until(world.now + settled);
    signal(world, random::FINITE);
    add_jobs(world);
    let end = world.now + TURN_MAX;
    while world.watch.broken.is_none() {
        let waiting = jobs_at_work(world);
        if waiting.is_empty() {
            break;
        }
        world.watch.counts.add(NO_STARVATION, waiting.len() as u64);
        if world.now > end {
            let problem = format!("{} still wait after {TURN_MAX:?} without faults", waiting.join(", "));
            world.watch.check(NO_STARVATION, Err(problem));
        }
        world.run_until(world.now + Duration::from_secs(5));
    }
}

/// The invariant that `get_turns` looks after.
pub const NO_STARVATION: &str = "invariant: no starvation";

fn jobs_at_work(world: &World) -> Vec<String> {
    let jobs = world.schedulers.iter().filter(|node| !node.work.is_restarted() && node.ended.is_none());
    jobs.map(|node| node.name.clone()).collect()
}

fn signal(world: &mut World, number: i32) {
    for scheduler in 0..world.schedulers.len() {
        if world.schedulers[scheduler].work.is_restarted() {
            world.signal_scheduler(scheduler, number);
        }
    }
}

/// Something runs on and nothing new begins: whoever is asked says the same, once lost words have been said again.
fn rest(world: &mut World) {
    signal(world, random::KEEP);
    world.run_until(world.now + Duration::from_secs(60));
    signal(world, random::REST);
    let end = world.now + REST_MAX;
    loop {
        world.run_until(world.now + Duration::from_secs(20));
        let Err(problem) = compare(world, false) else { break };
        if world.now > end || world.watch.broken.is_some() {
            return world.watch.check(VIEWS_AGREE, Err(problem));
        }
    }
    world.run_until(world.now + Duration::from_secs(30));
    let outcome = compare(world, false);
    world.watch.check(VIEWS_AGREE, outcome);
}

/// The invariant that `rest` and `end` look after.
pub const VIEWS_AGREE: &str = "invariant: all views agree after healing";

fn compare(world: &mut World, over: bool) -> Result<(), String> {
    let rest = Rest::of(world);
    let compared = rest.compare(over)?;
    world.watch.counts.add(VIEWS_AGREE, compared);
    world.watch.at_rest(&rest)
}

/// All frameworks end: nothing of them is left anywhere.
fn end(world: &mut World) {
    signal(world, random::END);
    let end: Time = world.now + REST_MAX;
    while world.watch.broken.is_none() {
        world.run_until(world.now + Duration::from_secs(20));
        match compare(world, true) {
            Ok(()) => break,
            Err(problem) if world.now > end => world.watch.check(VIEWS_AGREE, Err(problem)),
            Err(_) => {}
        }
    }
}
