//! `livedex status`: lag per partition, watermarks, rows in the collection, models.
//!
//! Asks Kafka, Milvus and NATS themselves, side by side, so that it also tells something when no
//! worker runs. What does not answer is said in its place.

use std::{process::ExitCode, time::Duration};

use livedex_kafka::{Admin, PartitionLag};
use livedex_milvus::{CollectionInfo, Milvus};
use livedex_query::QueryClient;
use livedex_wire::status::StatusV1;
use serde_json::{Value, json};

use super::print;
use crate::{cli::StatusArgs, config::Config};

/// How long to wait for the service's instances.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(3);

type Answer<T> = Result<T, String>;

struct Status {
    kafka: Answer<Vec<PartitionLag>>,
    milvus: Answer<Option<(CollectionInfo, u64)>>,
    services: Answer<Vec<StatusV1>>,
}

/// Asks everybody and prints what they say; fails if one of them does not answer.
pub(super) async fn run(config: &Config, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (kafka, milvus, services) = tokio::join!(kafka(config), milvus(config), services(config));
    let status = Status { kafka, milvus, services };
    let is_complete = status.kafka.is_ok() && status.milvus.is_ok() && status.services.is_ok();
    match args.json {
        true => print(&status.json(config).to_string()),
        false => print(&status.text(config)),
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn kafka(config: &Config) -> Answer<Vec<PartitionLag>> {
    let admin = Admin::new(&config.kafka);
    admin.lag(&config.kafka.group, &config.kafka.topic).await.map_err(|error| error.to_string())
}

async fn milvus(config: &Config) -> Answer<Option<(CollectionInfo, u64)>> {
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

impl Status {
    fn text(&self, config: &Config) -> String {
        let mut lines = vec![format!("topic {}, group {}", config.kafka.topic, config.kafka.group)];
        match &self.kafka {
            Ok(partitions) => {
                lines.extend(partitions.iter().map(|p| {
                    let watermark = p.committed.map_or("none".to_owned(), |at| at.to_string());
                    format!(
                        "  partition {:<3} watermark {watermark:>8}  end {:>8}  lag {:>8}",
                        p.partition, p.high, p.lag
                    )
                }));
                lines.push(format!("  lag in all {}", total_lag(partitions)));
            }
            Err(error) => lines.push(format!("  {error}")),
        }
        lines.push(format!("collection {}", config.milvus.collection));
        lines.push(match &self.milvus {
            Ok(Some((info, rows))) => {
                format!("  {rows} rows of {} dimensions, model {}", info.dimension, info.model)
            }
            Ok(None) => "  does not exist yet; the first worker creates it".to_owned(),
            Err(error) => format!("  {error}"),
        });
        lines.push(format!("service {}.query", config.nats.subject_prefix));
        match &self.services {
            Ok(services) => lines.extend(services.iter().map(|service| {
                let reranker = service.reranker.as_ref().map_or("none", |model| &model.name);
                format!(
                    "  {} {}: {} in flight, embedder {}, reranker {reranker}",
                    service.service_id, service.version, service.in_flight, service.embedder.name
                )
            })),
            Err(error) => lines.push(format!("  {error}")),
        }
        lines.join("\n")
    }

    fn json(&self, config: &Config) -> Value {
        let or_error = |answer: Result<Value, &String>| match answer {
            Ok(value) => value,
            Err(error) => json!({ "error": error }),
        };
        json!({
            "kafka": or_error(self.kafka.as_ref().map(|partitions| json!({
                "topic": config.kafka.topic,
                "group": config.kafka.group,
                "lag": total_lag(partitions),
                "partitions": partitions.iter().map(|p| json!({
                    "partition": p.partition,
                    "watermark": p.committed,
                    "low": p.low,
                    "end": p.high,
                    "lag": p.lag,
                })).collect::<Vec<_>>(),
            }))),
            "milvus": or_error(self.milvus.as_ref().map(|found| match found {
                Some((info, rows)) => json!({
                    "collection": info.collection,
                    "rows": rows,
                    "dimension": info.dimension,
                    "model": info.model,
                    "fingerprint": info.fingerprint,
                }),
                None => Value::Null,
            })),
            "services": or_error(self.services.as_ref().map(|services| json!(services))),
        })
    }
}

fn total_lag(partitions: &[PartitionLag]) -> i64 {
    partitions.iter().map(|partition| partition.lag).sum()
}
