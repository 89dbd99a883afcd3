//! Stage scores to final scores, order and ties.

use std::cmp::Ordering;

use crate::query::{Candidate, Hit};

/// How the scores of both stages become the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fusion {
    /// The reranker's probability alone.
    #[default]
    Rerank,
    /// The mean of the probability and the cosine similarity clamped to 0..=1: better where the
    /// reranker is small and was trained for another kind of text.
    Mean,
}

/// Ranks candidates and keeps the best `top_k`, best first.
///
/// `rerank_scores` holds one probability a candidate, in the order of `candidates`; without it
/// the score is the cosine similarity clamped to 0..=1. A candidate beyond its end, and a score
/// that is NaN, counts as probability 0. Equal scores are ordered by similarity, then by chunk
/// id, so that the same candidates in any order give the same hits. Ranks count from 1.
pub fn rank(
    candidates: Vec<Candidate>,
    rerank_scores: Option<&[f32]>,
    fusion: Fusion,
    top_k: usize,
) -> Vec<Hit> {
    let probability = |index: usize| {
        rerank_scores.map(|scores| {
            let score = scores.get(index).copied().unwrap_or(0.0);
            if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
        })
    };
    let mut hits: Vec<Hit> = candidates
        .into_iter()
        .enumerate()
        .map(|(index, candidate)| {
            let similarity =
                if candidate.similarity.is_nan() { -1.0 } else { candidate.similarity };
            let cosine = similarity.clamp(0.0, 1.0);
            let rerank_score = probability(index);
            let score = match (rerank_score, fusion) {
                (None, _) => cosine,
                (Some(probability), Fusion::Rerank) => probability,
                (Some(probability), Fusion::Mean) => (probability + cosine) / 2.0,
            };
            Hit {
                fields: candidate.fields,
                score,
                retrieve_rank: 0,
                retrieve_score: similarity,
                rerank_rank: None,
                rerank_score,
            }
        })
        .collect();

    hits.sort_by(|a, b| {
        by(a.retrieve_score, b.retrieve_score).then_with(|| a.fields.id.cmp(&b.fields.id))
    });
    for (index, hit) in hits.iter_mut().enumerate() {
        hit.retrieve_rank = index + 1;
    }
    if rerank_scores.is_some() {
        // The sort is stable: equal probabilities keep the order of stage 1.
        hits.sort_by(|a, b| by(a.rerank_score.unwrap_or(0.0), b.rerank_score.unwrap_or(0.0)));
        for (index, hit) in hits.iter_mut().enumerate() {
            hit.rerank_rank = Some(index + 1);
        }
    }
    hits.sort_by(|a, b| by(a.score, b.score).then_with(|| a.retrieve_rank.cmp(&b.retrieve_rank)));
    hits.truncate(top_k);
    hits
}

/// Higher first.
fn by(a: f32, b: f32) -> Ordering {
    b.total_cmp(&a)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;
    use crate::{
        ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
        record::SourcePosition,
        row::ChunkFields,
    };

    fn candidate(id: &str, similarity: f32) -> Candidate {
        let fields = ChunkFields {
            id: ChunkId::from_stored(id),
            document: DocumentKey { tenant: Tenant::default(), id: DocumentId::new("d").unwrap() },
            ordinal: 0,
            text: String::new(),
            heading: String::new(),
            title: String::new(),
            url: String::new(),
            metadata: Default::default(),
            version: String::new(),
            updated_at_ms: 0,
            content_hash: ContentHash::from_stored(""),
            attributes_hash: ContentHash::from_stored(""),
            position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        };
        Candidate { fields, similarity }
    }

    /// Id, score, rank of stage 1, rank of stage 2.
    fn table(hits: &[Hit]) -> Vec<(&str, f32, usize, Option<usize>)> {
        hits.iter()
            .map(|hit| (hit.fields.id.as_str(), hit.score, hit.retrieve_rank, hit.rerank_rank))
            .collect()
    }

    #[test]
    fn without_a_reranker_similarity_decides() {
        let candidates = vec![candidate("a", 0.25), candidate("b", 0.5), candidate("c", -0.5)];
        let hits = rank(candidates, None, Fusion::Rerank, 10);
        assert_eq!(table(&hits), [("b", 0.5, 1, None), ("a", 0.25, 2, None), ("c", 0.0, 3, None)]);
        assert_eq!(hits[2].retrieve_score, -0.5);
    }

    #[test]
    fn the_reranker_decides_alone_or_with_similarity() {
        let candidates = || vec![candidate("a", 1.0), candidate("b", 0.5), candidate("c", 0.0)];
        let scores = [0.25, 0.5, 0.75];
        let hits = rank(candidates(), Some(&scores), Fusion::Rerank, 2);
        assert_eq!(table(&hits), [("c", 0.75, 3, Some(1)), ("b", 0.5, 2, Some(2))]);
        let hits = rank(candidates(), Some(&scores), Fusion::Mean, 10);
        assert_eq!(
            table(&hits),
            [("a", 0.625, 1, Some(3)), ("b", 0.5, 2, Some(2)), ("c", 0.375, 3, Some(1))]
        );
    }

    #[test]
    fn ties_go_to_similarity_and_then_to_the_id() {
        let candidates = vec![candidate("c", 0.5), candidate("a", 0.5), candidate("b", 0.75)];
        let hits = rank(candidates, Some(&[0.5, 0.5, 0.5]), Fusion::Rerank, 10);
        let ids: Vec<&str> = hits.iter().map(|hit| hit.fields.id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c"]);
    }

    #[test]
    fn scores_that_are_no_numbers_come_last() {
        let candidates =
            vec![candidate("a", f32::NAN), candidate("b", 0.1), candidate("c", f32::NAN)];
        let hits = rank(candidates, Some(&[f32::NAN, 0.5]), Fusion::Mean, 10);
        assert_eq!(hits[0].fields.id.as_str(), "b");
        assert!(hits.iter().all(|hit| hit.score.is_finite() && hit.retrieve_score.is_finite()));
        assert!(rank(vec![], Some(&[]), Fusion::Mean, 10).is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_does_not_matter(
            values in prop::collection::vec((0_u8..4, 0_u8..4), 0..20),
            seed in any::<u64>(),
            fusion in prop::sample::select(vec![Fusion::Rerank, Fusion::Mean]),
            top_k in 1_usize..25,
        ) {
            let mut rows: Vec<(Candidate, f32)> = values
                .iter()
                .enumerate()
                .map(|(i, (a, b))| (candidate(&format!("{i:02}"), f32::from(*a) / 4.0), f32::from(*b) / 4.0))
                .collect();
            let run = |rows: &[(Candidate, f32)]| {
                let scores: Vec<f32> = rows.iter().map(|row| row.1).collect();
                rank(rows.iter().map(|row| row.0.clone()).collect(), Some(&scores), fusion, top_k)
            };
            let hits = run(&rows);
            prop_assert_eq!(hits.len(), top_k.min(values.len()));
            prop_assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
            rows.sort_by_key(|row| ContentHash::of([row.0.fields.id.as_str().as_bytes(), &seed.to_le_bytes()]));
            prop_assert_eq!(hits, run(&rows));
        }
    }
}
