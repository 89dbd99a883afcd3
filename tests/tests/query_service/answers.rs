//! Answers and typed errors, discovery.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Result, ensure};
use livedex_core::{
    ports::{ModelError, ServiceError},
    query::{Consistency, QueryRequest},
};
use livedex_query::{QueryClient, QueryConfig};
use livedex_testkit::wait::until;
use livedex_wire::reply::ReplyV1;
use serde_json::json;

use crate::rig::{Running, answer, ask, error_code, raw};

pub(crate) async fn both_ranks(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let reply = answer(&url, r#"{"query": "why?", "top_k": 3, "candidates": 10}"#).await?;
    let reply: ReplyV1 = serde_json::from_value(reply)?;
    // The reranker turns the order of stage 1 around.
    let ranks: Vec<_> = reply
        .hits
        .iter()
        .map(|hit| (hit.retrieve.rank, hit.rerank.map(|stage| stage.rank)))
        .collect();
    ensure!(ranks == [(10, Some(1)), (9, Some(2)), (8, Some(3))], "{ranks:?}");
    ensure!(reply.hits[0].score == 1.0 && reply.hits[0].document_id == "document-9");
    ensure!((reply.hits[0].retrieve.score - 0.991).abs() < 1e-6);
    ensure!(reply.hits[0].text.as_deref() == Some("text 9 "));
    ensure!(reply.n_candidates == 10 && reply.degraded.is_none());
    ensure!(reply.models.embedder.fingerprint == "fake-embedder-1");
    ensure!(reply.models.reranker.is_some_and(|model| model.name == "fake-reranker"));
    let timings = reply.timings_ms;
    ensure!(timings.embed.is_some_and(|embed| embed <= timings.total) && timings.rerank.is_some());

    let client = QueryClient::connect(&running.nats).await?;
    let query = QueryRequest { rerank: false, ..QueryRequest::new("why?") };
    let reply = client.query(&query, Duration::from_secs(5)).await?;
    ensure!(reply.hits.len() == 10 && reply.n_candidates == 50);
    ensure!(reply.degraded.is_none(), "stage 2 was not asked for");
    ensure!(reply.hits[0].retrieve.rank == 1 && reply.hits[0].rerank.is_none());
    let status = client.status(Duration::from_secs(5)).await?;
    ensure!(status.len() == 1 && status[0].collection == "fakes" && status[0].rows == Some(7));
    let instances = client.ping(Duration::from_secs(5)).await?;
    ensure!(instances.len() == 1 && instances[0].id == status[0].service_id);
    ensure!(instances[0].metadata["embedder_fingerprint"] == "fake-embedder-1");
    running.stop().await
}

pub(crate) async fn request(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let body = json!({
        "query": "why?", "top_k": 60, "tenant": "acme", "consistency": "strong",
        "filter": {"eq": {"field": "metadata.lang", "value": "en"}},
        "include": ["metadata"],
    });
    let reply = answer(&url, &body.to_string()).await?;
    let hits = reply["hits"].as_array().unwrap();
    ensure!(hits.len() == 60, "candidates rise to top_k");
    ensure!(hits.iter().all(|hit| hit.get("text").is_none() && hit.get("metadata").is_some()));
    let search = running.world.last_search.lock().unwrap().clone().unwrap();
    ensure!(search.limit == 60 && search.consistency == Consistency::Strong);
    ensure!(search.tenant.is_some_and(|tenant| tenant.as_str() == "acme"));
    ensure!(search.filter.is_some());

    let reply = answer(&url, r#"{"query": "why?", "candidates": 4}"#).await?;
    ensure!(reply["hits"].as_array().unwrap().len() == 4, "top_k falls to candidates");
    running.stop().await
}

pub(crate) async fn bad_requests(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    for (body, field) in [
        (&b"not json"[..], None),
        (b"", None),
        (b"\xff\xfe", None),
        (br#"{"query": "why?", "topk": 3}"#, Some("topk")),
        (br#"{"query": "why?", "top_k": 101}"#, Some("top_k")),
        (br#"{"query": "why?", "top_k": 0}"#, Some("top_k")),
        (br#"{"query": "why?", "candidates": 501}"#, Some("candidates")),
        (br#"{"query": "  "}"#, Some("query")),
        (br#"{"top_k": 3}"#, None),
    ] {
        let (code, error) = error_code(&ask(&url, body).await?)?;
        ensure!(code == 400, "{error}");
        ensure!(field.is_none_or(|field| error["field"] == field), "{error}");
    }
    let (_, error) = error_code(&ask(&url, r#"{"query": "a", "top_k": 101}"#).await?)?;
    ensure!(error["limit"] == 100 && error["message"].as_str().unwrap().contains("101"));

    for value in ["soon", "-1"] {
        let reply = raw(&url, move |raw| {
            raw.request("livedex.query", &[("Livedex-Deadline-Ms", value)], br#"{"query": "a"}"#)
        });
        let (code, error) = error_code(&reply.await?)?;
        ensure!(code == 400 && error["field"] == "Livedex-Deadline-Ms", "{error}");
    }
    ensure!(running.world.searches.load(Ordering::SeqCst) == 0, "none of them cost a search");
    running.stop().await
}

pub(crate) async fn degraded(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    for (error, reason) in [
        (ModelError::Overloaded { limit: 1 }, "reranker_overloaded"),
        (ModelError::DeadlineExceeded, "deadline"),
        (ModelError::Input("NaN".into()), "reranker_failed"),
    ] {
        *running.world.rerank_error.lock().unwrap() = Some(error);
        let reply = answer(&url, r#"{"query": "why?"}"#).await?;
        ensure!(reply["degraded"]["reason"] == reason, "{reply}");
        ensure!(reply["hits"][0]["retrieve"]["rank"] == 1, "{reply}");
        ensure!(reply["hits"][0].get("rerank").is_none());
    }
    running.stop().await
}

pub(crate) async fn collection_errors(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let secret = "row says: secret".to_owned();
    for (error, expected) in [
        (ServiceError::Retry(secret.clone()), 503),
        (ServiceError::Unknown(secret.clone()), 503),
        (ServiceError::Reject(secret.clone()), 500),
    ] {
        *running.world.search_error.lock().unwrap() = Some(error);
        let (code, error) = error_code(&ask(&url, r#"{"query": "why?"}"#).await?)?;
        ensure!(code == expected && !error.to_string().contains("secret"), "{error}");
    }
    running.stop().await
}

pub(crate) async fn panics(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let (code, _) = error_code(&ask(&url, r#"{"query": "PANIC"}"#).await?)?;
    ensure!(code == 500);
    answer(&url, r#"{"query": "why?"}"#).await?;
    running.stop().await
}

pub(crate) async fn large_reply(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    // 100 texts of 60,000 bytes: 6 MB, and the server takes 1 MiB.
    running.world.text_bytes.store(60_000, Ordering::SeqCst);
    let reply = answer(&url, r#"{"query": "why?", "top_k": 100}"#).await?;
    let hits = reply["hits"].as_array().unwrap();
    let with_text = hits.iter().filter(|hit| hit.get("text").is_some()).count();
    ensure!(hits.len() == 100);
    ensure!((15..=17).contains(&with_text), "{with_text}");
    ensure!(hits[..with_text].iter().all(|hit| hit.get("text").is_some()), "the best keep theirs");
    running.stop().await
}

pub(crate) async fn discovery(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    answer(&url, r#"{"query": "why?"}"#).await?;
    ask(&url, "nonsense").await?;
    let info = raw(&url, |raw| raw.gather("$SRV.INFO.livedex", 1)).await?.remove(0);
    ensure!(info["name"] == "livedex" && info["metadata"]["collection"] == "fakes", "{info}");
    ensure!(info["metadata"]["reranker_fingerprint"] == "fake-reranker-1");
    let endpoints = info["endpoints"].as_array().unwrap();
    let subjects: Vec<&str> =
        endpoints.iter().filter_map(|endpoint| endpoint["subject"].as_str()).collect();
    let expected = ["query", "retrieve", "rerank", "embed", "documents.get", "status"];
    ensure!(subjects == expected.map(|name| format!("livedex.{name}")), "{subjects:?}");
    let query = endpoints.iter().find(|endpoint| endpoint["name"] == "query").unwrap();
    ensure!(query["subject"] == "livedex.query" && query["queue_group"] == "livedex", "{query}");
    for name in ["query.v1", "reply.v1", "error.v1"] {
        let schema = query["metadata"][name].as_str().unwrap();
        let schema: serde_json::Value = serde_json::from_str(schema)?;
        ensure!(schema["$schema"].as_str().unwrap().contains("2020-12"), "{name}");
    }
    let pong = raw(&url, |raw| raw.gather("$SRV.PING", 1)).await?.remove(0);
    ensure!(pong["id"] == info["id"] && pong["type"] == "io.nats.micro.v1.ping_response");
    let expected = json!({"ok": 1, "bad_request": 1});
    let counted = || async {
        let stats = raw(&url, |raw| raw.gather("$SRV.STATS.livedex", 1)).await?.remove(0);
        let endpoints = stats["endpoints"].as_array().unwrap();
        let query = endpoints.iter().find(|endpoint| endpoint["name"] == "query").unwrap();
        let is_counted = query["num_requests"] == 2 && query["data"]["outcomes"] == expected;
        Ok(if is_counted { Ok(query.clone()) } else { Err(query.to_string()) })
    };
    let query = until("both requests are counted", Duration::from_secs(10), counted).await?;
    ensure!(query["data"]["in_flight"] == 0 && query["data"]["member"] == true, "{query}");
    let data = &query["data"];
    ensure!(data["embedder"] == "fake-embedder-1" && data["reranker"] == "fake-reranker-1");
    ensure!(data["lag"] == json!({"fakes": null, "others": null}), "{data}");
    ensure!(data["model_queues"] == json!({"query": 0, "ingest": 0}), "{data}");
    ensure!(query["num_errors"] == 1 && query["last_error"].as_str().unwrap().starts_with("400:"));
    ensure!(query["processing_time"].as_u64().is_some_and(|ns| ns > 0), "{query}");

    running.stop().await?;
    let reply = raw(&url, |raw| raw.request("$SRV.PING.livedex", &[], b"")).await?;
    ensure!(reply.status.as_deref() == Some("503"), "it has left discovery: {reply:?}");
    Ok(())
}
