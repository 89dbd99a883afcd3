//! More requests than a device can answer.

use std::time::{Duration, Instant};

use anyhow::Result;
use livedex_core::query::QueryRequest;
use livedex_query::QueryClient;
use livedex_testkit::{
    Nats,
    figures::{quantile, say},
    query::{Load, Outcome, QueryWorker, Report, WorkerSpec},
};

use crate::{TIMEOUT, client};

/// What the device takes for one request.
const RERANK_US: u64 = 20_000;

/// Callers that wait for each other while the capacity is measured.
const CALLERS: usize = 4;

/// How long each load lasts; `LIVEDEX_OVERLOAD_S` changes it.
const SECONDS: f64 = 60.0;

pub(crate) async fn measure(nats: &Nats) -> Result<()> {
    let worker = QueryWorker::start(&WorkerSpec::new(&nats.url(), RERANK_US))?;
    let client = client(nats).await?;
    let seconds = std::env::var("LIVEDEX_OVERLOAD_S").ok().and_then(|value| value.parse().ok());
    let seconds: f64 = seconds.unwrap_or(SECONDS);
    let capacity = capacity(&client, (seconds / 6.0).min(10.0)).await?;
    say("\n### Too many requests: one worker, 20 ms of its device for each\n");
    say(&format!("It answers {capacity:.1} a second.\n"));
    say("| load | requests | answered | refused (429) | other | p50 | p99 | p99 of refusals |");
    say("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut p99 = Vec::new();
    for part in [0.8, 2.0] {
        let rate = capacity * part;
        let requests = (rate * seconds) as usize;
        let load = Load { rate, requests, timeout: TIMEOUT, retries: 0, seed: 1 };
        let report = load.run(&client).await;
        row(part, requests, &report);
        p99.push(report.quantile(0.99));
    }
    if let [below, above] = p99[..] {
        say(&format!("\np99 of answers at 2 times over 0.8 times: {:.2}", above / below));
    }
    worker.terminate(TIMEOUT)
}

fn row(part: f64, requests: usize, report: &Report) {
    let answered = report.count(Outcome::Answered);
    let refused = report.count(Outcome::Error(429));
    let other = requests - answered - refused;
    let ms = |seconds: f64| format!("{:.1} ms", 1000.0 * seconds);
    say(&format!(
        "| {part} | {requests} | {answered} | {refused} | {other} | {} | {} | {} |",
        ms(report.quantile(0.5)),
        ms(report.quantile(0.99)),
        ms(quantile(&report.refusal_seconds, 0.99)),
    ));
    if other > 0 {
        say(&format!("\nothers: {:?}\n", report.outcomes));
    }
}

/// Requests that are answered in a second while a few callers always wait for one.
async fn capacity(client: &QueryClient, seconds: f64) -> Result<f64> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let ask = |caller: usize| {
        let client = client.clone();
        async move {
            let mut answered = 0_usize;
            while Instant::now() < end {
                let request = QueryRequest::new(format!("capacity {caller} {answered}"));
                client.query(&request, TIMEOUT).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        }
    };
    let answered = futures::future::try_join_all((0..CALLERS).map(ask)).await?;
    Ok(answered.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
}
