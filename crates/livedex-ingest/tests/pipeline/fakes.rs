//! The ports in memory, with switches for what can go wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use livedex_core::{
    deletion::{Deletion, DeletionId},
    document::{Change, ContentType, Document, Metadata, MetadataValue},
    ids::{ChunkId, DocumentId, DocumentKey, Tenant},
    lease::Lease,
    ports::*,
    record::{DeadLetterReason, RawRecord, SourcePosition, Stage},
    row::{ChunkRow, StoredRow},
};
use tokio::sync::{Semaphore, mpsc};

/// A switch that is asked before an operation on these items.
pub(crate) type Fault<T> = Mutex<Option<Switch<T>>>;

pub(crate) type Switch<T> = Box<dyn FnMut(&[T]) -> Option<ServiceError> + Send>;

fn fault<T>(fault: &Fault<T>, items: &[T]) -> Result<(), ServiceError> {
    match fault.lock().unwrap().as_mut().and_then(|fault| fault(items)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The key of a test's document.
pub(crate) fn key(id: &str) -> DocumentKey {
    DocumentKey { tenant: Tenant::default(), id: DocumentId::new(id).unwrap() }
}

/// What a value says: `label|text`, the label being metadata; `!` cannot be decoded.
#[derive(Default)]
pub(crate) struct TestDecoder {
    /// How often what it needs is still away.
    pub(crate) away: AtomicUsize,
}

impl Decoder for TestDecoder {
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded> {
        let less = |left: usize| left.checked_sub(1);
        if self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(Undecoded::NotYet("away".to_owned()));
        }
        let key = key(std::str::from_utf8(record.key.as_ref().unwrap()).unwrap());
        let Some(value) = &record.value else { return Ok(Change::Delete(key)) };
        let value = String::from_utf8(value.clone()).unwrap();
        let Some((label, text)) = value.split_once('|') else {
            return Err(DeadLetterReason {
                stage: Stage::Decode,
                class: "TestDecoder".into(),
                message: "no bar".into(),
            }
            .into());
        };
        let metadata =
            Metadata::from([("label".to_owned(), MetadataValue::String(label.to_owned()))]);
        Ok(Change::Upsert(Box::new(Document {
            key,
            title: None,
            text: text.to_owned(),
            content_type: ContentType::Markdown,
            url: None,
            metadata,
            version: None,
            updated_at_ms: None,
        })))
    }
}

/// A source that says what a test tells it to.
pub(crate) struct FakeSource {
    pub(crate) events: mpsc::UnboundedReceiver<Result<SourceEvent, ServiceError>>,
    pub(crate) acks: Arc<Acks>,
}

#[async_trait]
impl RecordSource for FakeSource {
    async fn next(&mut self) -> Option<Result<SourceEvent, ServiceError>> {
        self.events.recv().await
    }
    fn acknowledger(&self) -> Arc<dyn Acknowledger> {
        self.acks.clone()
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.acks.1.store(true, Ordering::SeqCst);
    }
}

/// What was acknowledged, and whether the source is gone: a real one then gives its partitions up.
#[derive(Default)]
pub(crate) struct Acks(pub(crate) Mutex<Vec<SourcePosition>>, pub(crate) AtomicBool);

impl Acks {
    pub(crate) fn offsets(&self) -> Vec<i64> {
        let mut offsets: Vec<i64> = self.0.lock().unwrap().iter().map(|p| p.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

impl Acknowledger for Acks {
    fn finish(&self, record: &FinishedRecord) {
        assert!(record.lease.is_live(), "acknowledged with a dead lease");
        assert!(!self.1.load(Ordering::SeqCst), "acknowledged after the source was dropped");
        assert!(record.bytes > 0);
        self.0.lock().unwrap().push(record.position.clone());
    }
}

/// Counts words.
pub(crate) struct Words;

impl TokenCounter for Words {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
}

/// An embedder whose vector is a function of the text.
pub(crate) struct FakeEmbedder {
    info: ModelInfo,
    pub(crate) texts: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    /// Texts of the largest call.
    pub(crate) largest: AtomicUsize,
    /// How many calls may answer; a test that wants to hold embedding back starts at 0.
    pub(crate) gate: Semaphore,
    pub(crate) is_dead: Mutex<bool>,
    /// Calls that are refused as overloaded before one answers.
    pub(crate) n_overloaded: AtomicUsize,
}

impl FakeEmbedder {
    pub(crate) fn new() -> Self {
        Self {
            info: ModelInfo {
                name: "fake".into(),
                fingerprint: "f".into(),
                dimension: 4,
                max_tokens: 512,
            },
            texts: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            is_dead: Mutex::new(false),
            n_overloaded: AtomicUsize::new(0),
        }
    }
}

/// The embedding of a text.
pub(crate) fn vector(text: &str) -> Vec<f32> {
    let hash = livedex_core::ids::ContentHash::of([text.as_bytes()]);
    let raw: Vec<f32> =
        hash.as_str().as_bytes()[..4].iter().map(|byte| f32::from(*byte) - 60.0).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

#[async_trait]
impl Embedder for FakeEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }
    fn tokens(&self) -> Arc<dyn TokenCounter> {
        Arc::new(Words)
    }
    async fn embed_documents(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.largest.fetch_max(texts.len(), Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if *self.is_dead.lock().unwrap() {
            return Err(ModelError::Dead("the device is gone".into()));
        }
        if self.n_overloaded.load(Ordering::SeqCst) > 0 {
            self.n_overloaded.fetch_sub(1, Ordering::SeqCst);
            return Err(ModelError::Overloaded { limit: 1 });
        }
        self.texts.fetch_add(texts.len(), Ordering::SeqCst);
        Ok(texts
            .iter()
            .map(|text| {
                if text.contains("INFINITE") {
                    Ok(vec![f32::NAN; 4])
                } else if text.contains("UNSPEAKABLE") {
                    Err(ModelError::Input("no valid embedding".into()))
                } else {
                    Ok(vector(text))
                }
            })
            .collect())
    }
    async fn embed_query(
        &self,
        _: &str,
        _: Option<&str>,
        _: Option<std::time::Instant>,
    ) -> Result<Vec<f32>, ModelError> {
        unreachable!("ingestion embeds no queries")
    }
}

/// A collection.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) rows: Mutex<BTreeMap<ChunkId, ChunkRow>>,
    pub(crate) read_fault: Fault<DocumentKey>,
    pub(crate) upsert_fault: Fault<ChunkRow>,
    pub(crate) delete_fault: Fault<ChunkId>,
    pub(crate) entry_fault: Fault<Deletion>,
    /// The ledger of deletions.
    pub(crate) entries: Mutex<BTreeMap<DeletionId, Deletion>>,
    /// Requests that write or delete.
    pub(crate) writes: AtomicUsize,
    pub(crate) upserted: AtomicUsize,
    pub(crate) settled: AtomicUsize,
    /// Documents that had rows and lost the last of them.
    pub(crate) absent: Mutex<HashSet<DocumentKey>>,
    /// Vectors that are not to be found, as if another writer had deleted them.
    pub(crate) hide_vectors: Mutex<bool>,
}

impl FakeStore {
    /// Texts of a document's rows in order.
    pub(crate) fn texts(&self, id: &str) -> Vec<String> {
        let key = key(id);
        let rows = self.rows.lock().unwrap();
        let mut rows: Vec<&ChunkRow> =
            rows.values().filter(|row| row.fields.document == key).collect();
        rows.sort_by_key(|row| row.fields.ordinal);
        rows.iter().map(|row| row.fields.text.trim().to_owned()).collect()
    }
}

#[async_trait]
impl ChunkStore for FakeStore {
    async fn stored_rows(
        &self,
        documents: &[DocumentKey],
    ) -> Result<HashMap<DocumentKey, Vec<StoredRow>>, ServiceError> {
        fault(&self.read_fault, documents)?;
        assert!(documents.len() <= livedex_core::limits::MAX_DIFF_DOCUMENTS);
        let mut found: HashMap<DocumentKey, Vec<StoredRow>> = HashMap::new();
        for row in self.rows.lock().unwrap().values() {
            if documents.contains(&row.fields.document) {
                found.entry(row.fields.document.clone()).or_default().push(StoredRow {
                    id: row.fields.id.clone(),
                    attributes_hash: row.fields.attributes_hash.clone(),
                    position: row.fields.position.clone(),
                });
            }
        }
        Ok(found)
    }
    async fn vectors(&self, ids: &[ChunkId]) -> Result<HashMap<ChunkId, Vec<f32>>, ServiceError> {
        if *self.hide_vectors.lock().unwrap() {
            return Ok(HashMap::new());
        }
        let rows = self.rows.lock().unwrap();
        Ok(ids
            .iter()
            .filter_map(|id| rows.get(id).map(|row| (id.clone(), row.vector.clone())))
            .collect())
    }
    async fn upsert(&self, rows: &[ChunkRow], leases: &[Lease]) -> Result<(), ServiceError> {
        assert!(!leases.is_empty(), "written without a lease");
        fault(&self.upsert_fault, rows)?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        let distinct: HashSet<&ChunkId> = rows.iter().map(|row| &row.fields.id).collect();
        assert_eq!(distinct.len(), rows.len(), "a key twice in one upsert");
        let mut stored = self.rows.lock().unwrap();
        for row in rows {
            self.upserted.fetch_add(1, Ordering::SeqCst);
            stored.insert(row.fields.id.clone(), row.clone());
        }
        Ok(())
    }
    async fn delete(&self, ids: &[ChunkId], leases: &[Lease]) -> Result<(), ServiceError> {
        assert!(!ids.is_empty() && !leases.is_empty());
        fault(&self.delete_fault, ids)?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut rows = self.rows.lock().unwrap();
        for id in ids {
            if let Some(row) = rows.remove(id)
                && !rows.values().any(|other| other.fields.document == row.fields.document)
            {
                self.absent.lock().unwrap().insert(row.fields.document);
            }
        }
        Ok(())
    }
    async fn deletions(
        &self,
        ids: &[DeletionId],
    ) -> Result<HashMap<DeletionId, i64>, ServiceError> {
        let entries = self.entries.lock().unwrap();
        let offset = |id: &DeletionId| Some((id.clone(), entries.get(id)?.position.offset));
        Ok(ids.iter().filter_map(offset).collect())
    }
    async fn record_deletions(
        &self,
        deletions: &[Deletion],
        leases: &[Lease],
    ) -> Result<(), ServiceError> {
        assert!(!deletions.is_empty() && !leases.is_empty());
        fault(&self.entry_fault, deletions)?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut entries = self.entries.lock().unwrap();
        for deletion in deletions {
            let earlier = entries.insert(deletion.id(), deletion.clone());
            let offset = deletion.position.offset;
            assert!(earlier.is_none_or(|earlier| earlier.position.offset < offset));
        }
        Ok(())
    }
    async fn settle(&self) -> Result<(), ServiceError> {
        self.settled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A dead-letter topic.
#[derive(Default)]
pub(crate) struct FakeLetters {
    pub(crate) letters: Mutex<Vec<(i64, DeadLetterReason)>>,
    /// Sends that fail before one works.
    pub(crate) n_away: AtomicUsize,
}

#[async_trait]
impl DeadLetters for FakeLetters {
    async fn send(
        &self,
        record: &RawRecord,
        reason: &DeadLetterReason,
    ) -> Result<(), ServiceError> {
        if self.n_away.load(Ordering::SeqCst) > 0 {
            self.n_away.fetch_sub(1, Ordering::SeqCst);
            return Err(ServiceError::Retry("away".into()));
        }
        self.letters.lock().unwrap().push((record.position.offset, reason.clone()));
        Ok(())
    }
}
