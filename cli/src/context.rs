//! What a verb is given: the parsed command line and the settings of the process.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::ArgMatches;
use mesos_host::election::ZooKeeperAuth;
use mesos_host::loader::SearchPath;
use mesos_host::protocol::client::Credentials;

use crate::errors::usage;
use crate::output::Format;
use crate::settings::{self, Key, OUTPUT, PLUGIN_DIR, Settings, Source, TOKEN_FILE, Value, ZK_AUTH_FILE};

/// The command line and the settings of one command.
pub struct Context {
    /// Flags, variables and the configuration file.
    pub settings: Settings,
    /// What stood in front of the verb.
    pub root: ArgMatches,
    /// What followed it.
    pub verb: ArgMatches,
}

impl Context {
    /// The value of a key, from wherever it was said.
    pub fn find(&self, key: &'static Key) -> Option<Value> {
        self.settings.find(key, &[&self.verb, &self.root])
    }

    /// The value of a key, understood.
    ///
    /// # Errors
    /// It can't be understood; the line names where it was said.
    pub fn read<T>(&self, key: &'static Key, reader: fn(&str) -> Result<T, String>) -> Result<Option<T>> {
        self.find(key).map(|value| settings::read(&value, reader)).transpose()
    }

    /// The value of a key that has a default.
    ///
    /// # Errors
    /// It can't be understood; the line names where it was said.
    pub fn read_or_default<T>(&self, key: &'static Key, reader: fn(&str) -> Result<T, String>) -> Result<T> {
        assert!(key.default.is_some(), "{} has a default", key.name);
        Ok(self.read(key, reader)?.expect("its default is there when nothing else is"))
    }

    /// The text of a flag of the verb that can't be set elsewhere.
    pub fn text(&self, flag: &str) -> Option<&str> {
        self.verb.get_one::<String>(flag).map(String::as_str)
    }

    /// All texts of a flag or positional argument of the verb.
    pub fn texts(&self, flag: &str) -> Vec<String> {
        self.verb.get_many::<String>(flag).map(|all| all.cloned().collect()).unwrap_or_default()
    }

    /// A flag of the verb that can't be set elsewhere, understood.
    ///
    /// # Errors
    /// It can't be understood.
    pub fn parse<T>(&self, flag: &str, reader: fn(&str) -> Result<T, String>) -> Result<Option<T>> {
        self.text(flag).map(|text| reader(text).map_err(|problem| usage(format!("--{flag}: {problem}")))).transpose()
    }

    /// Whether a switch was given, after the verb or in front of it.
    pub fn given(&self, switch: &str) -> bool {
        [&self.verb, &self.root].iter().any(|matches| {
            matches.try_contains_id(switch).unwrap_or(false)
                && matches.value_source(switch) == Some(clap::parser::ValueSource::CommandLine)
        })
    }

    /// How to show a listing.
    ///
    /// # Errors
    /// `--output` or what stands for it names no format.
    pub fn format(&self) -> Result<Format> {
        if self.quiet() {
            return Ok(Format::Quiet);
        }
        self.read_or_default(&OUTPUT, Format::parse)
    }

    /// `--quiet`: no bars, no remarks.
    pub fn quiet(&self) -> bool {
        self.given("quiet")
    }

    /// How often `-v` was given.
    pub fn verbosity(&self) -> u8 {
        let of = |matches: &ArgMatches| match matches.try_get_one::<u8>("verbose") {
            Ok(Some(count)) => *count,
            _ => 0,
        };
        of(&self.verb).max(of(&self.root))
    }

    /// Who speaks to the master, with the token if there is one.
    ///
    /// # Errors
    /// The token's file can't be read.
    pub fn credentials(&self) -> Result<Credentials> {
        let token = self.find(&TOKEN_FILE).map(|value| read_token(&value)).transpose()?;
        Ok(Credentials { principal: user_name(), token })
    }

    /// Who we are to ZooKeeper, where masters meet: as the address says, or a file.
    ///
    /// # Errors
    /// The file can't be used.
    pub fn zookeeper_auth(&self) -> Result<Option<ZooKeeperAuth>> {
        let read = |value: Value| ZooKeeperAuth::read(value.text.as_ref()).map_err(|error| anyhow!("{error}"));
        self.find(&ZK_AUTH_FILE).map(read).transpose()
    }

    /// Where plugins are looked for.
    pub fn plugin_path(&self) -> SearchPath {
        SearchPath::of_process(&plugin_dirs(self.find(&PLUGIN_DIR)))
    }

    /// What runs asynchronous work of this command.
    ///
    /// # Errors
    /// No threads can be had.
    pub fn runtime(&self) -> Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")
    }
}

/// The variable is read by the search path itself, after the flags.
fn plugin_dirs(value: Option<Value>) -> Vec<PathBuf> {
    match value {
        Some(Value { text, source: Source::Flag(_) | Source::File(..) }) => {
            text.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect()
        }
        _ => Vec::new(),
    }
}

fn read_token(value: &Value) -> Result<String> {
    let text = std::fs::read_to_string(&value.text)
        .map_err(|error| anyhow!("{}: the token file {} cannot be read: {error}", value.source, value.text))?;
    match text.trim() {
        "" => Err(anyhow!("{}: the token file {} is empty", value.source, value.text)),
        token => Ok(token.to_string()),
    }
}

/// The name of the user that this process runs as; its number where it has no name.
pub fn user_name() -> String {
    let id = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => user.name,
        _ => id.to_string(),
    }
}

/// This machine's name, if it has one.
pub fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}
