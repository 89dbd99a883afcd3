//! Shutdowns: no request is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use livedex_query::QueryConfig;
use livedex_testkit::wait::until;
use tokio::task::JoinHandle;

use crate::{
    far::proxy,
    raw::Reply,
    rig::{Running, ask, error_code, raw},
};

const QUERY: &[u8] = br#"{"query": "why?"}"#;

/// Asks a query that gets no further than its search, and waits until it is there.
async fn held_query(running: &Running, url: &str) -> Result<JoinHandle<Result<Reply>>> {
    let world = running.world.clone();
    world.hold();
    let url = url.to_owned();
    let asked = tokio::spawn(async move { ask(&url, QUERY).await });
    let in_flight = || async {
        let n = world.searches.load(Ordering::SeqCst);
        Ok(if n == 1 { Ok(()) } else { Err(format!("{n} searches")) })
    };
    until("the query is in flight", Duration::from_secs(10), in_flight).await?;
    Ok(asked)
}

pub(crate) async fn finishes(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    let asked = held_query(&running, &url).await?;
    running.shutdown.cancel();
    let refused = || async {
        let reply = ask(&url, QUERY).await?;
        Ok(match reply.status.as_deref() {
            Some("503") => Ok(()),
            _ => Err(format!("{reply:?}")),
        })
    };
    // Requests that come in before the server has heard of the shutdown are answered, too.
    running.world.gate.add_permits(1000);
    until("no more requests are taken", Duration::from_secs(10), refused).await?;
    ensure!(asked.await??.json()?.get("hits").is_some());
    running.stop().await
}

pub(crate) async fn under_load(url: String) -> Result<()> {
    stop_under_load(&url, &url, 10).await
}

/// With a round trip of 20 ms there are always requests on their way when an instance stops.
pub(crate) async fn under_load_far_away(url: String) -> Result<()> {
    let far = proxy(&url, Duration::from_millis(10))?;
    stop_under_load(&url, &far, 3).await
}

/// Two instances at `service_url`, load from `url`; one of them stops, and no request is lost.
async fn stop_under_load(url: &str, service_url: &str, n_rounds: usize) -> Result<()> {
    for round in 0..n_rounds {
        let first = Running::start(service_url, QueryConfig::default()).await?;
        let second = Running::start(service_url, QueryConfig::default()).await?;
        let answered = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn({
            let (url, answered, stop) = (url.to_owned(), answered.clone(), stop.clone());
            async move {
                raw(&url, move |raw| {
                    let mut sent = 0;
                    // 16 requests on their way at any time.
                    while !stop.load(Ordering::SeqCst) || answered.load(Ordering::SeqCst) < sent {
                        while !stop.load(Ordering::SeqCst)
                            && sent - answered.load(Ordering::SeqCst) < 16
                        {
                            raw.send("livedex.query", &[], QUERY)?;
                            sent += 1;
                        }
                        let (_, reply) = raw.next(Duration::from_secs(10))?.with_context(|| {
                            format!("{} of {sent} answered", answered.load(Ordering::SeqCst))
                        })?;
                        ensure!(reply.json()?.get("hits").is_some(), "{reply:?}");
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(sent)
                })
                .await
            }
        });
        let more_than = |n: usize| {
            let answered = answered.clone();
            move || {
                let now = answered.load(Ordering::SeqCst);
                async move { Ok(if now > n { Ok(()) } else { Err(format!("{now} answered")) }) }
            }
        };
        until("load", Duration::from_secs(10), more_than(200)).await?;
        first.stop().await?;
        let now = answered.load(Ordering::SeqCst);
        until("load on the other", Duration::from_secs(10), more_than(now + 200)).await?;
        stop.store(true, Ordering::SeqCst);
        let sent = load.await?.with_context(|| format!("round {round}"))?;
        ensure!(answered.load(Ordering::SeqCst) == sent, "round {round}");
        second.stop().await?;
    }
    Ok(())
}

pub(crate) async fn gives_up(url: String) -> Result<()> {
    let config = QueryConfig { drain: Duration::from_millis(200), ..QueryConfig::default() };
    let running = Running::start(&url, config).await?;
    let asked = held_query(&running, &url).await?;
    running.stop().await?;
    let (code, error) = error_code(&asked.await??)?;
    ensure!(code == 503 && error["message"].as_str().unwrap().contains("shutting down"), "{error}");
    Ok(())
}
