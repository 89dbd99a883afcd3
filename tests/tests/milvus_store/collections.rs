//! Connecting, creating, checking and dropping.

use anyhow::{Result, ensure};
use livedex_core::ports::ChunkStore;
use livedex_milvus::{Milvus, MilvusConfig, MilvusError};

use crate::fixtures::{collection, config, direction, key, model, row};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    first_use_creates_and_every_later_one_finds(&uri).await?;
    two_workers_may_race(&uri).await?;
    another_model_is_refused(&uri).await?;
    a_reader_does_not_create(&uri).await?;
    an_unknown_database_is_refused(&uri).await?;
    dropping_is_idempotent(&uri).await
}

async fn first_use_creates_and_every_later_one_finds(uri: &str) -> Result<()> {
    let made = collection(uri, "first_use", 4).await?;
    ensure!(made.info().dimension == 4 && made.info().model == "test/model");
    ensure!(made.milvus().is_lite() && made.info().server_version.contains("3.2"));
    ensure!(made.count().await? == 0);
    let document = key("", "a")?;
    made.upsert(&[row(&document, 0, "text", direction(1, 4))], &[]).await?;

    let found = collection(uri, "first_use", 4).await?;
    ensure!(found.info() == made.info());
    ensure!(found.count().await? == 1);
    let inspected = Milvus::connect(&config(uri, "first_use")).await?.inspect_collection().await?;
    ensure!(inspected.info() == made.info() && inspected.count().await? == 1);
    Ok(())
}

async fn two_workers_may_race(uri: &str) -> Result<()> {
    let workers = (0..6).map(|_| {
        let uri = uri.to_owned();
        tokio::spawn(async move { collection(&uri, "raced", 4).await })
    });
    let mut collections = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        collections.push(worker.await??);
    }
    for (i, collection) in collections.iter().enumerate() {
        let document = key("", &format!("d{i}"))?;
        collection.upsert(&[row(&document, 0, "text", direction(1, 4))], &[]).await?;
    }
    ensure!(collections[0].count().await? == 6);
    Ok(())
}

async fn another_model_is_refused(uri: &str) -> Result<()> {
    collection(uri, "models", 4).await?;
    let milvus = Milvus::connect(&config(uri, "models")).await?;
    for other in [model("other", 4), model("fp", 8)] {
        for outcome in
            [milvus.ensure_collection(&other).await, milvus.open_collection(&other).await]
        {
            let Err(error) = outcome else { anyhow::bail!("{other:?} was taken") };
            ensure!(matches!(error, MilvusError::OtherModel { .. }), "{error}");
            let text = error.to_string();
            ensure!(
                text.contains("`models`") && text.contains("4 dimensions, fingerprint fp"),
                "{text}"
            );
            ensure!(!text.contains('\n'), "{text}");
        }
    }
    milvus.open_collection(&model("fp", 4)).await?;
    Ok(())
}

async fn a_reader_does_not_create(uri: &str) -> Result<()> {
    let milvus = Milvus::connect(&config(uri, "absent")).await?;
    ensure!(milvus.describe_collection().await?.is_none());
    let Err(error) = milvus.open_collection(&model("fp", 4)).await else {
        anyhow::bail!("a missing collection was opened")
    };
    ensure!(matches!(error, MilvusError::NoCollection { .. }), "{error}");
    ensure!(milvus.describe_collection().await?.is_none());
    Ok(())
}

async fn an_unknown_database_is_refused(uri: &str) -> Result<()> {
    let config = MilvusConfig { database: "nowhere".to_owned(), ..config(uri, "c") };
    let Err(error) = Milvus::connect(&config).await else {
        anyhow::bail!("an unknown database was taken")
    };
    ensure!(matches!(error, MilvusError::UnknownDatabase { .. }), "{error}");
    ensure!(error.to_string().contains("`nowhere`"), "{error}");
    Ok(())
}

async fn dropping_is_idempotent(uri: &str) -> Result<()> {
    let made = collection(uri, "dropped", 4).await?;
    made.milvus().drop_collection().await?;
    made.milvus().drop_collection().await?;
    ensure!(made.milvus().describe_collection().await?.is_none());
    // A name that is free again may hold another model.
    let other = made.milvus().ensure_collection(&model("other", 8)).await?;
    let document = key("", "a")?;
    other.upsert(&[row(&document, 0, "text", direction(1, 8))], &[]).await?;
    ensure!(other.count().await? == 1);
    Ok(())
}
