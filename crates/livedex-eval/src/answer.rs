//! What stage 1 and both stages make of one answer, at any number of candidates.
//!
//! An answer holds the first [`DEPTH`](crate::DEPTH) chunks with the scores of both stages. A
//! chunk's scores do not depend on the other candidates, so the answer to fewer candidates follows:
//! the first k of stage 1, ranked by [`rank`], the function that ranks them in the service.

use std::{collections::HashSet, sync::Arc};

use livedex_core::{
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    query::Mode,
    ranking::{Fusion, Retrieved, Scale, normal, rank},
    record::SourcePosition,
    row::ChunkFields,
};

/// A chunk of an answer, with the scores of both stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Its id.
    pub chunk: ChunkId,
    /// Its document.
    pub document: DocumentId,
    /// Stage 1: its score, by [`Mode`] a cosine similarity, BM25's score or that of fused ranks.
    pub similarity: f32,
    /// Stage 2: probability, 0..=1; `None` if it did not run.
    pub probability: Option<f32>,
}

/// An answer: its chunks in stage 1's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    chunks: Vec<Scored>,
    mode: Mode,
}

impl Answer {
    /// The chunks may come in any order.
    pub fn new(mut chunks: Vec<Scored>, mode: Mode) -> Self {
        chunks.sort_by(|a, b| {
            b.similarity.total_cmp(&a.similarity).then_with(|| a.chunk.cmp(&b.chunk))
        });
        Self { chunks, mode }
    }

    /// Stage 1's order of all its chunks.
    pub fn stage_1(&self) -> Ranking {
        let ordered = self.chunks.iter();
        Ranking(ordered.map(|chunk| (chunk.chunk.clone(), chunk.document.clone())).collect())
    }

    /// The final order of stage 1's first `candidates` chunks: what the service answers at that
    /// number. Where stage 2 did not run it is stage 1's.
    pub fn two_stage(&self, candidates: usize, fusion: Fusion) -> Ranking {
        let first = &self.chunks[..candidates.min(self.chunks.len())];
        let scores: Vec<Option<f32>> = first.iter().map(|chunk| chunk.probability).collect();
        let scores = scores.iter().any(Option::is_some).then_some(scores);
        let retrieved = first.iter().map(|chunk| retrieved(chunk, self.mode)).collect();
        let hits = rank(retrieved, scores.as_deref(), fusion);
        Ranking(hits.into_iter().map(|hit| (hit.fields.id, hit.fields.document.id)).collect())
    }
}

/// Chunks with their documents, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking(Vec<(ChunkId, DocumentId)>);

impl Ranking {
    /// The chunks.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkId> {
        self.0.iter().map(|(chunk, _)| chunk)
    }

    /// The documents of the first `chunks` chunks, each at the place of its best one.
    pub fn documents(&self, chunks: usize) -> Vec<&str> {
        let mut seen = HashSet::new();
        let documents = self.0.iter().take(chunks).map(|(_, document)| document.as_str());
        documents.filter(|document| seen.insert(*document)).collect()
    }
}

/// As much of a candidate as [`rank`] looks at.
fn retrieved(chunk: &Scored, mode: Mode) -> Retrieved {
    let none = ContentHash::from_stored("");
    let fields = ChunkFields {
        id: chunk.chunk.clone(),
        document: DocumentKey { tenant: Tenant::default(), id: chunk.document.clone() },
        ordinal: 0,
        text: String::new(),
        heading: String::new(),
        title: String::new(),
        url: String::new(),
        metadata: Arc::default(),
        version: String::new(),
        updated_at_ms: 0,
        content_hash: none.clone(),
        attributes_hash: none,
        position: SourcePosition { topic: "".into(), partition: 0, offset: 0 },
    };
    let (only, n_routes) = match mode {
        Mode::Dense => (Some(Scale::Cosine), 1),
        Mode::Bm25 => (Some(Scale::Bm25), 1),
        Mode::Hybrid => (None, 2),
    };
    let score = chunk.similarity;
    let normal = normal(score, only, n_routes);
    Retrieved { fields, vector: None, score, normal, routes: Vec::new() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn scored(chunk: &str, document: &str, similarity: f32, probability: Option<f32>) -> Scored {
        Scored {
            chunk: ChunkId::from_stored(chunk),
            document: DocumentId::new(document).unwrap(),
            similarity,
            probability,
        }
    }

    fn answer() -> Answer {
        Answer::new(
            vec![
                scored("4", "c", 0.2, Some(1.0)),
                scored("2", "b", 0.8, Some(0.6)),
                scored("1", "a", 0.9, Some(0.1)),
                scored("3", "a", 0.5, Some(0.9)),
            ],
            Mode::Dense,
        )
    }

    #[test]
    fn a_document_stands_where_its_best_chunk_does() {
        let answer = answer();
        assert_eq!(answer.stage_1().documents(usize::MAX), ["a", "b", "c"]);
        assert_eq!(answer.stage_1().documents(1), ["a"]);
        let both = answer.two_stage(3, Fusion::Rerank);
        let chunks: Vec<&str> = both.chunks().map(ChunkId::as_str).collect();
        assert_eq!(chunks, ["3", "2", "1"]);
        assert_eq!(both.documents(usize::MAX), ["a", "b"]);
    }

    #[test]
    fn fewer_candidates_are_the_first_of_stage_1() {
        let answer = answer();
        assert_eq!(answer.two_stage(2, Fusion::Rerank).documents(9), ["b", "a"]);
        assert_eq!(answer.two_stage(4, Fusion::Rerank).documents(9), ["c", "a", "b"]);
        // (0.9 + 0.5) / 2 and (0.6 + 0.8) / 2 are equal: stage 1 decides.
        assert_eq!(answer.two_stage(4, Fusion::Mean).documents(9), ["b", "a", "c"]);
        assert_eq!(answer.two_stage(0, Fusion::Mean).documents(9), Vec::<&str>::new());
    }

    #[test]
    fn without_stage_2_the_order_is_that_of_stage_1() {
        let answer = Answer::new(
            vec![scored("1", "a", 0.1, None), scored("2", "b", 0.2, None)],
            Mode::Dense,
        );
        assert_eq!(answer.two_stage(2, Fusion::Rerank), answer.stage_1());
        assert_eq!(answer.stage_1().documents(2), ["b", "a"]);
    }
}
