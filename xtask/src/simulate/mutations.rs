//! Whether the simulation finds what is wrong: each patch of `tests/simulation/mutations` breaks one thing in a copy of the
//! sources, and worlds live there until an invariant fails.
//!
//! ```text
//! what is wrong            a patch opens with these two lines
//! Caught by: an invariant
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::PROFILE;
use crate::workspace;

struct Mutation {
    name: String,
    what: String,
    caught_by: String,
    patch: PathBuf,
}

/// Tries all, and prints a line for each. True if all were caught by the invariants that they name.
pub fn run(seeds: u64) -> Result<bool> {
    let copy = workspace::root().join("target/mutations/sources");
    let mut all_caught = true;
    for mutation in mutations()? {
        fresh_copy(&copy)?;
        apply(&copy, &mutation)?;
        let found = live(&copy, seeds)?;
        let caught = found.as_ref().is_some_and(|line| line.contains(&mutation.caught_by));
        all_caught &= caught;
        let verdict = match (&found, caught) {
            (None, _) => format!("NOT FOUND in {seeds} seeds"),
            (Some(line), true) => line.clone(),
            (Some(line), false) => format!("found by another invariant than {:?}: {line}", mutation.caught_by),
        };
        println!("{} ({})\n    {verdict}", mutation.name, mutation.what);
    }
    Ok(all_caught)
}

fn mutations() -> Result<Vec<Mutation>> {
    let folder = workspace::root().join("tests/simulation/mutations");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let patch = entry?.path();
        let text = fs::read_to_string(&patch).with_context(|| format!("read {}", patch.display()))?;
        let mut lines = text.lines();
        let what = lines.next().unwrap_or_default().to_string();
        let caught_by = lines.next().and_then(|line| line.strip_prefix("Caught by: "));
        let caught_by =
            caught_by.with_context(|| format!("{} doesn't say 'Caught by: …'", patch.display()))?.to_string();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        found.push(Mutation { name, what, caught_by, patch });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(!found.is_empty(), "{} holds no patch", folder.display());
    Ok(found)
}

/// What git knows, as it is in the work tree. Files that are the same are left alone, so that little is built again.
fn fresh_copy(copy: &Path) -> Result<()> {
    let listed = workspace::output(Command::new("git").args(["ls-files"]).current_dir(workspace::root()))?;
    for name in listed.lines() {
        let (from, to) = (workspace::root().join(name), copy.join(name));
        let Ok(new) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::write(&to, new).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

fn apply(copy: &Path, mutation: &Mutation) -> Result<()> {
    // Git would look for the repository that the copy lies in.
    let mut git = Command::new("git");
    git.args(["apply", "-C1", "--whitespace=nowarn"]).arg(&mutation.patch).current_dir(copy);
    git.env("GIT_CEILING_DIRECTORIES", copy.parent().context("the copy lies in a folder")?);
    workspace::output(&mut git).with_context(|| format!("{} doesn't fit the sources any more", mutation.name))?;
    Ok(())
}

/// The first line that says what failed.
fn live(copy: &Path, seeds: u64) -> Result<Option<String>> {
    let mut build = workspace::cargo(&["build", "--quiet", "--profile", PROFILE, "--package", "mesos-simulation"]);
    build.args(["--bin", "simulate"]).current_dir(copy).env("CARGO_TARGET_DIR", copy.with_file_name("build"));
    workspace::run(&mut build)?;
    let program = copy.with_file_name("build").join(PROFILE).join("simulate");
    let output = Command::new(program).args(["--seeds", &seeds.to_string(), "--failures", "1"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().find(|line| line.starts_with("seed ")).map(str::to_string))
}
