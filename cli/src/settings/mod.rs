//! What can be set, and where a value comes from: a flag, else a `MESOS_*` variable, else the configuration file, else the
//! default.
//!
//! ```text
//! flag ──▶ MESOS_RUN_CPUS ──▶ config.toml: run.cpus ──▶ default      the first that is there counts
//! ```

mod file;
mod keys;

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

pub use file::ConfigFile;
pub use keys::*;

use crate::errors::usage;

/// One thing that can be set.
pub struct Key {
    /// Its name in the configuration file, tables joined by dots.
    pub name: &'static str,
    /// Its flag, without the hyphens.
    pub flag: &'static str,
    /// Its one-letter flag.
    pub short: Option<char>,
    /// Its variable.
    pub variable: &'static str,
    /// What the help calls its value.
    pub value: &'static str,
    /// One line for the help.
    pub help: &'static str,
    /// More for the long help.
    pub more: &'static str,
    /// What counts when nobody says anything.
    pub default: Option<&'static str>,
    /// What stands between the items, if it is a list; the file may give an array then.
    pub separator: Option<char>,
    /// Refuses what can't be used.
    pub check: fn(&str) -> Result<(), String>,
}

impl Key {
    /// The flag, for the command line.
    pub fn arg(&'static self) -> Arg {
        let default = self.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        let long = format!("{}{default}\n{}[env: {}] [config: {}]", self.help, self.more, self.variable, self.name);
        let arg = Arg::new(self.flag).long(self.flag).value_name(self.value).num_args(1);
        let arg = arg.help(format!("{}{default}", self.help)).long_help(long);
        match self.short {
            Some(short) => arg.short(short),
            None => arg,
        }
    }
}

/// A value, as text, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As it was written.
    pub text: String,
    /// Where.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// A variable.
    Variable(&'static str),
    /// The configuration file, and the name there.
    File(PathBuf, &'static str),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::File(path, name) => write!(f, "{}, {name}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// All sources of a command's settings.
pub struct Settings {
    /// The configuration file.
    pub file: ConfigFile,
    /// Variables by name; the process's, except in tests.
    pub variable: fn(&str) -> Option<String>,
}

impl Settings {
    /// The settings of this process.
    ///
    /// # Errors
    /// The configuration file is there and can't be used.
    pub fn of_process() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self { file: ConfigFile::of_user()?, variable })
    }

    /// The value of a key: the flags of the verb count before those in front of it.
    pub fn find(&self, key: &'static Key, matches: &[&ArgMatches]) -> Option<Value> {
        let flag = matches.iter().find_map(|matches| flag_text(matches, key));
        let from_flag = flag.map(|text| Value { text, source: Source::Flag(key.flag) });
        let from_variable =
            || (self.variable)(key.variable).map(|text| Value { text, source: Source::Variable(key.variable) });
        let from_file = || {
            let text = self.file.values.get(key.name)?.clone();
            Some(Value { text, source: Source::File(self.file.path.clone(), key.name) })
        };
        let default = || Some(Value { text: key.default?.to_string(), source: Source::Default });
        from_flag.or_else(from_variable).or_else(from_file).or_else(default)
    }
}

/// Reads a value; an error names its source.
///
/// # Errors
/// The reader refuses the text.
pub fn read<T>(value: &Value, reader: fn(&str) -> Result<T, String>) -> Result<T> {
    reader(&value.text).map_err(|problem| usage(format!("{}: {problem}", value.source)))
}

fn flag_text(matches: &ArgMatches, key: &Key) -> Option<String> {
    let given = matches.try_contains_id(key.flag).unwrap_or(false)
        && matches.value_source(key.flag) == Some(ValueSource::CommandLine);
    let mut all = given.then(|| matches.get_many::<String>(key.flag)).flatten()?.cloned();
    match key.separator {
        Some(separator) => Some(all.collect::<Vec<_>>().join(&separator.to_string())),
        None => all.next_back(),
    }
}

#[cfg(test)]
mod tests;
