//! `cargo xtask fuzz TARGET`: lets cargo-fuzz look for bytes on which something does not hold.
//!
//! ```text
//! fuzz/corpus/TARGET   kept inputs, which CI runs  ──read──▶ ┌────────────┐
//! target/fuzz/TARGET   what was found on this machine ◀─────▶│ cargo fuzz │──▶ fuzz/artifacts/TARGET   what failed
//!          └── --keep: the fewest that reach as much ──▶ fuzz/corpus/TARGET
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// Inputs of one target that are kept, at most, and their bytes: each is run in CI.
const KEPT_FILES_MAX: usize = 300;
const KEPT_BYTES_MAX: u64 = 300 * 1024;
/// A longer input shows nothing that a shorter one doesn't.
const INPUT_BYTES_MAX: usize = 4096;

/// Fuzzes one target for so long. True, as what fails is an error.
///
/// # Errors
/// Something does not hold, or cargo-fuzz is missing.
pub fn run(target: &str, seconds: u32, keep: bool) -> Result<bool> {
    let targets = names(&root().join("fuzz_targets"))?;
    let targets: Vec<&str> = targets.iter().filter_map(|name| name.strip_suffix(".rs")).collect();
    ensure!(targets.contains(&target), "no target {target:?}; there are {}", targets.join(", "));
    if workspace::output(&mut nightly(&["fuzz", "--version"])).is_err() {
        bail!("cargo-fuzz is missing; `rustup toolchain install nightly` and `cargo install cargo-fuzz` bring it");
    }
    for name in names(&root().join("artifacts").join(target)).unwrap_or_default() {
        let path = root().join("artifacts").join(target).join(name);
        eprintln!("first {}, on which it failed before", path.display());
        workspace::run(nightly(&["fuzz", "run", target]).arg(&path))?;
        fs::remove_file(&path).with_context(|| format!("remove {}, which holds now", path.display()))?;
    }
    let kept = root().join("corpus").join(target);
    let found = workspace::root().join("target/fuzz").join(target);
    fs::create_dir_all(&found).with_context(|| format!("create {}", found.display()))?;
    let options = ["--", "-timeout=20", &format!("-max_len={INPUT_BYTES_MAX}"), &format!("-max_total_time={seconds}")];
    workspace::run(nightly(&["fuzz", "run", target]).args([&found, &kept]).args(options))?;
    if keep {
        keep_fewest(target, &kept, &found)?;
    }
    Ok(true)
}

/// Replaces what is kept by the fewest inputs that reach as much; of too many some of each length.
fn keep_fewest(target: &str, kept: &Path, found: &Path) -> Result<()> {
    let fewest = found.with_extension("fewest");
    let _ = fs::remove_dir_all(&fewest);
    fs::create_dir_all(&fewest).with_context(|| format!("create {}", fewest.display()))?;
    let folders = [fewest.as_path(), kept, found];
    workspace::run(nightly(&["fuzz", "run", target]).args(folders).args(["--", "-set_cover_merge=1"]))?;
    let mut inputs: Vec<(u64, PathBuf)> = Vec::new();
    for name in names(&fewest)? {
        let path = fewest.join(name);
        inputs.push((fs::metadata(&path)?.len(), path));
    }
    inputs.sort();
    let all = inputs.len();
    let mut bytes = 0;
    inputs = evenly(inputs, KEPT_FILES_MAX);
    inputs.retain(|(size, _)| {
        bytes += size;
        bytes <= KEPT_BYTES_MAX
    });
    ensure!(!inputs.is_empty(), "nothing was found that could be kept");
    fs::remove_dir_all(kept).with_context(|| format!("remove {}", kept.display()))?;
    for (_, path) in &inputs {
        workspace::replace(path, &kept.join(path.file_name().expect("it is in a folder")))?;
    }
    println!("kept {} of {all} inputs in {}", inputs.len(), kept.display());
    Ok(())
}

/// So many of them at the most, from everywhere.
fn evenly<T>(all: Vec<T>, max: usize) -> Vec<T> {
    let step = all.len().div_ceil(max).max(1);
    all.into_iter().step_by(step).collect()
}

fn root() -> PathBuf {
    workspace::root().join("fuzz")
}

fn nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").args(arguments).current_dir(workspace::root());
    command
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names: Vec<String> =
        files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_some_of_each_length_are_kept() {
        assert_eq!(evenly(vec![1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(evenly((0..7).collect(), 3), [0, 3, 6]);
        assert_eq!(evenly(Vec::<u8>::new(), 3), Vec::<u8>::new());
    }
}
