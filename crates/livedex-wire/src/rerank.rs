//! `rerank.v1`: a request to score texts, and `rerank_reply.v1`, the scores.

use livedex_core::{
    limits::{MAX_CHUNK_TEXT_BYTES, MAX_DOCUMENT_ID_BYTES, MAX_QUERY_BYTES, MAX_RERANK_DOCUMENTS},
    requests::{RerankDocument, RerankRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    fields::{FieldError, Fields, parse, text, type_error},
    reply::{Degraded, MalformedReply, Model},
    request::{RequestError, Written, include, instruction, need_list, need_text, optional_text},
};

const FIELDS: &[&str] = &["query", "documents", "top_k", "instruction", "include"];

/// Reads and checks a request: afterwards every limit holds.
pub fn decode(json: &[u8]) -> Result<RerankRequest, RequestError> {
    let mut fields = Fields::new(parse(json)?, "", FIELDS)?;
    let query = need_text(&mut fields, "query", MAX_QUERY_BYTES)?;
    let documents = need_list(&mut fields, "documents", MAX_RERANK_DOCUMENTS, document)?;
    let top_k = fields.count("top_k", 1, MAX_RERANK_DOCUMENTS)?;
    let instruction = instruction(&mut fields)?;
    let include = include(&mut fields, &["text"], "text")?.unwrap_or_default();
    let include_text = !include.is_empty();
    Ok(RerankRequest { query, documents, top_k, instruction, include_text })
}

/// A text, or an object with it and the client's name for it.
fn document(path: &str, value: Value) -> Result<RerankDocument, FieldError> {
    match value {
        Value::String(_) => {
            Ok(RerankDocument { id: None, text: text(path, value, MAX_CHUNK_TEXT_BYTES)? })
        }
        Value::Object(_) => {
            let mut fields = Fields::new(value, path, &["id", "text"])?;
            let id = optional_text(&mut fields, "id", MAX_DOCUMENT_ID_BYTES)?;
            Ok(RerankDocument { id, text: need_text(&mut fields, "text", MAX_CHUNK_TEXT_BYTES)? })
        }
        other => Err(type_error(path, "a string or an object", &other)),
    }
}

/// The request as JSON, without what is the default.
pub fn encode(request: &RerankRequest) -> Vec<u8> {
    let documents = request.documents.iter().map(|document| match &document.id {
        None => json!(document.text),
        Some(id) => json!({ "id": id, "text": document.text }),
    });
    let mut json = Written::default();
    json.put("query", request.query.as_str());
    json.put("documents", documents.collect::<Vec<_>>());
    json.put_some("top_k", request.top_k);
    json.put_some("instruction", request.instruction.as_deref());
    json.put_some("include", request.include_text.then(|| vec!["text"]));
    json.into_bytes()
}

/// The scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RerankReplyV1 {
    /// The texts that were scored, best first.
    pub results: Vec<RerankResult>,
    /// Why not all of them were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded: Option<Degraded>,
    /// The time of each step.
    pub timings_ms: RerankTimings,
    /// What scored.
    pub model: Model,
}

/// A text's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RerankResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// The client's own name for it, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The probability that it answers the query, 0..=1.
    pub score: f32,
    /// The text; absent if it was not asked for or did not fit the reply.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

/// The time of each step in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RerankTimings {
    /// Scoring, with the wait for the device.
    pub rerank: f64,
    /// From the request's arrival to its reply.
    pub total: f64,
}

impl RerankReplyV1 {
    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}

#[cfg(test)]
mod tests;
