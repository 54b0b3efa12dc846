//! What a plugin says of itself, as TOML in the ELF section `.mesos.plugin`: read without loading the plugin, so that
//! `mesos --help` knows every command and runs nothing.
//!
//! `export_plugin!` writes the first three keys (`name`, `version`, `api`); the rest is the author's:
//!
//! ```toml
//! about = "Runs MPI programs"
//!
//! [[command]]
//! name = "run-mpi"
//! help = "Run an MPI program"
//!
//! [[command.argument]]
//! name = "ranks"
//! short = "n"
//! long = "ntasks"
//! value = "N"
//! required = true
//! help = "Number of ranks"
//!
//! [[command.argument]]
//! name = "program"
//! trailing = true          # it and all that follows is passed on untouched
//! required = true
//! help = "The program and its arguments"
//!
//! [[command.example]]
//! line = "mesos run-mpi -n 4 ./prog -x"
//! help = "Four ranks"
//! ```
//!
//! Keys that this version doesn't know are refused with their name: a plugin that uses newer ones has a newer API version, and
//! is refused for that first.

mod check;
mod version;

use serde::Deserialize;

pub use version::{Version, VersionError};

/// The version of this API: what a plugin was built with, and what a host speaks.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The ELF section that holds the declaration.
pub const SECTION: &str = ".mesos.plugin";

/// A plugin's declaration, checked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The plugin's name: small letters, digits and hyphens.
    pub name: String,
    /// The plugin's own version.
    pub version: Version,
    /// The version of the plugin API that it was built with.
    pub api: Version,
    /// What it is for, in one line.
    pub about: String,
    /// The commands that it brings.
    #[serde(default, rename = "command")]
    pub commands: Vec<Command>,
}

/// One command, or a subcommand of one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The word that is typed.
    pub name: String,
    /// One line for the list of commands.
    pub help: String,
    /// More, for the command's own help.
    pub long_help: Option<String>,
    /// Left out of the list of commands.
    #[serde(default)]
    pub hidden: bool,
    /// Flags, options and positional arguments, in the order of the help.
    #[serde(default, rename = "argument")]
    pub arguments: Vec<Argument>,
    /// Command lines to learn from.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
    /// Subcommands, for example `submit` of `hadoop`.
    #[serde(default, rename = "command")]
    pub commands: Vec<Command>,
}

/// A flag, an option with a value, or (with neither `long` nor `short`) a positional argument.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// The name under which the plugin finds it.
    pub name: String,
    /// One line for the help.
    pub help: String,
    /// More, for the long help.
    pub long_help: Option<String>,
    /// `ntasks` for `--ntasks`.
    pub long: Option<String>,
    /// `n` for `-n`.
    pub short: Option<char>,
    /// What the help calls the value: `N` in `--ntasks N`. By default the name in capitals.
    pub value: Option<String>,
    /// The value when it isn't given.
    pub default: Option<String>,
    /// The only values that are allowed; empty for any.
    #[serde(default)]
    pub possible: Vec<String>,
    /// May be given several times.
    #[serde(default)]
    pub repeated: bool,
    /// Takes no value.
    #[serde(default)]
    pub flag: bool,
    /// Must be given.
    #[serde(default)]
    pub required: bool,
    /// A last positional argument that takes itself and everything after it untouched, hyphens and all.
    #[serde(default)]
    pub trailing: bool,
    /// Left out of the help.
    #[serde(default)]
    pub hidden: bool,
}

impl Argument {
    /// Whether it is told by its place and not by a name.
    pub fn positional(&self) -> bool {
        self.long.is_none() && self.short.is_none()
    }
}

/// A command line to learn from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The whole line, from `mesos` on.
    pub line: String,
    /// What it does.
    pub help: String,
}

/// Why a declaration was refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationError {
    /// Not TOML, an unknown or missing key, or a value of the wrong kind.
    #[error("declaration, line {line}: {problem}")]
    Malformed {
        /// The line in the section's text, counted from 1; `export_plugin!` writes the first three.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Well formed, but it makes no sense.
    #[error("declaration of plugin {plugin}: {place}{problem}")]
    Invalid {
        /// The plugin's name.
        plugin: String,
        /// The way to the bad key, `command run-mpi: argument ranks: `, or empty.
        place: String,
        /// What is wrong there, with the key's name.
        problem: String,
    },
}

/// The keys that `export_plugin!` writes, which can be read whatever else a newer plugin declares.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Preamble {
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version.
    pub version: Version,
    /// The version of the plugin API that it was built with.
    pub api: Version,
}

impl Preamble {
    /// Reads the first keys of a declaration and ignores the others.
    ///
    /// # Errors
    /// When they are missing or the text is no TOML.
    pub fn parse(text: &str) -> Result<Self, DeclarationError> {
        let preamble: Self = toml::from_str(text).map_err(|error| DeclarationError::malformed(text, &error))?;
        check::preamble(&preamble)?;
        Ok(preamble)
    }
}

impl Declaration {
    /// Reads and checks a declaration.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, DeclarationError> {
        let declaration: Self = toml::from_str(text).map_err(|error| DeclarationError::malformed(text, &error))?;
        check::declaration(&declaration)?;
        Ok(declaration)
    }
}

impl DeclarationError {
    fn malformed(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        Self::Malformed { line, problem: check::printable(&error.message().lines().collect::<Vec<_>>().join("; ")) }
    }
}

#[cfg(test)]
mod tests;
