//! `mesos config`: what counts, and where it comes from.

use anyhow::Result;
use clap::Command;
use serde::Serialize;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::errors::{EXIT_USAGE, UsageError};
use crate::output::{self, Format, NONE, Row};
use crate::settings::{self, ALL, Key, Source};

pub const VERB: Verb = Verb { name: "config", group: Group::Others, command, run };

fn command(command: Command) -> Command {
    command
        .about("Show the settings that count, and where each comes from")
        .long_about(
            "Shows every setting with its value and its source: a flag, else a MESOS_* variable, else \
             ~/.config/mesos/config.toml, else the default. Exits with 2 when one can't be used.\n\nIn the file, names with dots \
             are tables:\n\n  master = \"10.0.0.1:5050\"\n  plugin-dir = [\"/opt/mesos/plugins\"]\n\n  [run]\n  cpus = 2\n\n  \
             [daemon.agent]\n  resources = \"cpus:4;mem:8192\"",
        )
        .after_long_help(examples(&[
            ("mesos config", "all settings"),
            ("MESOS_MASTER=10.0.0.1:5050 mesos config -o json", "the same for programs"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let rows: Vec<Setting> = ALL.iter().map(|key| Setting::of(context, key)).collect();
    let format = context.format()?;
    output::show(format, &rows, "")?;
    if format == Format::Table {
        output::say(format!("\nconfiguration file: {}", context.settings.file.path.display()));
    }
    let bad: Vec<&String> = rows.iter().filter_map(|row| row.problem.as_ref()).collect();
    for problem in &bad {
        output::remark(problem);
    }
    Ok(if bad.is_empty() { 0 } else { EXIT_USAGE })
}

/// A setting as it is shown.
#[derive(Debug, Serialize)]
struct Setting {
    name: &'static str,
    value: Option<String>,
    source: Option<String>,
    variable: &'static str,
    problem: Option<String>,
    #[serde(skip)]
    from: String,
}

impl Setting {
    fn of(context: &Context, key: &'static Key) -> Self {
        let value = context.find(key);
        let checked = value.as_ref().map(|value| settings::read(value, key.check)).transpose();
        let problem = checked.err().and_then(|error| error.downcast::<UsageError>().ok());
        Self {
            name: key.name,
            from: value.as_ref().map_or_else(|| NONE.to_string(), |value| from(&value.source)),
            source: value.as_ref().map(|value| value.source.to_string()),
            value: value.map(|value| value.text),
            variable: key.variable,
            problem: problem.map(|error| error.to_string()),
        }
    }
}

/// The file's name is enough: its path stands under the table, and the key in the first column.
fn from(source: &Source) -> String {
    match source {
        Source::File(path, _) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        other => other.to_string(),
    }
}

impl Row for Setting {
    const HEADINGS: &'static [&'static str] = &["NAME", "VALUE", "FROM", "VARIABLE"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_string());
        vec![self.name.to_string(), or_none(&self.value), self.from.clone(), self.variable.to_string()]
    }

    fn id(&self) -> &str {
        self.name
    }
}
