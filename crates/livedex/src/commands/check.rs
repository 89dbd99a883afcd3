//! `livedex check`: the configuration and every connection, a line each.

use std::{future::Future, process::ExitCode};

use livedex_core::ports::ModelInfo;
use livedex_kafka::{Admin, KafkaConfig};
use livedex_milvus::{Milvus, MilvusError};
use livedex_registry::{Registry, RegistryConfig};

use super::print;
use crate::{
    cli::GlobalArgs,
    config::{self, Config, StreamConfig},
    models,
};

/// Checks everything, prints a line for each, and fails if one of them does.
pub(super) async fn run(args: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report { n_failed: 0 };
    let config = match config::read(args) {
        Ok(config) => config,
        Err(error) => {
            report.line("configuration", Err(error));
            return Ok(ExitCode::FAILURE);
        }
    };
    let source = config::file(args)
        .map_or_else(|| "defaults, environment and flags".into(), |p| p.display().to_string());
    report.line("configuration", Ok(source));
    let broker = report.check("kafka", kafka(&config)).await;
    if let Some(registry) = &config.schema_registry {
        report.check("registry", schema_registry(registry)).await;
    }
    let served = report.check("milvus", milvus(&config)).await;
    let do_answer = broker.is_some() && served.is_some();
    let mut collections: Vec<Milvus> = served.into_iter().collect();
    for one in config.streams.iter().filter(|_| config.has_list) {
        let name = format!("stream {}", one.name);
        match do_answer {
            true => collections.extend(report.check(&name, stream(one)).await),
            false => report.line(&name, Err(anyhow::anyhow!("kafka and milvus must answer first"))),
        }
    }
    report.check("nats", nats(&config)).await;
    report.check("models", models(&config, &collections)).await;
    Ok(if report.n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    n_failed: usize,
}

impl Report {
    /// Runs one check and prints its line; returns what it found beside the line.
    async fn check<T>(
        &mut self,
        name: &str,
        check: impl Future<Output = anyhow::Result<(String, T)>>,
    ) -> Option<T> {
        match check.await {
            Ok((line, found)) => {
                self.line(name, Ok(line));
                Some(found)
            }
            Err(error) => {
                self.line(name, Err(error));
                None
            }
        }
    }

    fn line(&mut self, name: &str, outcome: anyhow::Result<String>) {
        match outcome {
            Ok(text) => print(&format!("ok      {name:<14} {text}")),
            Err(error) => {
                self.n_failed += 1;
                print(&format!("failed  {name:<14} {error:#}"));
            }
        }
    }
}

/// The broker, and the topics unless each stream has a line for them.
async fn kafka(config: &Config) -> anyhow::Result<(String, ())> {
    let admin = Admin::new(&config.kafka);
    admin.ping().await?;
    let found = match config.has_list {
        true => "answers".to_owned(),
        false => topics(&config.kafka).await?,
    };
    Ok((format!("{}: {found}", config.kafka.brokers), ()))
}

/// The server, and the collection that queries are answered from.
async fn milvus(config: &Config) -> anyhow::Result<(String, Milvus)> {
    let milvus = Milvus::connect(&config.milvus).await?;
    Ok((format!("{}: {}", config.milvus.uri, collection(&milvus).await?), milvus))
}

/// One of several streams: its topics, its group and its collection.
async fn stream(config: &StreamConfig) -> anyhow::Result<(String, Milvus)> {
    let topics = topics(&config.kafka).await?;
    let milvus = Milvus::connect(&config.milvus).await?;
    let collection = collection(&milvus).await?;
    Ok((format!("{topics}, group {}, {collection}", config.kafka.group), milvus))
}

async fn topics(config: &KafkaConfig) -> anyhow::Result<String> {
    let admin = Admin::new(config);
    let mut topics = Vec::new();
    for name in [&config.topic, &config.dead_letter_topic] {
        topics.push(match admin.partitions(name).await? {
            Some(found) => format!("topic {name} ({} partitions)", found.len()),
            None => format!("topic {name} is missing and will be created"),
        });
    }
    Ok(topics.join(", "))
}

async fn schema_registry(config: &RegistryConfig) -> anyhow::Result<(String, ())> {
    let n = Registry::new(config)?.subjects().await?;
    Ok((format!("{}: {n} subjects", config.urls.join(", ")), ()))
}

async fn collection(milvus: &Milvus) -> anyhow::Result<String> {
    let name = &milvus.config().collection;
    Ok(match milvus.describe_collection().await? {
        Some(info) => {
            format!("collection {name} ({} dimensions, model {})", info.dimension, info.model)
        }
        None => format!("collection {name} is missing and will be created"),
    })
}

async fn nats(config: &Config) -> anyhow::Result<(String, ())> {
    let client = livedex_query::connect(&config.nats).await?;
    let info = client.server_info();
    Ok((
        format!(
            "{}: nats-server {}, max_payload {} bytes, queries on {}.query",
            config.nats.url, info.version, info.max_payload, config.nats.subject_prefix
        ),
        (),
    ))
}

/// Loads both models for real, and compares the embedder with the collections.
async fn models(config: &Config, collections: &[Milvus]) -> anyhow::Result<(String, ())> {
    let runtime = models::load(config, true).await?;
    let mut lines = Vec::new();
    if let Some(embedder) = runtime.embedder() {
        let info = embedder.info();
        lines.push(format!("embedder {} ({} dimensions)", info.name, info.dimension));
        for milvus in collections {
            check_collection(milvus, info).await?;
        }
    }
    lines.push(match runtime.reranker() {
        Some(reranker) => format!("reranker {}", reranker.info().name),
        None => "no reranker".to_owned(),
    });
    Ok((lines.join(", "), ()))
}

/// Whether an existing collection holds this model's embeddings.
async fn check_collection(milvus: &Milvus, model: &ModelInfo) -> anyhow::Result<()> {
    match milvus.open_collection(model).await {
        Ok(_) | Err(MilvusError::NoCollection { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
