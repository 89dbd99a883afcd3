//! Similarity, order, freshness and large replies.

use anyhow::{Context, Result, ensure};
use livedex_core::{
    ports::{ChunkStore, Retriever, ServiceError},
    query::{Consistency, SearchRequest},
};

use crate::fixtures::{collection, direction, dot, key, row, strong};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    similarity_is_the_cosine(&uri).await?;
    writes_are_seen_at_once(&uri).await?;
    a_reply_above_the_limit_comes_in_parts(&uri).await?;
    vectors_come_where_they_are_asked_for(&uri).await?;
    a_collection_is_known_by_its_identity(&uri).await?;
    a_search_that_makes_no_sense_is_rejected(&uri).await
}

async fn similarity_is_the_cosine(uri: &str) -> Result<()> {
    const DIMENSION: usize = 32;
    let store = collection(uri, "cosine", DIMENSION).await?;
    ensure!(store.search(&strong(direction(1, DIMENSION), 10)).await?.is_empty());
    let rows = (1..=300)
        .map(|i| {
            Ok(row(&key("", &format!("d{i}"))?, 0, &format!("text {i}"), direction(i, DIMENSION)))
        })
        .collect::<Result<Vec<_>>>()?;
    store.upsert(&rows, &[]).await?;
    for flushed in [false, true] {
        for seed in [1, 150, 7777] {
            let query = direction(seed, DIMENSION);
            let found = store.search(&strong(query.clone(), 300)).await?;
            ensure!(found.len() == 300, "{} of 300 (flushed: {flushed})", found.len());
            for candidate in &found {
                let row = rows.iter().find(|row| row.fields.id == candidate.fields.id);
                let row = row.context("a candidate that was never written")?;
                ensure!(row.fields == candidate.fields);
                let cosine = dot(&query, &row.vector);
                ensure!((candidate.score - cosine).abs() < 1e-5, "{candidate:?}: {cosine}");
            }
            ensure!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            // By key: an index rounds otherwise than a scan.
            let best = store.search(&strong(query, 5)).await?;
            let same = best.iter().zip(&found).all(|(a, b)| a.fields.id == b.fields.id);
            ensure!(
                best.len() == 5 && same,
                "the best five of 300 and of five (flushed: {flushed})"
            );
        }
        store.settle().await?;
    }
    // The opposite direction, and a query that is not of length one.
    let opposite: Vec<f32> = direction(1, DIMENSION).iter().map(|x| -3.0 * x).collect();
    let found = store.search(&strong(opposite, 300)).await?;
    let last = found.last().context("nothing was found")?;
    ensure!(
        last.fields.document.id.as_str() == "d1" && (last.score + 1.0).abs() < 1e-5,
        "{last:?}"
    );
    Ok(())
}

async fn writes_are_seen_at_once(uri: &str) -> Result<()> {
    let store = collection(uri, "fresh", 2).await?;
    let document = key("", "doc")?;
    let old = row(&document, 0, "old", vec![1.0, 0.0]);
    let new = row(&document, 0, "new", vec![1.0, 0.0]);
    store.upsert(std::slice::from_ref(&old), &[]).await?;
    store.settle().await?;
    store.upsert(std::slice::from_ref(&new), &[]).await?;
    store.delete(std::slice::from_ref(&old.fields.id), &[]).await?;
    for consistency in [Consistency::Strong, Consistency::Bounded, Consistency::Eventually] {
        let request = SearchRequest { consistency, ..strong(vec![1.0, 0.0], 10) };
        let found = store.search(&request).await?;
        ensure!(found.len() == 1 && found[0].fields == new.fields, "{consistency:?}: {found:?}");
    }
    Ok(())
}

/// 400 candidates of 30 kB are 12 MB; the SDK decodes 4 MiB.
async fn a_reply_above_the_limit_comes_in_parts(uri: &str) -> Result<()> {
    let store = collection(uri, "large", 8).await?;
    let rows = (1..=400)
        .map(|i| {
            let text = format!("{i} {}", "\u{E4}".repeat(15_000));
            Ok(row(&key("", &format!("d{i}"))?, 0, &text, direction(i, 8)))
        })
        .collect::<Result<Vec<_>>>()?;
    store.upsert(&rows, &[]).await?;
    let query = direction(7, 8);
    let found = store.search(&strong(query.clone(), 400)).await?;
    ensure!(found.len() == 400, "{}", found.len());
    ensure!(found[0].fields == rows[6].fields);
    ensure!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let small = store.search(&strong(query, 20)).await?;
    ensure!(small.iter().map(|c| &c.fields).eq(found[..20].iter().map(|c| &c.fields)));
    Ok(())
}

/// 20 rows of 32 numbers, and 300 of 4,096, whose 5 MB do not fit one reply.
async fn vectors_come_where_they_are_asked_for(uri: &str) -> Result<()> {
    for (name, count, dimension) in [("few", 20, 32), ("many_vectors", 300, 4096)] {
        let store = collection(uri, name, dimension).await?;
        let rows = (1..=count)
            .map(|i| {
                let document = key("", &format!("d{i}"))?;
                Ok(row(&document, 0, &format!("text {i}"), direction(i, dimension)))
            })
            .collect::<Result<Vec<_>>>()?;
        store.upsert(&rows, &[]).await?;
        let without = strong(direction(3, dimension), count as usize);
        let found = store.search(&without).await?;
        ensure!(found.iter().all(|candidate| candidate.vector.is_none()));
        let with = SearchRequest { with_vectors: true, ..without };
        let same = store.search(&with).await?;
        ensure!(same.len() == rows.len(), "{} of {}", same.len(), rows.len());
        for (one, other) in found.iter().zip(&same) {
            let row = rows.iter().find(|row| row.fields.id == one.fields.id);
            ensure!(one.fields == other.fields && one.score == other.score);
            ensure!(row.is_some_and(|row| other.vector.as_ref() == Some(&row.vector)), "{name}");
        }
    }
    Ok(())
}

/// It stays with the collection, and one that is dropped and made again is another.
async fn a_collection_is_known_by_its_identity(uri: &str) -> Result<()> {
    let made = collection(uri, "identity", 2).await?;
    let identity = made.identity().to_owned();
    ensure!(identity.len() == 32, "{identity}");
    ensure!(collection(uri, "identity", 2).await?.identity() == identity);
    ensure!(collection(uri, "other_identity", 2).await?.identity() != identity);
    made.milvus().drop_collection().await?;
    ensure!(collection(uri, "identity", 2).await?.identity() != identity);
    Ok(())
}

async fn a_search_that_makes_no_sense_is_rejected(uri: &str) -> Result<()> {
    let store = collection(uri, "nonsense", 4).await?;
    let outcome = store.search(&strong(vec![1.0], 10)).await;
    ensure!(matches!(outcome, Err(ServiceError::Reject(_))), "{outcome:?}");
    ensure!(store.search(&strong(vec![1.0, 0.0, 0.0, 0.0], 0)).await?.is_empty());
    Ok(())
}
