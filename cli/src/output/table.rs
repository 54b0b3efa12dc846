//! Tables without borders, as `ps` shows them.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::{NONE, Row};

/// A column of prose that has fewer letters to a line is no easier to read for it.
const PROSE_WIDTH_MIN: usize = 16;
/// Between two columns.
const GAP: usize = 2;

/// Aligned columns under headings; lines have no spaces at their ends. With a terminal's width, prose in the last column is
/// wrapped below itself. A last column in which no row has anything is left out.
pub fn render<R: Row>(rows: &[R], terminal: Option<u16>) -> String {
    let mut headings = R::HEADINGS.to_vec();
    let mut lines: Vec<Vec<String>> =
        rows.iter().map(|row| row.cells().iter().map(|cell| printable(cell)).collect()).collect();
    if lines.iter().all(|line| line.last().is_some_and(|cell| cell == NONE)) {
        headings.pop();
        lines.iter_mut().for_each(|line| drop(line.pop()));
    }
    let complete = headings.len() == R::HEADINGS.len();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings).add_rows(lines);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    if let Some(width) = terminal.filter(|_| R::ENDS_IN_PROSE && complete) {
        wrap_last(&mut table, width);
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn wrap_last(table: &mut Table, width: u16) {
    let widths: Vec<usize> = table.column_max_content_widths().into_iter().map(usize::from).collect();
    let (_, others) = widths.split_last().expect("a table has columns");
    let taken: usize = others.iter().map(|width| width + GAP).sum();
    if usize::from(width) >= taken + PROSE_WIDTH_MIN {
        // The gap behind the last column is trimmed: it may stand beyond the edge.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width + GAP as u16);
        let last = table.column_count() - 1;
        for column in table.column_iter_mut().take(last) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// Names and messages come from strangers: what would move the cursor is shown as a space.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Note(&'static str, &'static str);

    impl Row for Note {
        const HEADINGS: &'static [&'static str] = &["ID", "WHY"];
        const ENDS_IN_PROSE: bool = true;

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_string(), self.1.to_string()]
        }

        fn id(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn prose_is_wrapped_below_itself_on_a_terminal_only() {
        let rows = [Note("a-long-identifier", "the program ended without a word"), Note("b", NONE)];
        let narrow = "ID                 WHY\n\
                      a-long-identifier  the program ended\n                   without a word\n\
                      b                  -\n";
        assert_eq!(render(&rows, Some(40)), narrow);
        assert_eq!(render(&rows, None).lines().nth(1), Some("a-long-identifier  the program ended without a word"));
        // Too narrow for anything: the terminal wraps.
        assert_eq!(render(&rows, Some(30)), render(&rows, None));
    }

    #[test]
    fn a_last_column_without_anything_is_left_out() {
        assert_eq!(render(&[Note("a", NONE), Note("b", NONE)], None), "ID\na\nb\n");
    }
}
