//! `mesos plugins`: what the plugin folders hold, and what is wrong with what can't be used.

use anyhow::Result;
use clap::Command;
use mesos_host::loader::{Catalogue, Entry, PluginFile};
use serde::Serialize;

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::errors::EXIT_FAILURE;
use crate::output::{self, Format, NONE, Row};
use crate::{help, output::print};

pub const VERB: Verb = Verb { name: "plugins", group: Group::Others, command, run };

/// Digits of the hash that a table shows; JSON has all.
const HASH_DIGITS: usize = 12;

fn command(command: Command) -> Command {
    command
        .about("Show the plugins, their commands, and what is wrong with those that don't load")
        .long_about(
            "Shows what is in the plugin folders, one line for each file: name, version, the version of the plugin API it was \
             built with, the hash of its content, its commands, or what is wrong with it. Nothing is loaded. Folders: \
             --plugin-dir, MESOS_PLUGIN_DIR, ~/.local/share/mesos/plugins, and plugins/ beside the program. Exits with 1 when \
             something can't be used.",
        )
        .after_long_help(examples(&[
            ("mesos plugins", "what there is"),
            ("mesos plugins --plugin-dir ./target/debug -o json", "the same for a folder under development"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let catalogue = help::catalogue(context);
    let rows: Vec<Plugin> = catalogue.entries().iter().map(Plugin::of).collect();
    let words: Vec<String> = catalogue.refused().map(|refused| refused.reason).collect();
    let format = context.format()?;
    match format {
        Format::Table => print(&table(&rows, &words, &catalogue))?,
        Format::Json | Format::Quiet => output::show(format, &rows, "")?,
    }
    let broken = !words.is_empty() || rows.iter().any(|row| row.problem.is_some());
    Ok(if broken { EXIT_FAILURE } else { 0 })
}

/// Good plugins in columns; under them a line for each thing that is wrong.
fn table(rows: &[Plugin], words: &[String], catalogue: &Catalogue) -> String {
    let good: Vec<&Plugin> = rows.iter().filter(|row| row.problem.is_none()).collect();
    let mut text = match good.as_slice() {
        [] if catalogue.entries().is_empty() => {
            "no plugins; copy a plugin's .so to ~/.local/share/mesos/plugins, or name its folder with --plugin-dir\n"
                .to_string()
        }
        [] => String::new(),
        good => output::table(good),
    };
    for problem in rows.iter().filter_map(|row| row.problem.as_ref()).chain(words) {
        text.push_str(&format!("{problem}\n"));
    }
    text
}

/// What is shown of a file.
#[derive(Debug, Serialize)]
struct Plugin {
    name: Option<String>,
    version: Option<String>,
    api: Option<String>,
    sha256: Option<String>,
    commands: Vec<String>,
    about: Option<String>,
    path: String,
    problem: Option<String>,
}

impl Plugin {
    fn of(entry: &Entry) -> Self {
        let path = entry.path.display().to_string();
        match &entry.plugin {
            Ok(file) => Self::good(file, path),
            Err(problem) => Self::bad(path, problem.clone()),
        }
    }

    fn good(file: &PluginFile, path: String) -> Self {
        let declaration = &file.declaration;
        let hash = match file.hash() {
            Ok(hash) => hash.to_string(),
            Err(error) => return Self::bad(path.clone(), format!("{path}: cannot be read: {error}")),
        };
        let words = declaration.commands.iter().filter(|command| !command.hidden);
        Self {
            name: Some(declaration.name.clone()),
            version: Some(declaration.version.to_string()),
            api: Some(declaration.api.to_string()),
            sha256: Some(hash),
            commands: words.map(|command| command.name.clone()).collect(),
            about: Some(declaration.about.clone()),
            path,
            problem: None,
        }
    }

    fn bad(path: String, problem: String) -> Self {
        let (name, version, api, sha256, about) = (None, None, None, None, None);
        Self { name, version, api, sha256, commands: Vec::new(), about, path, problem: Some(problem) }
    }
}

impl Row for Plugin {
    const HEADINGS: &'static [&'static str] = &["NAME", "VERSION", "API", "SHA-256", "COMMANDS", "FILE"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_string());
        vec![
            or_none(&self.name),
            or_none(&self.version),
            or_none(&self.api),
            or_none(&self.sha256).chars().take(HASH_DIGITS).collect(),
            self.commands.join(" "),
            self.path.clone(),
        ]
    }

    fn id(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.path)
    }
}
