//! The rules that a well-formed declaration must also keep, so that no plugin can break the CLI's parser.

use std::collections::BTreeSet;

use super::{Argument, Command, Declaration, DeclarationError, Preamble};

/// Checks everything in `declaration`.
pub(super) fn declaration(declaration: &Declaration) -> Result<(), DeclarationError> {
    root(declaration).map_err(|fault| fault.of_plugin(&declaration.name))
}

/// Checks what every version of a declaration has.
pub(super) fn preamble(preamble: &Preamble) -> Result<(), DeclarationError> {
    word("name", &preamble.name).map_err(|fault| fault.of_plugin(&preamble.name))
}

/// What stands in a message may come from a file that somebody else made: it can neither end the line nor speak to the
/// terminal.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(escaped).collect()
}

/// What is wrong, and the way there.
struct Fault {
    place: String,
    problem: String,
}

impl Fault {
    fn of_plugin(self, name: &str) -> DeclarationError {
        let Self { place, problem } = self;
        let [plugin, place, problem] = [name, &place, &problem].map(printable);
        DeclarationError::Invalid { plugin, place, problem }
    }

    fn inside(self, place: &str) -> Self {
        Self { place: format!("{place}: {}", self.place), problem: self.problem }
    }
}

fn fault<T>(problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { place: String::new(), problem: problem.into() })
}

fn root(declaration: &Declaration) -> Result<(), Fault> {
    word("name", &declaration.name)?;
    one_line("about", &declaration.about)?;
    commands(&declaration.commands)
}

fn commands(commands: &[Command]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for command in commands {
        if !seen.insert(&command.name) {
            return fault(format!("two commands are called `{}`", command.name));
        }
        self::command(command).map_err(|fault| fault.inside(&format!("command {}", command.name)))?;
    }
    Ok(())
}

fn command(command: &Command) -> Result<(), Fault> {
    word("name", &command.name)?;
    if command.name == "help" {
        return fault("`name` may not be `help`: every command has one already");
    }
    one_line("help", &command.help)?;
    lines("long_help", command.long_help.as_deref())?;
    arguments(&command.arguments)?;
    for example in &command.examples {
        one_line("example.help", &example.help)?;
        if !example.line.starts_with("mesos ") || example.line.contains(char::is_control) {
            return fault(format!("`example.line` must be one line that starts with `mesos `, not `{}`", example.line));
        }
    }
    if !command.commands.is_empty() && command.arguments.iter().any(Argument::positional) {
        return fault("a command with subcommands can't have a positional `argument`");
    }
    commands(&command.commands)
}

fn arguments(arguments: &[Argument]) -> Result<(), Fault> {
    for argument in arguments {
        self::argument(argument).map_err(|fault| fault.inside(&format!("argument {}", argument.name)))?;
    }
    no_name_twice(arguments)?;
    order_of_positionals(arguments)
}

fn argument(argument: &Argument) -> Result<(), Fault> {
    word("name", &argument.name)?;
    one_line("help", &argument.help)?;
    lines("long_help", argument.long_help.as_deref())?;
    if let Some(long) = &argument.long {
        long_name(long)?;
    }
    if let Some(short) = argument.short
        && (!short.is_ascii_alphanumeric() || short == 'h')
    {
        return fault(format!("`short` must be a letter or a digit other than h, which is for help, not `{short}`"));
    }
    if argument.flag {
        return flag(argument);
    }
    if argument.trailing && (!argument.positional() || argument.default.is_some() || argument.repeated) {
        return fault("`trailing` goes with neither `long`, `short`, `default` nor `repeated`");
    }
    if argument.required && argument.default.is_some() {
        return fault("`required` and `default` exclude each other");
    }
    match &argument.default {
        Some(default) if !argument.possible.is_empty() && !argument.possible.contains(default) => {
            fault(format!("`default` is `{default}`, which is not among `possible`"))
        }
        _ => Ok(()),
    }
}

fn flag(argument: &Argument) -> Result<(), Fault> {
    if argument.positional() {
        return fault("a `flag` needs `long` or `short`");
    }
    let takes_value = argument.value.is_some() || argument.default.is_some() || !argument.possible.is_empty();
    if takes_value || argument.required || argument.trailing {
        return fault("a `flag` goes with none of `value`, `default`, `possible`, `required` and `trailing`");
    }
    Ok(())
}

fn no_name_twice(arguments: &[Argument]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for argument in arguments {
        let long = argument.long.iter().map(|long| format!("--{long}"));
        let short = argument.short.iter().map(|short| format!("-{short}"));
        for name in long.chain(short).chain([argument.name.clone()]) {
            if !seen.insert(name.clone()) {
                return fault(format!("two arguments are called `{name}`"));
            }
        }
    }
    Ok(())
}

/// What a positional argument takes must be told by its place alone.
fn order_of_positionals(arguments: &[Argument]) -> Result<(), Fault> {
    let positionals: Vec<_> = arguments.iter().filter(|argument| argument.positional()).collect();
    for pair in positionals.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if before.trailing || before.repeated {
            return fault(format!("argument {}: stands after {}, which takes everything", after.name, before.name));
        }
        if after.required && !before.required {
            return fault(format!("argument {}: `required`, but {} before it is not", after.name, before.name));
        }
    }
    Ok(())
}

fn word(key: &str, word: &str) -> Result<(), Fault> {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(rest) {
        return Ok(());
    }
    fault(format!("`{key}` must be small letters, digits and hyphens and start with a letter, not `{word}`"))
}

fn long_name(long: &str) -> Result<(), Fault> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if long.starts_with('-') || long.is_empty() || !long.chars().all(good) {
        return fault(format!("`long` must be letters, digits and hyphens without leading ones, not `{long}`"));
    }
    if long == "help" {
        return fault("`long` may not be `help`: every command has one already");
    }
    Ok(())
}

fn one_line(key: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return fault(format!("`{key}` must be one line of text"));
    }
    Ok(())
}

fn lines(key: &str, text: Option<&str>) -> Result<(), Fault> {
    let is_odd = |c: char| c.is_control() && c != '\n';
    if text.is_some_and(|text| text.trim().is_empty() || text.contains(is_odd)) {
        return fault(format!("`{key}` must be lines of text"));
    }
    Ok(())
}
