//! Stage scores to final scores, order and ties.
//!
//! Three steps: the lists of stage 1's routes become one ([`fuse`]), the reranker's scores give the
//! final order ([`rank`]), and chunks of one document may become one hit ([`group`]).

use std::{
    cmp::Ordering,
    collections::{HashMap, hash_map::Entry},
};

use crate::{
    ids::{ChunkId, DocumentKey},
    limits::MAX_PASSAGES,
    query::{Candidate, Hit, RouteRank},
    row::ChunkFields,
};

#[cfg(test)]
mod tests;

/// The constant of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009, and what Milvus'
/// own ranker has by default.
pub const RRF_K: f32 = 60.0;

/// How the scores of both stages become the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fusion {
    /// The reranker's probability alone.
    #[default]
    Rerank,
    /// The mean of the probability and stage 1's score as a number 0..=1: better where the
    /// reranker is small and was trained for another kind of text.
    Mean,
}

impl Fusion {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rerank => "rerank",
            Self::Mean => "mean",
        }
    }
}

/// A chunk after stage 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieved {
    /// The chunk.
    pub fields: ChunkFields,
    /// Its embedding, if it was asked for.
    pub vector: Option<Vec<f32>>,
    /// See [`Hit::retrieve_score`].
    pub score: f32,
    /// The same as a number 0..=1: a cosine similarity as it is (0 if it is negative), a BM25 score s
    /// as s / (1 + s), a fused score as a part of what the first place in every list gives. Only
    /// the first can be compared between queries.
    pub normal: f32,
    /// Its place in the list of each route that found it.
    pub routes: Vec<RouteRank>,
}

/// What a route's scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Cosine similarities.
    Cosine,
    /// BM25 scores.
    Bm25,
}

/// Makes one list of the lists of stage 1's routes, best first, at most `limit` long.
///
/// With several routes a chunk's score is the sum of 1 / ([`RRF_K`] + its rank) over the lists that
/// have it, with ranks from 1. It is computed here and not by Milvus' hybrid search, which does not
/// tell the ranks and scores that it fused. Equal scores are ordered by the best score of a single
/// list, then by chunk id.
pub fn fuse(lists: Vec<(Scale, Vec<Candidate>)>, limit: usize) -> Vec<Retrieved> {
    let n_routes = lists.len();
    let only = match lists.as_slice() {
        [(scale, _)] => Some(*scale),
        _ => None,
    };
    let mut found: HashMap<ChunkId, Retrieved> = HashMap::new();
    for (route, (_, mut list)) in lists.into_iter().enumerate() {
        for candidate in &mut list {
            if candidate.score.is_nan() {
                candidate.score = -1.0;
            }
        }
        list.sort_by(|a, b| by(a.score, b.score).then_with(|| a.fields.id.cmp(&b.fields.id)));
        for (index, Candidate { fields, score, vector }) in list.into_iter().enumerate() {
            let rank = index + 1;
            let place = RouteRank { route, rank, score };
            let share = 1.0 / (RRF_K + rank as f32);
            match found.entry(fields.id.clone()) {
                Entry::Occupied(mut entry) => {
                    let entry = entry.get_mut();
                    entry.score += share;
                    entry.routes.push(place);
                }
                Entry::Vacant(entry) => {
                    let score = if only.is_some() { score } else { share };
                    entry.insert(Retrieved {
                        fields,
                        vector,
                        score,
                        normal: 0.0,
                        routes: vec![place],
                    });
                }
            }
        }
    }
    let mut fused: Vec<Retrieved> = found.into_values().collect();
    for one in &mut fused {
        one.normal = normal(one.score, only, n_routes);
    }
    let highest =
        |one: &Retrieved| one.routes.iter().map(|r| r.score).fold(f32::NEG_INFINITY, f32::max);
    fused.sort_by(|a, b| {
        by(a.score, b.score)
            .then_with(|| by(highest(a), highest(b)))
            .then_with(|| a.fields.id.cmp(&b.fields.id))
    });
    fused.truncate(limit);
    fused
}

