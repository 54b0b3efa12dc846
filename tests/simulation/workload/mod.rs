//! What runs on the cluster: frameworks, their executors, and the programs of their tasks.

use mesos_mpi_core::JobFramework;
use mesos_mpi_core::messages as mpi;
use mesos_plugin_api::Framework;
use mesos_plugin_api::v1::Resources;
use prost::Message;

use crate::chance::Chance;

pub mod executor;
pub mod program;
pub mod random;
pub mod ranks;
/// The real framework of `mesos run`, which lives in a crate without a library.
#[path = "../../../cli/src/run/mod.rs"]
pub mod run;

use program::Program;

/// What a scheduler does.
#[derive(Debug, Clone)]
pub enum Workload {
    /// Whatever comes to its mind.
    Random(random::Habits),
    /// `mesos run`.
    Run(run::Job),
    /// `mesos run-mpi`.
    Mpi(Box<mpi::Job>),
}

impl Workload {
    /// Names the framework and its plugin.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random(_) => "random",
            Self::Run(_) => "run",
            Self::Mpi(_) => "mpi",
        }
    }

    /// How long its tasks survive without it.
    pub fn failover_timeout_ms(&self) -> Option<u64> {
        match self {
            Self::Random(habits) => Some(habits.failover_timeout_ms),
            Self::Run(_) | Self::Mpi(_) => Some(60_000),
        }
    }

    /// Whether another process takes over when its own dies.
    pub fn is_restarted(&self) -> bool {
        matches!(self, Self::Random(_))
    }

    /// A job of `mesos run` with so many tasks.
    pub fn run(chance: &mut Chance) -> Self {
        let program = Program {
            runs: Some(chance.ms(50, 3000)),
            code: i32::from(chance.percent(10)),
            heeds_term: Some(chance.ms(0, 500)),
        };
        Self::Run(run::Job {
            count: chance.between(1, 12) as u32,
            each: Resources::new(0.5, 64.0),
            command: program.command(),
            max_duration: chance.percent(50).then(|| chance.ms(4000, 8000)),
            follow: true,
            label: false,
            max_fail: chance.percent(20).then_some(2),
        })
    }

    /// A job of `mesos run-mpi` with so many ranks.
    pub fn mpi(chance: &mut Chance) -> Self {
        Self::Mpi(Box::new(mpi::Job {
            name: "mpi".into(),
            ranks: chance.between(2, 4) as u32,
            cpus_per_rank: 500,
            mem_per_rank: 64_000,
            input: Some(mpi::Input { from: Some(mpi::input::From::None(true)) }),
            argv: vec![b"/bin/prog".to_vec()],
            working_directory: b"/tmp".to_vec(),
            ..mpi::Job::default()
        }))
    }
}

/// The half of a framework's next process.
pub fn half(work: &Workload, incarnation: u64, chance: Chance) -> Box<dyn Framework> {
    match work {
        Workload::Random(habits) => Box::new(random::RandomFramework::new(*habits, incarnation, chance)),
        Workload::Run(job) => Box::new(run::RunFramework::new(job.clone())),
        Workload::Mpi(job) => Box::new(JobFramework::new(&job.encode_to_vec()).expect("the job is sound")),
    }
}
