//! The time of requests at several numbers of candidates.
//!
//! These are requests as a client sends them: ten hits with text and metadata, default consistency.
//! Every query is asked at each number before the next query is, so that a machine that becomes
//! slower does so for all of them.

use std::time::Instant;

use livedex_core::{ids::ChunkId, query::QueryRequest};
use livedex_eval::{
    beir::Query,
    figures::Asked,
    report::{Latency, Times},
};
use livedex_wire::reply::ReplyV1;

use super::{
    asking::{AskedAll, Asking, chunk_ids, draw},
    progress::Progress,
};

/// Numbers of candidates whose time is measured, beside that of the two-stage figures.
const CANDIDATES: [usize; 4] = [10, 20, 50, 100];

/// Hits of a request.
const TOP_K: usize = 10;

/// Measures them on a sample of the queries.
pub(super) async fn measure(
    asking: &Asking<'_>,
    queries: &[&Query],
    asked: &AskedAll,
) -> anyhow::Result<Vec<Latency>> {
    let pairs: Vec<(&Query, &Asked)> = queries.iter().copied().zip(&asked.answers).collect();
    let sample = draw(&pairs, asking.args.latency_queries as usize, asking.args.seed);
    let mut kinds = kinds(asking);
    if sample.is_empty() {
        return Ok(Vec::new());
    }
    let progress = Progress::new("timing", sample.len() * kinds.len());
    // Not counted: the first request of a kind may be the first of its shape on the device.
    for kind in &kinds {
        let _ = asking.ask(&kind.request(sample[0].0, asking)).await;
    }
    for (query, asked) in sample {
        for kind in &mut kinds {
            kind.time(asking, query, asked).await;
            progress.step();
        }
    }
    Ok(kinds.into_iter().map(Kind::latency).collect())
}

fn kinds(asking: &Asking<'_>) -> Vec<Kind> {
    let mut numbers: Vec<usize> =
        CANDIDATES.into_iter().chain([asking.settings.candidates]).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let with_rerank = numbers.into_iter().filter(|_| asking.settings.has_reranker).map(Some);
    let kind = |candidates| Kind { candidates, times: Vec::new(), failed: 0, as_derived: 0 };
    [None].into_iter().chain(with_rerank).map(kind).collect()
}

/// Requests with one number of candidates; `None`: stage 1 only.
struct Kind {
    candidates: Option<usize>,
    times: Vec<Times>,
    failed: usize,
    as_derived: usize,
}

impl Kind {
    fn request(&self, query: &Query, asking: &Asking<'_>) -> QueryRequest {
        let candidates = self.candidates.unwrap_or(asking.settings.candidates);
        QueryRequest {
            top_k: Some(TOP_K.min(candidates)),
            candidates: Some(candidates),
            rerank: self.candidates.is_some(),
            ..QueryRequest::new(query.text.as_str())
        }
    }

    async fn time(&mut self, asking: &Asking<'_>, query: &Query, asked: &Asked) {
        let request = self.request(query, asking);
        let start = Instant::now();
        let answered = asking.ask(&request).await;
        let total = start.elapsed().as_secs_f64() * 1000.0;
        match answered {
            Ok(reply) if reply.degraded.is_none() => {
                let steps = reply.timings_ms;
                let (embed, search, rerank) = (steps.embed, steps.search, steps.rerank);
                self.times.push(Times { total, embed: embed.unwrap_or(0.0), search, rerank });
                self.as_derived += usize::from(self.is_as_derived(&reply, asking, asked));
            }
            _ => self.failed += 1,
        }
    }

    /// Whether the hits are those that follow from the answer to all candidates.
    fn is_as_derived(&self, reply: &ReplyV1, asking: &Asking<'_>, asked: &Asked) -> bool {
        let ranking = match self.candidates {
            Some(candidates) => asked.answer.two_stage(candidates, asking.settings.fusion),
            None => asked.answer.stage_1(),
        };
        let derived = ranking.chunks().take(reply.hits.len().max(1));
        derived.map(ChunkId::as_str).eq(chunk_ids(reply))
    }

    fn latency(self) -> Latency {
        Latency::of(self.candidates, &self.times, self.failed, self.as_derived)
    }
}
