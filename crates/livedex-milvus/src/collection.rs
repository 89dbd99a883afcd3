//! Creating, checking, loading, counting, dropping the collection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use livedex_core::ports::{ModelInfo, ServiceError};
use milvus::v2::{
    request::{
        collection::{
            CreateCollectionRequest, DescribeCollectionRequest, DropCollectionRequest,
            LoadCollectionRequest,
        },
        dql::{QueryRequest, QueryRequestBuilder},
        index::{CreateIndexRequest, DescribeIndexRequest},
        utility::FlushRequest,
    },
    types::{ConsistencyLevel, FieldData},
};
use tokio::time::{Instant, sleep};

use crate::{
    classify::{Class, Effect, Failure, Kind},
    client::{Milvus, call},
    config::FlushPolicy,
    error::MilvusError,
    schema::{self, Stored},
};

/// How long loading may take: a large collection needs minutes after a restart of Milvus.
const LOAD_DEADLINE: Duration = Duration::from_secs(300);

/// The pause between two looks at something that another process may be doing.
const POLL: Duration = Duration::from_millis(200);

/// What a collection is, for `status` and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionInfo {
    /// The database it is in.
    pub database: String,
    /// Its name, as configured.
    pub collection: String,
    /// The server's own name for its version.
    pub server_version: String,
    /// The name of the model whose embeddings it holds.
    pub model: String,
    /// That model's fingerprint.
    pub fingerprint: String,
    /// Numbers per embedding.
    pub dimension: usize,
}

/// A collection that was checked and is loaded. Clones share it.
#[derive(Debug, Clone)]
pub struct Collection {
    pub(crate) milvus: Milvus,
    info: Arc<CollectionInfo>,
    /// Whether rows were written since the last flush. Rows of an earlier process may be
    /// unflushed too, so it starts true.
    dirty: Arc<AtomicBool>,
}

impl Milvus {
    /// For writers: creates the collection if it is not there, else checks that it holds this
    /// model's embeddings. Then it is indexed and loaded. Several processes may do this at once.
    pub async fn ensure_collection(&self, model: &ModelInfo) -> Result<Collection, MilvusError> {
        let stored = self.find_or_create(model).await?;
        schema::check_model(&stored, model, &self.config().collection)?;
        self.index().await?;
        self.open(stored).await
    }

    /// For readers: like [`Milvus::ensure_collection`], but a missing collection is an error.
    pub async fn open_collection(&self, model: &ModelInfo) -> Result<Collection, MilvusError> {
        let stored = self.describe().await?.ok_or_else(|| self.no_collection())?;
        schema::check_model(&stored, model, &self.config().collection)?;
        self.open(stored).await
    }

    /// For those who only look (`status`, checkers): any model's collection.
    pub async fn inspect_collection(&self) -> Result<Collection, MilvusError> {
        let stored = self.describe().await?.ok_or_else(|| self.no_collection())?;
        self.open(stored).await
    }

    /// What the collection is, without loading it; `None` if it does not exist.
    pub async fn describe_collection(&self) -> Result<Option<CollectionInfo>, MilvusError> {
        Ok(self.describe().await?.map(|stored| self.info(stored)))
    }

