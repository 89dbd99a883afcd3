//! Replies and errors as messages that the server lets through.
//!
//! A NATS server refuses messages above its `max_payload` (1 MiB by default), and the caller would
//! wait in vain. So a reply that is too large first loses texts, from the last hit upwards, then
//! metadata: a hit without the text that was asked for says so. One that is still too large becomes a
//! typed error (413).

use std::time::{Duration, Instant};

use async_nats::{
    HeaderMap,
    service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE},
};
use bytes::Bytes;
use livedex_core::{
    query::{Mode, QueryRequest},
    ranking::{Fusion, Group, Scale},
};
use livedex_wire::{
    documents::DocumentReplyV1,
    query::mode_name,
    reply::{
        Chunk, Degraded, Explain, ExplainRoute, Hit, Include, Passage, ReplyV1, Timings, millis,
    },
    request::consistency_name,
};

use crate::{
    error::QueryError, freshness::View, retrieve::RouteReport, status::Report, two_stage::Answer,
};

/// Bytes of a message that are kept for its headers.
const HEADER_BYTES: usize = 1024;

/// Bytes of an error's text in its header; all of it is in the body.
const MAX_HEADER_TEXT_BYTES: usize = 256;

/// The reply to `request`, at most `max_payload` bytes with its headers.
pub(crate) fn reply(
    answer: Answer,
    request: &QueryRequest,
    about: About<'_>,
    max_payload: usize,
) -> Result<Bytes, QueryError> {
    let include = Include::from(request);
    let explain = request.explain.then(|| explain(&answer, &about));
    let mut neighbours = answer.neighbours.into_iter();
    let hits = answer.hits.into_iter().map(|Group { best, others }| {
        let mut hit = Hit::new(best, include);
        let around = neighbours.next().unwrap_or_default().into_iter();
        hit.neighbours = around.map(|passage| Chunk::new(passage, include)).collect();
        hit.passages = others.into_iter().map(|other| Passage::new(other, include)).collect();
        hit
    });
    let reply = ReplyV1 {
        collection: about.collection.to_owned(),
        hits: hits.collect(),
        n_candidates: answer.n_candidates,
        degraded: answer
            .degraded
            .map(|why| Degraded { reason: why.as_str().to_owned(), reranked: answer.reranked }),
        consistency: consistency_name(request.consistency()).to_owned(),
        watermarks: about.view.watermarks,
        lag: about.view.lag,
        timings_ms: Timings {
            wait: about.wait.map(millis),
            embed: answer.timings.embed.map(millis),
            search: millis(answer.timings.search),
            neighbours: answer.timings.neighbours.map(millis),
            rerank: answer.timings.rerank.map(millis),
            total: millis(about.received.elapsed()),
        },
        models: about.report.models(),
        explain,
    };
    fit(reply, room(max_payload)).map(Bytes::from)
}

/// What a reply says beside the answer.
pub(crate) struct About<'a> {
    /// The collection that was searched.
    pub(crate) collection: &'a str,
    /// Stage 1's mode.
    pub(crate) mode: Mode,
    pub(crate) fusion: Fusion,
    /// How far the collection is.
    pub(crate) view: View,
    pub(crate) wait: Option<Duration>,
    pub(crate) received: Instant,
    pub(crate) report: &'a Report,
}

fn explain(answer: &Answer, about: &About<'_>) -> Explain {
    let kind = |scale| match scale {
        Scale::Cosine => "dense",
        Scale::Bm25 => "bm25",
    };
    let route = |route: &RouteReport| ExplainRoute {
        kind: kind(route.scale).to_owned(),
        query: route.query,
        found: route.found,
    };
    let stage_1 = match (answer.routes.as_slice(), about.mode) {
        ([_], Mode::Dense) => "the cosine similarity, 0 if it is negative",
        ([_], _) => "BM25's score s as s / (1 + s)",
        _ => "the fused ranks as a part of what the first place in every list gives",
    };
    let score = match (answer.reranked, about.fusion) {
        (0, _) => stage_1.to_owned(),
        (_, Fusion::Rerank) => "the reranker's probability".to_owned(),
        (_, Fusion::Mean) => format!("the mean of the reranker's probability and {stage_1}"),
    };
    Explain {
        mode: mode_name(about.mode).to_owned(),
        routes: answer.routes.iter().map(route).collect(),
        fusion: about.fusion.as_str().to_owned(),
        reranked: answer.reranked,
        rerank_cached: answer.rerank_cached,
        embed_cached: answer.embed_cached,
        score,
    }
}

