#![allow(clippy::unwrap_used, reason = "tests may panic")]

use proptest::prelude::*;

use super::*;
use crate::{
    ids::{ContentHash, DocumentId, Tenant},
    record::SourcePosition,
};

fn of(document: &str, id: &str, score: f32) -> Candidate {
    let fields = ChunkFields {
        id: ChunkId::from_stored(id),
        document: DocumentKey { tenant: Tenant::default(), id: DocumentId::new(document).unwrap() },
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
    Candidate { fields, score, vector: None }
}

fn candidate(id: &str, score: f32) -> Candidate {
    of("d", id, score)
}

/// The hits of one dense list.
fn ranked(candidates: Vec<Candidate>, scores: Option<&[f32]>, fusion: Fusion) -> Vec<Hit> {
    let scores: Option<Vec<_>> = scores.map(|scores| scores.iter().copied().map(Some).collect());
    rank(fuse(vec![(Scale::Cosine, candidates)], usize::MAX), scores.as_deref(), fusion)
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
    let hits = ranked(candidates, None, Fusion::Rerank);
    assert_eq!(table(&hits), [("b", 0.5, 1, None), ("a", 0.25, 2, None), ("c", 0.0, 3, None)]);
    assert_eq!(hits[2].retrieve_score, -0.5);
}

#[test]
fn the_reranker_decides_alone_or_with_similarity() {
    let candidates = || vec![candidate("a", 1.0), candidate("b", 0.5), candidate("c", 0.0)];
    let scores = [0.25, 0.5, 0.75];
    let hits = ranked(candidates(), Some(&scores), Fusion::Rerank);
    assert_eq!(table(&hits)[..2], [("c", 0.75, 3, Some(1)), ("b", 0.5, 2, Some(2))]);
    let hits = ranked(candidates(), Some(&scores), Fusion::Mean);
    assert_eq!(
        table(&hits),
        [("a", 0.625, 1, Some(3)), ("b", 0.5, 2, Some(2)), ("c", 0.375, 3, Some(1))]
    );
}

#[test]
fn what_was_not_scored_comes_behind_in_the_order_of_stage_1() {
    let candidates = vec![candidate("a", 0.9), candidate("b", 0.8), candidate("c", 0.7)];
    let hits = ranked(candidates, Some(&[0.125]), Fusion::Rerank);
    assert_eq!(table(&hits), [("a", 0.125, 1, Some(1)), ("b", 0.0, 2, None), ("c", 0.0, 3, None)]);
    assert_eq!(hits[1].rerank_score, None);
    // Also where stage 1 counts: 0.45 for the second, 0.3 for the third, if both were scored 0.
    let candidates = vec![candidate("a", 1.0), candidate("b", 0.9), candidate("c", 0.5)];
    let retrieved = fuse(vec![(Scale::Cosine, candidates)], usize::MAX);
    let hits = rank(retrieved, Some(&[Some(0.5), None, Some(0.1)]), Fusion::Mean);
    let expected = [("a", 0.75, 1, Some(1)), ("c", 0.3, 3, Some(2)), ("b", 0.3, 2, None)];
    assert_eq!(table(&hits), expected);
}

#[test]
fn ties_go_to_similarity_and_then_to_the_id() {
    let candidates = vec![candidate("c", 0.5), candidate("a", 0.5), candidate("b", 0.75)];
    let hits = ranked(candidates, Some(&[0.5, 0.5, 0.5]), Fusion::Rerank);
    let ids: Vec<&str> = hits.iter().map(|hit| hit.fields.id.as_str()).collect();
    assert_eq!(ids, ["b", "a", "c"]);
}

#[test]
fn scores_that_are_no_numbers_come_last() {
    let candidates = vec![candidate("a", f32::NAN), candidate("b", 0.1), candidate("c", f32::NAN)];
    let hits = ranked(candidates, Some(&[0.5, f32::NAN]), Fusion::Mean);
    assert_eq!(hits[0].fields.id.as_str(), "b");
    assert!(hits.iter().all(|hit| hit.score.is_finite() && hit.retrieve_score.is_finite()));
    assert!(ranked(vec![], Some(&[]), Fusion::Mean).is_empty());
}

#[test]
fn lists_are_fused_by_their_ranks() {
    let dense = vec![candidate("a", 0.9), candidate("b", 0.8), candidate("c", 0.1)];
    let words = vec![candidate("b", 12.0), candidate("d", 3.0)];
    let fused = fuse(vec![(Scale::Cosine, dense), (Scale::Bm25, words)], 3);
    let rows: Vec<(&str, f32)> =
        fused.iter().map(|one| (one.fields.id.as_str(), one.score)).collect();
    let expected = [("b", 1.0 / 62.0 + 1.0 / 61.0), ("a", 1.0 / 61.0), ("d", 1.0 / 62.0)];
    assert_eq!(rows, expected);
    let places =
        [RouteRank { route: 0, rank: 2, score: 0.8 }, RouteRank { route: 1, rank: 1, score: 12.0 }];
    assert_eq!(fused[0].routes, places);
    // First in every list is 1.
    let first = fuse(vec![(Scale::Cosine, vec![candidate("a", 0.1)]); 3], 9);
    assert!((first[0].normal - 1.0).abs() < 1e-6, "{}", first[0].normal);
}

#[test]
fn words_alone_keep_their_own_score() {
    let words = vec![candidate("a", 3.0), candidate("b", 0.0)];
    let fused = fuse(vec![(Scale::Bm25, words)], 9);
    assert_eq!((fused[0].score, fused[0].normal), (3.0, 0.75));
    assert_eq!((fused[1].score, fused[1].normal), (0.0, 0.0));
}

#[test]
fn chunks_of_a_document_become_one_hit() {
    let candidates =
        vec![of("x", "a", 0.9), of("y", "b", 0.8), of("x", "c", 0.7), of("x", "d", 0.2)];
    let hits = ranked(candidates, None, Fusion::Rerank);
    let show = |groups: &[Group]| -> Vec<String> {
        let id = |hit: &Hit| hit.fields.id.as_str().to_owned();
        groups.iter().map(|g| id(&g.best) + &g.others.iter().map(id).collect::<String>()).collect()
    };
    assert_eq!(show(&group(hits.clone(), true, None, 9)), ["acd", "b"]);
    assert_eq!(show(&group(hits.clone(), true, Some(0.7), 9)), ["ac", "b"]);
    assert_eq!(show(&group(hits.clone(), false, Some(0.75), 9)), ["a", "b"]);
    assert_eq!(show(&group(hits.clone(), true, None, 1)), ["acd"]);
    assert_eq!(show(&group(hits, false, None, 3)), ["a", "b", "c"]);
}

proptest! {
    #[test]
    fn the_order_of_the_candidates_does_not_matter(
        values in prop::collection::vec((0_u8..4, 0_u8..4, 0_u8..3), 0..20),
        seed in any::<u64>(),
        fusion in prop::sample::select(vec![Fusion::Rerank, Fusion::Mean]),
        top_k in 1_usize..25,
    ) {
        let mut rows: Vec<Candidate> = values
            .iter()
            .enumerate()
            .map(|(i, (a, ..))| candidate(&format!("{i:02}"), f32::from(*a) / 4.0))
            .collect();
        let run = |rows: &[Candidate]| {
            let second = rows.iter().filter(|row| values[row.fields.id.as_str().parse::<usize>().unwrap()].2 > 0);
            let lists = vec![(Scale::Cosine, rows.to_vec()), (Scale::Bm25, second.cloned().collect())];
            let fused = fuse(lists, usize::MAX);
            let scores: Vec<Option<f32>> = fused
                .iter()
                .map(|one| values[one.fields.id.as_str().parse::<usize>().unwrap()].1)
                // Some were not scored.
                .map(|score| (score > 0).then_some(f32::from(score) / 4.0))
                .collect();
            group(rank(fused, Some(&scores), fusion), false, None, top_k)
        };
        let hits = run(&rows);
        prop_assert_eq!(hits.len(), top_k.min(values.len()));
        prop_assert!(hits.windows(2).all(|pair| pair[0].best.score >= pair[1].best.score));
        rows.sort_by_key(|row| ContentHash::of([row.fields.id.as_str().as_bytes(), &seed.to_le_bytes()]));
        prop_assert_eq!(hits, run(&rows));
    }
}
