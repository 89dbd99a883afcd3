//! The queue group is left by who is full, and joined again.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use livedex_query::QueryConfig;
use livedex_testkit::wait::until;

use crate::rig::{Running, ask, error_code, raw};

const QUERY: &[u8] = br#"{"query": "why?", "rerank": false}"#;
const PATIENCE: Duration = Duration::from_secs(20);

fn small() -> QueryConfig {
    QueryConfig { max_in_flight: 2, timeout: Duration::from_secs(60), ..QueryConfig::default() }
}

/// Fills an instance whose searches are held: sends requests until it has as many as it takes.
async fn fill(running: &Running, url: &str) -> Result<tokio::task::JoinHandle<Result<()>>> {
    let (url, world) = (url.to_owned(), running.world.clone());
    let before = world.searches.load(Ordering::SeqCst);
    let held = tokio::spawn(async move {
        raw(&url, |raw| {
            // Some come to the other instance, or are refused by this one once it is full.
            let n = 40;
            for _ in 0..n {
                raw.send("livedex.query", &[], QUERY)?;
            }
            for _ in 0..n {
                let (_, reply) = raw.next(Duration::from_secs(60))?.context("no reply")?;
                let code = reply.header("Nats-Service-Error-Code").map(str::to_owned);
                ensure!(code.is_none() || code.as_deref() == Some("429"), "{reply:?}");
            }
            Ok(())
        })
        .await
    });
    let full = || async {
        let n = world.searches.load(Ordering::SeqCst) - before;
        Ok(if n == 2 { Ok(()) } else { Err(format!("{n} searches")) })
    };
    until("it is full", PATIENCE, full).await?;
    Ok(held)
}

/// How many instances take requests, of those that answer to status.
async fn members(running: &Running) -> Result<(usize, usize)> {
    let client = livedex_query::QueryClient::connect(&running.nats).await?;
    let all = client.status(Duration::from_secs(5)).await?;
    Ok((all.iter().filter(|status| status.is_member).count(), all.len()))
}

async fn until_members(running: &Running, wanted: usize, of: usize) -> Result<()> {
    let counted = || async {
        let found = members(running).await?;
        Ok(if found == (wanted, of) { Ok(()) } else { Err(format!("{found:?}")) })
    };
    until(&format!("{wanted} of {of} are members"), PATIENCE, counted).await
}

pub(crate) async fn full(url: String) -> Result<()> {
    let first = Running::start(&url, small()).await?;
    let second = Running::start(&url, QueryConfig::default()).await?;
    first.world.hold();
    let held = fill(&first, &url).await?;
    until_members(&second, 1, 2).await?;
    // Now everything comes to the other one, and nothing is refused.
    let refused = raw(&url, |raw| {
        let n = 200;
        for _ in 0..n {
            raw.send("livedex.query", &[], QUERY)?;
            let (_, reply) = raw.next(Duration::from_secs(20))?.context("no reply")?;
            ensure!(reply.json()?.get("hits").is_some(), "{reply:?}");
        }
        Ok(0)
    })
    .await?;
    ensure!(refused == 0 && first.world.searches.load(Ordering::SeqCst) == 2);
    // It has room again, and comes back.
    first.world.gate.add_permits(100_000);
    held.await??;
    until_members(&second, 2, 2).await?;
    let before = first.world.searches.load(Ordering::SeqCst);
    let asked = || async {
        ask(&url, QUERY).await?;
        let n = first.world.searches.load(Ordering::SeqCst);
        Ok(if n > before { Ok(()) } else { Err(format!("{n} searches")) })
    };
    until("it is asked again", PATIENCE, asked).await?;
    first.stop().await?;
    second.stop().await
}

/// One that is alone refuses, and does not go.
pub(crate) async fn last(url: String) -> Result<()> {
    let only = Running::start(&url, small()).await?;
    only.world.hold();
    let held = fill(&only, &url).await?;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let (code, error) = error_code(&ask(&url, QUERY).await?)?;
        ensure!(code == 429 && error["retry_after_ms"].as_u64().is_some(), "{error}");
    }
    ensure!(members(&only).await? == (1, 1));
    only.world.gate.add_permits(100_000);
    held.await??;
    only.stop().await
}

/// An instance leaves and comes back again and again while requests come: each is answered.
pub(crate) async fn under_load(url: String) -> Result<()> {
    let first = Running::start(&url, small()).await?;
    let second = Running::start(&url, QueryConfig::default()).await?;
    for _ in 0..5 {
        first.world.hold();
        let held = fill(&first, &url).await?;
        until_members(&second, 1, 2).await?;
        first.world.gate.add_permits(100_000);
        held.await??;
        until_members(&second, 2, 2).await?;
    }
    first.stop().await?;
    second.stop().await
}
