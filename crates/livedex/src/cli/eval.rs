//! `livedex eval`.

use std::path::PathBuf;

use clap::Args;
use livedex_eval::DEPTH;

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A test set in BEIR layout: corpus.jsonl, queries.jsonl and qrels/test.tsv
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Candidates of the two-stage figures [default: query.candidates]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=DEPTH as i64))]
    pub(crate) candidates: Option<u32>,
    /// Ask this many of the queries, drawn by --seed [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queries: Option<u32>,
    /// Measure the time of requests on this many of the queries; each is asked at several numbers of
    /// candidates, one request after the other. 0: not at all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) latency_queries: u32,
    /// What queries are drawn with, for samples and for intervals
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Milliseconds to wait for an answer. Every query asks for 100 candidates, which takes longer
    /// than a usual one
    #[arg(long, default_value_t = 120_000, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=livedex_query::deadline::MAX_DEADLINE_MS))]
    pub(crate) timeout_ms: u64,
    /// Also write the report as a page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave the topic and the collection that this makes
    #[arg(long)]
    pub(crate) keep: bool,
    /// Ask the collection that an earlier --keep left, without ingesting; it stays
    #[arg(long)]
    pub(crate) reuse: bool,
    /// What topic and collection are called after [default: the folder's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The stream whose chunk sizes and bounds are taken [default: the only one, or kafka.topic where
    /// that is set]
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
}
