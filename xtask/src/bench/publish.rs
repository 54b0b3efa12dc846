//! `--write`: the table goes between two marks of a document; a row that was measured now replaces the older one of its figure.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::row::{HEAD, Row};

/// Where the table stands; all of them get the same.
pub const DOCUMENTS: &[&str] = &["docs/speed.md", "README.md"];

const BEGIN: &str = "<!-- cargo xtask bench --write -->\n";
const END: &str = "<!-- end of the table -->";

/// Puts the rows into a document.
///
/// # Errors
/// It can't be read or written, or has no marks.
pub fn write(document: &Path, machine: &str, rows: &[Row]) -> Result<()> {
    let text = fs::read_to_string(document).with_context(|| format!("read {}", document.display()))?;
    let new = replaced(&text, machine, rows).with_context(|| format!("{} has no marks", document.display()))?;
    fs::write(document, new).with_context(|| format!("write {}", document.display()))
}

fn replaced(text: &str, machine: &str, rows: &[Row]) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let mut lines: Vec<String> = old.lines().filter(|line| line.starts_with("| ")).skip(2).map(ended).collect();
    for row in rows {
        let new = row.render();
        match lines.iter_mut().find(|line| figure(line) == figure(&new)) {
            Some(line) => *line = new,
            None => lines.push(new),
        }
    }
    Some(format!("{before}{BEGIN}{machine}\n\n{HEAD}{}{END}{after}", lines.concat()))
}

fn ended(line: &str) -> String {
    format!("{line}\n")
}

fn figure(line: &str) -> Option<&str> {
    line.split('|').nth(1).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_now_is_replaced() {
        let row = |figure: &str, value: f64| Row {
            figure: figure.to_string(),
            base: "b".to_string(),
            unit: "ms",
            values: vec![value],
            goal: None,
        };
        let empty = format!("# Speed\n{BEGIN}{END}\nThe end.\n");
        let first = replaced(&empty, "A machine.", &[row("one", 1.0), row("two", 2.0)]).unwrap();
        let second = replaced(&first, "Another.", &[row("two", 3.0), row("three", 4.0)]).unwrap();
        let expected = [row("one", 1.0), row("two", 3.0), row("three", 4.0)].map(|row| row.render()).concat();
        assert_eq!(second, format!("# Speed\n{BEGIN}Another.\n\n{HEAD}{expected}{END}\nThe end.\n"));
        assert_eq!(replaced("no marks", "", &[]), None);
    }
}
