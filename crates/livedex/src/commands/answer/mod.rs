//! A reply as a table for people.
//!
//! It is readable at 80 columns: where the terminal is narrow the ranks and scores of both stages
//! stand above the text instead of beside it.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use livedex_wire::reply::{Chunk, ExplainRoute, Hit, Passage, ReplyV1, Stage};

mod about;

/// Characters of the snippet's text at most; the table wraps it to the terminal.
const SNIPPET_CHARS: usize = 160;

/// The same of a chunk below a hit.
const SHORT_CHARS: usize = 100;

/// Width of the table where there is no terminal to ask.
const WIDTH_WITHOUT_TERMINAL: u16 = 110;

/// From this width on both stages have columns of their own.
const WIDE: u16 = 100;

/// Other chunks of a hit's document that are shown; the JSON has all.
const SHOWN_PASSAGES: usize = 3;

/// Numbers of an embedding that are shown.
const SHOWN_NUMBERS: usize = 4;

/// What was asked for, so that what is missing can be told from what was not wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Texts.
    pub(super) text: bool,
    /// Metadata, by name.
    pub(super) metadata: bool,
}

/// Columns that the table may take.
pub(super) fn width() -> u16 {
    Table::new().width().unwrap_or(WIDTH_WITHOUT_TERMINAL)
}

/// The hits with what came with them, and how they came about.
pub(super) fn render(reply: &ReplyV1, asked: Asked, width: u16) -> String {
    let is_wide = width >= WIDE;
    let mut table = Table::new();
    let titles: &[&str] = match is_wide {
        true => &["#", "score", "stage 1", "stage 2", "document and snippet"],
        false => &["#", "score", "document and snippet"],
    };
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(titles.iter().copied().map(header));
    let routes = reply.explain.as_ref().map_or(&[][..], |explain| &explain.routes);
    for (index, hit) in reply.hits.iter().enumerate() {
        let mut row = vec![right((index + 1).to_string()), right(format!("{:.3}", hit.score))];
        let mut lines = vec![place(hit)];
        match is_wide {
            true => {
                row.extend([right(stage(Some(&hit.retrieve))), right(stage(hit.rerank.as_ref()))])
            }
            false => lines.push(stages(&hit.retrieve, hit.rerank.as_ref())),
        }
        lines.extend(body(hit, asked, routes));
        row.push(Cell::new(lines.join("\n")));
        table.add_row(row);
    }
    let hits = match reply.hits.is_empty() {
        true => "no hits: nothing in the collection matches".to_owned(),
        false => table.to_string(),
    };
    format!("{hits}\n{}", about::render(reply))
}

fn header(title: &str) -> Cell {
    Cell::new(title).add_attribute(Attribute::Bold)
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Rank and score of one stage.
fn stage(stage: Option<&Stage>) -> String {
    stage.map_or_else(|| "-".to_owned(), |stage| format!("{}. ({:.3})", stage.rank, stage.score))
}

/// Both stages on a line.
fn stages(retrieve: &Stage, rerank: Option<&Stage>) -> String {
    format!("stage 1: {}, stage 2: {}", stage(Some(retrieve)), stage(rerank))
}

/// Where the chunk is: the document, and the headings above the chunk.
fn place(hit: &Hit) -> String {
    match &hit.heading {
        Some(heading) => format!("{} › {heading}", hit.document_id),
        None => hit.document_id.clone(),
    }
}

/// The lines below a hit's place.
fn body(hit: &Hit, asked: Asked, routes: &[ExplainRoute]) -> Vec<String> {
    let mut lines = Vec::new();
    let (before, behind): (Vec<&Chunk>, Vec<&Chunk>) =
        hit.neighbours.iter().partition(|chunk| chunk.ordinal < hit.ordinal);
    lines.extend(before.into_iter().map(|chunk| format!("↑ {}", short(chunk))));
    match &hit.text {
        Some(text) => lines.push(snippet(text, SNIPPET_CHARS)),
        None if asked.text => lines.push(LEFT_OUT.to_owned()),
        None => {}
    }
    lines.extend(behind.into_iter().map(|chunk| format!("↓ {}", short(chunk))));
    lines.extend(hit.passages.iter().take(SHOWN_PASSAGES).map(passage));
    if let Some(n_more @ 1..) = hit.passages.len().checked_sub(SHOWN_PASSAGES) {
        lines.push(format!("+ {n_more} more of its chunks"));
    }
    if asked.metadata
        && let Some(metadata) = hit.metadata.as_ref().filter(|metadata| !metadata.is_empty())
        && let Ok(json) = serde_json::to_string(metadata)
    {
        lines.push(format!("metadata: {json}"));
    }
    lines.extend(hit.vector.as_deref().map(vector));
    if !hit.routes.is_empty() {
        let found: Vec<String> = hit
            .routes
            .iter()
            .map(|at| {
                let list = routes.get(at.route).map_or_else(|| at.route.to_string(), list);
                format!("{list} {}. ({:.3})", at.rank, at.score)
            })
            .collect();
        lines.push(format!("found by: {}", found.join(", ")));
    }
    lines
}

/// Instead of a text that was asked for.
const LEFT_OUT: &str = "(text left out: the reply would not have fit; ask for fewer hits)";

/// The name of one of stage 1's lists.
fn list(route: &ExplainRoute) -> String {
    match route.query {
        0 => route.kind.clone(),
        query => format!("{} (also {query})", route.kind),
    }
}

/// A chunk beside a hit.
fn short(chunk: &Chunk) -> String {
    let text = chunk.text.as_deref().map_or_else(String::new, |text| snippet(text, SHORT_CHARS));
    format!("chunk {}: {text}", chunk.ordinal)
}

/// Another chunk of a hit's document that was found.
fn passage(passage: &Passage) -> String {
    format!("+ {:.3} {}", passage.score, short(&passage.chunk))
}

/// The first words of a text on one line.
pub(super) fn snippet(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn vector(numbers: &[f32]) -> String {
    let shown: Vec<String> =
        numbers.iter().take(SHOWN_NUMBERS).map(|number| format!("{number:.3}")).collect();
    format!("vector: {} numbers, {}, …", numbers.len(), shown.join(", "))
}

/// All of a hit: where it stands, what the document is, and its text.
pub(super) fn whole(hit: &Hit) -> String {
    let source = &hit.source;
    let lines = [
        Some(format!("{} (chunk {})", place(hit), hit.ordinal)),
        hit.title.as_ref().map(|title| format!("title: {title}")),
        hit.url.as_ref().map(|url| format!("url: {url}")),
        hit.tenant.as_ref().map(|tenant| format!("tenant: {tenant}")),
        hit.version.as_ref().map(|version| format!("version: {version}")),
        hit.updated_at.as_ref().map(|at| format!("updated: {at}")),
        hit.metadata
            .as_ref()
            .filter(|metadata| !metadata.is_empty())
            .and_then(|metadata| serde_json::to_string(metadata).ok())
            .map(|json| format!("metadata: {json}")),
        Some(format!("record: {}[{}]@{}", source.topic, source.partition, source.offset)),
        Some(format!("score {:.3}, {}", hit.score, stages(&hit.retrieve, hit.rerank.as_ref()))),
        Some(String::new()),
        Some(hit.text.clone().unwrap_or_else(|| {
            "(the answer came without its text; `:include text`, or ask for fewer hits)".to_owned()
        })),
    ];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
