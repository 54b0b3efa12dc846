//! `cargo xtask install --prefix DIR`: what a user needs.
//!
//! ```text
//! bin/mesos   bin/plugins/*.so                plugins lie beside the program, where it looks for them
//! share/bash-completion/completions/mesos     share/zsh/site-functions/_mesos     share/fish/vendor_completions.d/mesos.fish
//! lib/systemd/system/mesos-*.service           master, launcher and agent; none is enabled
//! share/doc/mesos/                            README, CHANGELOG, LICENSE, how to run a cluster
//! ```

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{self, PLUGINS, Profile};

const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/mesos"),
    ("zsh", "share/zsh/site-functions/_mesos"),
    ("fish", "share/fish/vendor_completions.d/mesos.fish"),
];

const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE", "docs/operations.md"];

const UNITS: &[&str] = &["mesos-master.service", "mesos-launcher.service", "mesos-agent.service"];

/// Builds and copies. True, as nothing here fails without an error.
///
/// # Errors
/// The build fails, or the folder can't be written.
pub fn run(prefix: &Path) -> Result<bool> {
    let built = workspace::build(Profile::Release)?;
    let program = prefix.join("bin/mesos");
    workspace::replace(&built.join("mesos"), &program)?;
    for (_, name) in PLUGINS {
        workspace::replace(&built.join("plugins").join(name), &prefix.join("bin/plugins").join(name))?;
    }
    for (shell, path) in COMPLETIONS {
        let script = workspace::output(Command::new(&program).args(["completions", shell]))?;
        write(&prefix.join(path), &script)?;
    }
    for name in DOCUMENTS {
        let path = workspace::root().join(name);
        let name = path.file_name().context("a document has a name")?;
        workspace::replace(&path, &prefix.join("share/doc/mesos").join(name))?;
    }
    for name in UNITS {
        let path = workspace::root().join("packaging/systemd").join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let place = prefix.join("lib/systemd/system").join(name);
        write(&place, &unit_for(&text, &std::path::absolute(prefix)?))?;
    }
    println!("installed {}, its plugins beside it", program.display());
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder == prefix.join("bin"))
    {
        println!("{} is not in PATH: add it, or type the whole path", prefix.join("bin").display());
    }
    Ok(true)
}

/// Units name whole paths: those that are shipped, a distribution's.
fn unit_for(text: &str, prefix: &Path) -> String {
    let text = text.replace("/usr/bin/mesos", &prefix.join("bin/mesos").display().to_string());
    text.replace("/usr/share/doc/mesos", &prefix.join("share/doc/mesos").display().to_string())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_start_what_was_installed_with_them() {
        let unit = "Documentation=file:///usr/share/doc/mesos/operations.md\nExecStart=@/usr/bin/mesos mesos-launcher /var/lib/mesos/agent";
        assert_eq!(
            unit_for(unit, Path::new("/opt/mesos")),
            "Documentation=file:///opt/mesos/share/doc/mesos/operations.md\nExecStart=@/opt/mesos/bin/mesos mesos-launcher /var/lib/mesos/agent"
        );
    }
}
