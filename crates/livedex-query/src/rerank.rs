//! Stage 2: the cross-encoder's scores, as many as the deadline allows.
//!
//! Scores that are remembered cost nothing; the other texts go to the model in the order given, which is
//! stage 1's, so that what the deadline cuts off are the least likely ones. Nothing fails here: an answer
//! without scores is stage 1's, and says so.

use std::time::Duration;

use livedex_core::ports::ModelError;

use crate::{cache::Key, deadline::Deadline, service::Service};

/// How much later than the reranker itself its caller gives up.
const LATE: Duration = Duration::from_millis(5);

/// Scores, and what became of the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Scored {
    /// One a text, in order; `None` where it was not scored.
    pub(crate) scores: Vec<Option<f32>>,
    /// Why not all were scored.
    pub(crate) degraded: Option<Degraded>,
    /// How many were remembered.
    pub(crate) cached: usize,
}

impl Scored {
    /// How many were scored.
    pub(crate) fn count(&self) -> usize {
        self.scores.iter().flatten().count()
    }
}

/// Why an answer is not, or not wholly, reranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degraded {
    /// The service runs without a reranker.
    NoReranker,
    /// The reranker's queue is full.
    RerankerOverloaded,
    /// The deadline came too near.
    Deadline,
    /// The reranker cannot score these texts, or is gone.
    RerankerFailed,
    /// The chunks around the hits could not be read.
    NeighboursFailed,
}

impl Degraded {
    /// The stable name of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoReranker => "no_reranker",
            Self::RerankerOverloaded => "reranker_overloaded",
            Self::Deadline => "deadline",
            Self::RerankerFailed => "reranker_failed",
            Self::NeighboursFailed => "neighbours_failed",
        }
    }
}

impl Service {
    /// Scores `texts` for a query.
    pub(crate) async fn score(
        &self,
        query: &str,
        instruction: Option<&str>,
        texts: Vec<String>,
        deadline: Deadline,
    ) -> Scored {
        let Some(reranker) = &self.reranker else {
            let scores = vec![None; texts.len()];
            return Scored { scores, degraded: Some(Degraded::NoReranker), cached: 0 };
        };
        let question = Key::of_query(&reranker.info().fingerprint, instruction, query);
        let keys: Vec<Key> = texts.iter().map(|text| question.with(text)).collect();
        let mut scores = self.scores.get(&keys);
        let cached = scores.iter().flatten().count();
        let (places, rest): (Vec<usize>, Vec<String>) =
            texts.into_iter().enumerate().filter(|(place, _)| scores[*place].is_none()).unzip();
        if rest.is_empty() {
            return Scored { scores, degraded: None, cached };
        }
        let n_rest = rest.len();
        let scoring = reranker.rerank(query, instruction, rest, Some(deadline.reply_by()));
        // The reranker keeps the deadline itself, and answers with what it has: that must not be missed.
        let degraded = match deadline.later(LATE).bound(scoring).await {
            Some(Ok(new)) if new.len() <= n_rest => {
                for (&place, &score) in places.iter().zip(&new) {
                    self.scores.put(keys[place], score);
                    scores[place] = Some(score);
                }
                (new.len() < n_rest).then_some(Degraded::Deadline)
            }
            Some(Ok(new)) => {
                tracing::error!(got = new.len(), n_rest, "the reranker broke its contract");
                Some(Degraded::RerankerFailed)
            }
            None | Some(Err(ModelError::DeadlineExceeded)) => Some(Degraded::Deadline),
            Some(Err(ModelError::Overloaded { .. })) => Some(Degraded::RerankerOverloaded),
            Some(Err(error @ (ModelError::Input(_) | ModelError::Dead(_)))) => {
                tracing::debug!(%error, "reranking failed");
                Some(Degraded::RerankerFailed)
            }
        };
        Scored { scores, degraded, cached }
    }
}
