//! Rows to columns and back.
//!
//! Columns, not JSON rows: a vector as JSON is five times its size and must be parsed.

use livedex_core::{
    document::{Metadata, MetadataValue},
    ids::{ChunkId, ContentHash, DocumentId, DocumentKey, Tenant},
    ports::ServiceError,
    query::Passage,
    record::SourcePosition,
    row::{ChunkFields, ChunkRow, StoredRow},
};
use milvus::v2::types::FieldData;
use serde_json::Value;

use crate::{schema::field, words};

/// The columns of an upsert. `has_bm25`: with what BM25 reads.
pub(crate) fn columns(rows: &[&ChunkRow], has_bm25: bool) -> Vec<FieldData> {
    let texts = |name: &str, of: fn(&ChunkFields) -> &str| FieldData::VarChar {
        name: name.to_owned(),
        values: rows.iter().map(|row| of(&row.fields).to_owned()).collect(),
    };
    let ints = |name: &str, of: fn(&ChunkFields) -> i64| FieldData::Int64 {
        name: name.to_owned(),
        values: rows.iter().map(|row| of(&row.fields)).collect(),
    };
    let mut columns = vec![
        texts(field::ID, |row| row.id.as_str()),
        texts(field::TENANT, |row| row.document.tenant.as_str()),
        texts(field::DOCUMENT_ID, |row| row.document.id.as_str()),
        ints(field::ORDINAL, |row| i64::from(row.ordinal)),
        texts(field::TEXT, |row| &row.text),
        texts(field::HEADING, |row| &row.heading),
        texts(field::TITLE, |row| &row.title),
        texts(field::URL, |row| &row.url),
        FieldData::Json {
            name: field::METADATA.to_owned(),
            values: rows.iter().map(|row| metadata_to_json(&row.fields.metadata)).collect(),
        },
        texts(field::VERSION, |row| &row.version),
        ints(field::UPDATED_AT, |row| row.updated_at_ms),
        texts(field::CONTENT_HASH, |row| row.content_hash.as_str()),
        texts(field::ATTRIBUTES_HASH, |row| row.attributes_hash.as_str()),
        texts(field::SOURCE_TOPIC, |row| &row.position.topic),
        ints(field::SOURCE_PARTITION, |row| i64::from(row.position.partition)),
        ints(field::SOURCE_OFFSET, |row| row.position.offset),
        FieldData::FloatVector {
            name: field::VECTOR.to_owned(),
            values: rows.iter().map(|row| row.vector.clone()).collect(),
        },
    ];
    columns.extend(has_bm25.then(|| words::column(rows.iter().map(|row| &row.fields))));
    columns
}

/// Metadata as the JSON object that is stored.
pub(crate) fn metadata_to_json(metadata: &Metadata) -> Value {
    let of = |value: &MetadataValue| match value {
        MetadataValue::Bool(value) => Value::from(*value),
        MetadataValue::Int(value) => Value::from(*value),
        MetadataValue::Float(value) => Value::from(*value),
        MetadataValue::String(value) => Value::from(value.as_str()),
        MetadataValue::Strings(values) => Value::from(values.as_slice()),
    };
    Value::Object(metadata.iter().map(|(key, value)| (key.clone(), of(value))).collect())
}

/// A stored object as metadata; what Livedex never writes (nested values, null) is left out.
fn metadata_from_json(value: &Value) -> Metadata {
    let of = |value: &Value| match value {
        Value::Bool(value) => Some(MetadataValue::Bool(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Some(MetadataValue::Int(value)),
            None => number.as_f64().map(MetadataValue::Float),
        },
        Value::String(value) => Some(MetadataValue::String(value.clone())),
        Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(MetadataValue::Strings),
        Value::Null | Value::Object(_) => None,
    };
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), of(value)?))).collect()
}

/// The columns of a reply, by name.
pub(crate) struct Columns<'a> {
    fields: &'a [FieldData],
    rows: usize,
}

impl<'a> Columns<'a> {
    /// Columns that are to have `rows` values each.
    pub(crate) fn new(fields: &'a [FieldData], rows: usize) -> Self {
        Self { fields, rows }
    }

