//! Creating, checking, loading, counting, dropping the collection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use livedex_core::ports::{ModelInfo, ServiceError};
use milvus::v2::{
    request::{
        dql::{QueryRequest, QueryRequestBuilder},
        utility::FlushRequest,
    },
    types::{ConsistencyLevel, FieldData},
};

use crate::{
    classify::{Class, Effect, Failure, Kind},
    client::Milvus,
    config::{Analyzer, FlushPolicy},
    error::MilvusError,
    schema::{self, Stored},
};

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
    /// A random number that it got when it was made; empty if that was before there was one.
    pub identity: String,
    /// Whether it can be searched by words ([`livedex_core::query::Route::Bm25`]).
    pub has_bm25: bool,
}

/// A collection that was checked and is loaded. Clones share it.
#[derive(Debug, Clone)]
pub struct Collection {
    pub(crate) milvus: Milvus,
    /// The name of its ledger of deletions, which only writers have.
    pub(crate) ledger: Option<Arc<str>>,
    info: Arc<CollectionInfo>,
    /// Whether rows were written since the last flush. Rows of an earlier process may be
    /// unflushed too, so it starts true.
    dirty: Arc<AtomicBool>,
}

impl Milvus {
    /// For writers: creates the collection if it is not there, else checks that it holds this
    /// model's embeddings. Then it is indexed and loaded, and so is its ledger of deletions.
    /// Several processes may do this at once.
    pub async fn ensure_collection(&self, model: &ModelInfo) -> Result<Collection, MilvusError> {
        let name = &self.config().collection;
        let stored = self.find_or_create(|| self.stored(), || self.create_for(model)).await?;
        schema::check_model(&stored, model, name)?;
        self.warn_of_analyzer(&stored);
        self.index(name, schema::indexes(self.is_lite(), stored.has_bm25)).await?;
        let ledger = self.ensure_ledger(&stored).await?;
        let collection = self.open(stored).await?;
        Ok(Collection { ledger: Some(ledger.into()), ..collection })
    }

    /// For readers: like [`Milvus::ensure_collection`], but a missing collection is an error.
    pub async fn open_collection(&self, model: &ModelInfo) -> Result<Collection, MilvusError> {
        let stored = self.stored().await?.ok_or_else(|| self.no_collection())?;
        schema::check_model(&stored, model, &self.config().collection)?;
        self.open(stored).await
    }

    /// For those who only look (`status`, checkers): any model's collection.
    pub async fn inspect_collection(&self) -> Result<Collection, MilvusError> {
        let stored = self.stored().await?.ok_or_else(|| self.no_collection())?;
        self.open(stored).await
    }

    /// What the collection is, without loading it; `None` if it does not exist.
    pub async fn describe_collection(&self) -> Result<Option<CollectionInfo>, MilvusError> {
        Ok(self.stored().await?.map(|stored| self.info(stored)))
    }

    /// Drops the collection with everything in it and with its ledger of deletions, also one of
    /// another model, but none that Livedex did not make. A missing one is fine.
    pub async fn drop_collection(&self) -> Result<(), MilvusError> {
        let name = match self.stored().await {
            Ok(None) => return Ok(()),
            Ok(Some(stored)) => stored.name,
            Err(MilvusError::OtherSchema { collection, .. }) => collection,
            Err(error) => return Err(error),
        };
        self.drop_named(&self.config().collection).await?;
        self.drop_ledger(&name).await
    }

    /// What the configured collection is; `None` if it does not exist.
    async fn stored(&self) -> Result<Option<Stored>, MilvusError> {
        let name = &self.config().collection;
        let desc = self.describe(name).await?;
        desc.map(|desc| schema::check(&desc, name)).transpose()
    }

    async fn create_for(&self, model: &ModelInfo) -> Result<(), Failure> {
        let name = &self.config().collection;
        let analyzer = self.config().analyzer;
        let schema = schema::schema(model.dimension, analyzer, self.is_lite());
        let created = self.create(name, schema, schema::properties(model, analyzer)).await;
        if let Err(mut failure) = created {
            // It answers with an exception of Python that could be anything; trying again is useless.
            if self.is_lite() && analyzer == Analyzer::Chinese {
                failure.class = Class::Reject;
                failure.what.push_str(
                    " (milvus.analyzer is \"chinese\", which milvus lite does with the Python package \
                     jieba: is that installed beside it?)",
                );
            }
            return Err(failure);
        }
        tracing::info!(
            collection = %name, database = %self.config().database, model = %model.name,
            dimension = model.dimension, analyzer = analyzer.name(), "created the collection"
        );
        Ok(())
    }

    /// An analyzer cannot be changed, and what is there still answers.
    fn warn_of_analyzer(&self, stored: &Stored) {
        let (configured, collection) = (self.config().analyzer, &self.config().collection);
        let own = if stored.has_bm25 { stored.analyzer.as_str() } else { Analyzer::None.name() };
        if own != configured.name() {
            tracing::warn!(
                %collection, analyzer = own, configured = configured.name(),
                "the collection was made with another milvus.analyzer and keeps it; index into another \
                 collection to change it"
            );
        }
    }

    async fn open(&self, stored: Stored) -> Result<Collection, MilvusError> {
        self.load(&self.config().collection).await?;
        let dirty = self.config().flush == FlushPolicy::WhenIdle;
        Ok(Collection {
            milvus: self.clone(),
            ledger: None,
            info: Arc::new(self.info(stored)),
            dirty: Arc::new(AtomicBool::new(dirty)),
        })
    }

    fn info(&self, stored: Stored) -> CollectionInfo {
        CollectionInfo {
            database: self.config().database.clone(),
            collection: self.config().collection.clone(),
            server_version: self.server_version().to_owned(),
            model: stored.model,
            fingerprint: stored.fingerprint,
            dimension: stored.dimension,
            identity: stored.identity,
            has_bm25: stored.has_bm25,
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
        if !self.milvus.is_lite() || failure.kind != Kind::NotLoaded {
            return false;
        }
        let mut is_loaded = self.milvus.load(self.name()).await.is_ok();
        if let Some(ledger) = &self.ledger {
            is_loaded &= self.milvus.load(ledger).await.is_ok();
        }
        is_loaded
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
                let names = std::iter::once(self.name()).chain(self.ledger.as_deref());
                let request = FlushRequest::builder().collection_names(names).build()?;
                self.milvus.client().flush(request).await
            })
            .await;
        if flushed.is_err() {
            self.touched();
        }
        flushed.map(|_| ()).map_err(Into::into)
    }
}
