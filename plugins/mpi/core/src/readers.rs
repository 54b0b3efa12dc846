//! Who reads standard input.

use crate::messages::input::From;
use crate::messages::{Input, Job, Start};

impl Input {
    /// Whether that rank reads what the command is given.
    pub fn is_read_by(&self, rank: u32) -> bool {
        match &self.from {
            Some(From::Rank(reader)) => rank == *reader,
            Some(From::All(_)) => true,
            Some(From::None(_) | From::File(_)) | None => false,
        }
    }
}

impl Start {
    /// Whether that rank reads what the command is given.
    pub fn is_input_read_by(&self, rank: u32) -> bool {
        self.input.as_ref().is_some_and(|input| input.is_read_by(rank))
    }

    /// The file in the sandbox that all ranks read instead.
    pub fn input_file(&self) -> Option<&str> {
        match self.input.as_ref()?.from.as_ref()? {
            From::File(file) => Some(file),
            From::Rank(_) | From::All(_) | From::None(_) => None,
        }
    }
}

impl Job {
    /// Whether any rank reads what the command is given.
    pub fn is_input_read(&self) -> bool {
        (0..self.ranks).any(|rank| self.is_input_read_by(rank))
    }

    /// Whether that rank reads what the command is given.
    pub fn is_input_read_by(&self, rank: u32) -> bool {
        self.input.as_ref().is_some_and(|input| input.is_read_by(rank))
    }
}
