//! Fusing two searches as Milvus itself does.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use livedex_core::{
    filter::{Field, Filter},
    ports::{ChunkStore, Retriever},
    query::{Route, SearchRequest},
    ranking::{Retrieved, Scale, fuse},
};
use livedex_milvus::{Collection, filter::render};
use livedex_testkit::servers::environment;
use serde_json::json;

use crate::fixtures::{collection, direction, key, row, strong};

const DIMENSION: usize = 16;

/// Candidates of each search.
const CANDIDATES: usize = 30;

/// Scores that are closer are the same.
const NEAR: f32 = 1e-5;

/// Of every word another share of the chunks has it, so that words and embeddings disagree.
const WORDS: [&str; 5] = ["bee", "hive", "honey", "clover", "winter"];

pub(crate) async fn all(uri: String) -> Result<()> {
    let store = collection(&uri, "hybrid", DIMENSION).await?;
    let rows = (0..200_u64)
        .map(|i| {
            let words = WORDS.iter().enumerate().filter(|(w, _)| i % (*w as u64 + 2) == 0);
            let text: Vec<&str> = words.map(|(_, word)| *word).collect();
            // Lengths differ, so that scores by words do.
            let text = format!("{} {}", text.join(" "), "filler ".repeat(i as usize));
            Ok(row(&key("", &format!("d{i}"))?, 0, &text, direction(i + 1, DIMENSION)))
        })
        .collect::<Result<Vec<_>>>()?;
    store.upsert(&rows, &[]).await?;
    for _ in 0..2 {
        for (seed, text, limit) in [
            (1, "honey", 10),
            (77, "winter clover", 60),
            (500, "bee hive honey winter", CANDIDATES),
            (9, "nowhere", 50),
        ] {
            let ours = ours(&store, seed, text, limit, None).await?;
            let theirs = theirs(&uri, seed, text, limit, None)?;
            same(&ours, &theirs, text)?;
        }
        let filter = Filter::Prefix(Field::DocumentId, "d1".to_owned());
        let ours = ours(&store, 3, "honey clover", 40, Some(&filter)).await?;
        ensure!(ours.iter().all(|one| one.fields.document.id.as_str().starts_with("d1")));
        same(&ours, &theirs(&uri, 3, "honey clover", 40, Some(&filter))?, "filtered")?;
        store.settle().await?;
    }
    Ok(())
}

async fn ours(
    store: &Collection,
    seed: u64,
    text: &str,
    limit: usize,
    filter: Option<&Filter>,
) -> Result<Vec<Retrieved>> {
    let near =
        SearchRequest { filter: filter.cloned(), ..strong(direction(seed, DIMENSION), CANDIDATES) };
    let words = SearchRequest { route: Route::Bm25(text.to_owned()), ..near.clone() };
    let near = store.search(&near).await?;
    let words = store.search(&words).await?;
    Ok(fuse(vec![(Scale::Cosine, near), (Scale::Bm25, words)], limit))
}

/// Keys and scores, best first.
fn theirs(
    uri: &str,
    seed: u64,
    text: &str,
    limit: usize,
    filter: Option<&Filter>,
) -> Result<Vec<(String, f32)>> {
    let request = json!({
        "uri": uri,
        "collection": "hybrid",
        "vector": direction(seed, DIMENSION),
        "text": text,
        "candidates": CANDIDATES,
        "limit": limit,
        "filter": render(filter, None)?,
    });
    let mut python = Command::new(environment()?.python())
        .args(["-c", include_str!("hybrid.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = python.stdin.take() {
        input.write_all(request.to_string().as_bytes())?;
    }
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "pymilvus failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The same scores at the same places, and at each score the same chunks: equal ones may stand in any
/// order, and of those at the end others may have been cut.
fn same(ours: &[Retrieved], theirs: &[(String, f32)], what: &str) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{what}: {} and {}", ours.len(), theirs.len());
    let mut ties: BTreeMap<usize, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    let mut first = 0;
    for (place, (one, (id, score))) in ours.iter().zip(theirs).enumerate() {
        ensure!((one.score - score).abs() < NEAR, "{what}, {place}: {} and {score}", one.score);
        if ours[first].score - one.score > NEAR {
            first = place;
        }
        let tie = ties.entry(first).or_default();
        tie.0.push(one.fields.id.as_str());
        tie.1.push(id);
    }
    ties.remove(&first);
    for (place, (mut ours, mut theirs)) in ties {
        ours.sort_unstable();
        theirs.sort_unstable();
        ensure!(ours == theirs, "{what}, {place}: {ours:?} and {theirs:?}");
    }
    Ok(())
}
