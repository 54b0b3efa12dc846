//! The terminal, handed through to a command elsewhere.

use std::io::stdin;

use anyhow::{Context as _, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Every key goes through as it is, Ctrl-C too, until this is dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// From now on.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).context("the terminal can't be read")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSANOW, &raw).context("the terminal can't be set")?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that went away needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// Rows and columns of the terminal.
pub fn size() -> Option<(u32, u32)> {
    let term = console::Term::stdout();
    term.size_checked().map(|(rows, columns)| (rows.into(), columns.into()))
}
