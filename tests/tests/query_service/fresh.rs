//! Reading one's own writes: watermarks on their way, and queries that wait for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use livedex_query::{NatsConfig, QueryConfig, announce};
use livedex_testkit::wait::until;
use livedex_wire::watermarks::{PartitionWatermark, WatermarksV1};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    raw::Raw,
    rig::{Running, answer, error_code, raw},
};

/// An ingester of two partitions, whose watermark can be moved.
struct Ingester {
    at: Arc<AtomicI64>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Ingester {
    fn start(url: &str) -> Self {
        let at = Arc::new(AtomicI64::new(0));
        let shutdown = CancellationToken::new();
        let nats = NatsConfig { url: url.to_owned(), ..NatsConfig::default() };
        let look = {
            let at = at.clone();
            move || {
                let watermark = at.load(Ordering::SeqCst);
                let partition =
                    |partition| PartitionWatermark { partition, watermark, end: Some(100) };
                vec![WatermarksV1 {
                    worker: String::new(),
                    collection: "fakes".into(),
                    identity: "fakes".into(),
                    // Dots in a row are no key of a bucket as they are.
                    topic: "my..topic".into(),
                    partitions: vec![partition(0), partition(1)],
                    at: 0,
                }]
            }
        };
        let task = tokio::spawn(announce(nats, Box::new(look), shutdown.clone()));
        Self { at, shutdown, task }
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await?)
    }
}

fn after(offset: i64) -> Value {
    json!({"query": "why?", "top_k": 1,
        "after": [{"topic": "my..topic", "partition": 1, "offset": offset}]})
}

/// Asks with a deadline.
async fn ask(url: &str, body: Value, ms: &'static str) -> Result<crate::raw::Reply> {
    let body = body.to_string();
    raw(url, move |raw| {
        raw.request("livedex.query", &[("Livedex-Deadline-Ms", ms)], body.as_bytes())
    })
    .await
}

pub(crate) async fn waits(url: String) -> Result<()> {
    let running = Running::start(&url, QueryConfig::default()).await?;
    // Nobody has said anything.
    let start = Instant::now();
    let (code, error) = error_code(&ask(&url, after(7), "300").await?)?;
    ensure!(code == 425 && error["field"] == "after", "{error}");
    ensure!(error["missing"] == json!([{"topic": "my..topic", "partition": 1, "offset": 7}]));
    ensure!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    ensure!(running.world.searches.load(Ordering::SeqCst) == 0, "waiting costs nothing");
    let reply = answer(&url, r#"{"query": "why?"}"#).await?;
    ensure!(reply.get("lag").is_none() && reply.get("watermarks").is_none(), "{reply}");

    let ingester = Ingester::start(&url);
    ingester.at.store(7, Ordering::SeqCst);
    // Offset 6 is finished, 7 is not.
    let reply = ask(&url, after(6), "10000").await?.json()?;
    ensure!(reply["hits"].is_array() && reply["consistency"] == "strong", "{reply}");
    ensure!(reply["timings_ms"]["wait"].is_number() && reply["lag"] == 2 * 93, "{reply}");
    ensure!(reply["watermarks"].as_array().unwrap().len() == 2, "{reply}");
    ensure!(reply["watermarks"][0]["topic"] == "my..topic" && reply["watermarks"][0]["lag"] == 93);
    let (code, error) = error_code(&ask(&url, after(7), "300").await?)?;
    ensure!(code == 425 && error["missing"][0]["watermark"] == 7, "{error}");

    let asked = tokio::spawn({
        let url = url.clone();
        async move { ask(&url, after(7), "20000").await }
    });
    ingester.at.store(8, Ordering::SeqCst);
    let reply = asked.await??.json()?;
    ensure!(reply["hits"].is_array(), "{reply}");
    let status = running.status().await?;
    ensure!(status.collections[0].lag == Some(2 * 92), "{status:?}");
    ingester.stop().await?;
    running.stop().await
}

/// Requests that wait for records take neither places nor the room of those that do not.
pub(crate) async fn waiters(url: String) -> Result<()> {
    let config = QueryConfig { max_in_flight: 1, ..QueryConfig::default() };
    let running = Running::start(&url, config).await?;
    let asked = url.clone();
    let (refused, all_there) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        raw(&asked, |raw| {
            let body = after(7).to_string();
            let header = [("Livedex-Deadline-Ms", "3000")];
            for _ in 0..5 {
                raw.send("livedex.query", &header, body.as_bytes())?;
            }
            let code = |raw: &mut Raw| {
                let (_, reply) = raw.next(Duration::from_secs(20))?.context("no reply")?;
                anyhow::Ok(error_code(&reply)?.0)
            };
            // One too many: the others were read before it.
            ensure!(code(raw)? == 429);
            let _ = refused.send(());
            for _ in 0..4 {
                ensure!(code(raw)? == 425);
            }
            Ok(())
        })
        .await
    });
    let _ = all_there.await;
    // All four may still be on their way to where they wait.
    let first = || async {
        let reply = answer(&url, r#"{"query": "why?"}"#).await;
        Ok(reply.map_err(|refused| refused.to_string()))
    };
    until("an answer beside those who wait", Duration::from_secs(20), first).await?;
    // While they wait, others are answered.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let reply = answer(&url, r#"{"query": "why?"}"#).await?;
        ensure!(reply["hits"].is_array(), "{reply}");
    }
    waiting.await??;
    running.stop().await
}

/// A query worker that starts after the last ingester has gone knows what was said, if the server has
/// JetStream.
pub(crate) async fn remembered(url: String) -> Result<()> {
    let first = Running::start(&url, QueryConfig::default()).await?;
    let ingester = Ingester::start(&url);
    ingester.at.store(8, Ordering::SeqCst);
    let reply = ask(&url, after(7), "20000").await?;
    ensure!(reply.json()?["hits"].is_array(), "{reply:?}");
    ingester.stop().await?;
    first.stop().await?;

    let second = Running::start(&url, QueryConfig::default()).await?;
    let known = || async {
        let status = second.status().await?;
        Ok(match status.collections[0].lag {
            Some(184) => Ok(()),
            lag => Err(format!("lag {lag:?}")),
        })
    };
    until("the last words", Duration::from_secs(20), known).await?;
    let reply = ask(&url, after(7), "2000").await?.json()?;
    ensure!(reply["hits"].is_array(), "{reply}");
    second.stop().await
}

/// An ingester looks for a server that is not there yet, and finds it.
pub(crate) async fn later() -> Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let ingester = Ingester::start(&format!("nats://127.0.0.1:{port}"));
    ingester.at.store(1, Ordering::SeqCst);
    let nats = livedex_testkit::Nats::start_on(port)?;
    let running = Running::start(&nats.url(), QueryConfig::default()).await?;
    let known = || async {
        let status = running.status().await?;
        let lag = status.collections.first().context("no collection")?.lag;
        Ok(if lag == Some(198) { Ok(()) } else { Err(format!("lag {lag:?}")) })
    };
    until("the ingester is heard", Duration::from_secs(20), known).await?;
    ingester.stop().await?;
    running.stop().await
}
