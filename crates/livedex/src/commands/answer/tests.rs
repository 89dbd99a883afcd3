#![allow(clippy::unwrap_used, reason = "tests may panic")]

use serde_json::{Value, json};

use super::*;

const ASKED: Asked = Asked { text: true, metadata: true };

fn hit() -> Value {
    json!({
        "chunk_id": "4", "document_id": "guide/start.md", "heading": "Start > Install",
        "ordinal": 4, "text": "one\n two  three ".repeat(30), "metadata": { "lang": "en" },
        "score": 0.5, "retrieve": { "rank": 2, "score": 0.4 }, "rerank": { "rank": 1, "score": 0.6 },
        "source": { "topic": "t", "partition": 0, "offset": 7 },
        "vector": [0.1, 0.2, 0.3, 0.4, 0.5],
        "neighbours": [
            { "chunk_id": "3", "ordinal": 3, "text": "before it" },
            { "chunk_id": "5", "ordinal": 5, "text": "behind it" },
        ],
        "passages": [{
            "chunk_id": "9", "ordinal": 9, "text": "elsewhere", "score": 0.3,
            "retrieve": { "rank": 3, "score": 0.3 },
        }],
        "routes": [
            { "route": 0, "rank": 2, "score": 0.4 }, { "route": 1, "rank": 1, "score": 12.5 },
        ],
    })
}

fn reply() -> Value {
    json!({
        "collection": "livedex", "hits": [hit()], "candidates": 50, "consistency": "bounded",
        "watermarks": [{
            "topic": "t", "partition": 0, "watermark": 8, "end": 11, "lag": 3, "age_ms": 1500,
        }],
        "lag": 3,
        "timings_ms": { "embed": 4.0, "search": 27.0, "rerank": 649.0, "total": 681.0 },
        "models": { "embedder": { "name": "e", "fingerprint": "f" } },
        "explain": {
            "mode": "hybrid", "fusion": "mean", "reranked": 50, "rerank_cached": 12,
            "embed_cached": 1, "score": "the mean of both",
            "routes": [
                { "kind": "dense", "query": 0, "found": 50 },
                { "kind": "bm25", "query": 1, "found": 42 },
            ],
        },
    })
}

fn shown(reply: &Value, width: u16) -> String {
    let reply = ReplyV1::from_json(reply.to_string().as_bytes()).unwrap();
    render(&reply, ASKED, width)
}

#[test]
fn what_was_asked_for_is_shown_at_every_width() {
    for width in [60, 80, 110, 160] {
        let text = shown(&reply(), width);
        let table = text.split("50 candidates").next().unwrap();
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(width), "{widest} columns of {width}:\n{text}");
        // The table wraps lines: what is looked for stands on one.
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "guide/start.md › Start > Install",
            "1. (0.600)",
            "2. (0.400)",
            "↑ chunk 3: before it",
            "↓ chunk 5: behind it",
            "+ 0.300 chunk 9: elsewhere",
            "metadata: {\"lang\":\"en\"}",
            "vector: 5 numbers, 0.100, 0.200",
            "dense 2. (0.400)",
            "bm25 (also 1) 1. (12.500)",
            "50 candidates in 681 ms (embed 4 ms, search 27 ms, rerank 649 ms)",
            "collection livedex, read bounded; 3 records are still to be ingested (1.5 s ago)",
            "explain: mode hybrid, fusion mean",
            "the score is the mean of both",
            "reranked: 50 candidates, 12 of them remembered; embeddings remembered: 1",
            "t[0]: ingested up to 8 of 11, 3 to come, said 1.5 s ago",
        ] {
            assert!(joined.contains(words), "no {words:?} at {width}:\n{text}");
        }
    }
}

#[test]
fn of_many_passages_the_best_are_shown() {
    let mut json = reply();
    let passage = json["hits"][0]["passages"][0].clone();
    json["hits"][0]["passages"] = Value::Array(vec![passage; 7]);
    let text = shown(&json, 110);
    assert_eq!(text.matches("elsewhere").count(), 3, "{text}");
    assert!(text.contains("+ 4 more of its chunks"), "{text}");
}

#[test]
fn neighbours_stand_around_the_text_in_the_documents_order() {
    let text = shown(&reply(), 110);
    let place = |words: &str| text.find(words).unwrap();
    assert!(
        place("before it") < place("one two three") && place("one two three") < place("behind it")
    );
}

#[test]
fn a_degraded_answer_says_so_on_its_last_line() {
    for (reranked, reason, words) in [
        (0, "no_reranker", "nothing was reranked"),
        (12, "deadline", "12 of 50 candidates were reranked: allow more time"),
        (50, "deadline", "the chunks around the hits were not read"),
        (3, "something_new", "3 of 50"),
    ] {
        let mut reply = reply();
        reply["degraded"] = json!({ "reason": reason, "reranked": reranked });
        let text = shown(&reply, 80);
        let last = text.lines().last().unwrap();
        assert!(last.starts_with(&format!("DEGRADED ({reason}): ")), "{last}");
        assert!(last.contains(words), "{last}");
    }
}

#[test]
fn a_text_that_did_not_fit_is_told_from_one_that_was_not_wanted() {
    let mut json = reply();
    json["hits"][0]["text"] = Value::Null;
    assert!(shown(&json, 110).contains("text left out"));
    let reply = ReplyV1::from_json(json.to_string().as_bytes()).unwrap();
    let asked = Asked { text: false, metadata: false };
    assert!(!render(&reply, asked, 110).contains("text left out"));
}

#[test]
fn an_end_that_is_behind_its_watermark_is_not_shown() {
    let mut json = reply();
    json["watermarks"][0]["end"] = json!(5);
    json["watermarks"][0]["lag"] = json!(0);
    let text = shown(&json, 110);
    assert!(text.contains("ingested up to 8 of 8, 0 to come"), "{text}");
}

#[test]
fn without_hits_and_without_an_ingester_that_is_said() {
    let mut json = reply();
    json["hits"] = json!([]);
    json["watermarks"] = json!([]);
    json["lag"] = Value::Null;
    let text = shown(&json, 80);
    assert!(text.starts_with("no hits"), "{text}");
    assert!(text.contains("how far ingestion is, is not known"), "{text}");
}

#[test]
fn the_whole_hit_has_its_text_as_it_is() {
    let hit: Hit = serde_json::from_value(hit()).unwrap();
    let text = whole(&hit);
    assert!(text.contains("record: t[0]@7") && text.contains("one\n two  three one\n"), "{text}");
}
