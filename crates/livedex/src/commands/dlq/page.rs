//! A page of dead letters as a table.
//!
//! A page at a time, since a table's columns are as wide as what is in them: a topic of any size is
//! listed in the memory of one page.

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Row, Table, presets};
use livedex_core::dead_letter::DeadLetter;

use super::{place, visible, when};

/// Letters of one page.
const ROWS: usize = 200;

const COLUMNS: [&str; 6] = ["letter", "written", "source", "stage", "class", "message"];

/// Rows that are not printed yet.
#[derive(Default)]
pub(super) struct Page {
    rows: Vec<[String; COLUMNS.len()]>,
}

impl Page {
    /// Adds a letter. Returns the page's text if it is full, and begins a new one.
    pub(super) fn add(&mut self, letter: &DeadLetter) -> Option<String> {
        self.rows.push([
            place(&letter.position),
            when(letter.written_at_ms),
            visible(&letter.record.position.to_string()),
            visible(&letter.stage),
            visible(&letter.class),
            visible(&letter.message),
        ]);
        (self.rows.len() >= ROWS).then(|| self.take()).flatten()
    }

    /// The text of what was added since the last page, and none if that is nothing.
    pub(super) fn take(&mut self) -> Option<String> {
        let rows = std::mem::take(&mut self.rows);
        (!rows.is_empty()).then(|| {
            let mut table = Table::new();
            // Where there is no terminal, nothing is cut: grep looks at whole messages.
            let arrangement = match table.is_tty() {
                true => ContentArrangement::Dynamic,
                false => ContentArrangement::Disabled,
            };
            table.set_content_arrangement(arrangement);
            render(table, rows)
        })
    }
}

fn render(mut table: Table, rows: Vec<[String; COLUMNS.len()]>) -> String {
    table
        .load_style(presets::NOTHING)
        .set_header(COLUMNS.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    for row in rows {
        let mut row = Row::from(row);
        row.max_height(1);
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    // The message gets what the others leave.
    for column in table.column_iter_mut().take(COLUMNS.len() - 1) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_cut_to_the_width_and_nothing_else() {
        let row = |message: &str| {
            let cells =
                ["0:17", "2026-05-01T12:00:00Z", "docs[3]@42", "DECODE", "DecodeError.Json"];
            let mut row = cells.map(str::to_owned).to_vec();
            row.push(message.to_owned());
            <[String; COLUMNS.len()]>::try_from(row).unwrap_or_default()
        };
        let rows = vec![row("short"), row(&"much longer than the terminal is wide ".repeat(3))];
        let mut table = Table::new();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(100);
        let text = render(table, rows.clone());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "a line each:\n{text}");
        assert!(lines[1].ends_with("DecodeError.Json  short"), "{text}");
        assert!(lines[2].starts_with("0:17 ") && lines[2].contains("docs[3]@42"), "{text}");
        assert!(lines[2].ends_with('…') && lines[2].contains("much longer"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");

        let mut table = Table::new();
        table.set_content_arrangement(ContentArrangement::Disabled);
        let text = render(table, rows);
        assert!(text.ends_with("the terminal is wide"), "without a terminal it is whole:\n{text}");
    }
}
