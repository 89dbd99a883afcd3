//! Topics of its own for each case, dead letters on them, and the binary beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use livedex_core::lease::Lease;
use livedex_core::ports::DeadLetters as _;
use livedex_core::record::{DeadLetterReason, Header, RawRecord, SourcePosition, Stage};
use livedex_kafka::{Admin, KafkaConfig, KafkaDeadLetters, Publisher, TopicSpec};
use livedex_testkit::{Livedex, binary::Finished, topic::read_all};
use livedex_wire::dead_letter::DeadLetterV1;

/// For one command, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Partitions of a case's source topic and of its dead-letter topic.
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const LETTER_PARTITIONS: i32 = 2;

/// One case: its topics, and `livedex` configured for them.
pub(crate) struct Case {
    pub(crate) kafka: KafkaConfig,
    pub(crate) livedex: Livedex,
    letters: KafkaDeadLetters,
}

impl Case {
    pub(crate) async fn new(brokers: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("case-{}-{n}", std::process::id());
        let kafka = KafkaConfig {
            brokers: brokers.to_owned(),
            topic: name.clone(),
            dead_letter_topic: format!("{name}.dlq"),
            group: name.clone(),
            ..KafkaConfig::default()
        };
        let topics = [
            TopicSpec::new(&kafka.topic, PARTITIONS),
            TopicSpec::new(&kafka.dead_letter_topic, LETTER_PARTITIONS),
        ];
        Admin::new(&kafka).ensure_topics(&topics).await?;
        let livedex = Livedex::new(&format!(
            "[kafka]\nbrokers = \"{brokers}\"\ntopic = \"{name}\"\n\
             dead_letter_topic = \"{name}.dlq\"\ngroup = \"{name}\"\n"
        ))?;
        let letters = KafkaDeadLetters::new(&kafka)?;
        Ok(Self { kafka, livedex, letters })
    }

    /// A record of the source topic.
    pub(crate) fn record(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> RawRecord {
        let topic = Arc::from(self.kafka.topic.as_str());
        RawRecord {
            position: SourcePosition { topic, partition: 0, offset: 0 },
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
            timestamp_ms: Some(1_700_000_000_000),
            lease: Lease::new(),
        }
    }

    /// Makes a dead letter of it.
    pub(crate) async fn bury(&self, record: &RawRecord, stage: Stage, class: &str) -> Result<()> {
        let message = format!("{class}: the reason for people");
        let reason = DeadLetterReason { stage, class: class.to_owned(), message };
        Ok(self.letters.send(record, &reason).await?)
    }

    /// Makes dead letters of records with these keys, in order; the offset is the index.
    pub(crate) async fn bury_keys(&self, keys: &[&str]) -> Result<()> {
        for (offset, key) in (0..).zip(keys) {
            let mut record = self.record(Some(key.as_bytes()), Some(b"{}"));
            record.position.offset = offset;
            self.bury(&record, Stage::Decode, "DecodeError.Json").await?;
        }
        Ok(())
    }

    /// Puts a record onto the dead-letter topic with no headers but these.
    pub(crate) async fn put_letter(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<SourcePosition> {
        let config = KafkaConfig {
            topic: self.kafka.dead_letter_topic.clone(),
            dead_letter_topic: self.kafka.topic.clone(),
            ..self.kafka.clone()
        };
        let headers: Vec<Header> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
            .collect();
        let publisher = Publisher::new(&config)?;
        Ok(publisher.publish_record(Some(key), value, &headers, None).await?)
    }

    /// Runs `livedex dlq` with these arguments to its end, whatever that is.
    pub(crate) fn dlq(&self, arguments: &[&str]) -> Result<Finished> {
        // A child process is waited for.
        tokio::task::block_in_place(|| self.livedex.run(&[&["dlq"], arguments].concat(), SOON))
    }

    /// What `dlq list --json` prints.
    pub(crate) fn listed(&self, filters: &[&str]) -> Result<Vec<DeadLetterV1>> {
        let finished = self.dlq(&[&["list", "--json"], filters].concat())?.success()?;
        finished
            .stdout
            .lines()
            .map(|line| DeadLetterV1::from_json(line.as_bytes()).context("a line of --json"))
            .collect()
    }

    /// Offsets of the source topic, all partitions together.
    pub(crate) async fn end_of_source(&self) -> Result<i64> {
        let lags = Admin::new(&self.kafka).lag(&self.kafka.group, &self.kafka.topic).await?;
        Ok(lags.into_iter().map(|lag| lag.high).sum())
    }

    /// What lies on the source topic, partition by partition.
    pub(crate) async fn source(&self) -> Result<Vec<RawRecord>> {
        read_all(&self.kafka).await
    }
}

/// Keys as text, in the order of the records.
pub(crate) fn keys(records: &[RawRecord]) -> Vec<String> {
    let text = |record: &RawRecord| {
        String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()
    };
    records.iter().map(text).collect()
}

/// [`keys`], sorted.
pub(crate) fn sorted_keys(records: &[RawRecord]) -> Vec<String> {
    let mut keys = keys(records);
    keys.sort();
    keys
}
