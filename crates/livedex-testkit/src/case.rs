//! One test's topic, dead-letter topic, group and collection on servers that others may share,
//! and everything that is done with them: produce, wait, look, judge.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use livedex_core::{
    chunk::Chunker,
    document::Change,
    ids::DocumentKey,
    ports::Embedder as _,
    record::{Header, RawRecord, SourcePosition},
};
use livedex_kafka::{Admin, DEFAULT_MAX_IN_FLIGHT_BYTES, KafkaConfig, Publisher, TopicSpec};
use livedex_milvus::{Collection, Milvus};

use crate::check::{Report, check};
use crate::crash::WorkerSpec;
use crate::embedder::{HashEmbedder, Words};
use crate::history::{Cutter, History, Rows, Seen, Ticket, by_document};
use crate::letters::Letters;
use crate::poison::Poison;
use crate::rows;
use crate::stack::CHUNK_TOKENS;
use crate::topic::outgoing;
use crate::wait::until;

/// Records on their way at once.
const IN_FLIGHT: usize = 64;

/// How long a record is sent again while the broker is away. Longer than any outage of a test.
const PUBLISH: Duration = Duration::from_secs(180);

/// How long the dead-letter topic may take to be read to its end.
const READ_LETTERS: Duration = Duration::from_secs(30);

/// Numbers of a vector.
const DIMENSION: usize = 8;

/// Bytes of the largest document.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// How a group behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// When the broker gives up a silent member.
    pub session: Duration,
    /// librdkafka's name of the assignor.
    pub assignor: &'static str,
}

impl Default for Group {
    fn default() -> Self {
        Self { session: Duration::from_secs(6), assignor: "cooperative-sticky" }
    }
}

/// The case. Clones share it.
#[derive(Clone)]
pub struct Case {
    inner: Arc<Inner>,
}

struct Inner {
    spec: WorkerSpec,
    kafka: KafkaConfig,
    admin: Admin,
    publisher: Publisher,
    milvus: Milvus,
    collection: Collection,
    cutter: Chunker,
    embedder: HashEmbedder,
    history: Mutex<History>,
    letters: tokio::sync::OnceCell<Letters>,
}

/// What a look at everything has found.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Records below the committed offsets.
    pub committed: i64,
    /// Rows that were read.
    pub rows: usize,
    /// Dead letters.
    pub letters: usize,
    /// Broken promises, one line each.
    pub violations: Vec<String>,
}

/// How a case ended.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Records produced.
    pub records: usize,
    /// The last look.
    pub look: Look,
    /// The collection against the last versions.
    pub report: Report,
}

impl Verdict {
    /// Fails if anything is wrong.
    pub fn ensure_clean(&self) -> Result<()> {
        ensure!(self.report.is_clean() && self.look.violations.is_empty(), "{self}");
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} dead letters, {}", self.records, self.look.letters, self.report)?;
        if !self.look.violations.is_empty() {
            write!(f, ", {}", listed(&self.look.violations))?;
        }
        Ok(())
    }
}

/// How many there are, and the first few.
pub fn listed(violations: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = violations.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
    format!("{} violations: {}", violations.len(), shown.join("; "))
}

