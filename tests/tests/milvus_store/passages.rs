//! Chunks by their places.

use std::ops::RangeInclusive;

use anyhow::{Result, ensure};
use livedex_core::{
    ids::DocumentKey,
    ports::{ChunkStore, Retriever},
    query::{Consistency, Passage, PassageRequest, Span},
    row::ChunkRow,
};
use livedex_milvus::Collection;

use crate::fixtures::{collection, direction, key, row};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    places_come_in_the_order_of_the_spans(&uri).await?;
    ids_and_tenants_name_only_themselves(&uri).await?;
    the_newest_version_stands_at_a_place(&uri).await?;
    passages_above_the_limit_come_in_parts(&uri).await?;
    many_documents_are_read_at_once(&uri).await
}

const DIMENSION: usize = 4;

fn span(document: &DocumentKey, ordinals: RangeInclusive<u32>) -> Span {
    Span { document: document.clone(), ordinals }
}

async fn read(store: &Collection, spans: Vec<Span>, with_vectors: bool) -> Result<Vec<Passage>> {
    let request = PassageRequest { spans, consistency: Consistency::Strong, with_vectors };
    Ok(store.passages(&request).await?)
}

/// The document's ids and ordinals.
fn named(passages: &[Passage]) -> Vec<(&str, u32)> {
    passages.iter().map(|p| (p.fields.document.id.as_str(), p.fields.ordinal)).collect()
}

fn chunks(document: &DocumentKey, count: u32) -> Vec<ChunkRow> {
    let chunk = |i| row(document, i, &format!("chunk {i}"), direction(u64::from(i) + 1, DIMENSION));
    (0..count).map(chunk).collect()
}

#[expect(clippy::reversed_empty_ranges, reason = "a client may ask for one")]
async fn places_come_in_the_order_of_the_spans(uri: &str) -> Result<()> {
    let store = collection(uri, "places", DIMENSION).await?;
    let (a, b, gone) = (key("", "a")?, key("", "b")?, key("", "gone")?);
    let (rows, others) = (chunks(&a, 12), chunks(&b, 3));
    // Some in a segment, some not.
    store.upsert(&rows[..6], &[]).await?;
    store.settle().await?;
    store.upsert(&rows[6..], &[]).await?;
    store.upsert(&others, &[]).await?;
    for _ in 0..2 {
        let spans = vec![
            span(&b, 1..=7),
            span(&a, 4..=6),
            span(&gone, 0..=9),
            span(&a, 5..=8),
            span(&a, 11..=11),
            span(&b, 2..=2),
            span(&a, 3..=2),
        ];
        let found = read(&store, spans.clone(), true).await?;
        let expected =
            [("b", 1), ("b", 2), ("a", 4), ("a", 5), ("a", 6), ("a", 7), ("a", 8), ("a", 11)];
        ensure!(named(&found) == expected, "{found:?}");
        for passage in &found {
            let all = if passage.fields.document == a { &rows } else { &others };
            let row = &all[passage.fields.ordinal as usize];
            ensure!(passage.fields == row.fields && passage.vector.as_ref() == Some(&row.vector));
        }
        let without = read(&store, spans, false).await?;
        ensure!(without.iter().all(|passage| passage.vector.is_none()));
        ensure!(without.iter().map(|p| &p.fields).eq(found.iter().map(|p| &p.fields)));
        store.settle().await?;
    }
    let whole = read(&store, vec![span(&a, 0..=u32::MAX)], false).await?;
    ensure!(whole.iter().map(|p| &p.fields).eq(rows.iter().map(|row| &row.fields)));
    ensure!(read(&store, vec![span(&a, 12..=99)], false).await?.is_empty());
    ensure!(read(&store, Vec::new(), true).await?.is_empty());
    for consistency in [Consistency::Bounded, Consistency::Eventually] {
        let spans = vec![span(&b, 0..=1)];
        let request = PassageRequest { spans, consistency, with_vectors: false };
        ensure!(store.passages(&request).await?.len() == 2);
    }
    Ok(())
}

