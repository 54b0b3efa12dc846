//! Tests that can't run here say so in one word that a person understands, and are counted apart from those that passed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

/// Why a test can't run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip(String);

/// The variable that names the file to which each skipped test appends a line; `cargo xtask test` sets it.
pub const SKIPS_FILE_VARIABLE: &str = "MESOS_TEST_SKIPS";

impl Skip {
    /// A reason that reads well after "skipped: ".
    pub fn because(reason: impl Into<String>) -> Skip {
        Skip(reason.into())
    }

    /// Says it, and records it for who runs the tests. The test returns after this.
    pub fn tell(&self) {
        let thread = std::thread::current();
        let line = format!("{}: {}\n", thread.name().unwrap_or("a test"), self.0);
        eprint!("skipped {line}");
        if let Some(path) = std::env::var_os(SKIPS_FILE_VARIABLE) {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skips is writable");
        }
    }

    /// An error unless the tests run as root.
    ///
    /// # Errors
    /// The reason, naming what root is needed for.
    pub fn unless_root(what: &str) -> Result<(), Skip> {
        if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Skip::because(format!("{what} needs root"))) }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes the value out of a `Result<_, Skip>`, or says why the test is skipped and returns from it.
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(skip) => {
                let skip: $crate::Skip = skip;
                skip.tell();
                return;
            }
        }
    };
}
