#![allow(clippy::unwrap_used, reason = "tests may panic")]

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
        vector: Some(vec![0.5; 4]),
        neighbours: Vec::new(),
        passages: Vec::new(),
        routes: Vec::new(),
    };
    ReplyV1 {
        hits: (0..n).map(hit).collect(),
        n_candidates: n,
        degraded: None,
        timings_ms: Timings {
            wait: None,
            embed: Some(0.0),
            search: 0.0,
            neighbours: None,
            rerank: None,
            total: 0.0,
        },
        collection: "c".into(),
        consistency: "bounded".into(),
        watermarks: Vec::new(),
        lag: None,
        explain: None,
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
            (hit.text, hit.metadata, hit.vector) = (None, None, None);
        }
        reply.to_json().len()
    };
    let reply = ReplyV1::from_json(&fit(large_reply(10, 1000), bare).unwrap()).unwrap();
    assert_eq!(reply.hits.len(), 10);
    let error = fit(large_reply(10, 1000), bare - 1).unwrap_err();
    assert_eq!(error, QueryError::ReplyTooLarge { bytes: bare, limit: bare - 1, field: "top_k" });
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
