//! `livedex status`: lag per partition, watermarks, rows in the collections, models, and what
//! running workers know of themselves.
//!
//! Asks Kafka, Milvus and NATS themselves, side by side, so that it also tells something when no
//! worker runs. What does not answer is said in its place.
//!
//! # Layout
//! - `worker`: a worker's own word, over HTTP
//! - `text`: for people
//! - `json`: for scripts

use std::{process::ExitCode, time::Duration};

use futures::future::join_all;
use livedex_kafka::{Admin, PartitionLag};
use livedex_milvus::{CollectionInfo, Milvus};
use livedex_query::QueryClient;
use livedex_wire::status::StatusV1;

use super::print;
use crate::{
    cli::StatusArgs,
    config::{Config, StreamConfig},
};

mod json;
mod text;
mod worker;

use worker::Worker;

/// How long to wait for the service's instances.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(3);

type Answer<T> = Result<T, String>;

/// What everybody said.
struct Status {
    streams: Vec<StreamStatus>,
    services: Answer<Vec<StatusV1>>,
    workers: Vec<Worker>,
}

/// A stream as Kafka and Milvus see it.
struct StreamStatus {
    name: String,
    topic: String,
    group: String,
    collection: String,
    kafka: Answer<Vec<PartitionLag>>,
    milvus: Answer<Option<(CollectionInfo, u64)>>,
}

/// Asks everybody and prints what they say; fails if one of them does not answer. That no worker
/// answers where nobody said that one runs is no failure.
pub(super) async fn run(config: &Config, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (streams, services, workers) = tokio::join!(
        join_all(config.streams.iter().map(stream)),
        services(config),
        worker::ask_all(config, &args.worker)
    );
    let status = Status { streams, services, workers };
    match args.json {
        true => print(&status.json().to_string()),
        false => print(&status.text(&config.nats.subject_prefix)),
    }
    let is_complete = status.streams.iter().all(|one| one.kafka.is_ok() && one.milvus.is_ok())
        && status.services.is_ok()
        && (args.worker.is_empty() || status.workers.iter().all(|one| one.answer.is_ok()));
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn stream(config: &StreamConfig) -> StreamStatus {
    let (kafka, milvus) = tokio::join!(kafka(config), milvus(config));
    StreamStatus {
        name: config.name.clone(),
        topic: config.kafka.topic.clone(),
        group: config.kafka.group.clone(),
        collection: config.milvus.collection.clone(),
        kafka,
        milvus,
    }
}

async fn kafka(config: &StreamConfig) -> Answer<Vec<PartitionLag>> {
    let admin = Admin::new(&config.kafka);
    admin.lag(&config.kafka.group, &config.kafka.topic).await.map_err(|error| error.to_string())
}

async fn milvus(config: &StreamConfig) -> Answer<Option<(CollectionInfo, u64)>> {
    let milvus = Milvus::connect(&config.milvus).await.map_err(|error| error.to_string())?;
    if milvus.describe_collection().await.map_err(|error| error.to_string())?.is_none() {
        return Ok(None);
    }
    let collection = milvus.inspect_collection().await.map_err(|error| error.to_string())?;
    let rows = collection.count().await.map_err(|error| error.to_string())?;
    Ok(Some((collection.info().clone(), rows)))
}

async fn services(config: &Config) -> Answer<Vec<StatusV1>> {
    let client = QueryClient::connect(&config.nats).await.map_err(|error| error.to_string())?;
    client.status(SERVICE_TIMEOUT).await.map_err(|error| error.to_string())
}

fn total_lag(partitions: &[PartitionLag]) -> i64 {
    partitions.iter().map(|partition| partition.lag).sum()
}
