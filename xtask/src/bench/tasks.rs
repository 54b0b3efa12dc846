//! Many short tasks on one node, against the fastest way to start and reap as many processes.

use std::process::Command;

use anyhow::{Context, Result};

use super::local::LocalCluster;
use super::row::{Goal, Row};
use super::{Bench, Figure};
use crate::workspace;

/// From the command's start to the end of its last task, on a cluster that runs already; and what all our processes together take of
/// the cores for it. The base's own time is taken off: the tasks are the same.
pub fn measure(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    let mut local = LocalCluster::new(bench, "tasks");
    let tasks = bench.tasks;
    let figure = Figure {
        name: format!("{tasks} tasks on one node, submit to all finished"),
        base: format!("vfork + exec + wait, {} threads", bench.cores),
        goal: Some(0.70),
        measure_base: Box::new(|bench| {
            let mut raw = Command::new(&bench.raw_spawn);
            let said = workspace::output(raw.args([bench.tasks.to_string(), bench.cores.to_string()]))?;
            said.trim().parse().context("raw_spawn prints seconds")
        }),
        measure_ours: Box::new(move |bench| {
            local.bring_up()?;
            let count = bench.tasks.to_string();
            local.seconds(&["run", "--count", &count, "--cpus", "0.01", "--mem", "1", "--", "true"])
        }),
    };
    let measured = figure.measure(bench)?;
    report(measured.row());
    match measured.cpu_seconds_beyond_the_base() {
        None => eprintln!("no cgroup counts processor time here: the time beyond the base's is not measured"),
        Some(seconds) => report(Row {
            figure: "processor time of framework, master, agent and launcher".to_string(),
            base: "as above, beyond the base's own".to_string(),
            unit: "ms a task",
            values: seconds.iter().map(|seconds| seconds * 1000.0 / tasks as f64).collect(),
            goal: Some(Goal::AtMost(0.15)),
        }),
    }
    Ok(())
}
