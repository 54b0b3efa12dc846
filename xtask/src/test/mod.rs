//! `cargo xtask test`: everything that must hold, quickest first, and one line of totals at the end.
//!
//! ```text
//! fmt ─ clippy ─ build ─ unit ─ fuzz ─ simulation ─ harness ─ doc ─ tidy ─ parts ─ run ─ plugins ─ golden ─ bad_input ─ lifecycle
//!     ─ volumes ─ skeletons ─ failover ─ detach ─ drain ─ recovery ─ zookeeper ─ masters ─ units ─ mpi
//! ```

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::workspace::{self, Profile};

mod cargo_test;
mod totals;

use totals::Totals;

/// A step: its name, what it does, and what it is for.
struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    /// A cargo command that passes or fails as a whole.
    Check(&'static [&'static str]),
    /// The binary and the plugins beside it, for the steps after it.
    Build,
    /// A cargo command that reports tests.
    Tests(&'static [&'static str]),
    /// A test program of `tests/`, with real processes.
    Integration,
    /// The same; its tests take turns, and let others have theirs while they wait.
    Turns,
    /// Faults among real processes, for so many minutes. Builds by itself what it runs.
    Chaos(&'static str),
}

const STEPS: &[Step] = &[
    Step { name: "fmt", action: Action::Check(&["fmt", "--all", "--check"]) },
    Step {
        name: "clippy",
        action: Action::Check(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "build", action: Action::Build },
    Step {
        name: "unit",
        action: Action::Tests(&[
            "--workspace",
            "--lib",
            "--bins",
            "--examples",
            "--tests",
            "--exclude",
            "mesos-tests",
            "--exclude",
            "mesos-fuzz",
            "--exclude",
            "mesos-simulation",
        ]),
    },
    Step { name: "fuzz", action: Action::Tests(&["--package", "mesos-fuzz", "--lib", "--tests"]) },
    Step {
        name: "simulation",
        action: Action::Tests(&["--profile", "simulation", "--package", "mesos-simulation", "--test", "simulation"]),
    },
    Step { name: "harness", action: Action::Tests(&["--package", "mesos-tests", "--lib"]) },
    Step { name: "doc", action: Action::Tests(&["--workspace", "--doc"]) },
    Step { name: "tidy", action: Action::Integration },
    Step { name: "parts", action: Action::Integration },
    Step { name: "run", action: Action::Integration },
    Step { name: "plugins", action: Action::Integration },
    Step { name: "golden", action: Action::Integration },
    Step { name: "bad_input", action: Action::Integration },
    Step { name: "lifecycle", action: Action::Integration },
    Step { name: "volumes", action: Action::Integration },
    Step { name: "skeletons", action: Action::Integration },
    Step { name: "failover", action: Action::Integration },
    Step { name: "detach", action: Action::Integration },
    Step { name: "drain", action: Action::Integration },
    Step { name: "recovery", action: Action::Integration },
    Step { name: "zookeeper", action: Action::Integration },
    Step { name: "masters", action: Action::Integration },
    Step { name: "units", action: Action::Integration },
    Step { name: "mpi", action: Action::Turns },
    Step { name: "chaos", action: Action::Chaos("2") },
];

/// What takes minutes, or is no test but must go on working: only with `--all`, or by name.
const LONG_STEPS: &[Step] = &[
    Step {
        name: "mutations",
        action: Action::Check(&["run", "--quiet", "--package", "xtask", "--", "simulate", "--mutations"]),
    },
    Step { name: "systemd", action: Action::Integration },
    Step {
        name: "measured",
        action: Action::Check(&[
            "run",
            "--quiet",
            "--package",
            "mesos-host",
            "--example",
            "control_plane",
            "2000",
            "2",
        ]),
    },
];

/// Runs the steps that the filter leaves. True if nothing failed.
///
/// # Errors
/// The filter fits nothing, or this program itself can't go on.
pub fn run(all: bool, filter: &[String]) -> Result<bool> {
    let (steps, name) = chosen(all, filter)?;
    let folder = tempfile::tempdir()?;
    let skips = folder.path().join("skips");
    let mut totals = Totals::default();
    for step in steps {
        eprintln!("── {} ──", step.name);
        let started = Instant::now();
        let of_step = carry_out(step, all, name, &skips)?;
        eprintln!("── {}: {of_step} in {:.1} s", step.name, started.elapsed().as_secs_f64());
        totals += of_step;
    }
    totals.take_skips(&std::fs::read_to_string(&skips).unwrap_or_default());
    println!("{totals}");
    Ok(totals.failed == 0)
}

/// The steps, and the part of a test's name, that were asked for. Steps that run programs need the build first.
fn chosen(all: bool, filter: &[String]) -> Result<(Vec<&'static Step>, Option<&str>)> {
    let every = || STEPS.iter().chain(LONG_STEPS);
    let named = |name: &str| every().find(|step| step.name == name);
    match filter {
        [] if all => Ok((every().collect(), None)),
        [] => Ok((STEPS.iter().collect(), None)),
        [first, rest @ ..] if rest.len() < 2 => match named(first) {
            Some(step) => {
                let build =
                    matches!(step.action, Action::Integration | Action::Turns).then(|| named("build")).flatten();
                Ok((build.into_iter().chain([step]).collect(), rest.first().map(String::as_str)))
            }
            None if rest.is_empty() => {
                let reports = |step: &&Step| !matches!(step.action, Action::Check(_) | Action::Chaos(_));
                Ok((STEPS.iter().filter(reports).collect(), Some(first)))
            }
            None => {
                bail!("no step {first:?}; there are {}", every().map(|step| step.name).collect::<Vec<_>>().join(", "))
            }
        },
        _ => bail!("at most a step and a part of a test's name"),
    }
}

fn carry_out(step: &Step, all: bool, name: Option<&str>, skips: &Path) -> Result<Totals> {
    Ok(match step.action {
        Action::Check(arguments) => Totals::of_check(workspace::run(&mut workspace::cargo(arguments))),
        Action::Build => Totals::of_check(workspace::build(Profile::Dev).map(drop)),
        Action::Tests(arguments) => cargo_test::run(arguments, all, name, skips)?,
        Action::Integration => {
            cargo_test::run_real(&["--package", "mesos-tests", "--test", step.name], all, name, skips)?
        }
        Action::Chaos(minutes) => {
            let mut chaos = workspace::cargo(&["xtask", "chaos", "--minutes", minutes]);
            Totals::of_check(workspace::run(chaos.env(harness::skip::SKIPS_FILE_VARIABLE, skips)))
        }
        Action::Turns => {
            let threads = ["--config", "env.RUST_TEST_THREADS='6'"];
            let program = ["--package", "mesos-tests", "--test", step.name];
            cargo_test::run_real(&[threads.as_slice(), &program].concat(), all, name, skips)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &[&str]) -> (Vec<&'static str>, Option<String>) {
        let filter: Vec<String> = filter.iter().map(|word| word.to_string()).collect();
        let (steps, name) = chosen(false, &filter).unwrap();
        (steps.iter().map(|step| step.name).collect(), name.map(str::to_string))
    }

    #[test]
    fn without_a_filter_everything_runs() {
        assert_eq!(names(&[]).0.len(), STEPS.len());
    }

    #[test]
    fn long_steps_run_with_all_and_by_name() {
        assert_eq!(chosen(true, &[]).unwrap().0.len(), STEPS.len() + LONG_STEPS.len());
        assert_eq!(names(&["measured"]).0, ["measured"]);
    }

    #[test]
    fn a_group_is_built_first_and_may_be_narrowed() {
        assert_eq!(names(&["mpi", "openmpi5"]), (vec!["build", "mpi"], Some("openmpi5".to_string())));
        assert_eq!(names(&["fmt"]), (vec!["fmt"], None));
    }

    #[test]
    fn any_other_word_is_a_part_of_a_tests_name() {
        let (steps, name) = names(&["barrier"]);
        assert!(steps.contains(&"unit") && !steps.contains(&"clippy"));
        assert_eq!(name.as_deref(), Some("barrier"));
        assert!(chosen(false, &["nonsense".to_string(), "x".to_string()]).is_err());
    }
}
