//! Tables without borders, as `ps` shows them.

use comfy_table::{ContentArrangement, Table, presets};

use super::Row;

/// Aligned columns under headings; lines have no spaces at their ends.
pub fn render<R: Row>(rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(R::HEADINGS.to_vec());
    for row in rows {
        table.add_row(row.cells().iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Names and messages come from strangers: what would move the cursor is shown as a space.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
