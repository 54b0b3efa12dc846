//! A world's life: faults and work, then healing and rest, then the end of everything.

use std::time::Duration;

use mesos_plugin_api::v1::Resources;

use crate::counts::Counts;
use crate::workload::{Workload, random::Habits};
use crate::world::World;

/// At least so many events make a life.
pub const EVENTS_MIN: u64 = 1000;
/// How long faults go on at the least.
const FAULTS_MIN: Duration = Duration::from_secs(40);

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
    while world.watch.broken.is_none() && (world.events < EVENTS_MIN || world.now < start() + FAULTS_MIN) {
        let wait = world.chance.ms(50, 2000);
        world.run_until(world.now + wait);
    }
    let mut broken = world.watch.broken.take().map(|(name, problem)| format!("{name}: {problem}"));
    if let Some(broken) = &mut broken {
        broken.push_str(&format!(" at {:?}", world.now));
    }
    world.watch.count_invariants();
    Outcome { seed, hash: world.watch.hash(), counts: world.watch.counts, events: world.events, broken }
}

fn start() -> mesos_plugin_api::Time {
    mesos_plugin_api::Time(1_000_000_000_000)
}

fn populate(world: &mut World) {
    for _ in 0..world.chance.between(2, 5) {
        let resources = Resources::new(world.chance.between(1, 4) as f64, 4096.0);
        world.add_agent(resources);
    }
    for _ in 0..world.chance.between(1, 3) {
        let habits = Habits::any(&mut world.chance);
        let wait = world.chance.ms(0, 3000);
        world.add_scheduler(Workload::Random(habits), wait);
    }
    let job = Workload::run(&mut world.chance);
    let wait = world.chance.ms(0, 10_000);
    world.add_scheduler(job, wait);
    let job = Workload::mpi(&mut world.chance);
    let wait = world.chance.ms(0, 10_000);
    world.add_scheduler(job, wait);
}
