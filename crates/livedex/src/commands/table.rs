//! A reply as a table for people.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use livedex_wire::reply::{Hit, ReplyV1};

/// Columns of the snippet's text at most; the table wraps it to the terminal.
const SNIPPET_CHARS: usize = 160;

/// Width of the table where there is no terminal to ask.
const WIDTH_WITHOUT_TERMINAL: u16 = 110;

/// Both stages' ranks and scores of every hit, and the time of each step.
pub(super) fn render(reply: &ReplyV1) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["#", "score", "stage 1", "stage 2", "document and snippet"].map(header));
    if !table.is_tty() {
        table.set_width(WIDTH_WITHOUT_TERMINAL);
    }
    for (index, hit) in reply.hits.iter().enumerate() {
        table.add_row([
            right((index + 1).to_string()),
            right(format!("{:.3}", hit.score)),
            right(stage(Some(hit.retrieve.rank), Some(hit.retrieve.score))),
            right(stage(
                hit.rerank.as_ref().map(|stage| stage.rank),
                hit.rerank.as_ref().map(|stage| stage.score),
            )),
            Cell::new(format!("{}\n{}", place(hit), snippet(hit))),
        ]);
    }
    let mut text = if reply.hits.is_empty() {
        "no hits: nothing in the collection matches".to_owned()
    } else {
        table.to_string()
    };
    text += &format!("\n{}", footer(reply));
    text
}

fn header(title: &str) -> Cell {
    Cell::new(title).add_attribute(Attribute::Bold)
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Rank and score of one stage.
fn stage(rank: Option<usize>, score: Option<f32>) -> String {
    match (rank, score) {
        (Some(rank), Some(score)) => format!("{rank}. ({score:.3})"),
        _ => "-".to_owned(),
    }
}

/// Where the chunk is: the document, and the headings above the chunk.
fn place(hit: &Hit) -> String {
    match &hit.heading {
        Some(heading) => format!("{} › {heading}", hit.document_id),
        None => hit.document_id.clone(),
    }
}

/// The first words of the chunk on one line.
fn snippet(hit: &Hit) -> String {
    let text = hit.text.as_deref().unwrap_or_default();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SNIPPET_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn footer(reply: &ReplyV1) -> String {
    let t = &reply.timings_ms;
    let steps = [
        ("wait", t.wait),
        ("embed", t.embed),
        ("search", Some(t.search)),
        ("rerank", t.rerank),
        ("neighbours", t.neighbours),
    ];
    let steps: Vec<String> = steps
        .iter()
        .filter_map(|(step, took)| took.map(|took| format!("{step} {took:.0} ms")))
        .collect();
    let mut text =
        format!("{} candidates in {:.0} ms ({})", reply.n_candidates, t.total, steps.join(", "));
    if let Some(degraded) = &reply.degraded {
        text += &format!(
            "\ndegraded ({}): {} of {} candidates reranked",
            degraded.reason, degraded.reranked, reply.n_candidates
        );
    }
    text
}
