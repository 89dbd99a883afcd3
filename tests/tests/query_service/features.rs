//! What a query can ask for beside hits.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Result, ensure};
use livedex_core::query::Consistency;
use livedex_query::QueryConfig;
use serde_json::{Value, json};

use crate::rig::{Running, answer, ask, error_code, raw};

fn hits(reply: &Value) -> &[Value] {
    reply["hits"].as_array().map_or(&[], Vec::as_slice)
}

/// Sends a request as JSON.
async fn query(url: &str, body: Value) -> Result<Value> {
    answer(url, &body.to_string()).await
}

pub(crate) async fn grouping(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    running.world.chunks.store(4, Ordering::SeqCst);
    let body = json!({"query": "why?", "candidates": 12, "group_by": "document", "rerank": false});
    let reply = query(&url, body).await?;
    let documents: Vec<_> = hits(&reply).iter().map(|hit| hit["document_id"].clone()).collect();
    ensure!(documents == ["document-0", "document-1", "document-2"], "{reply}");
    for hit in hits(&reply) {
        let ordinals: Vec<_> =
            hit["passages"].as_array().unwrap().iter().map(|one| one["ordinal"].clone()).collect();
        ensure!(hit["ordinal"] == 0 && ordinals == [1, 2, 3], "{hit}");
        ensure!(hit["passages"][0]["text"].is_string() && hit["passages"][0]["score"].is_number());
    }
    // Stage 2 turns the order around: the best chunk is the last one, of the last document.
    let body = json!({"query": "why?", "candidates": 12, "group_by": "document", "top_k": 1});
    let reply = query(&url, body).await?;
    let hit = &hits(&reply)[0];
    ensure!(hit["document_id"] == "document-2" && hit["ordinal"] == 3, "{reply}");
    ensure!(hit["passages"].as_array().unwrap().len() == 3, "{reply}");
    running.stop().await
}