async fn ids_and_tenants_name_only_themselves(uri: &str) -> Result<()> {
    let store = collection(uri, "places_of_tenants", DIMENSION).await?;
    let nasty = ["\") or true or (\"", "it's", "back\\", "\\n", "\\u0022", "\u{1F600}"];
    let mut all = vec![key("", "plain")?, key("t", "plain")?, key("\" or tenant == \"", "plain")?];
    for id in nasty {
        all.push(key("", id)?);
    }
    for document in &all {
        store.upsert(&chunks(document, 1), &[]).await?;
    }
    for document in &all {
        let found = read(&store, vec![span(document, 0..=5)], false).await?;
        ensure!(found.len() == 1 && found[0].fields.document == *document, "{document}: {found:?}");
    }
    let found = read(&store, all.iter().map(|one| span(one, 0..=0)).collect(), false).await?;
    ensure!(found.iter().map(|one| &one.fields.document).eq(&all), "{found:?}");
    // A tenant and an id that are both named, but not together.
    let crossed = vec![span(&key("t", "it's")?, 0..=0), span(&key("x", "plain")?, 0..=0)];
    ensure!(read(&store, crossed, false).await?.is_empty());
    Ok(())
}

/// While a document is updated its new rows are there before the old ones go.
async fn the_newest_version_stands_at_a_place(uri: &str) -> Result<()> {
    let store = collection(uri, "places_updated", DIMENSION).await?;
    let document = key("", "a")?;
    let version = |text: &str, partition: i32, offset: i64, updated_at_ms: i64| {
        let mut rows = vec![
            row(&document, 0, &format!("{text} first"), direction(1, DIMENSION)),
            row(&document, 1, &format!("{text} second"), direction(2, DIMENSION)),
        ];
        for row in &mut rows {
            row.fields.position.partition = partition;
            row.fields.position.offset = offset;
            row.fields.updated_at_ms = updated_at_ms;
        }
        rows
    };
    // Of one partition the offset decides: 100 is above 99 as a number only.
    store.upsert(&version("new", 3, 100, 5), &[]).await?;
    store.upsert(&version("old", 3, 99, 9)[..1], &[]).await?;
    let texts = |found: &[Passage]| -> Vec<String> {
        found.iter().map(|passage| passage.fields.text.clone()).collect()
    };
    let found = read(&store, vec![span(&document, 0..=1)], false).await?;
    ensure!(texts(&found) == ["new first", "new second"], "{found:?}");
    // Of two partitions the producer's clock.
    store.upsert(&version("moved", 4, 0, 6), &[]).await?;
    store.delete(&[version("old", 3, 99, 9)[0].fields.id.clone()], &[]).await?;
    let found = read(&store, vec![span(&document, 0..=1)], false).await?;
    ensure!(texts(&found) == ["moved first", "moved second"], "{found:?}");
    Ok(())
}

/// 200 chunks of 30 kB are 6 MB; the SDK decodes 4 MiB.
async fn passages_above_the_limit_come_in_parts(uri: &str) -> Result<()> {
    let store = collection(uri, "places_large", DIMENSION).await?;
    let document = key("", "large")?;
    let mut rows = chunks(&document, 200);
    for row in &mut rows {
        row.fields.text = format!("{} {}", row.fields.ordinal, "\u{E4}".repeat(15_000));
    }
    store.upsert(&rows, &[]).await?;
    let found = read(&store, vec![span(&document, 0..=999)], true).await?;
    ensure!(found.len() == 200, "{}", found.len());
    ensure!(found.iter().map(|p| &p.fields).eq(rows.iter().map(|row| &row.fields)));
    ensure!(found.iter().zip(&rows).all(|(p, row)| p.vector.as_ref() == Some(&row.vector)));
    Ok(())
}

async fn many_documents_are_read_at_once(uri: &str) -> Result<()> {
    let store = collection(uri, "places_many", DIMENSION).await?;
    let documents = (0..300).map(|i| key("", &format!("d{i}"))).collect::<Result<Vec<_>>>()?;
    let rows: Vec<ChunkRow> = documents.iter().flat_map(|one| chunks(one, 3)).collect();
    store.upsert(&rows, &[]).await?;
    for _ in 0..2 {
        let spans = documents.iter().rev().map(|one| span(one, 1..=2)).collect();
        let found = read(&store, spans, false).await?;
        let expected = documents.iter().rev().flat_map(|one| [(one, 1), (one, 2)]);
        let places = found.iter().map(|p| (&p.fields.document, p.fields.ordinal));
        ensure!(places.eq(expected), "{} passages", found.len());
        store.settle().await?;
    }
    Ok(())
}
