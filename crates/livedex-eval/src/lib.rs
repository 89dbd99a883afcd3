//! How well both stages of a query do: a test set in BEIR layout, the measures of information
//! retrieval, and a report that a person can choose `candidates` by.
//!
//! Pure but for reading the test set's files: answers and the date come from the caller, and what
//! is random has a seed.
//!
//! # Layout
//! - [`beir`]: documents, queries and judgements from a folder
//! - [`measures`]: nDCG, reciprocal rank, precision and recall of one ranking, as trec_eval has them
//! - [`answer`]: what stage 1 and both stages make of one answer, at any number of candidates
//! - [`bootstrap`]: intervals over queries, and quantiles
//! - [`figures`]: all answers to the figures of both stages
//! - [`report`]: the figures and how they were measured, as a table, as JSON and as a page

pub mod answer;
pub mod beir;
pub mod bootstrap;
pub mod figures;
pub mod measures;
pub mod report;

/// Chunks that a query asks for, and the largest number of candidates that is looked at: what one
/// reply may hold.
pub const DEPTH: usize = livedex_core::limits::MAX_TOP_K;