    /// Drops the collection with everything in it, also one of another model, but none that
    /// Livedex did not make. A missing one is fine.
    pub async fn drop_collection(&self) -> Result<(), MilvusError> {
        match self.describe().await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(MilvusError::OtherSchema { .. }) => {}
            Err(error) => return Err(error),
        }
        let name = &self.config().collection;
        self.call("drop_collection", Effect::Write, async {
            let request = DropCollectionRequest::builder().collection_name(name).build()?;
            self.client().drop_collection(request).await
        })
        .await
        .map_err(|failure| MilvusError::Service(failure.into()))
    }

    async fn describe(&self) -> Result<Option<Stored>, MilvusError> {
        let name = &self.config().collection;
        let described = self
            .read("describe_collection", || async {
                let request = DescribeCollectionRequest::builder().collection_name(name).build()?;
                self.client().describe_collection(request).await
            })
            .await;
        match described {
            Ok(response) => schema::check(response.description(), name).map(Some),
            Err(failure) if failure.kind == Kind::NoCollection => Ok(None),
            Err(failure) => Err(MilvusError::Service(failure.into())),
        }
    }

    /// Of several creators one wins; the others fail, in ways that differ between servers, and
    /// then find what the winner made, at once or a moment later.
    async fn find_or_create(&self, model: &ModelInfo) -> Result<Stored, MilvusError> {
        let started = Instant::now();
        loop {
            let late = started.elapsed() >= self.config().timeout;
            match self.describe().await {
                Ok(Some(stored)) => return Ok(stored),
                Ok(None) => {}
                Err(MilvusError::Service(ServiceError::Retry(_))) if !late => {}
                Err(error) => return Err(error),
            }
            if let Err(failure) = self.create(model).await {
                let hopeless = failure.class == Class::Reject
                    || matches!(failure.kind, Kind::Forbidden | Kind::Unauthenticated);
                if !hopeless && !late {
                    sleep(POLL).await;
                } else if let Some(stored) = self.describe().await? {
                    return Ok(stored);
                } else {
                    return Err(MilvusError::Service(failure.into()));
                }
            }
        }
    }

    async fn create(&self, model: &ModelInfo) -> Result<(), Failure> {
        let name = &self.config().collection;
        self.call("create_collection", Effect::Write, async {
            let request = CreateCollectionRequest::builder()
                .collection_name(name)
                .schema(schema::schema(model.dimension))
                .properties(schema::properties(model))
                // What a search without its own level gets; ours always carry one.
                .consistency_level(ConsistencyLevel::Bounded)
                .build()?;
            self.client().create_collection(request).await
        })
        .await?;
        tracing::info!(
            collection = %name, database = %self.config().database, model = %model.name,
            dimension = model.dimension, "created the collection"
        );
        Ok(())
    }

    /// Creates the indexes that are missing. Whoever loses a race finds the winner's. The vector's
    /// index comes last, because a collection loads once it has that one.
    async fn index(&self) -> Result<(), MilvusError> {
        let name = &self.config().collection;
        for (field, param) in schema::indexes(self.is_lite()) {
            if self.has_index(field).await? {
                continue;
            }
            let created = self
                .call("create_index", Effect::Write, async {
                    let request = CreateIndexRequest::builder()
                        .collection_name(name)
                        .index_params(vec![param])
                        // Waiting for it polls an RPC that Milvus Lite does not have.
                        .sync(false)
                        .build()?;
                    self.client().create_index(request).await
                })
                .await;
            if let Err(failure) = created
                && !self.has_index(field).await?
            {
                return Err(MilvusError::Service(failure.into()));
            }
        }
        Ok(())
    }

    async fn has_index(&self, field: &str) -> Result<bool, MilvusError> {
        let name = &self.config().collection;
        let described = self
            .read("describe_index", || async {
                let request = DescribeIndexRequest::builder()
                    .collection_name(name)
                    .field_name(field)
                    .index_name(field)
                    .build()?;
                self.client().describe_index(request).await
            })
            .await;
        match described {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == Kind::NoIndex => Ok(false),
            Err(failure) => Err(MilvusError::Service(failure.into())),
        }
    }

    async fn open(&self, stored: Stored) -> Result<Collection, MilvusError> {
        self.load().await?;
        let dirty = self.config().flush == FlushPolicy::WhenIdle;
        Ok(Collection {
            milvus: self.clone(),
            info: Arc::new(self.info(stored)),
            dirty: Arc::new(AtomicBool::new(dirty)),
        })
    }

    /// Loads the collection and waits for it. A failure may pass: another process may still be
    /// creating the index without which nothing loads.
    async fn load(&self) -> Result<(), ServiceError> {
        let name = &self.config().collection;
        let started = Instant::now();
        loop {
            let left = LOAD_DEADLINE.saturating_sub(started.elapsed());
            let attempt = call("load_collection", Effect::Read, self.is_lite(), left, async {
                let request = LoadCollectionRequest::builder()
                    .collection_name(name)
                    .sync(true)
                    .timeout_ms(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
                    .build()?;
                self.client().load_collection(request).await
            })
            .await;
            match attempt {
                Ok(()) => return Ok(()),
                Err(failure) if failure.kind == Kind::NoIndex || failure.kind == Kind::Deadline => {
                    if started.elapsed() + POLL >= LOAD_DEADLINE {
                        return Err(failure.into());
                    }
                    sleep(POLL).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    fn info(&self, stored: Stored) -> CollectionInfo {
        CollectionInfo {
            database: self.config().database.clone(),
            collection: self.config().collection.clone(),
            server_version: self.server_version().to_owned(),
            model: stored.model,
            fingerprint: stored.fingerprint,
            dimension: stored.dimension,
        }
    }

    fn no_collection(&self) -> MilvusError {
        MilvusError::NoCollection {
            database: self.config().database.clone(),
            collection: self.config().collection.clone(),
        }
    }
}

impl Collection {
    /// What it is.
    pub fn info(&self) -> &CollectionInfo {
        &self.info
    }

    /// The server it is on.
    pub fn milvus(&self) -> &Milvus {
        &self.milvus
    }

    pub(crate) fn name(&self) -> &str {
        &self.info.collection
    }

    pub(crate) fn dimension(&self) -> usize {
        self.info.dimension
    }

    /// Rows in the collection, counted with Strong consistency.
    pub async fn count(&self) -> Result<u64, ServiceError> {
        const COUNT: &str = "count(*)";
        let response = self
            .query("count", || {
                QueryRequest::builder()
                    .collection_name(self.name())
                    .output_fields([COUNT])
                    .consistency_level(ConsistencyLevel::Strong)
            })
            .await?;
        match response.results().get_output_field(COUNT) {
            Some(FieldData::Int64 { values, .. }) if values.len() == 1 => {
                Ok(u64::try_from(values[0]).unwrap_or(0))
            }
            _ => Err(ServiceError::Retry(
                "milvus count failed: the response holds no count".to_owned(),
            )),
        }
    }

    /// One query. Milvus Lite starts with its collections unloaded, so after a restart of it the
    /// first query loads; Milvus remembers by itself what was loaded, and what an operator
    /// released there stays released.
    pub(crate) async fn query(
        &self,
        rpc: &'static str,
        request: impl Fn() -> QueryRequestBuilder,
    ) -> Result<milvus::v2::response::dql::QueryResponse, Failure> {
        let _reading = self.milvus.reading().await;
        let attempt = || async { self.milvus.client().query(request().build()?).await };
        match self.milvus.read(rpc, attempt).await {
            Err(failure) if self.reload(&failure).await => self.milvus.read(rpc, attempt).await,
            outcome => outcome,
        }
    }

    /// Loads the collection if that is why a read failed; whether to try the read again.
    pub(crate) async fn reload(&self, failure: &Failure) -> bool {
        self.milvus.is_lite() && failure.kind == Kind::NotLoaded && self.milvus.load().await.is_ok()
    }

    /// Rows were written.
    pub(crate) fn touched(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Flushes if the policy says so and there is something to flush.
    pub(crate) async fn flush_if_touched(&self) -> Result<(), ServiceError> {
        if self.milvus.config().flush == FlushPolicy::Never
            || !self.dirty.swap(false, Ordering::AcqRel)
        {
            return Ok(());
        }
        let _writing = self.milvus.writing().await;
        let flushed = self
            .milvus
            .call("flush", Effect::Write, async {
                let request = FlushRequest::builder().collection_names([self.name()]).build()?;
                self.milvus.client().flush(request).await
            })
            .await;
        if flushed.is_err() {
            self.touched();
        }
        flushed.map(|_| ()).map_err(Into::into)
    }
}
