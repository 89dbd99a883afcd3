//! The flags as a request. Limits are the service's to check: it answers with a typed error.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, bail};
use livedex_core::{
    ids::Tenant,
    query::{Consistency, QueryRequest},
    record::SourcePosition,
};
use livedex_wire::filter;
use serde::Deserialize;

use crate::cli::{IncludeArg, ReadArgs, SearchArgs};

/// What a query and the reading of a document have in common.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Read {
    pub(in crate::commands) collection: Option<String>,
    pub(in crate::commands) tenant: Option<Tenant>,
    pub(in crate::commands) consistency: Option<Consistency>,
    pub(in crate::commands) after: Vec<SourcePosition>,
    pub(in crate::commands) parts: Parts,
    /// Whether metadata was asked for by name, and not only comes by default.
    pub(in crate::commands) names_metadata: bool,
}

/// What comes beside ids and scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct Parts {
    pub(in crate::commands) text: bool,
    pub(in crate::commands) metadata: bool,
    pub(in crate::commands) vectors: bool,
}

impl Read {
    /// What the flags say; reads the file of `--after-file`.
    pub(in crate::commands) fn new(args: &ReadArgs) -> anyhow::Result<Self> {
        let tenant = args.tenant.as_deref().map(Tenant::new).transpose().context("--tenant")?;
        let strong = args.strong.then_some(Consistency::Strong);
        let mut after: Vec<SourcePosition> = args.after.iter().map(|at| at.0.clone()).collect();
        if let Some(path) = &args.after_file {
            after.extend(published(path)?);
        }
        Ok(Self {
            collection: args.collection.clone(),
            tenant,
            consistency: args.consistency.map(Consistency::from).or(strong),
            after: newest(after),
            parts: parts(args.include.as_deref())?,
            names_metadata: named(args.include.as_deref()),
        })
    }
}

/// What the flags say, without a question.
pub(super) fn request(search: &SearchArgs, read: Read) -> anyhow::Result<QueryRequest> {
    let filter = search.filter.as_deref().map(filter::parse).transpose().context("--filter")?;
    Ok(QueryRequest {
        collection: read.collection,
        query: String::new(),
        also: search.also.clone(),
        mode: search.mode.map(Into::into),
        top_k: search.top_k,
        candidates: search.candidates,
        filter,
        tenant: read.tenant,
        instruction: search.instruction.clone(),
        rerank: !search.no_rerank,
        consistency: read.consistency,
        after: read.after,
        group_by_document: search.group_by.is_some(),
        min_score: search.min_score,
        neighbours: search.neighbours,
        explain: search.explain,
        include_text: read.parts.text,
        include_metadata: read.parts.metadata,
        include_vectors: read.parts.vectors,
    })
}

fn named(include: Option<&[IncludeArg]>) -> bool {
    include.is_some_and(|include| include.contains(&IncludeArg::Metadata))
}

/// What is named; text and metadata if nothing is said.
pub(super) fn parts(include: Option<&[IncludeArg]>) -> anyhow::Result<Parts> {
    let Some(include) = include else {
        return Ok(Parts { text: true, metadata: true, vectors: false });
    };
    let has = |part| include.contains(&part);
    if has(IncludeArg::None) && include.len() > 1 {
        bail!("--include: none stands alone");
    }
    Ok(Parts {
        text: has(IncludeArg::Text),
        metadata: has(IncludeArg::Metadata),
        vectors: has(IncludeArg::Vectors),
    })
}

/// Whether a file's name means standard input.
pub(super) fn is_stdin(path: Option<&Path>) -> bool {
    path == Some(Path::new("-"))
}

/// A line of `livedex publish --json`, as far as it says where the record is.
#[derive(Deserialize)]
struct Published {
    topic: String,
    partition: i32,
    offset: i64,
}

/// The records in a file of such lines.
fn published(path: &Path) -> anyhow::Result<Vec<SourcePosition>> {
    let shown = path.display();
    if is_stdin(Some(path)) {
        return positions(std::io::stdin().lock(), "standard input");
    }
    let file = File::open(path).with_context(|| format!("--after-file: cannot read {shown}"))?;
    positions(BufReader::new(file), &shown.to_string())
}

fn positions(lines: impl BufRead, name: &str) -> anyhow::Result<Vec<SourcePosition>> {
    let mut found = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let line = line.with_context(|| format!("--after-file: cannot read {name}"))?;
        if line.trim().is_empty() {
            continue;
        }
        // The place tells more than serde's message, which knows nothing of the command.
        let Ok(Published { topic, partition, offset }) = serde_json::from_str(&line) else {
            bail!(
                "--after-file: line {} of {name} does not say topic, partition and offset as \
                 `livedex publish --json` prints them",
                number + 1
            );
        };
        found.push(SourcePosition { topic: topic.into(), partition, offset });
        // As many as a file has lines: what counts is one for each partition.
        if found.len() >= 1024 {
            found = newest(found);
        }
    }
    Ok(found)
}

/// The last record of each partition: once that is there, all before it are.
fn newest(positions: Vec<SourcePosition>) -> Vec<SourcePosition> {
    let mut last: BTreeMap<_, i64> = BTreeMap::new();
    for SourcePosition { topic, partition, offset } in positions {
        let known = last.entry((topic, partition)).or_insert(offset);
        *known = (*known).max(offset);
    }
    let position = |((topic, partition), offset)| SourcePosition { topic, partition, offset };
    last.into_iter().map(position).collect()
}

#[cfg(test)]
mod tests;