impl Case {
    /// Creates the topic `name` with `partitions`, and its collection. The dead-letter topic is
    /// created by [`Case::create_dead_letters`].
    pub async fn open(
        brokers: &str,
        milvus: &str,
        name: &str,
        partitions: i32,
        group: Group,
    ) -> Result<Self> {
        let session_ms = u64::try_from(group.session.as_millis())?;
        let properties = [
            ("session.timeout.ms", session_ms.to_string()),
            ("heartbeat.interval.ms", (session_ms / 12).to_string()),
            ("partition.assignment.strategy", group.assignor.to_owned()),
        ];
        let spec = WorkerSpec {
            dir: std::env::temp_dir(),
            brokers: brokers.to_owned(),
            topic: name.to_owned(),
            dead_letter_topic: format!("{name}.dlq"),
            group: name.to_owned(),
            instance_id: None,
            max_poll_records: 16,
            max_in_flight_bytes: DEFAULT_MAX_IN_FLIGHT_BYTES,
            commit_interval_ms: 100,
            milvus: milvus.to_owned(),
            collection: name.replace(['-', '.'], "_"),
            // Leases need some room beside it within the session.
            milvus_timeout_ms: session_ms / 2,
            dimension: DIMENSION,
            chunk_words: CHUNK_TOKENS,
            max_document_bytes: MAX_DOCUMENT_BYTES,
            wave_records: 8,
            embed_delay_ms: 10,
            properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
            faults: Vec::new(),
        };
        // What is produced may be larger than what is accepted.
        let kafka = KafkaConfig { max_document_bytes: 2 * MAX_DOCUMENT_BYTES, ..spec.kafka() };
        let admin = Admin::new(&kafka);
        admin.ensure_topics(&[TopicSpec::new(name, partitions)]).await?;
        let embedder = HashEmbedder::new(DIMENSION);
        let config =
            livedex_milvus::MilvusConfig { timeout: Duration::from_secs(30), ..spec.milvus() };
        let milvus = Milvus::connect(&config).await?;
        let collection = milvus.ensure_collection(embedder.info()).await?;
        let chunker = Chunker::new(spec.chunks(), Arc::new(Words))?;
        let cutter = Cutter::new(chunker.clone(), &embedder.info().fingerprint);
        let inner = Inner {
            publisher: Publisher::new(&kafka)?,
            spec,
            kafka,
            admin,
            milvus,
            collection,
            cutter: chunker,
            embedder,
            history: Mutex::new(History::new(cutter)),
            letters: tokio::sync::OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Creates the dead-letter topic and follows it from here on.
    pub async fn create_dead_letters(&self) -> Result<()> {
        let topic = TopicSpec::new(&self.inner.kafka.dead_letter_topic, 1);
        self.inner.admin.ensure_topics(&[topic]).await?;
        let letters = Letters::follow(&self.inner.kafka).await?;
        ensure!(self.inner.letters.set(letters).is_ok(), "the dead letters are followed already");
        Ok(())
    }

    /// What a worker of this case is told.
    pub fn spec(&self) -> WorkerSpec {
        self.inner.spec.clone()
    }

    /// Records produced so far.
    pub fn records(&self) -> usize {
        self.history().len()
    }

    /// Produces changes, each acknowledged by the broker when this returns; while the broker is
    /// away they are sent again. One document at most once per call: records of one call may
    /// overtake each other.
    pub async fn produce(&self, changes: &[Change]) -> Result<()> {
        let sends: Vec<_> = changes.iter().map(|change| self.produce_one(change)).collect();
        stream::iter(sends).buffer_unordered(IN_FLIGHT).try_for_each(|()| async { Ok(()) }).await
    }

    async fn produce_one(&self, change: &Change) -> Result<()> {
        let ticket = self.history().begin(change)?;
        let record = outgoing(change);
        let value = record.value.as_deref();
        self.send(&ticket, Some(&record.key), value, &record.headers, None).await?;
        Ok(())
    }

    /// Produces poison with the key of `document`, or with one of its own, to `partition`, or
    /// where the key leads. Returns where it is.
    pub async fn produce_poison(
        &self,
        poison: Poison,
        document: Option<&DocumentKey>,
        partition: Option<i32>,
    ) -> Result<SourcePosition> {
        let value = poison.value(document, MAX_DOCUMENT_BYTES);
        let key = match document {
            Some(key) => key.id.as_str().as_bytes().to_vec(),
            None => format!("poison-{}", self.records()).into_bytes(),
        };
        let headers = [("origin".to_owned(), Some(b"test".to_vec()))];
        let ticket =
            self.history().begin_poison(poison, document, Some(key.clone()), value.clone());
        self.send(&ticket, Some(&key), Some(&value), &headers, partition).await
    }

    async fn send(
        &self,
        ticket: &Ticket,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        partition: Option<i32>,
    ) -> Result<SourcePosition> {
        let publisher = &self.inner.publisher;
        // Whether a record that timed out is there is not known. Sent again it may be there twice,
        // which changes nothing.
        let position = until("a record is durable", PUBLISH, || async {
            let sent = publisher.publish_record(key, value, headers, partition).await;
            Ok(sent.map_err(|error| error.to_string()))
        })
        .await?;
        self.history().landed(ticket, position.clone())?;
        Ok(position)
    }

    /// What the group has committed, by partition, and how many records it is behind.
    pub async fn committed(&self) -> Result<(BTreeMap<i32, i64>, i64)> {
        let lags = self.inner.admin.lag(&self.inner.kafka.group, &self.inner.kafka.topic).await?;
        let behind = lags.iter().map(|lag| lag.lag).sum();
        let committed = lags.into_iter().map(|lag| (lag.partition, lag.committed.unwrap_or(0)));
        Ok((committed.collect(), behind))
    }

    /// Waits until the group has committed the whole topic. `watch` is asked meanwhile whether it
    /// can still happen.
    pub async fn until_committed(
        &self,
        timeout: Duration,
        mut watch: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        until("group lag 0", timeout, || {
            let watched = watch();
            async move {
                watched?;
                // Kafka may be away just now.
                Ok(match self.committed().await {
                    Ok((_, 0)) => Ok(()),
                    Ok((_, behind)) => Err(format!("{behind} records behind")),
                    Err(error) => Err(format!("{error:#}")),
                })
            }
        })
        .await
    }

    /// Looks at the committed offsets, and only then at the dead letters and the rows of every
    /// document, and compares them with what was produced, and with what was `seen` before.
    pub async fn look(&self, seen: &mut Seen) -> Result<Look> {
        let (committed, _) = self.committed().await?;
        let letters = self.letters().await?;
        let documents = self.history().documents();
        let rows = rows::now(&self.inner.collection, &documents).await?;
        let mut look = self.compare(&committed, &rows, &letters)?;
        look.violations.extend(self.history().gone_back(seen, &rows));
        Ok(look)
    }

    async fn letters(&self) -> Result<Vec<RawRecord>> {
        match self.inner.letters.get() {
            Some(letters) => letters.all(READ_LETTERS).await,
            None => Ok(Vec::new()),
        }
    }

    fn compare(
        &self,
        committed: &BTreeMap<i32, i64>,
        rows: &Rows,
        letters: &[RawRecord],
    ) -> Result<Look> {
        Ok(Look {
            committed: committed.values().sum(),
            rows: rows.values().map(Vec::len).sum(),
            letters: letters.len(),
            violations: self.history().violations(committed, rows, letters)?,
        })
    }

    /// Judges the case once everything is committed.
    pub async fn verdict(&self) -> Result<Verdict> {
        let (committed, behind) = self.committed().await?;
        ensure!(behind == 0, "{behind} records are not committed");
        let letters = self.letters().await?;
        let rows = self.inner.collection.all_rows(true).await?;
        let mut stored = by_document(&rows);
        for key in self.history().documents() {
            stored.entry(key).or_default();
        }
        let look = self.compare(&committed, &stored, &letters)?;
        let expected = self.history().expected();
        let inner = &*self.inner;
        let vectors = |text: &str| inner.embedder.vector(text);
        let fingerprint = &inner.embedder.info().fingerprint;
        let report = check(&rows, &expected, &inner.cutter, fingerprint, Some(&vectors))?;
        Ok(Verdict { records: self.records(), look, report })
    }

    /// Drops the collection: the server is others' too.
    pub async fn close(self) -> Result<()> {
        self.inner.milvus.drop_collection().await.context("dropping the collection")
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.inner.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