    fn column(&self, name: &str) -> Result<&'a FieldData, ServiceError> {
        self.fields
            .iter()
            .find(|field| field.name() == name && field.len() == self.rows)
            .ok_or_else(|| wrong(name))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<&'a [String], ServiceError> {
        match self.column(name)? {
            FieldData::VarChar { values, .. } => Ok(values),
            _ => Err(wrong(name)),
        }
    }

    pub(crate) fn ints(&self, name: &str) -> Result<&'a [i64], ServiceError> {
        match self.column(name)? {
            FieldData::Int64 { values, .. } => Ok(values),
            _ => Err(wrong(name)),
        }
    }

    fn json(&self, name: &str) -> Result<&'a [Value], ServiceError> {
        match self.column(name)? {
            FieldData::Json { values, .. } => Ok(values),
            _ => Err(wrong(name)),
        }
    }

    pub(crate) fn vectors(&self) -> Result<&'a [Vec<f32>], ServiceError> {
        match self.column(field::VECTOR)? {
            FieldData::FloatVector { values, .. } => Ok(values),
            _ => Err(wrong(field::VECTOR)),
        }
    }

    /// The rows as the diff needs them, each with its document.
    pub(crate) fn stored_rows(&self) -> Result<Vec<(DocumentKey, StoredRow)>, ServiceError> {
        let ids = self.texts(field::ID)?;
        let hashes = self.texts(field::ATTRIBUTES_HASH)?;
        let (documents, positions) = (self.documents()?, self.positions()?);
        let rows = ids.iter().zip(hashes).zip(documents).zip(positions);
        Ok(rows
            .map(|(((id, hash), document), position)| {
                let row = StoredRow {
                    id: ChunkId::from_stored(id),
                    attributes_hash: ContentHash::from_stored(hash),
                    position,
                };
                (document, row)
            })
            .collect())
    }

    /// The rows with everything but their vectors. `ids` are given: the reply to a search does
    /// not hold them as a column.
    pub(crate) fn chunk_fields(&self, ids: &[String]) -> Result<Vec<ChunkFields>, ServiceError> {
        if ids.len() != self.rows {
            return Err(wrong(field::ID));
        }
        let (ordinals, updated) = (self.ints(field::ORDINAL)?, self.ints(field::UPDATED_AT)?);
        let (texts, headings) = (self.texts(field::TEXT)?, self.texts(field::HEADING)?);
        let (titles, urls) = (self.texts(field::TITLE)?, self.texts(field::URL)?);
        let (metadata, versions) = (self.json(field::METADATA)?, self.texts(field::VERSION)?);
        let contents = self.texts(field::CONTENT_HASH)?;
        let attributes = self.texts(field::ATTRIBUTES_HASH)?;
        let documents = self.documents()?.into_iter().zip(self.positions()?);
        documents
            .enumerate()
            .map(|(i, (document, position))| {
                Ok(ChunkFields {
                    id: ChunkId::from_stored(&ids[i]),
                    document,
                    ordinal: u32::try_from(ordinals[i]).map_err(|_| wrong(field::ORDINAL))?,
                    text: texts[i].clone(),
                    heading: headings[i].clone(),
                    title: titles[i].clone(),
                    url: urls[i].clone(),
                    metadata: metadata_from_json(&metadata[i]).into(),
                    version: versions[i].clone(),
                    updated_at_ms: updated[i],
                    content_hash: ContentHash::from_stored(&contents[i]),
                    attributes_hash: ContentHash::from_stored(&attributes[i]),
                    position,
                })
            })
            .collect()
    }

    /// The rows as they are answered with. `ids` as for [`Columns::chunk_fields`].
    pub(crate) fn passages(
        &self,
        ids: &[String],
        with_vectors: bool,
    ) -> Result<Vec<Passage>, ServiceError> {
        let vectors = if with_vectors { Some(self.vectors()?) } else { None };
        let vector = |at: usize| vectors.and_then(|vectors| vectors.get(at)).cloned();
        let rows = self.chunk_fields(ids)?.into_iter().enumerate();
        Ok(rows.map(|(at, fields)| Passage { fields, vector: vector(at) }).collect())
    }

    fn documents(&self) -> Result<Vec<DocumentKey>, ServiceError> {
        let (tenants, ids) = (self.texts(field::TENANT)?, self.texts(field::DOCUMENT_ID)?);
        tenants
            .iter()
            .zip(ids)
            .map(|(tenant, id)| {
                let tenant = Tenant::new(tenant).map_err(|_| wrong(field::TENANT))?;
                let id = DocumentId::new(id).map_err(|_| wrong(field::DOCUMENT_ID))?;
                Ok(DocumentKey { tenant, id })
            })
            .collect()
    }

    fn positions(&self) -> Result<Vec<SourcePosition>, ServiceError> {
        let topics = self.texts(field::SOURCE_TOPIC)?;
        let (partitions, offsets) =
            (self.ints(field::SOURCE_PARTITION)?, self.ints(field::SOURCE_OFFSET)?);
        topics
            .iter()
            .zip(partitions)
            .zip(offsets)
            .map(|((topic, partition), offset)| {
                Ok(SourcePosition {
                    topic: topic.as_str().into(),
                    partition: i32::try_from(*partition)
                        .map_err(|_| wrong(field::SOURCE_PARTITION))?,
                    offset: *offset,
                })
            })
            .collect()
    }
}

