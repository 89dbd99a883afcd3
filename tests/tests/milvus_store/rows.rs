//! Writing, reading and deleting rows.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Result, ensure};
use livedex_core::{
    document::MetadataValue,
    ids::{ChunkId, DocumentKey},
    ports::{ChunkStore, ServiceError},
    row::{ChunkRow, StoredRow},
};

use crate::fixtures::{collection, direction, key, row};

/// Document ids that break careless filter text.
const NASTY: [&str; 12] = [
    "\") or true or (\"",
    "' or 1 == 1 --",
    "back\\slash",
    "ends with \\",
    "\\\"",
    "{name}",
    "per%cent_under",
    "emoji \u{1F600} \u{1F468}\u{200D}\u{1F469}",
    "\u{4E2D}\u{6587} \\u4e2d",
    "a][b",
    "$meta[\"x\"]",
    "  spaces  ",
];

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    every_field_comes_back(&uri).await?;
    nasty_ids_name_only_themselves(&uri).await?;
    tenants_do_not_share_document_ids(&uri).await?;
    an_upsert_replaces_and_a_delete_removes(&uri).await?;
    many_rows_are_written_and_read_in_parts(&uri).await?;
    a_bad_row_is_rejected_and_nothing_written(&uri).await?;
    no_row_is_missing_while_flushing(&uri).await
}

async fn every_field_comes_back(uri: &str) -> Result<()> {
    let store = collection(uri, "fields", 3).await?;
    let document = key("tenant", "doc")?;
    let mut full =
        row(&document, 9, "text with \"quotes\"\nand lines \u{1F600}", vec![0.6, 0.8, 0.0]);
    Arc::make_mut(&mut full.fields.metadata).extend([
        ("bool".to_owned(), MetadataValue::Bool(true)),
        ("int".to_owned(), MetadataValue::Int(-3)),
        ("large".to_owned(), MetadataValue::Int(i64::MAX)),
        ("float".to_owned(), MetadataValue::Float(2.5)),
        ("whole".to_owned(), MetadataValue::Float(2.0)),
        ("strings".to_owned(), MetadataValue::Strings(vec!["a".to_owned(), "\u{E4}\"".to_owned()])),
        ("none".to_owned(), MetadataValue::Strings(Vec::new())),
        ("key with \" and \\".to_owned(), MetadataValue::Int(1)),
    ]);
    let mut empty = row(&document, 0, "", vec![0.0, 0.0, 1.0]);
    empty.fields.metadata = Arc::default();
    let fields = &mut empty.fields;
    for text in [&mut fields.heading, &mut fields.title, &mut fields.url, &mut fields.version] {
        text.clear();
    }
    let mut written = vec![full, empty];
    store.upsert(&written, &[]).await?;
    written.sort_by(|a, b| a.fields.id.cmp(&b.fields.id));
    ensure!(store.all_rows(true).await? == written);
    // The same from a segment.
    store.settle().await?;
    ensure!(store.all_rows(true).await? == written);
    let without = store.all_rows(false).await?;
    ensure!(without.iter().all(|row| row.vector.is_empty()));
    ensure!(without.iter().map(|row| &row.fields).eq(written.iter().map(|row| &row.fields)));
    Ok(())
}

async fn nasty_ids_name_only_themselves(uri: &str) -> Result<()> {
    let store = collection(uri, "nasty", 2).await?;
    let documents = NASTY.iter().map(|id| key("", id)).collect::<Result<Vec<_>>>()?;
    let rows: Vec<_> = documents
        .iter()
        .map(|document| row(document, 0, document.id.as_str(), vec![1.0, 0.0]))
        .collect();
    store.upsert(&rows, &[]).await?;
    store.upsert(&[row(&key("", "plain")?, 0, "plain", vec![0.0, 1.0])], &[]).await?;
    for flushed in [false, true] {
        for document in &documents {
            let stored = store.stored_rows(std::slice::from_ref(document)).await?;
            ensure!(stored.len() == 1, "{document} found {stored:?} (flushed: {flushed})");
            ensure!(stored.get(document).is_some_and(|rows| rows.len() == 1), "{document}");
        }
        let stored = store.stored_rows(&documents).await?;
        ensure!(stored.len() == documents.len(), "{stored:?}");
        store.settle().await?;
    }
    for tenant in NASTY {
        let other = key(tenant, "plain")?;
        ensure!(store.stored_rows(&[other]).await?.is_empty(), "{tenant}");
    }
    ensure!(store.stored_rows(&[]).await?.is_empty());
    Ok(())
}

async fn tenants_do_not_share_document_ids(uri: &str) -> Result<()> {
    let store = collection(uri, "tenants", 2).await?;
    let keys = [key("", "doc")?, key("a", "doc")?, key("b", "doc")?];
    for document in &keys {
        store.upsert(&[row(document, 0, "same text", vec![1.0, 0.0])], &[]).await?;
    }
    ensure!(store.count().await? == 3);
    let found = store.stored_rows(&keys[1..2]).await?;
    ensure!(found.keys().collect::<Vec<_>>() == [&keys[1]], "{found:?}");
    ensure!(store.stored_rows(&keys).await?.len() == 3);
    // No row of a document that nobody asked for, though its tenant and its id are both named.
    let crossed = [key("a", "other")?, key("other", "doc")?];
    ensure!(store.stored_rows(&crossed).await?.is_empty());
    Ok(())
}

