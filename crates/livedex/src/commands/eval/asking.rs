//! Every query, and what came back.
//!
//! Each query is asked once, for as many hits and candidates as a reply may hold, with both
//! stages' scores: what fewer candidates would have given follows from that. One at a time, with
//! Strong consistency, since the collection was written a moment ago.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, bail};
use livedex_core::{
    ids::{ChunkId, DocumentId},
    query::{Consistency, Mode, QueryRequest},
    ranking::Fusion,
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
                consistency: Some(Consistency::Strong),
                include_text: false,
                include_metadata: false,
                ..QueryRequest::new(query.text.as_str())
            };
            let answer = match self.ask(&request).await {
                Ok(reply) => {
                    let Settings { fusion, mode, .. } = self.settings;
                    answer(&reply, &self.documents, (fusion, mode), &mut trouble)?
                }
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
}

/// The answer in a reply, with what is wrong with it counted. A document that is none of
/// `documents` is an error.
fn answer(
    reply: &ReplyV1,
    documents: &HashSet<&str>,
    (fusion, mode): (Fusion, Mode),
    trouble: &mut Trouble,
) -> anyhow::Result<Answer> {
    let chunks = reply.hits.iter().map(|hit| scored(hit, documents));
    let answer = Answer::new(chunks.collect::<anyhow::Result<_>>()?, mode);
    match &reply.degraded {
        Some(degraded) => *trouble.degraded.entry(degraded.reason.clone()).or_default() += 1,
        None => {
            let derived = answer.two_stage(DEPTH, fusion);
            let is_same = derived.chunks().map(ChunkId::as_str).eq(chunk_ids(reply));
            trouble.other_order += usize::from(!is_same);
        }
    }
    Ok(answer)
}

fn scored(hit: &Hit, documents: &HashSet<&str>) -> anyhow::Result<Scored> {
    if !documents.contains(hit.document_id.as_str()) {
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
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// Chunks `1`, `2`, ... of document `d`: similarity and probability of each, in this order.
    fn reply(hits: &[(f32, Option<f32>)], degraded: Option<&str>) -> ReplyV1 {
        let hit = |(index, (similarity, probability)): (usize, &(f32, Option<f32>))| {
            serde_json::json!({
                "chunk_id": (index + 1).to_string(), "document_id": "d", "ordinal": index,
                "score": 0.5, "retrieve": {"rank": 1, "score": similarity},
                "rerank": probability.map(|score| serde_json::json!({"rank": 1, "score": score})),
                "source": {"topic": "t", "partition": 0, "offset": 0},
            })
        };
        let json = serde_json::json!({
            "collection": "c", "consistency": "strong",
            "hits": hits.iter().enumerate().map(hit).collect::<Vec<_>>(),
            "candidates": hits.len(),
            "degraded": degraded.map(|reason| serde_json::json!({"reason": reason, "reranked": 0})),
            "timings_ms": {"embed": 1.0, "search": 1.0, "total": 2.0},
            "models": {"embedder": {"name": "e", "fingerprint": "f"}},
        });
        ReplyV1::from_json(json.to_string().as_bytes()).unwrap()
    }

    fn taken(reply: &ReplyV1) -> (Answer, Trouble) {
        let mut trouble = Trouble::default();
        let documents = HashSet::from(["d"]);
        (answer(reply, &documents, (Fusion::Rerank, Mode::Dense), &mut trouble).unwrap(), trouble)
    }

    #[test]
    fn an_answer_that_was_not_reranked_is_counted_by_its_reason() {
        let (answer, trouble) = taken(&reply(&[(0.9, None), (0.8, None)], Some("deadline")));
        assert_eq!(trouble.degraded.get("deadline"), Some(&1));
        assert_eq!(answer.two_stage(2, Fusion::Rerank), answer.stage_1());
        let (_, trouble) = taken(&reply(&[(0.8, Some(0.9)), (0.9, Some(0.1))], None));
        assert_eq!(trouble, Trouble::default());
    }

    #[test]
    fn an_order_that_does_not_follow_from_the_scores_is_counted() {
        let (_, trouble) = taken(&reply(&[(0.9, Some(0.1)), (0.8, Some(0.9))], None));
        assert_eq!(trouble.other_order, 1);
    }

    #[test]
    fn a_collection_of_another_corpus_is_an_error() {
        let reply = reply(&[(0.9, Some(0.1))], None);
        let documents = HashSet::from(["e"]);
        let taken =
            answer(&reply, &documents, (Fusion::Rerank, Mode::Dense), &mut Trouble::default());
        assert!(taken.unwrap_err().to_string().contains("of another corpus"));
    }

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
