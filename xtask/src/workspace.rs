//! The workspace: where it lies, how it is built, and how plugins come to lie beside the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// The plugins: the library's name, and the file's name under which users know it.
pub const PLUGINS: &[(&str, &str)] = &[("libmesos_mpi.so", "mpi.so")];

/// The top folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// A cargo command in the top folder.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Builds the binary and all plugins, and puts the plugins beside the binary. Gives the folder of the binary back.
///
/// # Errors
/// The build fails, or the folder can't be written.
pub fn build(profile: Profile) -> Result<PathBuf> {
    let mut arguments =
        vec!["build", "--workspace", "--exclude", "xtask", "--exclude", "mesos-tests", "--exclude", "mesos-simulation"];
    if profile == Profile::Release {
        arguments.push("--release");
    }
    run(&mut cargo(&arguments))?;
    let folder = build_folder(profile)?;
    for (library, name) in PLUGINS {
        replace(&folder.join(library), &folder.join("plugins").join(name))?;
    }
    Ok(folder)
}

/// Copies a file over another by rename, never in place: a process may run the old one or have it mapped.
///
/// # Errors
/// The file can't be read, or the folder can't be written.
pub fn replace(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let new = to.with_extension(format!("new-{}", std::process::id()));
    fs::copy(from, &new).with_context(|| format!("copy {} to {}", from.display(), new.display()))?;
    fs::rename(&new, to).with_context(|| format!("rename {} to {}", new.display(), to.display()))
}

/// Runs a command that shows its own output.
///
/// # Errors
/// It can't be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", shown(command)))?;
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// Runs a command and gives its standard output back.
///
/// # Errors
/// It can't be started or fails; what it wrote to standard error is part of the message.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed ({}): {}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn build_folder(profile: Profile) -> Result<PathBuf> {
    // This program lies in target/debug, wherever that was put.
    let own = std::env::current_exe().context("find this program")?;
    let debug = own.parent().context("a program lies in a folder")?;
    Ok(match profile {
        Profile::Dev => debug.to_path_buf(),
        Profile::Release => debug.with_file_name("release"),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_replaced_file_is_another_one_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let [new, old] = ["new.so", "plugins/old.so"].map(|name| folder.path().join(name));
        fs::write(&new, "new").unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::write(&old, "old").unwrap();
        let before = fs::metadata(&old).unwrap().ino();

        replace(&new, &old).unwrap();

        assert_eq!(fs::read_to_string(&old).unwrap(), "new");
        assert_ne!(fs::metadata(&old).unwrap().ino(), before);
        assert_eq!(fs::read_dir(folder.path().join("plugins")).unwrap().count(), 1);
    }
}