/// Stage 1's score as [`Retrieved::normal`]: of a single route with this scale, or fused of
/// `n_routes`.
pub fn normal(score: f32, only: Option<Scale>, n_routes: usize) -> f32 {
    match only {
        Some(Scale::Cosine) => score.clamp(0.0, 1.0),
        Some(Scale::Bm25) => score.max(0.0) / (1.0 + score.max(0.0)),
        None => (score * (RRF_K + 1.0) / n_routes as f32).clamp(0.0, 1.0),
    }
}

/// Ranks what stage 1 found, best first.
///
/// `rerank_scores` holds a probability for each of them, in order; `None`, or nothing at all, where it was
/// not scored, which counts as probability 0, as NaN does; what was not scored never comes before what
/// was. Without it the final score is
/// [`Retrieved::normal`]. Equal scores are ordered as stage 1 ordered them, so that the same
/// candidates always give the same hits. Ranks count from 1.
pub fn rank(
    retrieved: Vec<Retrieved>,
    rerank_scores: Option<&[Option<f32>]>,
    fusion: Fusion,
) -> Vec<Hit> {
    let probability = |index: usize| {
        let score = (*rerank_scores?.get(index)?)?;
        Some(if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) })
    };
    let mut hits: Vec<Hit> = retrieved
        .into_iter()
        .enumerate()
        .map(|(index, Retrieved { fields, vector, score, normal, routes })| {
            let rerank_score = probability(index);
            let final_score = match (rerank_scores, fusion) {
                (None, _) => normal,
                (Some(_), Fusion::Rerank) => rerank_score.unwrap_or(0.0),
                (Some(_), Fusion::Mean) => (rerank_score.unwrap_or(0.0) + normal) / 2.0,
            };
            Hit {
                fields,
                vector,
                score: final_score,
                retrieve_rank: index + 1,
                retrieve_score: score,
                routes,
                rerank_rank: None,
                rerank_score,
            }
        })
        .collect();
    if rerank_scores.is_some() {
        let scored = hits.iter().filter(|hit| hit.rerank_score.is_some());
        let least = scored.map(|hit| hit.score).fold(f32::INFINITY, f32::min);
        for hit in hits.iter_mut().filter(|hit| hit.rerank_score.is_none()) {
            hit.score = hit.score.min(least);
        }
        // The sort is stable: equal probabilities keep the order of stage 1.
        hits.sort_by(|a, b| by(a.rerank_score.unwrap_or(-1.0), b.rerank_score.unwrap_or(-1.0)));
        for (index, hit) in hits.iter_mut().enumerate() {
            hit.rerank_rank = hit.rerank_score.map(|_| index + 1);
        }
    }
    let is_unscored = |hit: &Hit| rerank_scores.is_some() && hit.rerank_score.is_none();
    hits.sort_by(|a, b| {
        by(a.score, b.score)
            .then_with(|| is_unscored(a).cmp(&is_unscored(b)))
            .then_with(|| a.retrieve_rank.cmp(&b.retrieve_rank))
    });
    hits
}

/// A hit, and the other chunks of its document that were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The document's best chunk.
    pub best: Hit,
    /// The others, best first, at most [`MAX_PASSAGES`]. Empty where hits are not grouped.
    pub others: Vec<Hit>,
}

/// The hits that are answered with, best first: at most `top_k`, none below `min_score`, and with
/// `by_document` one a document.
pub fn group(
    hits: Vec<Hit>,
    by_document: bool,
    min_score: Option<f32>,
    top_k: usize,
) -> Vec<Group> {
    let enough = hits.into_iter().filter(|hit| min_score.is_none_or(|least| hit.score >= least));
    let mut groups: Vec<Group> = Vec::new();
    let mut place: HashMap<DocumentKey, usize> = HashMap::new();
    for hit in enough {
        let at = match by_document {
            true => *place.entry(hit.fields.document.clone()).or_insert(groups.len()),
            false => groups.len(),
        };
        match groups.get_mut(at) {
            Some(group) if group.others.len() < MAX_PASSAGES => group.others.push(hit),
            Some(_) => {}
            None => groups.push(Group { best: hit, others: Vec::new() }),
        }
    }
    groups.truncate(top_k);
    groups
}

/// Higher first.
fn by(a: f32, b: f32) -> Ordering {
    b.total_cmp(&a)
}
