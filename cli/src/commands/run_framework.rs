//! `mesos run-framework`: the scheduler half of a plugin in a process of its own, which may die and be started again elsewhere.
//!
//! ```text
//! started first   ──subscribe──▶ master ──id, secret──▶ the identity file
//! started again   ──subscribe as that one──▶ master ──state, tasks──▶ the half goes on where the last one was
//! ```
//!
//! Whoever supervises it keeps the identity file, which is as good as the framework itself: no flag and no variable carries the
//! secret, since others can read those.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::{Arg, Command, value_parser};
use mesos_host::framework::shell::RunningFramework;
use mesos_host::loader::{self, PluginFile};
use mesos_plugin_api::command::RunFramework;
use mesos_plugin_api::v1::FrameworkId;

use super::{Group, Verb};
use crate::context::Context;
use crate::plugin::host::{framework_info, maker};
use crate::{cluster, detached, foreground};

pub const VERB: Verb = Verb { name: "run-framework", group: Group::Hidden, command, run };

fn command(command: Command) -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .required_unless_present("detached")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    command
        .hide(true)
        .about("Run the scheduler half of a plugin, or the next one of a framework that exists")
        .arg(path("plugin", "The plugin"))
        .arg(path("config", "What its command would give to the half"))
        .arg(path("identity", "Id and secret of the framework; made at its first start, and to be kept as a secret"))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .required_unless_present("detached")
                .help("The framework's name"),
        )
        .arg(
            Arg::new("detached")
                .long("detached")
                .value_name("ID")
                .help("Of a framework that was handed to the cluster: its master says the rest"),
        )
        .arg(Arg::new("role").long("role").value_name("ROLE").help("The role whose share it uses"))
        .arg(
            Arg::new("failover-timeout-ms")
                .long("failover-timeout-ms")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("How long its tasks survive without a scheduler"),
        )
}

fn run(context: &Context) -> Result<i32> {
    if let Some(id) = context.text("detached") {
        return detached::run_scheduler(context, id);
    }
    let path = |name: &str| context.verb.get_one::<PathBuf>(name).expect("clap wants it");
    let file = PluginFile::read(path("plugin"));
    let file = file.map_err(|problem| anyhow!("plugin {}: {problem}", path("plugin").display()))?;
    let config = fs::read(path("config")).with_context(|| format!("{} can't be read", path("config").display()))?;
    let identity = Identity::read(path("identity"))?;
    let plugin = loader::load(&file)?;
    let reference = file.reference().with_context(|| format!("{} can't be read", file.path.display()))?;
    let start = RunFramework {
        role: context.text("role").map(str::to_string),
        failover_timeout_ms: context.verb.get_one("failover-timeout-ms").copied(),
        ..RunFramework::named(context.text("name").expect("clap wants it"), config)
    };
    let mut info = framework_info(&start, &reference);
    let secret = identity.map(|identity| {
        info.id = Some(identity.framework_id);
        identity.secret
    });
    let mut registered = |id: &FrameworkId, secret: &str| {
        Identity { framework_id: id.clone(), secret: secret.to_string() }.write(path("identity"))
    };
    context.runtime()?.block_on(async {
        let client = cluster::lasting(context).await?;
        client.put_blob(&file.path, &reference.sha256).await?;
        let make = maker(&plugin, start.config);
        let running = RunningFramework::start(client.clone(), info, Some(reference), secret, make).await?;
        let options = foreground::Options { quiet: context.quiet(), stdin: false };
        Ok(foreground::stay(&client, running, options, &mut registered).await?.exit_code)
    })
}

/// What makes a scheduler the framework's.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    framework_id: FrameworkId,
    secret: String,
}

impl Identity {
    /// None if the framework has yet to be made.
    fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
        };
        let lines: Vec<&str> = text.lines().collect();
        let [id, secret] = lines[..] else {
            return Err(anyhow!("{} holds no framework's id and secret, a line each", path.display()));
        };
        Ok(Some(Self { framework_id: FrameworkId::from(id), secret: secret.to_string() }))
    }

    /// Whole or not at all, and for its owner only.
    fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            write!(file, "{}\n{}\n", self.framework_id, self.secret)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        written().with_context(|| format!("{} can't be written", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("identity");
        assert_eq!(Identity::read(&path).expect("no file is fine"), None);
        let identity = Identity { framework_id: "F1".into(), secret: "s".into() };
        identity.write(&path).expect("writes");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::read(&path).expect("reads"), Some(identity));
        fs::write(&path, "F1").expect("writes");
        assert!(Identity::read(&path).expect_err("cut off").to_string().contains("identity"));
    }
}
