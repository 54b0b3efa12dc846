//! The command line: flags that every verb knows, the verbs, and the words that plugins bring.
//!
//! ```text
//! args ─▶ root command ─┬─▶ a verb ─▶ Context ─▶ commands/VERB.rs ─▶ exit code
//!                       ├─▶ another word ─▶ declarations of the plugins ─▶ plugin/ ─▶ exit code
//!                       └─▶ --help, nothing ─▶ help.rs
//! ```

use std::ffi::OsString;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::commands::{self, Verb};
use crate::context::Context;
use crate::errors::EXIT_USAGE;
use crate::settings::{MASTER, OUTPUT, PLUGIN_DIR, STATE_DIR, Settings, TOKEN_FILE};
use crate::{help, output, plugin};

/// What stands above the flags that every verb knows.
pub const GLOBAL_HEADING: &str = "Flags of every command";

/// Runs the command that was typed.
///
/// # Errors
/// What went wrong, for people; see [`crate::errors::report`].
pub fn run(args: Vec<OsString>) -> Result<i32> {
    let root = match root().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return parse_error(&error),
    };
    let settings = Settings::of_process();
    let (word, matches) = match root.subcommand() {
        Some((word, matches)) if !root.get_flag("help") => (word.to_string(), matches.clone()),
        _ => {
            // A broken configuration file is no reason to withhold the help.
            let settings = settings.unwrap_or_else(|_| Settings { file: Default::default(), variable: |_| None });
            let context = Context { settings, verb: root.clone(), root };
            return help::overview(&context);
        }
    };
    let context = Context { settings: settings?, root, verb: matches };
    start_log(&context, &word);
    match commands::find(&word) {
        Some(verb) => (verb.run)(&context),
        None => plugin::run(context, &word),
    }
}

/// The whole command, without what plugins bring.
pub fn root() -> Command {
    let root = Command::new("mesos")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Shares the machines of a cluster between frameworks, by resource offers")
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .external_subcommand_value_parser(clap::value_parser!(OsString))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).help("Show what mesos can do"))
        .args(global_args());
    root.subcommands(commands::ALL.iter().map(verb_command))
}

fn verb_command(verb: &Verb) -> Command {
    let command = (verb.command)(Command::new(verb.name)).disable_help_flag(true).arg(help_arg());
    command.args(global_args().into_iter().map(|arg| arg.help_heading(GLOBAL_HEADING)))
}

/// The root's own help is ours, and to switch the parser's off there switches it off below.
pub fn help_arg() -> Arg {
    Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Show a short help; --help shows all")
}

/// Flags that every verb knows.
pub fn global_args() -> Vec<Arg> {
    let verbose = Arg::new("verbose").short('v').long("verbose").action(ArgAction::Count);
    let quiet = Arg::new("quiet").short('q').long("quiet").action(ArgAction::SetTrue);
    vec![
        MASTER.arg(),
        TOKEN_FILE.arg(),
        PLUGIN_DIR.arg().action(ArgAction::Append),
        STATE_DIR.arg(),
        OUTPUT.arg(),
        quiet.help("Ids only in listings; no bars and no remarks elsewhere"),
        verbose.help("Say more on standard error; twice for everything"),
    ]
}

/// Shows what the parser has to say: help on standard output, or an error.
///
/// # Errors
/// Standard output can't be written.
pub fn parse_error(error: &clap::Error) -> Result<i32> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&error.render().to_string())?;
            Ok(0)
        }
        _ => {
            let text = error.render().to_string();
            output::remark(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            Ok(EXIT_USAGE)
        }
    }
}

/// What the parts of the host log goes to standard error: warnings, with `-v` more. `MESOS_LOG` counts before.
fn start_log(context: &Context, word: &str) {
    let daemon = matches!(word, "master" | "agent");
    // ZooKeeper's client says each attempt; we say what matters once.
    let level = match context.verbosity() {
        0 if daemon => "info,zookeeper_client=off",
        0 => "warn,zookeeper_client=off",
        1 => "info,mesos=debug,mesos_host=debug",
        _ => "debug,mesos=trace,mesos_host=trace",
    };
    let filter = std::env::var("MESOS_LOG").unwrap_or_else(|_| level.to_string());
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(context.verbosity() > 0)
        // A log on a full disk must not end the daemon that writes it.
        .log_internal_errors(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter));
    // Only one log a process; a program that embeds the command line has its own.
    let _ = log.try_init();
}

/// A word that no verb has, and what followed it.
pub fn external_args(matches: &ArgMatches) -> Vec<OsString> {
    matches.get_many::<OsString>("").map(|all| all.cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        root().debug_assert();
    }

    #[test]
    fn flags_of_every_command_are_taken_in_front_of_the_verb_and_after_it() {
        for args in [["mesos", "--master", "h:1", "tasks"], ["mesos", "tasks", "--master", "h:1"]] {
            let root = root().try_get_matches_from(args).expect("good flags");
            let verb = root.subcommand_matches("tasks").expect("a verb").clone();
            let settings = Settings { file: Default::default(), variable: |_| None };
            let context = Context { settings, root, verb };
            assert_eq!(context.find(&MASTER).expect("given").text, "h:1");
        }
    }

    #[test]
    fn words_that_are_no_verbs_come_with_all_that_follows() {
        let root = root().try_get_matches_from(["mesos", "run-mpi", "-n", "4", "--", "./prog", "-v"]).expect("parses");
        let (word, matches) = root.subcommand().expect("a word");
        assert_eq!(word, "run-mpi");
        assert_eq!(external_args(matches), ["-n", "4", "--", "./prog", "-v"]);
    }

    #[test]
    fn help_is_asked_for_after_any_verb() {
        for verb in commands::ALL {
            let error = root().try_get_matches_from(["mesos", verb.name, "--help"]).expect_err("help is no match");
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{}", verb.name);
        }
    }

    #[test]
    fn every_verb_has_help_with_an_example() {
        for verb in commands::ALL.iter().filter(|verb| verb.group != commands::Group::Hidden) {
            let help = verb_command(verb).render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", verb.name);
            assert!(!verb.about().is_empty() && !verb.about().ends_with('.'), "{}", verb.name);
        }
    }
}
