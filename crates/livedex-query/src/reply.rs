//! Replies and errors as messages that the server lets through.
//!
//! A NATS server refuses messages above its `max_payload` (1 MiB by default), and the caller would
//! wait in vain. So a reply that is too large first loses texts, from the last hit upwards, then
//! metadata: a hit without the text that was asked for says so. One that is still too large becomes a
//! typed error (413).

use std::time::Duration;

use async_nats::{
    HeaderMap,
    service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE},
};
use bytes::Bytes;
use livedex_core::query::QueryRequest;
use livedex_wire::reply::{self, Hit, ReplyV1, Timings, millis};

use crate::{error::QueryError, status::Report, two_stage::Answer};

/// Bytes of a message that are kept for its headers.
const HEADER_BYTES: usize = 1024;

/// Bytes of an error's text in its header; all of it is in the body.
const MAX_HEADER_TEXT_BYTES: usize = 256;

/// The reply to `request`, at most `max_payload` bytes with its headers.
pub(crate) fn reply(
    answer: Answer,
    request: &QueryRequest,
    report: &Report,
    total: Duration,
    max_payload: usize,
) -> Result<Bytes, QueryError> {
    let hit = |hit| Hit::new(hit, request.include_text, request.include_metadata);
    let reply = ReplyV1 {
        hits: answer.hits.into_iter().map(hit).collect(),
        n_candidates: answer.n_candidates,
        degraded: answer.degraded.map(|why| reply::Degraded { reason: why.as_str().to_owned() }),
        timings_ms: Timings {
            embed: millis(answer.timings.embed),
            search: millis(answer.timings.search),
            rerank: answer.timings.rerank.map(millis),
            total: millis(total),
        },
        models: report.models(),
    };
    fit(reply, max_payload.saturating_sub(HEADER_BYTES)).map(Bytes::from)
}

fn fit(mut reply: ReplyV1, limit: usize) -> Result<Vec<u8>, QueryError> {
    let mut json = reply.to_json();
    let drops: [fn(&mut Hit) -> usize; 2] = [
        |hit| hit.text.take().map_or(0, |text| text.len()),
        |hit| hit.metadata.take().map_or(0, |metadata| metadata.len()),
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
            json = reply.to_json();
        }
    }
    let bytes = json.len();
    if bytes <= limit { Ok(json) } else { Err(QueryError::ReplyTooLarge { bytes, limit }) }
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
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use livedex_core::document::{Metadata, MetadataValue};
    use livedex_wire::{
        error::{ErrorBody, ErrorCode},
        reply::{Model, Models, Source, Stage},
    };

    use super::*;

    fn large_reply(n: usize, text_bytes: usize) -> ReplyV1 {
        let hit = |index: usize| Hit {
            chunk_id: index.to_string(),
            document_id: "d".into(),
            tenant: None,
            ordinal: 0,
            title: None,
            heading: None,
            url: None,
            text: Some("x".repeat(text_bytes)),
            metadata: Some(Metadata::from([(
                "key".to_owned(),
                MetadataValue::String("v".repeat(100)),
            )])),
            version: None,
            updated_at: None,
            score: 0.5,
            retrieve: Stage { rank: index + 1, score: 0.5 },
            rerank: None,
            source: Source { topic: "t".into(), partition: 0, offset: 0 },
        };
        ReplyV1 {
            hits: (0..n).map(hit).collect(),
            n_candidates: n,
            degraded: None,
            timings_ms: Timings { embed: 0.0, search: 0.0, rerank: None, total: 0.0 },
            models: Models {
                embedder: Model { name: "e".into(), fingerprint: "f".into() },
                reranker: None,
            },
        }
    }

    #[test]
    fn a_reply_that_fits_is_left_alone() {
        let reply = large_reply(10, 100);
        let json = fit(reply.clone(), 100_000).unwrap();
        assert_eq!(ReplyV1::from_json(&json).unwrap(), reply);
    }

    #[test]
    fn texts_go_from_the_last_hit_upwards_and_no_more_than_needed() {
        let json = fit(large_reply(10, 1000), 8000).unwrap();
        assert!((7000..=8000).contains(&json.len()), "{}", json.len());
        let reply = ReplyV1::from_json(&json).unwrap();
        let with_text = reply.hits.iter().filter(|hit| hit.text.is_some()).count();
        assert!((1..10).contains(&with_text));
        assert!(reply.hits[..with_text].iter().all(|hit| hit.text.is_some()));
        assert!(reply.hits.iter().all(|hit| hit.metadata.is_some()));
    }

    #[test]
    fn then_metadata_goes_and_then_it_is_an_error() {
        let bare = {
            let mut reply = large_reply(10, 0);
            for hit in &mut reply.hits {
                (hit.text, hit.metadata) = (None, None);
            }
            reply.to_json().len()
        };
        let reply = ReplyV1::from_json(&fit(large_reply(10, 1000), bare).unwrap()).unwrap();
        assert_eq!(reply.hits.len(), 10);
        let error = fit(large_reply(10, 1000), bare - 1).unwrap_err();
        assert_eq!(error, QueryError::ReplyTooLarge { bytes: bare, limit: bare - 1 });
    }

    #[test]
    fn an_error_has_a_body_and_headers_of_one_line() {
        let message = format!("field \"a\r\nb\" {}", "ü".repeat(300));
        let bad = QueryError::Request(ErrorBody::new(ErrorCode::BadRequest, message.clone()));
        let (body, headers) = error(&bad);
        assert_eq!(ErrorBody::from_json(&body).unwrap().message, message);
        assert_eq!(headers.get(NATS_SERVICE_ERROR_CODE).unwrap().as_str(), "400");
        let text = headers.get(NATS_SERVICE_ERROR).unwrap().as_str();
        assert!(text.len() <= 256 && text.starts_with("field \"a  b\" üü"), "{text}");
    }
}
