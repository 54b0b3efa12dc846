//! Listings: the same rows as a table for people, as JSON for programs, or as bare ids for shell loops.

pub mod amounts;
mod moments;
mod table;

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context as _, Result};
use serde::Serialize;

pub use moments::{age, iso, now_ns};

/// How a listing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns under headings.
    Table,
    /// One array of objects.
    Json,
    /// One id a line.
    Quiet,
}

impl Format {
    /// Reads `table`, `json` or `quiet`.
    ///
    /// # Errors
    /// A line that names all three.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "quiet" => Ok(Self::Quiet),
            _ => Err(format!("{text:?} is none of table, json and quiet")),
        }
    }
}

/// A row of a listing. Its fields are what JSON shows.
pub trait Row: Serialize {
    /// Headings of the table.
    const HEADINGS: &'static [&'static str];
    /// The last column holds sentences, which are wrapped where a terminal is too narrow for them.
    const ENDS_IN_PROSE: bool = false;
    /// What the table shows under them.
    fn cells(&self) -> Vec<String>;
    /// What a person would type to mean it.
    fn id(&self) -> &str;
}

impl<R: Row> Row for &R {
    const HEADINGS: &'static [&'static str] = R::HEADINGS;
    const ENDS_IN_PROSE: bool = R::ENDS_IN_PROSE;

    fn cells(&self) -> Vec<String> {
        R::cells(self)
    }

    fn id(&self) -> &str {
        R::id(self)
    }
}

/// Shows rows on standard output. `nothing` is said on standard error if a table has none.
///
/// # Errors
/// Standard output can't be written.
pub fn show<R: Row>(format: Format, rows: &[R], nothing: &str) -> Result<()> {
    if rows.is_empty() && format == Format::Table {
        say(nothing);
    }
    print(&render(format, rows)?)
}

fn render<R: Row>(format: Format, rows: &[R]) -> Result<String> {
    Ok(match format {
        Format::Table if rows.is_empty() => String::new(),
        Format::Table => table(rows),
        Format::Json => serde_json::to_string_pretty(rows)? + "\n",
        Format::Quiet => rows.iter().map(|row| format!("{}\n", row.id())).collect(),
    })
}

/// A table as wide as the terminal, if standard output is one.
pub fn table<R: Row>(rows: &[R]) -> String {
    let terminal = console::Term::stdout();
    let width = if terminal.is_term() { terminal.size_checked().map(|(_, columns)| columns) } else { None };
    table::render(rows, width)
}

/// Writes text to standard output, whose reader may have left.
///
/// # Errors
/// Standard output can't be written.
pub fn print(text: &str) -> Result<()> {
    write(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes bytes to standard output at once.
///
/// # Errors
/// It can't be written; [`ReaderLeft`] if nobody reads it any more.
pub fn write(out: &mut impl Write, data: &[u8]) -> Result<()> {
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderLeft.into()),
        written => written.context("standard output can't be written"),
    }
}

/// Says something of our own on standard error. Where that can't be written, on a full disk for example, nobody is told: that is no
/// reason to end, as `eprintln!` would.
pub fn remark(text: impl Display) {
    say(format!("mesos: {text}"));
}

/// A line for standard error, as it is.
pub fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whoever read our output has left, as `mesos tasks | head` does: nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads what is written")]
pub struct ReaderLeft;

/// What stands for nothing in a table.
pub const NONE: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Animal {
        name: String,
        legs: u32,
    }

    impl Row for Animal {
        const HEADINGS: &'static [&'static str] = &["NAME", "LEGS"];
        fn cells(&self) -> Vec<String> {
            vec![self.name.clone(), self.legs.to_string()]
        }
        fn id(&self) -> &str {
            &self.name
        }
    }

    fn animals() -> Vec<Animal> {
        [("ant", 6), ("caterpillar", 16)].map(|(name, legs)| Animal { name: name.to_string(), legs }).into()
    }

    #[test]
    fn a_table_has_headings_and_aligned_columns_and_no_borders() {
        let table = render(Format::Table, &animals()).unwrap();
        assert_eq!(table, "NAME         LEGS\nant          6\ncaterpillar  16\n");
    }

    #[test]
    fn json_is_an_array_of_objects_also_when_empty() {
        let parsed: serde_json::Value = serde_json::from_str(&render(Format::Json, &animals()).unwrap()).expect("JSON");
        assert_eq!(parsed[1]["legs"], 16);
        assert_eq!(render(Format::Json, &Vec::<Animal>::new()).unwrap(), "[]\n");
    }

    #[test]
    fn quiet_is_one_id_a_line() {
        assert_eq!(render(Format::Quiet, &animals()).unwrap(), "ant\ncaterpillar\n");
        assert_eq!(render(Format::Quiet, &Vec::<Animal>::new()).unwrap(), "");
    }

    #[test]
    fn control_characters_of_strangers_do_not_reach_the_terminal() {
        let rows = [Animal { name: "a\x1b[31mb\nc".to_string(), legs: 1 }];
        let table = render(Format::Table, &rows).unwrap();
        assert!(!table.contains('\x1b') && table.lines().count() == 2, "{table:?}");
    }
}
