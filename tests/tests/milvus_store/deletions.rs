//! The ledger of deletions.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use livedex_core::{
    deletion::{Deletion, DeletionId},
    ids::DocumentKey,
    lease::Lease,
    ports::{ChunkStore, ServiceError},
    record::SourcePosition,
};
use livedex_milvus::{Milvus, MilvusConfig, MilvusError};
use livedex_testkit::servers::environment;

use crate::fixtures::{collection, config, direction, key, model, row};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    deletions_come_back_by_document_and_partition(&uri).await?;
    many_are_recorded_and_read_in_parts(&uri).await?;
    nothing_is_recorded_without_a_lease(&uri).await?;
    a_reader_has_no_ledger(&uri).await?;
    a_ledger_of_another_collection_is_replaced(&uri).await?;
    dropping_takes_the_ledger_along(&uri).await?;
    a_ledger_that_is_none_is_left_alone(&uri).await?;
    how_long_they_are_kept_may_change(&uri).await
}

fn deletion(document: &DocumentKey, partition: i32, offset: i64) -> Deletion {
    let position = SourcePosition { topic: "documents".into(), partition, offset };
    Deletion { document: document.clone(), position, deleted_at_ms: 1_700_000_000_000 }
}

fn id(document: &DocumentKey, partition: i32) -> DeletionId {
    DeletionId::new(document, "documents", partition)
}

