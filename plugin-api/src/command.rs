//! The command half: what runs in the CLI's process when a person types one of the plugin's words.

use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use crate::v1::Uri;
pub use crate::v1::command::{Cluster, Invocation, RunFramework, RunFrameworkResult};

/// Takes the pieces of an answer.
pub type Pieces<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;

/// What the host does for a command, from any thread and several at a time. Every error is a line for people.
pub trait CommandHost: Send + Sync {
    /// Runs the plugin's framework half, shows its output, passes signals and standard input on to it, and returns when it has
    /// finished; with `detach` it returns at once.
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String>;

    /// The same for a command that ends as its framework does: gives the exit code.
    fn run(&self, run: RunFramework) -> Result<i32, String> {
        self.run_framework(run).map(|result| result.exit_code)
    }

    /// Sends bytes to a running framework of that name and hands each piece of the answer to `piece`, until the last one or until
    /// it has seen enough. The framework hears that nobody listens any more ([`Event::RequestCancelled`]), as when this process
    /// ends.
    ///
    /// [`Event::RequestCancelled`]: crate::framework::Event::RequestCancelled
    fn request(&self, framework: &str, data: Vec<u8>, piece: &mut Pieces<'_>) -> Result<(), String>;

    /// Uploads a file of this machine; the URI is good on every agent.
    fn upload(&self, path: &Path) -> Result<Uri, String>;

    /// What the cluster has.
    fn cluster(&self) -> Result<Cluster, String>;
}

impl RunFramework {
    /// A framework for one job: its name is `prefix` and an ending that makes it unique.
    pub fn job(prefix: &str, config: impl Into<Vec<u8>>) -> Self {
        Self { name_is_prefix: Some(true), ..Self::named(prefix, config) }
    }

    /// A framework that commands find by this name.
    pub fn named(name: &str, config: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_string(), config: config.into(), ..Self::default() }
    }
}

impl Invocation {
    /// The one value of an argument, if it was given or has a default.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// All values of an argument that may be repeated.
    pub fn values(&self, name: &str) -> &[String] {
        self.arguments.iter().find(|argument| argument.name == name).map_or(&[], |argument| &argument.values)
    }

    /// Whether a flag was given.
    pub fn flag(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// An argument that the declaration requires or gives a default, as a number, a duration …
    ///
    /// # Errors
    /// A line that names the argument, the value and what was wanted.
    pub fn get<T: FromStr>(&self, name: &str, wanted: &str) -> Result<T, String> {
        self.parse(name, wanted)?.ok_or_else(|| format!("--{name} is missing: give {wanted}"))
    }

    /// An argument as a number, a duration … if it was given.
    ///
    /// # Errors
    /// A line that names the argument, the value and what was wanted.
    pub fn parse<T: FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("--{name} {text:?} is not {wanted}")),
        }
    }
}
