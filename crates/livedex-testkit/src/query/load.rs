//! Requests at a rate, whatever becomes of them (an open loop), and how they ended.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use livedex_core::query::QueryRequest;
use livedex_query::{ClientError, QueryClient};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::figures::quantile;

/// Requests to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many a second, on average: the gaps between them are exponential.
    pub rate: f64,
    /// How many in all.
    pub requests: usize,
    /// How long each caller waits.
    pub timeout: Duration,
    /// How often a caller asks again after an error, a timeout included.
    pub retries: usize,
    /// The seed of the gaps.
    pub seed: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A reply, reranked as asked.
    Answered,
    /// A reply that says that it is degraded.
    Degraded,
    /// A typed error, by its status.
    Error(u16),
    /// The server says that nobody listens.
    NoResponders,
    /// Nothing came.
    Timeout,
    /// Anything else: never right.
    Broken,
}

/// How requests ended, and how long they took.
#[derive(Debug, Default)]
pub struct Report {
    /// How many ended how.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Seconds of those that were answered, ascending.
    pub seconds: Vec<f64>,
    /// Seconds of those that were refused (429), ascending.
    pub refusal_seconds: Vec<f64>,
    /// How many were asked again.
    pub retried: usize,
}

impl Report {
    /// How many ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Seconds within which this part of the answers came; 0 without any.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.seconds, part)
    }
}

impl Load {
    /// Sends them, each with another text, and waits for every end.
    pub async fn run(self, client: &QueryClient) -> Report {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut asked = JoinSet::new();
        let start = Instant::now();
        let mut at = Duration::ZERO;
        for index in 0..self.requests {
            let gap = -(1.0 - random.random::<f64>()).ln() / self.rate;
            at += Duration::from_secs_f64(gap);
            tokio::time::sleep_until((start + at).into()).await;
            let client = client.clone();
            asked.spawn(async move { self.ask(&client, index).await });
        }
        let mut report = Report::default();
        while let Some(ended) = asked.join_next().await {
            let (outcome, took, retried) = ended.unwrap_or((Outcome::Broken, Duration::ZERO, 0));
            *report.outcomes.entry(outcome).or_default() += 1;
            report.retried += retried;
            match outcome {
                Outcome::Answered | Outcome::Degraded => report.seconds.push(took.as_secs_f64()),
                Outcome::Error(429) => report.refusal_seconds.push(took.as_secs_f64()),
                _ => {}
            }
        }
        report.seconds.sort_by(f64::total_cmp);
        report.refusal_seconds.sort_by(f64::total_cmp);
        report
    }

    async fn ask(self, client: &QueryClient, index: usize) -> (Outcome, Duration, usize) {
        let request = QueryRequest::new(format!("question {index}"));
        let mut retried = 0;
        loop {
            let start = Instant::now();
            let outcome = match client.query(&request, self.timeout).await {
                Ok(reply) if reply.degraded.is_some() => Outcome::Degraded,
                Ok(_) => Outcome::Answered,
                Err(ClientError::Service(error)) => Outcome::Error(error.code.status()),
                Err(ClientError::NoService { .. }) => Outcome::NoResponders,
                Err(ClientError::Timeout { .. }) => Outcome::Timeout,
                Err(_) => Outcome::Broken,
            };
            let is_good = matches!(outcome, Outcome::Answered | Outcome::Degraded);
            if is_good || retried == self.retries {
                return (outcome, start.elapsed(), retried);
            }
            retried += 1;
        }
    }
}