pub(crate) async fn neighbours(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    running.world.chunks.store(6, Ordering::SeqCst);
    let body = json!({"query": "why?", "top_k": 3, "rerank": false, "neighbours": 1,
        "include": ["text", "vectors"]});
    let reply = query(&url, body).await?;
    let ordinals = |hit: &Value| -> Vec<u64> {
        let neighbours = hit["neighbours"].as_array();
        neighbours.into_iter().flatten().map(|one| one["ordinal"].as_u64().unwrap()).collect()
    };
    let found: Vec<Vec<u64>> = hits(&reply).iter().map(ordinals).collect();
    ensure!(found == [vec![1], vec![0, 2], vec![1, 3]], "{reply}");
    ensure!(hits(&reply)[0]["neighbours"][0]["vector"] == json!([1.0, 0.0]));
    ensure!(
        hits(&reply)[0]["vector"] == json!([1.0, 0.0]) && hits(&reply)[0].get("metadata").is_none()
    );
    ensure!(reply["timings_ms"]["neighbours"].is_number());
    let (code, error) = error_code(&ask(&url, r#"{"query": "a", "neighbours": 6}"#).await?)?;
    ensure!(code == 400 && error["limit"] == 5, "{error}");
    running.stop().await
}

pub(crate) async fn min_score(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let body = json!({"query": "why?", "candidates": 10, "min_score": 0.75});
    let reply = query(&url, body).await?;
    let scores: Vec<f64> = hits(&reply).iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    ensure!(scores.len() == 3 && scores.iter().all(|score| *score >= 0.75), "{scores:?}");
    ensure!(reply["candidates"] == 10);
    let reply = query(&url, json!({"query": "why?", "min_score": 1, "rerank": false})).await?;
    ensure!(hits(&reply).len() == 1, "{reply}");
    running.stop().await
}

pub(crate) async fn several_texts(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let body = json!({"query": "why?", "queries": ["how come?", "what for?"], "explain": true,
        "candidates": 4});
    let reply = query(&url, body).await?;
    ensure!(running.world.searches.load(Ordering::SeqCst) == 3, "one search a text");
    let explain = &reply["explain"];
    ensure!(explain["mode"] == "dense" && explain["routes"].as_array().unwrap().len() == 3);
    ensure!(explain["routes"][2] == json!({"kind": "dense", "query": 2, "found": 4}), "{explain}");
    ensure!(explain["reranked"] == 4 && explain["score"] == "the reranker's probability");
    // Found at the same rank by all three.
    let best = hits(&reply).iter().find(|hit| hit["retrieve"]["rank"] == 1).unwrap();
    ensure!(best["routes"].as_array().unwrap().len() == 3, "{best}");
    ensure!((best["retrieve"]["score"].as_f64().unwrap() - 3.0 / 61.0).abs() < 1e-6, "{best}");

    let many = json!({"queries": vec!["a"; 9]}).to_string();
    let (code, error) = error_code(&ask(&url, many).await?)?;
    ensure!(code == 413 && error["limit"] == 8, "{error}");
    running.stop().await
}

pub(crate) async fn by_words(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let body = json!({"query": "why?", "mode": "bm25", "candidates": 6, "rerank": false,
        "explain": true});
    let reply = query(&url, body).await?;
    let found: Vec<_> = hits(&reply).iter().map(|hit| hit["document_id"].clone()).collect();
    ensure!(found == ["document-4", "document-2", "document-0"], "{reply}");
    ensure!(hits(&reply)[0]["retrieve"]["score"] == 4.0 && hits(&reply)[0]["score"] == 0.8);
    ensure!(running.world.embedded.load(Ordering::SeqCst) == 0, "no embedding is needed");
    ensure!(reply["timings_ms"].get("embed").is_none());

    let body = json!({"query": "why?", "mode": "hybrid", "candidates": 6, "rerank": false,
        "explain": true});
    let reply = query(&url, body).await?;
    // First by embedding and third by words, before third and second, before fifth and first.
    let found: Vec<_> = hits(&reply).iter().take(3).map(|hit| hit["document_id"].clone()).collect();
    ensure!(found == ["document-0", "document-2", "document-4"], "{reply}");
    ensure!(
        hits(&reply)[0]["routes"]
            == json!([
        {"route": 0, "rank": 1, "score": 1.0}, {"route": 1, "rank": 3, "score": 0.0}]),
        "{reply}"
    );

    running.world.has_bm25.store(false, Ordering::SeqCst);
    let (code, error) = error_code(&ask(&url, r#"{"query": "a", "mode": "hybrid"}"#).await?)?;
    ensure!(code == 400 && error["field"] == "mode", "{error}");
    running.stop().await
}

pub(crate) async fn collections(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let reply = query(&url, json!({"query": "why?", "collection": "others"})).await?;
    ensure!(reply["collection"] == "others", "{reply}");
    ensure!(query(&url, json!({"query": "why?"})).await?["collection"] == "fakes");
    let (code, error) = error_code(&ask(&url, r#"{"query": "a", "collection": "c"}"#).await?)?;
    ensure!(code == 400 && error["field"] == "collection", "{error}");
    ensure!(error["message"].as_str().unwrap().contains("fakes, others"), "{error}");
    running.stop().await
}

pub(crate) async fn tenants(url: String) -> Result<()> {
    let config = QueryConfig { require_tenant: true, ..QueryConfig::default() };
    let running = Running::start(&url, config).await?;
    for (endpoint, body) in [
        ("livedex.query", r#"{"query": "why?"}"#),
        ("livedex.retrieve", r#"{"query": "why?"}"#),
        // A filter is no tenant.
        (
            "livedex.query",
            r#"{"query": "why?", "filter": {"eq": {"field": "tenant", "value": "a"}}}"#,
        ),
        ("livedex.documents.get", r#"{"document_id": "document-1"}"#),
    ] {
        let reply = raw(&url, move |raw| raw.request(endpoint, &[], body.as_bytes())).await?;
        let (code, error) = error_code(&reply)?;
        ensure!(code == 400 && error["field"] == "tenant", "{endpoint}: {error}");
    }
    query(&url, json!({"query": "why?", "tenant": ""})).await?;
    let search = running.world.last_search.lock().unwrap().clone().unwrap();
    ensure!(search.tenant.is_some_and(|tenant| tenant.as_str().is_empty()));
    running.stop().await
}

/// Scores and embeddings are computed once, and an updated text has no old score.
pub(crate) async fn caches(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let counts = || {
        let world = &running.world;
        (world.embedded.load(Ordering::SeqCst), world.scored.load(Ordering::SeqCst))
    };
    let body = json!({"query": "why?", "candidates": 10, "explain": true});
    let first = query(&url, body.clone()).await?;
    ensure!(counts() == (1, 10) && first["explain"]["rerank_cached"] == 0, "{first}");
    let second = query(&url, body.clone()).await?;
    ensure!(counts() == (1, 10) && second["explain"]["rerank_cached"] == 10, "{second}");
    ensure!(second["explain"]["embed_cached"] == 1 && second["hits"] == first["hits"]);
    // More candidates: only the new ones are scored.
    let more = json!({"query": "why?", "candidates": 12});
    query(&url, more).await?;
    ensure!(counts() == (1, 12));
    // Another instruction, another question, another text.
    query(&url, json!({"query": "why?", "candidates": 10, "instruction": "be brief"})).await?;
    ensure!(counts() == (2, 22));
    query(&url, json!({"query": "how?", "candidates": 10})).await?;
    ensure!(counts() == (3, 32));
    running.world.text_bytes.store(5, Ordering::SeqCst);
    query(&url, body).await?;
    ensure!(counts() == (3, 42));
    running.stop().await
}

/// The reranker gets to some of the candidates: they come first, and the answer says how many.
pub(crate) async fn partly_reranked(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    running.world.rerank_most.store(3, Ordering::SeqCst);
    let body = json!({"query": "why?", "candidates": 6});
    let reply = query(&url, body.clone()).await?;
    ensure!(reply["degraded"] == json!({"reason": "deadline", "reranked": 3}), "{reply}");
    let ranks: Vec<_> =
        hits(&reply).iter().map(|hit| hit["retrieve"]["rank"].as_u64().unwrap()).collect();
    ensure!(ranks == [3, 2, 1, 4, 5, 6], "{ranks:?}");
    ensure!(hits(&reply)[2]["rerank"]["rank"] == 3 && hits(&reply)[3].get("rerank").is_none());
    // Asked again, the rest is scored: what was done is remembered.
    let reply = query(&url, body).await?;
    ensure!(reply.get("degraded").is_none(), "{reply}");
    running.stop().await
}

/// What a request asks of the data's age reaches the search, for every level.
pub(crate) async fn consistency(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    for (name, level) in [
        (None, Consistency::Bounded),
        (Some("bounded"), Consistency::Bounded),
        (Some("strong"), Consistency::Strong),
        (Some("eventually"), Consistency::Eventually),
    ] {
        let reply = query(&url, json!({"query": "why?", "consistency": name})).await?;
        let search = running.world.last_search.lock().unwrap().clone().unwrap();
        ensure!(search.consistency == level, "{name:?}: {search:?}");
        ensure!(reply["consistency"] == name.unwrap_or("bounded"), "{reply}");
    }
    let after = json!([{"topic": "t", "partition": 0, "offset": 1}]);
    let body = json!({"query": "why?", "after": after, "consistency": "eventually"}).to_string();
    let (code, error) = error_code(&ask(&url, body).await?)?;
    ensure!(code == 400 && error["field"] == "consistency", "{error}");
    tokio::time::timeout(Duration::from_secs(20), running.stop()).await?
}
