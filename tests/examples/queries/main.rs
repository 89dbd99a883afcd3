//! `make bench-queries`: what the service costs beside what it drives, what it does with too many
//! requests, and what remembering saves.
//!
//! nats-server and Milvus Lite as child processes. Three tables:
//! - one request after the other, with models and a collection that cost nothing: all of it is the service,
//!   NATS and the client;
//! - a worker whose device takes 20 ms for each request, at 0.8 and at 2 times of what it can answer;
//! - with all-MiniLM-L6-v2 and the bundled reranker (`LIVEDEX_MINILM` names the former's folder): a query
//!   for the first time, and again.

mod overload;
mod repeated;

use std::time::{Duration, Instant};

use anyhow::Result;
use livedex_core::query::QueryRequest;
use livedex_query::{NatsConfig, QueryClient};
use livedex_testkit::{
    Nats,
    figures::{quantile, say},
    query::{QueryWorker, WorkerSpec},
    stack::runtime,
    wait::until,
};

/// Requests of the first table.
const REQUESTS: usize = 3000;

/// How long a caller waits.
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let nats = Nats::start()?;
    runtime()?.block_on(async {
        overhead(&nats).await?;
        overload::measure(&nats).await?;
        match std::env::var_os("LIVEDEX_MINILM") {
            Some(folder) => repeated::measure(&nats, folder.into()).await,
            None => {
                say("skipped: the real models (LIVEDEX_MINILM names the embedder's folder)");
                Ok(())
            }
        }
    })
}

/// A client of the workers on `nats`, once one is there.
async fn client(nats: &Nats) -> Result<QueryClient> {
    let config = NatsConfig { url: nats.url(), ..NatsConfig::default() };
    let client = QueryClient::connect(&config).await?;
    let ready = || async {
        let answer = client.query(&QueryRequest::new("ready?"), TIMEOUT).await;
        Ok(answer.map(drop).map_err(|error| error.to_string()))
    };
    until("a worker answers", Duration::from_secs(30), ready).await?;
    Ok(client)
}

async fn overhead(nats: &Nats) -> Result<()> {
    let worker = QueryWorker::start(&WorkerSpec::new(&nats.url(), 0))?;
    let client = client(nats).await?;
    let (mut seconds, mut status) = (Vec::new(), Vec::new());
    for index in 0..REQUESTS {
        let request = QueryRequest::new(format!("question {index}"));
        let start = Instant::now();
        client.query(&request, TIMEOUT).await?;
        seconds.push(start.elapsed().as_secs_f64());
        let ping = Instant::now();
        client.round_trip().await?;
        status.push(ping.elapsed().as_secs_f64());
    }
    for sorted in [&mut seconds, &mut status] {
        sorted.sort_by(f64::total_cmp);
    }
    say("\n### What the service costs: models and collection that cost nothing\n");
    say("|  | p50 | p90 | p99 |");
    say("| --- | ---: | ---: | ---: |");
    for (name, sorted) in [
        ("a message to the server and back", &status),
        ("a query with 50 candidates and 10 hits", &seconds),
    ] {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| 1000.0 * quantile(sorted, part));
        say(&format!("| {name} | {p50:.2} ms | {p90:.2} ms | {p99:.2} ms |"));
    }
    say(&format!("\n{REQUESTS} of each, in turns, one after the other."));
    worker.terminate(TIMEOUT)
}
