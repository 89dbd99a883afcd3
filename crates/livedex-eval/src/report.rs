//! The figures and how they were measured, as a table, as JSON and as a page.
//!
//! - [`table`]: for a terminal
//! - [`page`]: one HTML file that needs nothing else
//! - `plots`: its plots, as SVG
//! - `rows`: what the table and the page show, in words

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    bootstrap::{RESAMPLES, quantile},
    figures::Evaluated,
};

pub mod page;
mod plots;
mod rows;
pub mod table;

/// Everything that was found. As JSON it is what it is here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was measured on.
    pub set: SetInfo,
    /// How it was measured.
    pub how: How,
    /// What went wrong on the way.
    pub trouble: Trouble,
    /// The figures of both stages.
    pub figures: Evaluated,
    /// The time of requests.
    pub latency: Vec<Latency>,
}

/// A test set in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetInfo {
    /// Its name: that of its folder.
    pub name: String,
    /// Documents.
    pub documents: usize,
    /// Documents without a text; they have no chunk and are never found.
    pub empty_documents: usize,
    /// Queries in the file.
    pub queries: usize,
    /// Queries without a relevant document, which are left out.
    pub queries_without_relevant: usize,
    /// Queries that were asked: all others, or as many as were to be drawn of them.
    pub asked: usize,
    /// Judgements above 0 of queries that were asked.
    pub relevant: usize,
    /// Those of them whose document is not in the corpus, and which nobody can find.
    pub relevant_missing: usize,
}

/// How it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct How {
    /// When, as the caller writes times.
    pub date: String,
    /// The version of Livedex.
    pub version: String,
    /// Stage 1.
    pub embedder: Model,
    /// Stage 2, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranker: Option<Model>,
    /// How both scores become the final one, as the configuration calls it.
    pub fusion: String,
    /// Candidates of the two-stage figures.
    pub candidates: usize,
    /// Chunks that every query asked for.
    pub depth: usize,
    /// Tokens of a chunk at most.
    pub chunk_tokens: usize,
    /// The collection that was asked.
    pub collection: String,
    /// Its chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<u64>,
    /// Seconds that ingestion took; absent if the collection was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingestion_seconds: Option<f64>,
    /// What queries are drawn with, for samples and for intervals.
    pub seed: u64,
    /// How often queries were drawn anew for an interval.
    pub resamples: usize,
}

impl How {
    /// How often queries are drawn anew.
    pub const RESAMPLES: usize = RESAMPLES;
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name, for people.
    pub name: String,
    /// A hash over everything that its numbers depend on.
    pub fingerprint: String,
}

/// What went wrong on the way, so that the figures are not those of the models alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Documents that became dead letters.
    pub dead_letters: u64,
    /// Queries without an answer; they count as having found nothing.
    pub failed: usize,
    /// The first of their errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Queries whose answer has the order of stage 1 though both were asked, by reason.
    pub degraded: BTreeMap<String, usize>,
    /// Answers whose order was not the one that follows from their scores.
    pub other_order: usize,
}

impl Trouble {
    /// A line for each; none if all went well.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.dead_letters > 0 {
            lines.push(format!(
                "{} documents became dead letters and cannot be found",
                self.dead_letters
            ));
        }
        if self.failed > 0 {
            let why = self.first_error.as_deref().unwrap_or("no reason was given");
            lines.push(format!(
                "{} queries failed and count as having found nothing; the first: {why}",
                self.failed
            ));
        }
        for (reason, n) in &self.degraded {
            lines.push(format!(
                "{n} answers were not reranked ({reason}) and count in stage 1's order"
            ));
        }
        if self.other_order > 0 {
            lines.push(format!(
                "{} answers had another order than their scores say; report this as a bug",
                self.other_order
            ));
        }
        lines
    }
}

/// The time of requests of one kind, from sending one to having its reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Candidates; absent: stage 1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// Requests that were answered as they were asked.
    pub requests: usize,
    /// Requests that failed or were not reranked; their time does not count.
    pub failed: usize,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// 95 % took no longer, in milliseconds.
    pub p95_ms: f64,
    /// The median of embedding the query, by the service's own clock.
    pub embed_p50_ms: f64,
    /// The same of searching the collection.
    pub search_p50_ms: f64,
    /// The same of reranking; absent for stage 1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_p50_ms: Option<f64>,
    /// Requests whose hits were, in their order, those that the curves take for this number of
    /// candidates.
    pub as_derived: usize,
}

/// The times of one answered request, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// From sending it to having the reply.
    pub total: f64,
    /// Embedding the query.
    pub embed: f64,
    /// Searching the collection.
    pub search: f64,
    /// Reranking, if it ran.
    pub rerank: Option<f64>,
}

impl Latency {
    /// Of the requests that were answered.
    pub fn of(
        candidates: Option<usize>,
        times: &[Times],
        failed: usize,
        as_derived: usize,
    ) -> Self {
        let sorted = |value: &dyn Fn(&Times) -> Option<f64>| {
            let mut values: Vec<f64> = times.iter().filter_map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let total = sorted(&|times| Some(times.total));
        let rerank = sorted(&|times| times.rerank);
        Self {
            candidates,
            requests: times.len(),
            failed,
            p50_ms: quantile(&total, 0.5),
            p95_ms: quantile(&total, 0.95),
            embed_p50_ms: quantile(&sorted(&|times| Some(times.embed)), 0.5),
            search_p50_ms: quantile(&sorted(&|times| Some(times.search)), 0.5),
            rerank_p50_ms: (!rerank.is_empty()).then(|| quantile(&rerank, 0.5)),
            as_derived,
        }
    }
}

#[cfg(test)]
mod tests;
