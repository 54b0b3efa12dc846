//! `cargo xtask install --prefix DIR`: what a user needs.
//!
//! ```text
//! bin/mesos   bin/plugins/*.so                plugins lie beside the program, where it looks for them
//! share/bash-completion/completions/mesos     share/zsh/site-functions/_mesos     share/fish/vendor_completions.d/mesos.fish
//! share/doc/mesos/                            README, CHANGELOG, LICENSE
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

const DOCUMENTS: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE"];

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
        workspace::replace(&workspace::root().join(name), &prefix.join("share/doc/mesos").join(name))?;
    }
    println!("installed {}, its plugins beside it", program.display());
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder == prefix.join("bin"))
    {
        println!("{} is not in PATH: add it, or type the whole path", prefix.join("bin").display());
    }
    Ok(true)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
