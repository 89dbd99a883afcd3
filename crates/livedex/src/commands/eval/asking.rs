//! Every query, and what came back.
//!
//! Each query is asked once, for as many hits and candidates as a reply may hold, with both
//! stages' scores: what fewer candidates would have given follows from that. One at a time, with
//! Strong consistency, since the collection was written a moment ago.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, bail};
use livedex_core::{
    ids::{ChunkId, DocumentId},
    query::{Consistency, QueryRequest},
};
use livedex_eval::{
    DEPTH,
    answer::{Answer, Scored},
    beir::{Query, TestSet},
    figures::{Asked, Settings},
    report::Trouble,
};
use livedex_query::{ClientError, QueryClient};
use livedex_wire::reply::{Hit, ReplyV1};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::progress::Progress;
use crate::cli::EvalArgs;

/// Asks the service.
pub(super) struct Asking<'a> {
    client: QueryClient,
    /// What was asked for.
    pub(super) args: &'a EvalArgs,
    /// How rankings are made.
    pub(super) settings: Settings,
    documents: HashSet<&'a str>,
}

/// All queries of a sample, in its order.
pub(super) struct AskedAll {
    /// A failed one has an empty answer.
    pub(super) answers: Vec<Asked>,
    /// What went wrong.
    pub(super) trouble: Trouble,
}

impl<'a> Asking<'a> {
    /// Of the collection of this test set.
    pub(super) fn new(
        client: QueryClient,
        args: &'a EvalArgs,
        settings: Settings,
        set: &'a TestSet,
    ) -> Self {
        let documents = set.documents.iter().map(|document| document.id.as_str()).collect();
        Self { client, args, settings, documents }
    }

    /// Sends one request and waits for its reply.
    pub(super) async fn ask(&self, request: &QueryRequest) -> Result<ReplyV1, ClientError> {
        self.client.query(request, Duration::from_millis(self.args.timeout_ms)).await
    }

    /// Asks every query. It is an error if none is answered, or if an answer holds documents that
    /// are not in the test set.
    pub(super) async fn ask_all(&self, queries: &[&Query]) -> anyhow::Result<AskedAll> {
        let progress = Progress::new("asking", queries.len());
        let (mut answers, mut trouble) = (Vec::with_capacity(queries.len()), Trouble::default());
        for query in queries {
            let request = QueryRequest {
                top_k: Some(DEPTH),
                candidates: Some(DEPTH),
                rerank: self.settings.has_reranker,
                consistency: Consistency::Strong,
                include_text: false,
                include_metadata: false,
                ..QueryRequest::new(query.text.as_str())
            };
            let answer = match self.ask(&request).await {
                Ok(reply) => self.answer(&reply, &mut trouble)?,
                Err(error) => {
                    trouble.failed += 1;
                    trouble.first_error.get_or_insert_with(|| error.to_string());
                    Answer::default()
                }
            };
            answers.push(Asked { query: query.id.clone(), answer });
            progress.step();
        }
        match &trouble.first_error {
            Some(error) if trouble.failed == queries.len() => {
                bail!("no query was answered: {error}")
            }
            _ => Ok(AskedAll { answers, trouble }),
        }
    }

    fn answer(&self, reply: &ReplyV1, trouble: &mut Trouble) -> anyhow::Result<Answer> {
        let chunks: Vec<Scored> =
            reply.hits.iter().map(|hit| self.scored(hit)).collect::<anyhow::Result<_>>()?;
        let answer = Answer::new(chunks);
        match &reply.degraded {
            Some(degraded) => *trouble.degraded.entry(degraded.reason.clone()).or_default() += 1,
            None => {
                let derived = answer.two_stage(DEPTH, self.settings.fusion);
                let is_same = derived.chunks().map(ChunkId::as_str).eq(chunk_ids(reply));
                trouble.other_order += usize::from(!is_same);
            }
        }
        Ok(answer)
    }

    fn scored(&self, hit: &Hit) -> anyhow::Result<Scored> {
        if !self.documents.contains(hit.document_id.as_str()) {
            bail!(
                "the collection holds document {:?}, which is not in corpus.jsonl: it is of another \
                 corpus; run without --reuse, or choose another --name",
                hit.document_id
            );
        }
        Ok(Scored {
            chunk: ChunkId::from_stored(hit.chunk_id.as_str()),
            document: DocumentId::new(hit.document_id.as_str())
                .context("the service answers with a document id that is none")?,
            similarity: hit.retrieve.score,
            probability: hit.rerank.map(|stage| stage.score),
        })
    }
}

/// The hits' chunks, in the order of the reply.
pub(super) fn chunk_ids(reply: &ReplyV1) -> impl Iterator<Item = &str> {
    reply.hits.iter().map(|hit| hit.chunk_id.as_str())
}

/// `n` of the items, or all if there are fewer, in their own order.
pub(super) fn draw<T: Copy>(items: &[T], n: usize, seed: u64) -> Vec<T> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.shuffle(&mut StdRng::seed_from_u64(seed));
    places.truncate(n);
    places.sort_unstable();
    places.into_iter().map(|place| items[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_drawn_by_its_seed_and_keeps_the_order() {
        let all: Vec<usize> = (0..1000).collect();
        let one = draw(&all, 100, 1);
        assert_eq!(one.len(), 100);
        assert!(one.is_sorted_by(|a, b| a < b));
        assert_eq!(one, draw(&all, 100, 1));
        assert_ne!(one, draw(&all, 100, 2));
        // From all of it, not from its beginning.
        assert!(one.iter().any(|place| *place > 800), "{one:?}");
        assert_eq!(draw(&all, 2000, 1), all);
    }
}
