//! The steps of making any collection ready: describe, create, index, load, drop. Each is safe to
//! take while another process takes it too.

use std::{collections::HashMap, time::Duration};

use livedex_core::ports::ServiceError;
use milvus::v2::{
    request::{
        collection::{
            CreateCollectionRequest, DescribeCollectionRequest, DropCollectionRequest,
            LoadCollectionRequest,
        },
        index::{CreateIndexRequest, DescribeIndexRequest},
    },
    types::{CollectionDesc, CollectionSchema, ConsistencyLevel, IndexParam},
};
use tokio::time::{Instant, sleep};

use crate::{
    classify::{Class, Effect, Failure, Kind},
    client::{Milvus, call},
    error::MilvusError,
};

/// How long loading may take: a large collection needs minutes after a restart of Milvus.
const LOAD_DEADLINE: Duration = Duration::from_secs(300);

/// The pause between two looks at something that another process may be doing.
const POLL: Duration = Duration::from_millis(200);

impl Milvus {
    /// What the server says of a collection; `None` if it does not exist.
    pub(crate) async fn describe(&self, name: &str) -> Result<Option<CollectionDesc>, MilvusError> {
        let described = self
            .read("describe_collection", || async {
                let request = DescribeCollectionRequest::builder().collection_name(name).build()?;
                self.client().describe_collection(request).await
            })
            .await;
        match described {
            Ok(response) => Ok(Some(response.description().clone())),
            Err(failure) if failure.kind == Kind::NoCollection => Ok(None),
            Err(failure) => Err(MilvusError::Service(failure.into())),
        }
    }

    /// Looks for something and creates it where it is not there. Of several creators one wins; the
    /// others fail, in ways that differ between servers, and then find what the winner made, at
    /// once or a moment later.
    pub(crate) async fn find_or_create<T, L, C>(
        &self,
        look: impl Fn() -> L,
        create: impl Fn() -> C,
    ) -> Result<T, MilvusError>
    where
        L: Future<Output = Result<Option<T>, MilvusError>>,
        C: Future<Output = Result<(), Failure>>,
    {
        let started = Instant::now();
        loop {
            let late = started.elapsed() >= self.config().timeout;
            match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(MilvusError::Service(ServiceError::Retry(_))) if !late => {}
                Err(error) => return Err(error),
            }
            if let Err(failure) = create().await {
                let hopeless = failure.class == Class::Reject
                    || matches!(failure.kind, Kind::Forbidden | Kind::Unauthenticated);
                if !hopeless && !late {
                    sleep(POLL).await;
                } else if let Some(found) = look().await? {
                    return Ok(found);
                } else {
                    return Err(MilvusError::Service(failure.into()));
                }
            }
        }
    }

    /// Creates a collection.
    pub(crate) async fn create(
        &self,
        name: &str,
        schema: CollectionSchema,
        properties: HashMap<String, String>,
    ) -> Result<(), Failure> {
        self.call("create_collection", Effect::Write, async {
            let request = CreateCollectionRequest::builder()
                .collection_name(name)
                .schema(schema)
                .properties(properties)
                // What a search without its own level gets; ours always carry one.
                .consistency_level(ConsistencyLevel::Bounded)
                .build()?;
            self.client().create_collection(request).await
        })
        .await
    }

    /// Drops a collection; a missing one is fine.
    pub(crate) async fn drop_named(&self, name: &str) -> Result<(), MilvusError> {
        let dropped = self
            .call("drop_collection", Effect::Write, async {
                let request = DropCollectionRequest::builder().collection_name(name).build()?;
                self.client().drop_collection(request).await
            })
            .await;
        match dropped {
            Err(failure) if failure.kind != Kind::NoCollection => {
                Err(MilvusError::Service(failure.into()))
            }
            _ => Ok(()),
        }
    }

    /// Creates the indexes that are missing, each named like its field, in their order. Whoever
    /// loses a race finds the winner's. A collection loads once its vector has one.
    pub(crate) async fn index(
        &self,
        name: &str,
        indexes: impl IntoIterator<Item = (&'static str, IndexParam)>,
    ) -> Result<(), MilvusError> {
        for (field, param) in indexes {
            if self.has_index(name, field).await? {
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
                && !self.has_index(name, field).await?
            {
                return Err(MilvusError::Service(failure.into()));
            }
        }
        Ok(())
    }

    async fn has_index(&self, name: &str, field: &str) -> Result<bool, MilvusError> {
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

    /// Loads a collection and waits for it. A failure may pass: another process may still be
    /// creating the index without which nothing loads.
    pub(crate) async fn load(&self, name: &str) -> Result<(), ServiceError> {
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
}
