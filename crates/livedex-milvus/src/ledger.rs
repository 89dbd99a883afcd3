//! The ledger of deletions: a small collection beside the main one.
//!
//! It is called like the main collection with [`SUFFIX`] behind, and holds an entry for each
//! document that was deleted or emptied ([`livedex_core::deletion`]). Milvus demands a vector of
//! every collection; the ledger's has two numbers, always the same.
//!
//! An entry says that documents before it are gone from *this* main collection. If that is dropped
//! to index everything again, its ledger must not speak for the next one: it would suppress every
//! document that was ever deleted and made again from elsewhere. So the main collection has a
//! random identity among its properties, the ledger names the one that it belongs to, and a ledger
//! of another is replaced by an empty one.

use std::collections::HashMap;

use livedex_core::{
    deletion::{Deletion, DeletionId},
    lease::Lease,
    limits::MAX_UPSERT_ROWS,
    ports::ServiceError,
};
use milvus::v2::{
    request::{
        collection::{AlterCollectionPropertiesRequest, DropCollectionPropertiesRequest},
        dml::{InsertRequest, UpsertRequest},
        dql::QueryRequest,
    },
    types::{CollectionDesc, ConsistencyLevel, FieldData, IndexParam, IndexType, MetricType},
};

use crate::{
    classify::{Effect, Failure},
    client::Milvus,
    collection::Collection,
    columns::Columns,
    error::MilvusError,
    literal::string_in,
    schema::{self, Kind, MAX_HASH_BYTES, MAX_TOPIC_BYTES, Stored, field},
    store::all_live,
};

/// What the ledger's name has behind the main collection's.
pub(crate) const SUFFIX: &str = "_deleted";

/// What the ledger of this collection is called.
pub fn ledger_name(collection: &str) -> String {
    format!("{collection}{SUFFIX}")
}

/// The version of what is below. A ledger of another one is replaced.
const VERSION: &str = "1";

/// When the document was deleted, milliseconds since 1970: for people.
const DELETED_AT: &str = "deleted_at";

const FIELDS: [(&str, Kind); 8] = [
    (field::ID, Kind::Text(MAX_HASH_BYTES)),
    (field::TENANT, Kind::Text(livedex_core::limits::MAX_TENANT_BYTES)),
    (field::DOCUMENT_ID, Kind::Text(livedex_core::limits::MAX_DOCUMENT_ID_BYTES)),
    (field::SOURCE_TOPIC, Kind::Text(MAX_TOPIC_BYTES)),
    (field::SOURCE_PARTITION, Kind::Int),
    (field::SOURCE_OFFSET, Kind::Int),
    (DELETED_AT, Kind::Int),
    (field::VECTOR, Kind::Vector),
];

/// Of length one, as the cosine wants it.
const VECTOR: [f32; 2] = [1.0, 0.0];

/// The names of the ledger's properties.
mod property {
    pub(super) const VERSION: &str = "livedex.ledger_version";
    /// The identity of the main collection.
    pub(super) const OF: &str = "livedex.ledger_of";
    /// Milvus' own: seconds after which it forgets a row. Milvus Lite keeps it and forgets nothing.
    pub(super) const TTL: &str = "collection.ttl.seconds";
}

impl Milvus {
    /// The ledger of the collection that is `stored`: found, replaced or created, then indexed and
    /// loaded. Returns its name. Several processes may do this at once.
    pub(crate) async fn ensure_ledger(&self, stored: &Stored) -> Result<String, MilvusError> {
        let name = ledger_name(&stored.name);
        let ttl = self.config().deletions_ttl.map(|ttl| ttl.as_secs().to_string());
        let mut properties = HashMap::from([
            (property::VERSION.to_owned(), VERSION.to_owned()),
            (property::OF.to_owned(), stored.identity.clone()),
        ]);
        properties.extend(ttl.clone().map(|ttl| (property::TTL.to_owned(), ttl)));
        let create = || {
            let schema =
                schema::of_fields("Deletions, remembered by livedex", &FIELDS, VECTOR.len());
            self.create(&name, schema, properties.clone())
        };
        let found = self.find_or_create(|| self.look(&name, stored), create).await?;
        let found = found.get_properties().get(property::TTL);
        if found != ttl.as_ref() {
            self.set_ttl(&name, ttl).await.map_err(|error| MilvusError::Service(error.into()))?;
        }
        let vector = IndexParam::new()
            .field_name(field::VECTOR)
            .index_name(field::VECTOR)
            .index_type(IndexType::Flat)
            .metric_type(MetricType::Cosine);
        self.index(&name, [(field::VECTOR, vector)]).await?;
        self.load(&name).await?;
        Ok(name)
    }

    /// The ledger, if it is there and belongs to this collection. One that belongs to another is
    /// dropped.
    async fn look(&self, name: &str, of: &Stored) -> Result<Option<CollectionDesc>, MilvusError> {
        let Some(desc) = self.describe(name).await? else { return Ok(None) };
        let properties = desc.get_properties();
        let (Some(version), Some(owner)) =
            (properties.get(property::VERSION), properties.get(property::OF))
        else {
            return Err(MilvusError::Foreign { collection: name.to_owned() });
        };
        if version == VERSION && *owner == of.identity {
            return Ok(Some(desc));
        }
        tracing::info!(
            ledger = name,
            "the ledger of deletions belongs to an earlier collection: starting an empty one"
        );
        self.drop_named(name).await?;
        Ok(None)
    }

