//! The production source, pipeline and store over a topic and a collection of their own.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use livedex_core::{
    chunk::Chunker,
    document::Change,
    limits::DEFAULT_MAX_DOCUMENT_BYTES,
    ports::{Embedder, RecordSource},
};
use livedex_ingest::{Pipeline, PipelineConfig, Progress, Summary};
use livedex_kafka::{
    Admin, EndMode, KafkaConfig, KafkaDeadLetters, KafkaSource, Stopper, TopicSpec,
};
use livedex_milvus::Collection;
use livedex_testkit::topic;
use livedex_wire::document::NativeDecoder;
use tokio_util::sync::CancellationToken;

use crate::{
    Bench,
    times::{Timed, Times},
};

const PARTITIONS: i32 = 4;
const LEAVE: Duration = Duration::from_secs(10);

/// A topic, a group and a collection.
pub(crate) struct Pipe {
    pub(crate) kafka: KafkaConfig,
    pub(crate) collection: Arc<Collection>,
    pub(crate) embedder: Arc<dyn Embedder>,
    chunker: Chunker,
}

impl Pipe {
    pub(crate) async fn new(
        bench: &Bench,
        name: &str,
        embedder: Arc<dyn Embedder>,
        chunker: &Chunker,
    ) -> Result<Self> {
        let kafka = KafkaConfig {
            topic: name.to_owned(),
            dead_letter_topic: format!("{name}.dlq"),
            group: name.to_owned(),
            ..bench.kafka.clone()
        };
        let topics =
            [TopicSpec::new(&kafka.topic, PARTITIONS), TopicSpec::new(&kafka.dead_letter_topic, 1)];
        Admin::new(&kafka).ensure_topics(&topics).await?;
        let collection = Arc::new(bench.collection(name, &*embedder).await?);
        Ok(Self { kafka, collection, embedder, chunker: chunker.clone() })
    }

    /// Publishes the changes, then times the pipeline from the first record to the last one's
    /// acknowledgement. Fails unless `rows` rows were embedded and written.
    pub(crate) async fn until_caught_up(&self, changes: &[Change], rows: usize) -> Result<f64> {
        self.publish(changes).await?;
        let config = PipelineConfig { until_caught_up: true, ..PipelineConfig::default() };
        let times = Arc::new(Times::default());
        let (pipeline, stopper) =
            self.pipeline(EndMode::UntilCaughtUp, config, Some(times.clone()))?;
        let summary = pipeline.run(CancellationToken::new()).await?;
        stopper.close(LEAVE).await?;
        let Summary { chunks_embedded, dead_letters, .. } = summary;
        ensure!(chunks_embedded == rows as u64 && dead_letters == 0, "{summary:?}, {rows} rows");
        times.seconds()
    }

    pub(crate) async fn publish(&self, changes: &[Change]) -> Result<()> {
        topic::publish(&self.kafka, changes).await
    }

    pub(crate) fn pipeline(
        &self,
        end: EndMode,
        config: PipelineConfig,
        times: Option<Arc<Times>>,
    ) -> Result<(Pipeline, Stopper)> {
        let source = tokio::task::block_in_place(|| KafkaSource::start(&self.kafka, end))?;
        let stopper = source.stopper();
        let source: Box<dyn RecordSource> = match times {
            Some(times) => Box::new(Timed { source, times }),
            None => Box::new(source),
        };
        let pipeline = Pipeline {
            stream: "bench".into(),
            source,
            decoder: Arc::new(NativeDecoder::new(DEFAULT_MAX_DOCUMENT_BYTES)),
            chunker: self.chunker.clone(),
            embedder: self.embedder.clone(),
            store: self.collection.clone(),
            dead_letters: Arc::new(KafkaDeadLetters::new(&self.kafka)?),
            config,
            progress: Arc::new(Progress::default()),
        };
        Ok((pipeline, stopper))
    }

    /// Drops the collection, so that the next round meets the server as this one did.
    pub(crate) async fn remove(self) -> Result<()> {
        Ok(self.collection.milvus().drop_collection().await?)
    }
}
