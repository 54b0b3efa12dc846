//! Parts of the host alone, by examples that link it: each prints a name and its measurements on one line.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::local::LocalCluster;
use super::row::{Goal, Row};
use crate::workspace;

/// Tasks of one round, submitted one at a time: some hundred, so that the 99th of a hundred means something.
const SUBMITTED_A_ROUND: usize = 300;
/// Tasks of each agent that comes to a new master, and how often each of them reports.
const TASKS_AN_AGENT: usize = 10;
const UPDATES_A_TASK: usize = 20;
/// Tasks of one round through the control plane.
const FLOOD: usize = 100_000;

/// From submission to running, on a quiet cluster.
pub fn latency(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    let mut local = LocalCluster::new(bench, "latency");
    local.bring_up()?;
    let address = local.address()?;
    let (mut medians, mut late) = (Vec::new(), Vec::new());
    for _ in 0..bench.pairs {
        let tasks = SUBMITTED_A_ROUND.to_string();
        let mut millis = example(bench, "submit_latency", &[&address, &tasks])?.take("running")?;
        millis.sort_by(f64::total_cmp);
        let at = |hundredths: usize| millis[(millis.len() * hundredths).div_ceil(100) - 1];
        medians.push(at(50));
        late.push(at(99));
    }
    let row = |name: &str, values, goal| Row {
        figure: format!("submit to running, quiet cluster, {name}"),
        base: format!("rounds of {SUBMITTED_A_ROUND} single tasks"),
        unit: "ms",
        values,
        goal: Some(Goal::AtMost(goal)),
    };
    report(row("50th of a hundred", medians, 5.0));
    report(row("99th of a hundred", late, 25.0));
    Ok(())
}

/// What a master can do with agents that answer at once.
pub fn control_plane(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    // The first round warms up.
    let [tasks, rounds] = [FLOOD, bench.pairs + 1].map(|number| number.to_string());
    let mut rates = example(bench, "control_plane", &[&tasks, &rounds])?.take("tasks")?;
    rates.remove(0);
    report(Row {
        figure: "control plane, 24 simulated agents over real streams".to_string(),
        base: format!("{FLOOD} tasks, framework and agents on the same cores"),
        unit: "tasks/s",
        values: rates,
        goal: Some(Goal::AtLeast(20_000.0)),
    });
    Ok(())
}

/// A new master whose agents come back at once, each with its tasks, and what these cost it; then all of them report.
pub fn failover(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    for (agents, shown, seconds, updates) in [(1_000, "1,000", 0.5, UPDATES_A_TASK), (10_000, "10,000", 4.0, 0)] {
        let numbers = [agents, TASKS_AN_AGENT, bench.pairs, updates].map(|number| number.to_string());
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let mut lines = example(bench, "failover", &numbers)?;
        let how = format!("a connection each from one process on the same cores, {TASKS_AN_AGENT} tasks an agent");
        let mut row = |name: &str, figure: &str, unit, goal| -> Result<()> {
            let (figure, base) = (format!("{shown} agents, {figure}"), how.clone());
            report(Row { figure, base, unit, values: lines.take(name)?, goal });
            Ok(())
        };
        row("back", "known again with their tasks to a new master", "s", Some(Goal::AtMost(seconds)))?;
        row("admitted", "admitted to a new cluster, without tasks", "s", None)?;
        row("agent_heap_kb", "heap of the master for each", "KB", Some(Goal::AtMost(48.0)))?;
        row("agent_resident_kb", "resident memory of the master for each", "KB", Some(Goal::AtMost(48.0)))?;
        row("task_heap_kb", "heap of the master for each task", "KB", Some(Goal::AtMost(1.5)))?;
        row("task_resident_kb", "resident memory of the master for each task", "KB", Some(Goal::AtMost(1.5)))?;
        if updates > 0 {
            row("updates", "status updates through the master", "updates/s", Some(Goal::AtLeast(100_000.0)))?;
        }
    }
    Ok(())
}

/// Cycles of the allocator on a cluster of 50,000 agents.
pub fn allocator(bench: &Bench, report: &mut dyn FnMut(Row)) -> Result<()> {
    let mut lines = example(bench, "allocator_bench", &["measure", &bench.pairs.to_string()])?;
    for (name, frameworks, what, goal) in [
        ("full", "200 frameworks", "full cycle", 15.0),
        ("idle", "200 frameworks", "idle cycle", 2.0),
        ("filtered", "1,000 frameworks, half of them filter everything", "full cycle", 100.0),
    ] {
        report(Row {
            figure: format!("allocator, 50,000 agents × {frameworks}, {what}"),
            base: "reasons counted".to_string(),
            unit: "ms",
            values: lines.take(name)?,
            goal: Some(Goal::AtMost(goal)),
        });
    }
    Ok(())
}

/// What an example has printed.
struct Lines(BTreeMap<String, Vec<f64>>);

impl Lines {
    fn take(&mut self, name: &str) -> Result<Vec<f64>> {
        let values = self.0.remove(name).filter(|values| !values.is_empty());
        values.with_context(|| format!("the example printed no line {name:?}"))
    }
}

fn example(bench: &Bench, name: &str, arguments: &[&str]) -> Result<Lines> {
    let mut command = Command::new(bench.examples.join(name));
    let said = workspace::output(command.args(arguments))?;
    let parse = |line: &str| {
        let (name, values) = line.split_once(' ').context("a name and numbers")?;
        let values: Result<Vec<f64>, _> = values.split_whitespace().map(str::parse).collect();
        Ok((name.to_string(), values.with_context(|| format!("numbers in {line:?}"))?))
    };
    said.lines().map(parse).collect::<Result<_>>().map(Lines)
}