async fn an_upsert_replaces_and_a_delete_removes(uri: &str) -> Result<()> {
    let store = collection(uri, "replace", 2).await?;
    let document = key("", "doc")?;
    let rows: Vec<_> =
        (0..3).map(|i| row(&document, i, &format!("chunk {i}"), vec![1.0, 0.0])).collect();
    store.upsert(&rows, &[]).await?;
    store.upsert(&rows, &[]).await?;
    ensure!(store.count().await? == 3);

    let mut moved = rows[1].clone();
    moved.fields.ordinal = 7;
    moved.fields.position.offset = 43;
    moved.vector = vec![0.0, 1.0];
    // The same key twice in one call: the last wins.
    store.upsert(&[rows[1].clone(), moved.clone()], &[]).await?;
    let stored = store.stored_rows(std::slice::from_ref(&document)).await?;
    let expected = |row: &ChunkRow| StoredRow {
        id: row.fields.id.clone(),
        attributes_hash: row.fields.attributes_hash.clone(),
        position: row.fields.position.clone(),
    };
    let of_document: HashMap<ChunkId, StoredRow> =
        stored[&document].iter().map(|row| (row.id.clone(), row.clone())).collect();
    ensure!(of_document.len() == 3);
    ensure!(of_document[&moved.fields.id] == expected(&moved));

    let gone = ChunkId::from_stored("gone");
    let vectors = store.vectors(&[moved.fields.id.clone(), gone.clone()]).await?;
    ensure!(vectors == HashMap::from([(moved.fields.id.clone(), vec![0.0, 1.0])]), "{vectors:?}");

    store.settle().await?;
    let ids = [rows[0].fields.id.clone(), gone];
    store.delete(&ids, &[]).await?;
    store.delete(&ids, &[]).await?;
    store.delete(&[], &[]).await?;
    ensure!(store.count().await? == 2);
    ensure!(store.stored_rows(std::slice::from_ref(&document)).await?[&document].len() == 2);
    store.delete(&rows.iter().map(|row| row.fields.id.clone()).collect::<Vec<_>>(), &[]).await?;
    ensure!(store.count().await? == 0 && store.all_rows(true).await?.is_empty());
    ensure!(store.stored_rows(&[document]).await?.is_empty());
    Ok(())
}

/// More rows than one upsert takes, and more bytes than one reply may have: 2,500 rows with
/// 5 MB of vectors, and 10 MB of text.
async fn many_rows_are_written_and_read_in_parts(uri: &str) -> Result<()> {
    const DIMENSION: usize = 512;
    let store = collection(uri, "many", DIMENSION).await?;
    let documents = (0..100).map(|i| key("", &format!("d{i}"))).collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for (d, document) in documents.iter().enumerate() {
        for i in 0..25 {
            let text = format!("{i} {}", "x".repeat(4000));
            let seed = 1 + d as u64 * 25 + u64::from(i);
            rows.push(row(document, i, &text, direction(seed, DIMENSION)));
        }
    }
    store.upsert(&rows, &[]).await?;
    ensure!(store.count().await? == 2500);
    let stored = store.stored_rows(&documents).await?;
    ensure!(stored.len() == 100 && stored.values().all(|rows| rows.len() == 25));
    let ids: Vec<_> = rows.iter().map(|row| row.fields.id.clone()).collect();
    let vectors = store.vectors(&ids).await?;
    ensure!(vectors.len() == 2500);
    ensure!(rows.iter().all(|row| vectors[&row.fields.id] == row.vector));
    rows.sort_by(|a, b| a.fields.id.cmp(&b.fields.id));
    ensure!(store.all_rows(true).await? == rows);
    store.delete(&ids[..1200], &[]).await?;
    ensure!(store.count().await? == 1300);
    Ok(())
}

async fn a_bad_row_is_rejected_and_nothing_written(uri: &str) -> Result<()> {
    let store = collection(uri, "bad", 2).await?;
    let document = key("", "doc")?;
    let good = row(&document, 0, "good", vec![1.0, 0.0]);
    let bad = row(&document, 1, "bad", vec![f32::NAN, 0.0]);
    let outcome = store.upsert(&[good, bad], &[]).await;
    ensure!(matches!(outcome, Err(ServiceError::Reject(_))), "{outcome:?}");
    ensure!(store.count().await? == 0);
    Ok(())
}

/// A flush moves rows from where Milvus Lite looks last to where it looks first.
async fn no_row_is_missing_while_flushing(uri: &str) -> Result<()> {
    let store = collection(uri, "flushing", 64).await?;
    let documents = (0..40).map(|i| key("", &format!("d{i}"))).collect::<Result<Vec<_>>>()?;
    for round in 0..5 {
        let rows = |documents: &[DocumentKey]| -> Vec<ChunkRow> {
            let of = |document| (0..20).map(move |i| (document, i));
            let places = documents.iter().flat_map(of);
            places
                .map(|(document, i)| {
                    row(document, i, &format!("chunk {i}"), direction(u64::from(i) + round, 64))
                })
                .collect()
        };
        store.upsert(&rows(&documents), &[]).await?;
        let flushing = tokio::spawn({
            let store = store.clone();
            async move { store.settle().await }
        });
        while !flushing.is_finished() {
            let stored = store.stored_rows(&documents).await?;
            ensure!(stored.values().map(Vec::len).sum::<usize>() == 800, "rows were missing");
        }
        flushing.await??;
    }
    ensure!(store.count().await? == 800);
    Ok(())
}
