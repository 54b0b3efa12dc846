//! `cargo xtask bench`: figures, most of them as a ratio to something measured on the same machine in the same minute.
//!
//! ```text
//! groups ─┬─ pairs (base, ours, ours, base, …) ─┬─▶ median, 95 % interval, goal ─▶ a row of the table
//!         └─ rounds of an example ──────────────┘
//! ```
//! A quiet machine is assumed; what disturbs both halves of a pair cancels out, what disturbs one widens the interval.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Profile};

mod cgroup;
mod local;
mod machine;
mod mpi;
mod pairs;
mod parts;
mod publish;
mod row;
mod tasks;

use row::{Goal, HEAD, Row};

/// Figures that are measured together.
struct Group {
    /// What is typed.
    name: &'static str,
    /// Measures, and reports each row when it is there.
    measure: fn(&Bench, &mut dyn FnMut(Row)) -> Result<()>,
}

/// In the order of the table.
const GROUPS: &[Group] = &[
    Group { name: "tasks", measure: tasks::measure },
    Group { name: "latency", measure: parts::latency },
    Group { name: "control", measure: parts::control_plane },
    Group { name: "failover", measure: parts::failover },
    Group { name: "allocator", measure: parts::allocator },
    Group { name: "mpi", measure: mpi },
];

/// What is to be measured, and how often.
#[derive(Debug)]
pub struct Options {
    /// Pairs of measurements, or rounds.
    pub pairs: usize,
    /// How many tasks one measurement runs.
    pub tasks: usize,
    /// Groups; all of them if none is named.
    pub names: Vec<String>,
    /// Put the rows into the documents too.
    pub write: bool,
}

/// What every figure needs.
struct Bench {
    /// The release build of the program.
    mesos: PathBuf,
    /// The folder with the host's examples, built as well.
    examples: PathBuf,
    /// Our measure of what the machine can do.
    raw_spawn: PathBuf,
    /// A folder that goes at the end.
    folder: tempfile::TempDir,
    /// How many tasks one measurement runs.
    tasks: usize,
    /// How many pairs or rounds a figure takes.
    pairs: usize,
    /// This machine's cores.
    cores: usize,
    /// Both halves of a pair run in it.
    group: cgroup::Group,
}

/// Our seconds against those of a base, measured in turns.
struct Figure {
    name: String,
    base: String,
    /// The ratio that is wanted, base to ours in seconds: more is better.
    goal: Option<f64>,
    /// Seconds of one measurement of each.
    measure_base: Measure,
    measure_ours: Measure,
}

type Measure = Box<dyn FnMut(&Bench) -> Result<f64>>;

/// A figure's pairs.
struct Measured {
    name: String,
    base: String,
    goal: Option<f64>,
    pairs: Vec<(pairs::Cost, pairs::Cost)>,
}

/// Builds, measures and prints. True: a missed goal is printed, not failed.
///
/// # Errors
/// There is no such group, or something can't be built or measured.
pub fn run(options: &Options) -> Result<bool> {
    let groups = chosen(&options.names)?;
    let bench = prepare(options)?;
    let machine = machine::describe(&bench, options);
    print!("{machine}\n\n{HEAD}");
    let mut rows = Vec::new();
    for group in groups {
        let report = &mut |row: Row| {
            print!("{}", row.render());
            rows.push(row);
        };
        (group.measure)(&bench, report).with_context(|| format!("measure {}", group.name))?;
    }
    if options.write {
        for document in publish::DOCUMENTS {
            publish::write(&workspace::root().join(document), &machine, &rows)?;
        }
    }
    Ok(true)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    if let Some(unknown) = names.iter().find(|name| !GROUPS.iter().any(|group| group.name == name.as_str())) {
        let all = GROUPS.iter().map(|group| group.name).collect::<Vec<_>>().join(", ");
        bail!("no group {unknown:?}; there are {all}");
    }
    Ok(GROUPS.iter().filter(|group| names.is_empty() || names.iter().any(|name| name == group.name)).collect())
}

fn prepare(options: &Options) -> Result<Bench> {
    let built = workspace::build(Profile::Release)?;
    workspace::run(&mut workspace::cargo(&["build", "--release", "--package", "mesos-host", "--examples"]))?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let raw_spawn = folder.path().join("raw_spawn");
    let source = workspace::root().join("xtask/src/bench/raw_spawn.c");
    workspace::output(Command::new("cc").args(["-O2", "-pthread", "-o"]).args([&raw_spawn, &source]))?;
    Ok(Bench {
        mesos: built.join("mesos"),
        examples: built.join("examples"),
        raw_spawn,
        folder,
        tasks: options.tasks,
        pairs: options.pairs,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        // Before anything is started: processes inherit their group.
        group: cgroup::enter(),
    })
}

fn mpi(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    for figure in mpi::figures(bench)? {
        report(figure.measure(bench)?.row());
    }
    Ok(())
}

impl Figure {
    fn measure(self, bench: &Bench) -> Result<Measured> {
        let Figure { name, base, goal, mut measure_base, mut measure_ours } = self;
        let cpu = || bench.group.cpu_seconds();
        let pairs = pairs::measure(
            bench.pairs,
            || pairs::Cost::of(cpu, || measure_base(bench)),
            || pairs::Cost::of(cpu, || measure_ours(bench)),
        )?;
        Ok(Measured { name, base, goal, pairs })
    }
}

impl Measured {
    fn row(&self) -> Row {
        let bases: Vec<f64> = self.pairs.iter().map(|(base, _)| base.seconds).collect();
        Row {
            figure: self.name.clone(),
            base: format!("{}: {:.3} s", self.base, pairs::median(&bases)),
            unit: "of the base's speed",
            values: self.pairs.iter().map(|(base, ours)| base.seconds / ours.seconds).collect(),
            goal: self.goal.map(Goal::AtLeast),
        }
    }

    /// Of each pair; none where nothing counts it.
    fn cpu_seconds_beyond_the_base(&self) -> Option<Vec<f64>> {
        self.pairs.iter().map(|(base, ours)| Some(ours.cpu_seconds? - base.cpu_seconds?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_name_in_the_order_of_the_table() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            chosen(&names).map(|groups| groups.iter().map(|group| group.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap().len(), GROUPS.len());
        assert_eq!(names(&["control", "tasks"]).unwrap(), ["tasks", "control"]);
        assert!(names(&["speed"]).unwrap_err().to_string().contains("allocator"));
    }
}
