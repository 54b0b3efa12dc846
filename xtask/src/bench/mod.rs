//! `cargo xtask bench`: each figure is a ratio to something measured on the same machine in the same minute.
//!
//! ```text
//! figures ─▶ pairs (base, ours, ours, base, …) ─▶ median ratio, 95 % interval ─▶ a row of the table
//! ```
//! A quiet machine is assumed; what disturbs both halves of a pair cancels out, what disturbs one widens the interval.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{self, Profile};

mod cgroup;
mod figures;
mod mpi;
mod pairs;

/// What every figure needs.
struct Bench {
    /// The release build of the program.
    mesos: PathBuf,
    /// Our measure of what the machine can do.
    raw_spawn: PathBuf,
    /// A folder that goes at the end.
    folder: tempfile::TempDir,
    /// How many tasks one measurement runs.
    tasks: usize,
    /// This machine's cores.
    cores: usize,
}

/// A row of the table: our seconds against those of a base.
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

/// Builds, measures and prints. True: a missed goal is printed, not failed.
///
/// # Errors
/// Something can't be built or measured.
pub fn run(pairs: usize, tasks: usize, filter: Option<&str>) -> Result<bool> {
    let built = workspace::build(Profile::Release)?;
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let raw_spawn = folder.path().join("raw_spawn");
    let source = workspace::root().join("xtask/src/bench/raw_spawn.c");
    workspace::output(Command::new("cc").args(["-O2", "-pthread", "-o"]).args([&raw_spawn, &source]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench { mesos: built.join("mesos"), raw_spawn, folder, tasks, cores };

    // Before anything is started: processes inherit their group.
    let group = cgroup::enter();
    println!("{cores} cores, load {}, {tasks} tasks, {pairs} pairs, {}\n", load(), group.note());
    println!("| figure | base | base, s | ours, s | base ÷ ours | 95 % interval | goal |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for mut figure in figures::all(&bench)? {
        if filter.is_none_or(|filter| figure.name.contains(filter)) {
            println!("{}", row(&bench, &mut figure, pairs)?);
        }
    }
    Ok(true)
}

fn row(bench: &Bench, figure: &mut Figure, count: usize) -> Result<String> {
    let Figure { name, base, goal, measure_base, measure_ours } = figure;
    let measured = pairs::measure(count, || measure_base(bench), || measure_ours(bench))?;
    let (bases, ours): (Vec<f64>, Vec<f64>) = measured.iter().copied().unzip();
    let ratios: Vec<f64> = measured.iter().map(|(base, ours)| base / ours).collect();
    let (low, high) = pairs::interval(&ratios);
    let goal = goal.map_or("–".to_string(), |goal| format!("≥ {goal:.2}"));
    let [bases, ours, ratio] = [pairs::median(&bases), pairs::median(&ours), pairs::median(&ratios)];
    Ok(format!("| {name} | {base} | {bases:.3} | {ours:.3} | {ratio:.2} | {low:.2}–{high:.2} | {goal} |"))
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