    /// Drops the ledger of the collection called `name`; a missing one, or something else that is
    /// called so, is left alone.
    pub(crate) async fn drop_ledger(&self, name: &str) -> Result<(), MilvusError> {
        let ledger = ledger_name(name);
        match self.describe(&ledger).await? {
            Some(desc) if desc.get_properties().contains_key(property::OF) => {
                self.drop_named(&ledger).await
            }
            _ => Ok(()),
        }
    }

    async fn set_ttl(&self, name: &str, ttl: Option<String>) -> Result<(), Failure> {
        self.call("alter_collection", Effect::Write, async {
            match ttl {
                Some(ttl) => {
                    let request = AlterCollectionPropertiesRequest::builder()
                        .collection_name(name)
                        .properties(HashMap::from([(property::TTL.to_owned(), ttl)]))
                        .build()?;
                    self.client().alter_collection_properties(request).await
                }
                None => {
                    let request = DropCollectionPropertiesRequest::builder()
                        .collection_name(name)
                        .property_key(property::TTL)
                        .build()?;
                    self.client().drop_collection_properties(request).await
                }
            }
        })
        .await
    }
}

impl Collection {
    /// A collection that was opened to be looked at has no ledger: fencing by an empty one would
    /// bring documents back.
    fn ledger(&self) -> Result<&str, ServiceError> {
        self.ledger.as_deref().ok_or_else(|| {
            ServiceError::Reject("the collection was not opened for writing".to_owned())
        })
    }

    pub(crate) async fn read_ledger(
        &self,
        ids: &[DeletionId],
    ) -> Result<HashMap<DeletionId, i64>, ServiceError> {
        let ledger = self.ledger()?;
        let mut found = HashMap::new();
        for ids in ids.chunks(MAX_UPSERT_ROWS) {
            let filter = string_in(field::ID, ids.iter().map(DeletionId::as_str));
            let page = self
                .query("deletions", || {
                    QueryRequest::builder()
                        .collection_name(ledger)
                        .filter(&filter)
                        .output_fields([field::ID, field::SOURCE_OFFSET])
                        .consistency_level(ConsistencyLevel::Strong)
                })
                .await?;
            let page = page.results();
            let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
            let offsets = columns.ints(field::SOURCE_OFFSET)?;
            let rows = columns.texts(field::ID)?.iter().zip(offsets);
            found.extend(rows.map(|(id, offset)| (DeletionId::from_stored(id), *offset)));
        }
        Ok(found)
    }

    pub(crate) async fn write_ledger(
        &self,
        deletions: &[Deletion],
        leases: &[Lease],
    ) -> Result<(), ServiceError> {
        let ledger = self.ledger()?;
        for deletions in deletions.chunks(MAX_UPSERT_ROWS) {
            let _writing = self.milvus.writing().await;
            all_live(leases)?;
            self.touched();
            self.milvus
                .call("record_deletions", Effect::Write, async {
                    let insert = InsertRequest::builder()
                        .collection_name(ledger)
                        .columns(columns(deletions))
                        .build()?;
                    let request = UpsertRequest::builder().insert(insert).build()?;
                    self.milvus.client().upsert(request).await
                })
                .await?;
        }
        Ok(())
    }
}

fn columns(deletions: &[Deletion]) -> Vec<FieldData> {
    let texts = |name: &str, of: &dyn Fn(&Deletion) -> String| FieldData::VarChar {
        name: name.to_owned(),
        values: deletions.iter().map(of).collect(),
    };
    let ints = |name: &str, of: fn(&Deletion) -> i64| FieldData::Int64 {
        name: name.to_owned(),
        values: deletions.iter().map(of).collect(),
    };
    vec![
        texts(field::ID, &|deletion| deletion.id().as_str().to_owned()),
        texts(field::TENANT, &|deletion| deletion.document.tenant.as_str().to_owned()),
        texts(field::DOCUMENT_ID, &|deletion| deletion.document.id.as_str().to_owned()),
        texts(field::SOURCE_TOPIC, &|deletion| deletion.position.topic.to_string()),
        ints(field::SOURCE_PARTITION, |deletion| i64::from(deletion.position.partition)),
        ints(field::SOURCE_OFFSET, |deletion| deletion.position.offset),
        ints(DELETED_AT, |deletion| deletion.deleted_at_ms),
        FieldData::FloatVector {
            name: field::VECTOR.to_owned(),
            values: deletions.iter().map(|_| VECTOR.to_vec()).collect(),
        },
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::{
        ids::{DocumentId, DocumentKey, Tenant},
        record::SourcePosition,
    };

    use super::*;

    #[test]
    fn every_field_has_a_column() {
        let deletion = Deletion {
            document: DocumentKey {
                tenant: Tenant::new("t").unwrap(),
                id: DocumentId::new("d").unwrap(),
            },
            position: SourcePosition { topic: "topic".into(), partition: 3, offset: 9 },
            deleted_at_ms: 7,
        };
        let columns = columns(std::slice::from_ref(&deletion));
        let names: Vec<&str> = columns.iter().map(FieldData::name).collect();
        assert_eq!(names, FIELDS.map(|(name, _)| name));
        let read = Columns::new(&columns, 1);
        assert_eq!(read.texts(field::ID).unwrap(), [deletion.id().as_str()]);
        assert_eq!(read.ints(field::SOURCE_OFFSET).unwrap(), [9]);
        assert_eq!(read.vectors().unwrap(), [VECTOR.to_vec()]);
    }
}
