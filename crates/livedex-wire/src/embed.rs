//! `embed.v1`: a request for embeddings, and `embed_reply.v1`, the embeddings.

use livedex_core::{
    limits::{MAX_CHUNK_TEXT_BYTES, MAX_EMBED_TEXTS},
    requests::{EmbedRequest, TextKind},
};
use serde::{Deserialize, Serialize};

use crate::{
    fields::{FieldError, Fields, Problem, parse, text},
    reply::{MalformedReply, Model},
    request::{RequestError, Written, instruction, need_list},
};

const FIELDS: &[&str] = &["texts", "kind", "instruction"];

/// Reads and checks a request: afterwards every limit holds.
pub fn decode(json: &[u8]) -> Result<EmbedRequest, RequestError> {
    let mut fields = Fields::new(parse(json)?, "", FIELDS)?;
    let read = |path: &str, value| text(path, value, MAX_CHUNK_TEXT_BYTES);
    let texts = need_list(&mut fields, "texts", MAX_EMBED_TEXTS, read)?;
    let named = |name: &str| match name {
        "query" => Some(TextKind::Query),
        "document" => Some(TextKind::Document),
        _ => None,
    };
    let kind = fields.choice("kind", named, "query or document")?.unwrap_or_default();
    let instruction = instruction(&mut fields)?;
    if kind == TextKind::Document && instruction.is_some() {
        let problem = "is for queries only: documents are embedded without one".to_owned();
        return Err(FieldError::new("instruction", Problem::Other(problem)).into());
    }
    Ok(EmbedRequest { texts, kind, instruction })
}

/// The request as JSON, without what is the default.
pub fn encode(request: &EmbedRequest) -> Vec<u8> {
    let mut json = Written::default();
    json.put("texts", request.texts.clone());
    json.put_some("kind", (request.kind == TextKind::Document).then_some("document"));
    json.put_some("instruction", request.instruction.as_deref());
    json.into_bytes()
}

/// The embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbedReplyV1 {
    /// One a text, in the order of the request, each L2-normalised.
    pub embeddings: Vec<Vec<f32>>,
    /// Numbers of each.
    pub dimension: usize,
    /// The time of each step.
    pub timings_ms: EmbedTimings,
    /// What embedded.
    pub model: Model,
}

/// The time of each step in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EmbedTimings {
    /// Embedding, with the wait for the device.
    pub embed: f64,
    /// From the request's arrival to its reply.
    pub total: f64,
}

impl EmbedReplyV1 {
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