/// A column that is missing, short or of another type: the server's fault, not the request's.
fn wrong(name: &str) -> ServiceError {
    ServiceError::Retry(format!("milvus answered with a column `{name}` that cannot be read"))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::document::MetadataValue;

    use super::*;

    /// A row with something in every field.
    pub(crate) fn row(id: &str, text: &str, vector: Vec<f32>) -> ChunkRow {
        let metadata = Metadata::from([
            ("bool".to_owned(), MetadataValue::Bool(true)),
            ("int".to_owned(), MetadataValue::Int(i64::MIN)),
            ("float".to_owned(), MetadataValue::Float(0.5)),
            ("string".to_owned(), MetadataValue::String("a\"b".to_owned())),
            ("strings".to_owned(), MetadataValue::Strings(vec!["x".to_owned(), "y".to_owned()])),
        ]);
        let fields = ChunkFields {
            id: ChunkId::from_stored(id),
            document: DocumentKey {
                tenant: Tenant::new("t").unwrap(),
                id: DocumentId::new("d").unwrap(),
            },
            ordinal: 7,
            text: text.to_owned(),
            heading: "h".to_owned(),
            title: "t".to_owned(),
            url: "u".to_owned(),
            metadata: metadata.into(),
            version: "v".to_owned(),
            updated_at_ms: -1,
            content_hash: ContentHash::of([b"c".as_slice()]),
            attributes_hash: ContentHash::of([b"a".as_slice()]),
            position: SourcePosition { topic: "topic".into(), partition: 3, offset: i64::MAX },
        };
        ChunkRow { fields, vector }
    }

    #[test]
    fn rows_come_back_from_their_columns() {
        let rows = [row("1", "one", vec![0.0, 1.0]), row("2", "", vec![1.0, 0.0])];
        let columns = columns(&rows.iter().collect::<Vec<_>>(), true);
        let read = Columns::new(&columns, 2);
        let ids = read.texts(field::ID).unwrap();
        let fields = read.chunk_fields(ids).unwrap();
        assert_eq!(fields, rows.clone().map(|row| row.fields));
        assert_eq!(read.vectors().unwrap(), rows.clone().map(|row| row.vector));
        let stored = read.stored_rows().unwrap();
        assert_eq!(stored[1].0, rows[1].fields.document);
        assert_eq!(stored[1].1.position, rows[1].fields.position);
    }

    #[test]
    fn a_short_reply_is_an_error_not_a_panic() {
        let columns = columns(&[&row("1", "one", vec![0.0])], false);
        assert!(Columns::new(&columns, 2).stored_rows().is_err());
        assert!(Columns::new(&columns[..3], 1).stored_rows().is_err());
        assert!(Columns::new(&columns, 1).chunk_fields(&[]).is_err());
    }

    #[test]
    fn what_is_no_metadata_is_left_out() {
        let value = serde_json::json!({"a": null, "b": {"c": 1}, "d": [1], "e": 2, "f": 1e300});
        let read = metadata_from_json(&value);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["e", "f"]);
    }
}
