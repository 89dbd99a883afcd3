//! `query.v1`: a request.

use livedex_core::{
    ids::Tenant,
    limits::{MAX_CANDIDATES, MAX_NEIGHBOURS, MAX_QUERIES, MAX_QUERY_BYTES, MAX_TOP_K},
    query::{Mode, QueryRequest},
};

pub use crate::request::RequestError;
use crate::{
    fields::{FieldError, Fields, Problem, parse, text},
    filter,
    request::{Parts, Written, collection, freshness, instruction, list_of, optional_text, tenant},
};

const FIELDS: &[&str] = &[
    "query",
    "queries",
    "collection",
    "mode",
    "top_k",
    "candidates",
    "filter",
    "tenant",
    "instruction",
    "rerank",
    "consistency",
    "after",
    "group_by",
    "min_score",
    "neighbours",
    "explain",
    "include",
];

/// Reads and checks a request: afterwards every limit holds.
pub fn decode(json: &[u8]) -> Result<QueryRequest, RequestError> {
    let mut fields = Fields::new(parse(json)?, "", FIELDS)?;
    let (query, also) = texts(&mut fields)?;
    let collection = collection(&mut fields)?;
    let named = |name: &str| MODES.into_iter().find(|mode| mode_name(*mode) == name);
    let mode = fields.choice("mode", named, "dense, bm25 or hybrid")?;
    let top_k = fields.count("top_k", 1, MAX_TOP_K)?;
    let candidates = fields.count("candidates", 1, MAX_CANDIDATES)?;
    if let (Some(top_k), Some(candidates)) = (top_k, candidates)
        && candidates < top_k
    {
        let problem = format!("is {candidates}, less than `top_k` ({top_k})");
        return Err(FieldError::new("candidates", Problem::Other(problem)).into());
    }
    let filter = match fields.take("filter") {
        None => None,
        Some(json) => {
            let filter = filter::decode(json, "filter")?;
            filter.validate()?;
            Some(filter)
        }
    };
    let tenant = tenant(&mut fields)?;
    let instruction = instruction(&mut fields)?;
    let rerank = fields.boolean("rerank")?.unwrap_or(true);
    let (consistency, after) = freshness(&mut fields)?;
    let by_document = |name: &str| (name == GROUP_BY_DOCUMENT).then_some(());
    let group_by_document = fields.choice("group_by", by_document, GROUP_BY_DOCUMENT)?.is_some();
    let min_score = fields.share("min_score")?;
    let neighbours = fields.count("neighbours", 0, MAX_NEIGHBOURS)?.unwrap_or(0);
    let explain = fields.boolean("explain")?.unwrap_or(false);
    let parts = Parts::decode(&mut fields)?;
    Ok(QueryRequest {
        collection,
        query,
        also,
        mode,
        top_k,
        candidates,
        filter,
        tenant,
        instruction,
        rerank,
        consistency,
        after,
        group_by_document,
        min_score,
        neighbours,
        explain,
        include_text: parts.text,
        include_metadata: parts.metadata,
        include_vectors: parts.vectors,
    })
}

/// The query, and the same question in other words: `query`, or else the first of `queries`, and
/// what is left of those.
fn texts(fields: &mut Fields) -> Result<(String, Vec<String>), FieldError> {
    let query = optional_text(fields, "query", MAX_QUERY_BYTES)?;
    let read = |path: &str, value| text(path, value, MAX_QUERY_BYTES);
    let mut queries =
        list_of(fields, "queries", MAX_QUERIES, read)?.unwrap_or_default().into_iter();
    if query.is_some() && queries.len() == MAX_QUERIES {
        let unit = "texts together with `query`";
        let problem = Problem::TooLong { length: MAX_QUERIES + 1, limit: MAX_QUERIES, unit };
        return Err(FieldError::new("queries", problem));
    }
    let first = query.or_else(|| queries.next());
    let query = first.ok_or_else(|| FieldError::new("query", Problem::Missing))?;
    Ok((query, queries.collect()))
}

/// The one value of `group_by`.
const GROUP_BY_DOCUMENT: &str = "document";

const MODES: [Mode; 3] = [Mode::Dense, Mode::Bm25, Mode::Hybrid];

/// The name of a mode in the contracts.
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Dense => "dense",
        Mode::Bm25 => "bm25",
        Mode::Hybrid => "hybrid",
    }
}

/// The request as JSON, without what is the default.
pub fn encode(request: &QueryRequest) -> Vec<u8> {
    let mut json = Written::default();
    json.put("query", request.query.as_str());
    if !request.also.is_empty() {
        json.put("queries", request.also.clone());
    }
    json.put_some("collection", request.collection.as_deref());
    json.put_some("mode", request.mode.map(mode_name));
    json.put_some("top_k", request.top_k);
    json.put_some("candidates", request.candidates);
    json.put_some("filter", request.filter.as_ref().map(filter::encode));
    json.put_some("tenant", request.tenant.as_ref().map(Tenant::as_str));
    json.put_some("instruction", request.instruction.as_deref());
    json.put_some("rerank", (!request.rerank).then_some(false));
    json.put_freshness(request.consistency, &request.after);
    json.put_some("group_by", request.group_by_document.then_some(GROUP_BY_DOCUMENT));
    json.put_some("min_score", request.min_score);
    json.put_some("neighbours", (request.neighbours > 0).then_some(request.neighbours));
    json.put_some("explain", request.explain.then_some(true));
    let parts = Parts {
        text: request.include_text,
        metadata: request.include_metadata,
        vectors: request.include_vectors,
    };
    parts.encode(&mut json);
    json.into_bytes()
}

#[cfg(test)]
mod tests;
