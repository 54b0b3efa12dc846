//! `mesos --help`: the verbs by what they are for, then each plugin's commands under its name. Reads declarations, loads nothing.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Command;
use mesos_host::loader::Catalogue;

use crate::commands::{self, Group};
use crate::context::Context;
use crate::{args, output};

/// What stands under the flags.
const AFTER: &str = "\
Settings:
  A flag counts first, then its variable (--master: MESOS_MASTER), then
  ~/.config/mesos/config.toml. 'mesos config' shows what counts, and why.

Exit codes:
  0 when all went well, 1 when it didn't, 2 when the command line or a setting
  can't be used. run, exec and commands that run programs pass on the program's
  own: its exit code, or 128 + the signal that ended it.

'mesos help COMMAND' or 'mesos COMMAND --help' says more, with examples.
";

/// Shows the overview.
///
/// # Errors
/// Standard output can't be written.
pub fn overview(context: &Context) -> Result<i32> {
    output::print(&overview_text(&catalogue(context)))?;
    Ok(0)
}

/// What is in the plugin folders.
pub fn catalogue(context: &Context) -> Catalogue {
    Catalogue::scan(&context.plugin_path(), &commands::names())
}

fn overview_text(catalogue: &Catalogue) -> String {
    let width = word_width(catalogue);
    let mut text = String::from("Shares the machines of a cluster between frameworks, by resource offers.\n\n");
    text.push_str("Usage: mesos [FLAGS] COMMAND [ARGUMENTS]\n");
    for group in Group::ALL {
        let verbs = commands::ALL.iter().filter(|verb| verb.group == group);
        section(&mut text, group.heading(), verbs.map(|verb| (verb.name.to_string(), verb.about())), width);
    }
    for (plugin, words) in plugin_sections(catalogue) {
        section(&mut text, &format!("Plugin {plugin}"), words.into_iter(), width);
    }
    let broken = catalogue.entries().iter().filter(|entry| entry.plugin.is_err()).count() + catalogue.refused().count();
    if broken > 0 {
        let _ = writeln!(text, "\nNot everything in the plugin folders can be used: see 'mesos plugins'.");
    }
    let _ = write!(text, "\n{}\n{AFTER}", flags());
    text
}

fn section(text: &mut String, heading: &str, words: impl Iterator<Item = (String, String)>, width: usize) {
    let _ = writeln!(text, "\n{heading}:");
    for (word, about) in words {
        let _ = writeln!(text, "  {word:width$}  {about}");
    }
}

/// Plugins in the order of the search path, each with its words.
fn plugin_sections(catalogue: &Catalogue) -> Vec<(String, Vec<(String, String)>)> {
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for found in catalogue.commands().filter(|found| !found.command.hidden) {
        let plugin = found.plugin.name_and_version();
        let word = (found.command.name.clone(), found.command.help.clone());
        match sections.iter_mut().find(|(name, _)| *name == plugin) {
            Some((_, words)) => words.push(word),
            None => sections.push((plugin, vec![word])),
        }
    }
    sections
}

fn word_width(catalogue: &Catalogue) -> usize {
    let words = catalogue.commands().map(|found| found.command.name.len());
    words.chain(commands::ALL.iter().map(|verb| verb.name.len())).max().unwrap_or(0).min(24)
}

/// The flags of every command, as clap shows them.
fn flags() -> String {
    let command = Command::new("mesos").disable_help_flag(true).help_template("Flags of every command:\n{options}\n");
    let help = clap::Arg::new("help").short('h').long("help").action(clap::ArgAction::SetTrue);
    let version = clap::Arg::new("version").short('V').long("version").action(clap::ArgAction::SetTrue);
    let mut command = command
        .args(args::global_args())
        .arg(help.help("Show this, or a command's help"))
        .arg(version.help("Show the version"));
    command.render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_under_one_heading_and_no_plugin_is_invented() {
        let text = overview_text(&Catalogue::default());
        for verb in commands::ALL {
            let times = usize::from(verb.group != Group::Hidden);
            assert_eq!(text.matches(&format!("\n  {} ", verb.name)).count(), times, "{}", verb.name);
        }
        assert!(!text.contains("Plugin ") && text.contains("--master <HOST:PORT>") && text.contains("Exit codes:"));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
