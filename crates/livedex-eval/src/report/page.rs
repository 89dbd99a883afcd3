//! The report as one HTML file that needs nothing else: no script, no font, no picture of others.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Report, plots,
    rows::{self, Rows},
};

const STYLE: &str = include_str!("page.css");

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw the plot of {plot}: {reason}")]
pub struct PageError {
    plot: &'static str,
    reason: String,
}

/// The page.
pub fn render(report: &Report) -> Result<String, PageError> {
    let name = &report.set.name;
    let failed = |plot| move |reason| PageError { plot, reason };
    let recall = plots::recall(report).map_err(failed("recall"))?;
    let ndcg = plots::ndcg(report).transpose().map_err(failed("nDCG@10"))?;
    let latency = plots::latency(report).transpose().map_err(failed("latency"))?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Livedex on " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Livedex on " (name) }
                p {
                    (report.set.asked) " queries on " (report.set.documents) " documents, "
                    (report.how.date) ". Brackets and bands are 95 % intervals over queries."
                }
                @for line in report.trouble.lines() {
                    p.warning role="alert" { strong { "Warning: " } (line) }
                }
                (table(&rows::stages(report)))
                p.note { (about_stages(report)) }
                h2 { "How many candidates" }
                p {
                    @if ndcg.is_some() {
                        "Take the smallest k at which nDCG@10 has stopped to rise and whose p95 you can afford; "
                        "where recall still rises and nDCG@10 does not, a better reranker would gain; "
                        "and where two-stage stays below stage 1, this one does not help on texts like these."
                    } @else {
                        "There is no second stage: the recall is what a reranker would have to work with."
                    }
                }
                @if let Some(svg) = ndcg {
                    (figure(&svg, "nDCG@10 over candidates: how good the first ten documents are. The band is of two-stage."))
                }
                (figure(&recall, "Recall over candidates: the relevant documents that stage 2 gets to see, in parts of all."))
                @if let Some(svg) = latency {
                    (figure(&svg, "Latency over candidates: from sending a request to having its reply, one at a time; 0 is stage 1 only."))
                }
                (table(&rows::candidates(report)))
                p.note {
                    "Embed, search and rerank are medians in milliseconds by the service's own clock. "
                    "The recall of the candidates counts documents that have a chunk among the first k chunks."
                }
                details {
                    summary { "Every point of the curves" }
                    (table(&rows::curve(report)))
                }
                h2 { "How it was measured" }
                dl {
                    @for (what, value) in rows::how(report) {
                        dt { (what) }
                        dd { (value) }
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn about_stages(report: &Report) -> String {
    let mut text = "A document stands where its best chunk does.".to_owned();
    if report.figures.two_stage.is_some() {
        text += &format!(
            " An answer holds no more than its {} candidates: recall beyond is that of the candidates. \
             The difference is taken query by query; where its interval does not hold 0, other queries of \
             this kind would most likely show it too.",
            report.how.candidates
        );
    }
    text
}

fn figure(svg: &str, caption: &str) -> Markup {
    html! {
        figure {
            div role="img" aria-label=(caption) { (PreEscaped(svg)) }
            figcaption { (caption) }
        }
    }
}

fn table(rows: &Rows) -> Markup {
    html! {
        div.wide {
            table {
                caption { (rows.title) }
                thead {
                    tr { @for title in &rows.header { th scope="col" { (title) } } }
                }
                tbody {
                    @for row in &rows.rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