/// Bytes that a reply's body may have.
pub(crate) fn room(max_payload: usize) -> usize {
    max_payload.saturating_sub(HEADER_BYTES)
}

fn fit(mut reply: ReplyV1, limit: usize) -> Result<Vec<u8>, QueryError> {
    let mut json = reply.to_json();
    let text = |chunk: &mut Chunk| {
        chunk.text.take().map_or(0, |text| text.len()) + chunk.vector.take().map_or(0, printed)
    };
    let drops: [&dyn Fn(&mut Hit) -> usize; 4] = [
        &|hit| {
            let passages = hit.passages.iter_mut().map(|passage| &mut passage.chunk);
            passages.chain(&mut hit.neighbours).map(text).sum()
        },
        &|hit| hit.vector.take().map_or(0, printed),
        &|hit| hit.text.take().map_or(0, |text| text.len()),
        &|hit| hit.metadata.take().map_or(0, |metadata| metadata.len()),
    ];
    for drop in drops {
        for index in (0..reply.hits.len()).rev() {
            if json.len() <= limit {
                return Ok(json);
            }
            let excess = json.len() - limit;
            // A text takes at least its own bytes as JSON: the reply is printed again only when
            // enough has gone.
            let mut saved = 0;
            for hit in reply.hits[..=index].iter_mut().rev() {
                saved += drop(hit);
                if saved >= excess {
                    break;
                }
            }
            if saved == 0 {
                // No hit has any of it.
                break;
            }
            json = reply.to_json();
        }
    }
    within(json, limit, "top_k")
}

/// Bytes of a vector as JSON, less its brackets.
fn printed(vector: Vec<f32>) -> usize {
    vector.iter().map(|number| number.to_string().len() + 1).sum()
}

/// A body that must fit as it is; `field` is what the caller may ask less of.
pub(crate) fn within(
    json: Vec<u8>,
    limit: usize,
    field: &'static str,
) -> Result<Vec<u8>, QueryError> {
    let bytes = json.len();
    if bytes <= limit { Ok(json) } else { Err(QueryError::ReplyTooLarge { bytes, limit, field }) }
}

/// A document's chunks: those that fit, and where to go on.
pub(crate) fn document(
    mut reply: DocumentReplyV1,
    max_payload: usize,
) -> Result<Vec<u8>, QueryError> {
    let limit = room(max_payload);
    loop {
        let json = reply.to_json();
        if json.len() <= limit || reply.chunks.len() <= 1 {
            return within(json, limit, "include");
        }
        // At least one goes, and about as many as do not fit.
        let keep = (reply.chunks.len() * limit / json.len()).clamp(1, reply.chunks.len() - 1);
        reply.next = reply.chunks.get(keep).map(|chunk| chunk.ordinal);
        reply.chunks.truncate(keep);
    }
}

/// An error as a message: the body of the contract, and the headers of the services framework.
pub(crate) fn error(error: &QueryError) -> (Bytes, HeaderMap) {
    let body = error.to_body();
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR, header_text(&body.message));
    headers.insert(NATS_SERVICE_ERROR_CODE, body.code.status().to_string());
    (body.to_json().into(), headers)
}

/// A header is one line.
fn header_text(message: &str) -> String {
    let mut text: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(MAX_HEADER_TEXT_BYTES));
    text
}

#[cfg(test)]
mod tests;
