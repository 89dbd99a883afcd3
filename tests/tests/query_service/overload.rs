//! Too much at once, too little time, and more than one instance.

use std::{
    collections::HashSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use livedex_query::{QueryClient, QueryConfig};
use livedex_testkit::wait::until;

use crate::rig::{Running, ask, error_code, raw};

const QUERY: &[u8] = br#"{"query": "why?"}"#;

pub(crate) async fn refused_at_once(url: String) -> Result<()> {
    let config = QueryConfig { max_in_flight: 3, ..QueryConfig::default() };
    let running = Running::start(&url, config).await?;
    running.world.hold();
    let world = running.world.clone();
    let asked = url.clone();
    let talk = tokio::spawn(async move {
        raw(&asked, |raw| {
            let sent: Vec<u64> =
                (0..3).map(|_| raw.send("livedex.query", &[], QUERY)).collect::<Result<_>>()?;
            let mut answered = Vec::new();
            for _ in 0..3 {
                let (sid, reply) = raw.next(Duration::from_secs(20))?.context("no reply")?;
                ensure!(reply.header("Nats-Service-Error-Code").is_none(), "{reply:?}");
                answered.push(sid);
            }
            answered.sort_unstable();
            ensure!(answered == sent);
            Ok(())
        })
        .await
    });
    let searches = || async {
        let n = world.searches.load(Ordering::SeqCst);
        Ok(if n == 3 { Ok(()) } else { Err(format!("{n} searches")) })
    };
    until("three in flight", Duration::from_secs(10), searches).await?;
    let start = Instant::now();
    let (code, error) = error_code(&ask(&url, QUERY).await?)?;
    ensure!(code == 429 && error["limit"] == 3, "{error}");
    ensure!(error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{error}");
    ensure!(start.elapsed() < Duration::from_secs(1), "at once, not after {:?}", start.elapsed());
    running.world.gate.add_permits(100);
    talk.await??;
    let client = QueryClient::connect(&running.nats).await?;
    ensure!(
        client.status(Duration::from_secs(5)).await?[0].in_flight == 0,
        "places are free again"
    );
    running.stop().await
}

pub(crate) async fn deadlines(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let with_deadline = |ms: &'static str| {
        raw(&url, move |raw| {
            let start = Instant::now();
            let reply = raw.request("livedex.query", &[("Livedex-Deadline-Ms", ms)], QUERY)?;
            Ok((reply, start.elapsed()))
        })
    };
    // No time for the search: an error, before the caller gives up.
    running.world.hold();
    let (reply, took) = with_deadline("300").await?;
    let (code, error) = error_code(&reply)?;
    ensure!(code == 504 && error["message"].as_str().unwrap().contains("search"), "{error}");
    ensure!(took < Duration::from_millis(300), "{took:?}");
    let (reply, _) = with_deadline("0").await?;
    ensure!(error_code(&reply)?.0 == 504);
    ensure!(running.world.searches.load(Ordering::SeqCst) == 1, "no work without time for it");

    // Time for the search, not for the reranker: degraded.
    running.world.gate.add_permits(100);
    *running.world.rerank_takes.lock().unwrap() = Duration::from_secs(30);
    let (reply, took) = with_deadline("400").await?;
    ensure!(reply.json()?["degraded"]["reason"] == "deadline", "{reply:?}");
    ensure!(took < Duration::from_millis(400), "{took:?}");
    running.stop().await?;

    // A request without a deadline has the service's own.
    let config = QueryConfig { timeout: Duration::from_millis(200), ..QueryConfig::default() };
    let running = Running::start(&url, config).await?;
    running.world.hold();
    ensure!(error_code(&ask(&url, QUERY).await?)?.0 == 504);
    running.stop().await
}

pub(crate) async fn two_instances(url: String) -> Result<()> {
    let first = Running::start(&url, QueryConfig::default()).await?;
    let second = Running::start(&url, QueryConfig::default()).await?;
    raw(&url, |raw| {
        for _ in 0..200 {
            raw.send("livedex.query", &[], QUERY)?;
        }
        let mut answered = HashSet::new();
        for _ in 0..200 {
            let (sid, reply) = raw.next(Duration::from_secs(20))?.context("no reply")?;
            let is_overload = reply.header("Nats-Service-Error-Code") == Some("429");
            ensure!(is_overload || reply.json()?.get("hits").is_some(), "{reply:?}");
            ensure!(answered.insert(sid), "one reply a request");
        }
        Ok(())
    })
    .await?;
    let counts = [&first, &second].map(|one| one.world.searches.load(Ordering::SeqCst));
    ensure!(counts.iter().all(|n| *n > 0), "both work: {counts:?}");
    let client = QueryClient::connect(&first.nats).await?;
    ensure!(client.status(Duration::from_secs(5)).await?.len() == 2, "both answer to status");
    first.stop().await?;
    ensure!(client.status(Duration::from_secs(5)).await?.len() == 1);
    second.stop().await
}
