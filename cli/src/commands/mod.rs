//! The verbs, one file each, in the order of the help.

mod agent;
mod agents;
mod completions;
mod config;
mod down;
mod exec;
mod frameworks;
mod help;
mod kill;
mod logs;
mod master;
mod plugins;
mod program;
mod run;
mod run_framework;
mod tasks;
mod teardown;
mod up;
mod volumes;
mod why;

use anyhow::Result;
use clap::{Arg, Command};

use crate::context::Context;

/// A verb of the host's own.
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// Where the help shows it.
    pub group: Group,
    /// Gives a bare command its help and its arguments.
    pub command: fn(Command) -> Command,
    /// Carries it out and gives the exit code.
    pub run: fn(&Context) -> Result<i32>,
}

impl Verb {
    /// What it does, in one line.
    pub fn about(&self) -> String {
        (self.command)(Command::new(self.name)).get_about().map(ToString::to_string).unwrap_or_default()
    }
}

/// What a verb is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Runs programs.
    Programs,
    /// Shows what goes on.
    Looking,
    /// Starts and ends clusters.
    Clusters,
    /// The rest.
    Others,
    /// For processes of our own; in no help.
    Hidden,
}

impl Group {
    /// In the order of the help.
    pub const ALL: [Group; 4] = [Group::Programs, Group::Looking, Group::Clusters, Group::Others];

    /// What stands above its verbs.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Programs => "Programs",
            Self::Looking => "What goes on",
            Self::Clusters => "Clusters",
            Self::Others => "Others",
            Self::Hidden => "Hidden",
        }
    }
}

/// Every verb.
pub static ALL: &[Verb] = &[
    run::VERB,
    logs::VERB,
    exec::VERB,
    kill::VERB,
    teardown::VERB,
    tasks::VERB,
    frameworks::VERB,
    agents::VERB,
    volumes::VERB,
    why::VERB,
    up::VERB,
    down::VERB,
    master::VERB,
    agent::VERB,
    plugins::VERB,
    config::VERB,
    completions::VERB,
    help::VERB,
    run_framework::VERB,
];

/// The verb of that name.
pub fn find(word: &str) -> Option<&'static Verb> {
    ALL.iter().find(|verb| verb.name == word)
}

/// The names of all verbs, which no plugin may take.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|verb| verb.name).collect()
}

/// The flag that says which framework is meant. What a short one would mean differs from verb to verb.
fn framework_arg(help: &'static str) -> Arg {
    Arg::new("framework").long("framework").value_name("ID|NAME").help(help)
}

/// Examples under a verb's help: lines and what they do.
fn examples(lines: &[(&str, &str)]) -> String {
    let mut text = String::from("Examples:\n");
    for (line, does) in lines {
        text.push_str(&format!("  {line}\n      {does}\n"));
    }
    text
}
