//! The other endpoints: stage 1 alone, stage 2 alone, embeddings, documents.

use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use livedex_query::QueryConfig;
use serde_json::{Value, json};

use crate::{
    raw::Reply,
    rig::{Running, error_code, raw},
};

/// Asks an endpoint.
async fn ask(url: &str, endpoint: &'static str, body: Value) -> Result<Reply> {
    raw(url, move |raw| {
        raw.request(&format!("livedex.{endpoint}"), &[], body.to_string().as_bytes())
    })
    .await
}

async fn answer(url: &str, endpoint: &'static str, body: Value) -> Result<Value> {
    let reply = ask(url, endpoint, body).await?;
    ensure!(reply.header("Nats-Service-Error-Code").is_none(), "{reply:?}");
    reply.json()
}

async fn refusal(url: &str, endpoint: &'static str, body: Value) -> Result<(u64, Value)> {
    error_code(&ask(url, endpoint, body).await?)
}

pub(crate) async fn retrieve(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let reply = answer(&url, "retrieve", json!({"query": "why?", "top_k": 3})).await?;
    ensure!(reply["hits"].as_array().unwrap().len() == 3, "{reply}");
    ensure!(reply["hits"][0]["retrieve"]["rank"] == 1 && reply["hits"][0]["score"] == 1.0);
    ensure!(reply["hits"][0].get("rerank").is_none() && reply.get("degraded").is_none());
    ensure!(running.world.scored.load(Ordering::SeqCst) == 0);
    running.stop().await
}

pub(crate) async fn rerank(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let documents = json!(["0.25", {"id": "b", "text": "0.75"}, "0.25", {"text": "0.5"}]);
    let request = json!({"query": "why?", "documents": documents, "include": ["text"]});
    let reply = answer(&url, "rerank", request.clone()).await?;
    let results: Vec<(u64, f64)> = reply["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["index"].as_u64().unwrap(), result["score"].as_f64().unwrap()))
        .collect();
    // Equal scores stay in the caller's order.
    ensure!(results == [(1, 0.75), (3, 0.5), (0, 0.25), (2, 0.25)], "{reply}");
    ensure!(reply["results"][0]["id"] == "b" && reply["results"][0]["text"] == "0.75");
    ensure!(reply["model"]["name"] == "fake-reranker" && reply.get("degraded").is_none());
    // What was scored before is remembered.
    let scored = running.world.scored.load(Ordering::SeqCst);
    answer(&url, "rerank", request).await?;
    ensure!(running.world.scored.load(Ordering::SeqCst) == scored);

    // The deadline comes in between, or before.
    let six = |from: usize| json!((from..from + 6).map(|n| format!("0.{n}")).collect::<Vec<_>>());
    running.world.rerank_most.store(2, Ordering::SeqCst);
    let reply = answer(&url, "rerank", json!({"query": "when?", "documents": six(1)})).await?;
    ensure!(reply["degraded"] == json!({"reason": "deadline", "reranked": 2}), "{reply}");
    ensure!(reply["results"].as_array().unwrap().len() == 2);
    running.world.rerank_most.store(0, Ordering::SeqCst);
    let (code, _) = refusal(&url, "rerank", json!({"query": "how?", "documents": six(1)})).await?;
    ensure!(code == 504);

    for (request, field) in [
        (json!({"query": "why?", "documents": []}), "documents"),
        (json!({"query": "why?", "documents": vec!["a"; 501]}), "documents"),
        (json!({"query": "why?", "documents": [" "]}), "documents[0]"),
        (json!({"documents": ["a"]}), "query"),
    ] {
        let (code, error) = refusal(&url, "rerank", request).await?;
        ensure!([400, 413].contains(&code) && error["field"] == field, "{error}");
    }
    running.stop().await
}

pub(crate) async fn embed(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let reply = answer(&url, "embed", json!({"texts": ["why?", "how?", "why?"]})).await?;
    ensure!(reply["embeddings"] == json!([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), "{reply}");
    ensure!(reply["dimension"] == 2 && reply["model"]["fingerprint"] == "fake-embedder-1");
    let documents = json!({"texts": ["a", "b"], "kind": "document"});
    let reply = answer(&url, "embed", documents).await?;
    ensure!(reply["embeddings"] == json!([[0.0, 1.0], [0.0, 1.0]]), "{reply}");
    let bad = json!({"texts": ["a", "NAN"], "kind": "document"});
    ensure!(refusal(&url, "embed", bad).await?.0 == 400);
    let (code, error) = refusal(&url, "embed", json!({"texts": vec!["a"; 65]})).await?;
    ensure!(code == 413 && error["limit"] == 64, "{error}");
    running.stop().await
}

pub(crate) async fn documents(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    running.world.chunks.store(250, Ordering::SeqCst);
    let get = |from: u32| json!({"document_id": "document-7", "from": from, "tenant": "acme"});
    let (mut ordinals, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let reply = answer(&url, "documents.get", get(at)).await?;
        ensure!(reply["document_id"] == "document-7" && reply["title"] == "Title", "{reply}");
        ensure!(reply["source"]["offset"] == 7);
        let chunks = reply["chunks"].as_array().unwrap();
        ensure!(chunks[0]["text"].as_str().is_some_and(|text| text.contains("text 7")));
        ordinals.extend(chunks.iter().map(|chunk| chunk["ordinal"].as_u64().unwrap()));
        from = reply["next"].as_u64().map(|next| next as u32);
    }
    ensure!(ordinals == (0..250).collect::<Vec<u64>>(), "{ordinals:?}");
    let asked = running.world.last_passages.lock().unwrap().clone().unwrap();
    ensure!(asked.spans[0].document.tenant.as_str() == "acme");

    // What does not fit the server's messages comes in the next page.
    running.world.text_bytes.store(30_000, Ordering::SeqCst);
    let reply = answer(&url, "documents.get", get(0)).await?;
    let n = reply["chunks"].as_array().unwrap().len() as u64;
    ensure!((20..=36).contains(&n) && reply["next"] == n, "{n}");

    let (code, error) = refusal(&url, "documents.get", json!({"document_id": "gone"})).await?;
    ensure!(code == 404 && error["field"] == "document_id", "{error}");
    ensure!(refusal(&url, "documents.get", json!({"document_id": ""})).await?.0 == 400);
    running.stop().await
}
