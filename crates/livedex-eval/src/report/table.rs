//! The report for a terminal. Its tables are those of markdown, so that they can be pasted where
//! people write about them.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::{
    Report,
    rows::{self, Rows},
};

/// Both tables, how they were measured, and what went wrong.
pub fn render(report: &Report) -> String {
    let mut text = format!("{}\n", report.set.name);
    for rows in [rows::stages(report), rows::candidates(report)] {
        text += &format!("\n{}\n", table(&rows));
    }
    text.push('\n');
    for (what, value) in rows::how(report) {
        text += &format!("{what:<12}{value}\n");
    }
    for line in report.trouble.lines() {
        text += &format!("\nWARNING: {line}");
    }
    text.trim_end().to_owned()
}

/// As wide as its cells: a number that is broken over lines cannot be read.
fn table(rows: &Rows) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(
            rows.header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
        );
    for row in &rows.rows {
        table.add_row(row.iter().enumerate().map(|(index, text)| {
            let side = if index == 0 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        }));
    }
    table
}