/// Drops a collection as people do, with Milvus' own tools.
fn drop_by_hand(uri: &str, collection: &str) -> Result<()> {
    const SCRIPT: &str = "import sys; from pymilvus import MilvusClient; \
                          MilvusClient(sys.argv[1]).drop_collection(sys.argv[2])";
    let python = environment()?.python();
    let output = Command::new(python).args(["-I", "-c", SCRIPT, uri, collection]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn deletions_come_back_by_document_and_partition(uri: &str) -> Result<()> {
    let store = collection(uri, "deletions", 2).await?;
    let (a, b) = (key("t", "a\") or true or (\"")?, key("", "\u{4E2D} b")?);
    store.record_deletions(&[deletion(&a, 0, 7), deletion(&b, 1, i64::MAX)], &[]).await?;
    for flushed in [false, true] {
        let found = store.deletions(&[id(&a, 0), id(&a, 1), id(&b, 1), id(&b, 0)]).await?;
        let expected = HashMap::from([(id(&a, 0), 7), (id(&b, 1), i64::MAX)]);
        ensure!(found == expected, "{found:?} (flushed: {flushed})");
        store.settle().await?;
    }
    // A later one takes its place, and rows know nothing of it.
    store.record_deletions(&[deletion(&a, 0, 9)], &[]).await?;
    ensure!(store.deletions(&[id(&a, 0)]).await? == HashMap::from([(id(&a, 0), 9)]));
    ensure!(store.deletions(&[]).await?.is_empty());
    ensure!(
        store.count().await? == 0 && store.stored_rows(std::slice::from_ref(&a)).await?.is_empty()
    );

    // It is there for the next worker, and not for another collection.
    let again = collection(uri, "deletions", 2).await?;
    ensure!(again.deletions(&[id(&a, 0)]).await?.len() == 1);
    let other = collection(uri, "deletions_elsewhere", 2).await?;
    ensure!(other.deletions(&[id(&a, 0)]).await?.is_empty());
    Ok(())
}

async fn many_are_recorded_and_read_in_parts(uri: &str) -> Result<()> {
    let store = collection(uri, "many_deletions", 2).await?;
    let keys = (0..2500).map(|i| key("", &format!("d{i}"))).collect::<Result<Vec<_>>>()?;
    let all: Vec<_> = keys.iter().zip(0..).map(|(key, offset)| deletion(key, 0, offset)).collect();
    store.record_deletions(&all, &[]).await?;
    let ids: Vec<_> = all.iter().map(Deletion::id).collect();
    let found = store.deletions(&ids).await?;
    ensure!(found.len() == 2500);
    ensure!(all.iter().all(|deletion| found[&deletion.id()] == deletion.position.offset));
    Ok(())
}

async fn nothing_is_recorded_without_a_lease(uri: &str) -> Result<()> {
    let store = collection(uri, "dead_lease", 2).await?;
    let (document, leases) = (key("", "a")?, [Lease::new(), Lease::new()]);
    let rows = [row(&document, 0, "text", vec![1.0, 0.0])];
    store.upsert(&rows, &leases).await?;
    leases[1].kill();
    let ids = [rows[0].fields.id.clone()];
    for refused in [
        store.record_deletions(&[deletion(&document, 0, 1)], &leases).await,
        store.delete(&ids, &leases).await,
        store.upsert(&[row(&document, 1, "more", vec![1.0, 0.0])], &leases).await,
    ] {
        ensure!(matches!(refused, Err(ServiceError::Retry(_))), "{refused:?}");
    }
    ensure!(store.deletions(&[id(&document, 0)]).await?.is_empty() && store.count().await? == 1);
    Ok(())
}

async fn a_reader_has_no_ledger(uri: &str) -> Result<()> {
    collection(uri, "readers", 2).await?;
    let reader =
        Milvus::connect(&config(uri, "readers")).await?.open_collection(&model("fp", 2)).await?;
    let document = key("", "a")?;
    let read = reader.deletions(&[id(&document, 0)]).await;
    ensure!(matches!(read, Err(ServiceError::Reject(_))), "{read:?}");
    Ok(())
}

/// Somebody drops the main collection to index everything again. What was deleted in the old one
/// says nothing of the new one.
async fn a_ledger_of_another_collection_is_replaced(uri: &str) -> Result<()> {
    let document = key("", "a")?;
    let store = collection(uri, "again", 2).await?;
    store.record_deletions(&[deletion(&document, 0, 1000)], &[]).await?;
    store.settle().await?;
    drop_by_hand(uri, "again")?;

    let workers = (0..4).map(|_| {
        let uri = uri.to_owned();
        tokio::spawn(async move { collection(&uri, "again", 2).await })
    });
    let mut stores = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        stores.push(worker.await??);
    }
    for store in &stores {
        ensure!(store.deletions(&[id(&document, 0)]).await?.is_empty(), "it was suppressed");
    }
    // It is the new one's from now on.
    stores[0].record_deletions(&[deletion(&document, 0, 5)], &[]).await?;
    let again = collection(uri, "again", 2).await?;
    ensure!(again.deletions(&[id(&document, 0)]).await? == HashMap::from([(id(&document, 0), 5)]));

    // Dropped alone, it is only empty, and everything else is as it was.
    again.upsert(&[row(&document, 0, "text", direction(1, 2))], &[]).await?;
    drop_by_hand(uri, "again_deleted")?;
    let again = collection(uri, "again", 2).await?;
    ensure!(again.deletions(&[id(&document, 0)]).await?.is_empty() && again.count().await? == 1);
    Ok(())
}

async fn dropping_takes_the_ledger_along(uri: &str) -> Result<()> {
    let store = collection(uri, "gone", 2).await?;
    store.milvus().drop_collection().await?;
    // Free for anybody: a main collection of that name, say.
    collection(uri, "gone_deleted", 2).await?;
    Ok(())
}

async fn a_ledger_that_is_none_is_left_alone(uri: &str) -> Result<()> {
    let taken = collection(uri, "taken_deleted", 2).await?;
    taken.upsert(&[row(&key("", "a")?, 0, "text", direction(1, 2))], &[]).await?;
    let milvus = Milvus::connect(&config(uri, "taken")).await?;
    let Err(error) = milvus.ensure_collection(&model("fp", 2)).await else {
        anyhow::bail!("a main collection was taken for a ledger")
    };
    ensure!(matches!(&error, MilvusError::Foreign { collection } if collection == "taken_deleted"));
    milvus.drop_collection().await?;
    ensure!(taken.count().await? == 1);
    // Nor is a ledger taken for a main collection.
    collection(uri, "ledgered", 2).await?;
    let milvus = Milvus::connect(&config(uri, "ledgered_deleted")).await?;
    let outcome = milvus.ensure_collection(&model("fp", 2)).await;
    ensure!(matches!(outcome, Err(MilvusError::Foreign { .. })));
    Ok(())
}

async fn how_long_they_are_kept_may_change(uri: &str) -> Result<()> {
    let document = key("", "a")?;
    let day = Some(Duration::from_secs(24 * 60 * 60));
    for (round, ttl) in [None, day, day, None].into_iter().enumerate() {
        let config = MilvusConfig { deletions_ttl: ttl, ..config(uri, "kept") };
        let milvus = Milvus::connect(&config).await?;
        let store = milvus.ensure_collection(&model("fp", 2)).await?;
        let found = store.deletions(&[id(&document, 0)]).await?;
        ensure!(found.is_empty() == (round == 0), "round {round}: {found:?}");
        store.record_deletions(&[deletion(&document, 0, 5)], &[]).await?;
    }
    Ok(())
}
