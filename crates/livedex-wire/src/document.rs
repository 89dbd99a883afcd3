//! `document.v1`: a record to a change of a document, and back.
//!
//! # Identity
//! The record's key is the document's id. The value may repeat it as `id`, and then both must
//! agree: a tombstone has nothing but the key, so a document stored under another id than its key
//! could never be deleted. A value without a key must have an `id`; its order and its deletion are
//! then the producer's problem.
//!
//! The tenant stands in the header [`TENANT_HEADER`], for the same reason. The value may repeat it
//! as `tenant`, and then both must agree; a value alone may name it, too. Ids are unique within a
//! tenant; on a compacted topic make them unique across tenants, because compaction looks at keys
//! only.
//!
//! # Lenience
//! `null` counts as absent, for fields and for metadata values. Anything else that the contract
//! does not know is an error: a misspelt field would be lost without a word.

use livedex_core::{
    document::{Change, ContentType, Document, Metadata},
    ids::{DocumentId, DocumentKey, IdError, Tenant},
    limits::{
        MAX_DOCUMENT_ID_BYTES, MAX_TENANT_BYTES, MAX_TITLE_BYTES, MAX_URL_BYTES, MAX_VERSION_BYTES,
    },
    ports::{Decoder, Undecoded},
    record::{DeadLetterReason, Header, RawRecord, Stage, TENANT_HEADER},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    fields::{FieldError, Fields, Problem, SyntaxError, parse, quote, string, type_error},
    metadata,
    time::{format_millis, parse_millis},
};

const FIELDS: &[&str] =
    &["id", "title", "text", "content_type", "url", "tenant", "metadata", "version", "updated_at"];

/// A value of `document.v1`, as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentV1 {
    /// The id, if the value has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text, in `content_type`.
    pub text: String,
    /// `text/plain` (the default), `text/markdown` or `text/html`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'static str>,
    /// Where a reader finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The tenant, if the value has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What queries may filter on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The producer's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// When the producer changed it (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// A version: text or a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Version {
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

/// Why a record is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value is larger than a document may be.
    #[error("the value has {bytes} bytes, the limit is {limit} (ingest.max_document_bytes)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit, inclusive.
        limit: usize,
    },
    /// The value is not JSON.
    #[error(transparent)]
    Json(#[from] SyntaxError),
    /// A field is not as it should be.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The key is not UTF-8.
    #[error("the record's key is not UTF-8 (at byte {at} of {bytes})")]
    KeyNotUtf8 {
        /// The first byte that is not.
        at: usize,
        /// The key's length.
        bytes: usize,
    },
    /// There is neither a key nor an id.
    #[error("the record has no key, and its value has no `id`")]
    NoId,
    /// A tombstone has no key.
    #[error("the record has neither a key nor a value")]
    Nothing,
    /// Key and id differ.
    #[error(
        "`id` is {id:?} and the record's key is {key:?}: they must agree, or a tombstone could \
         not delete the document"
    )]
    IdMismatch {
        /// The id in the value, cut.
        id: String,
        /// The key, cut.
        key: String,
    },
    /// Header and field differ.
    #[error(
        "`tenant` is {tenant:?} and the header {TENANT_HEADER} is {header:?}: they must agree, or \
         a tombstone could not delete the document"
    )]
    TenantMismatch {
        /// The tenant in the value, cut.
        tenant: String,
        /// The header, cut.
        header: String,
    },
    /// The tenant's header is not UTF-8.
    #[error("the header {TENANT_HEADER} is not UTF-8")]
    TenantNotUtf8,
    /// An id or a tenant is not valid.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl DecodeError {
    /// A stable name of the error's kind.
    pub fn class(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "DecodeError.TooLarge",
            Self::Json(_) => "DecodeError.Json",
            Self::Field(_) => "DecodeError.Field",
            Self::KeyNotUtf8 { .. } | Self::NoId | Self::Nothing | Self::IdMismatch { .. } => {
                "DecodeError.Key"
            }
            Self::TenantMismatch { .. } | Self::TenantNotUtf8 => "DecodeError.Tenant",
            Self::Id(_) => "DecodeError.Id",
        }
    }
}

impl From<DecodeError> for DeadLetterReason {
    fn from(error: DecodeError) -> Self {
        Self { stage: Stage::Decode, class: error.class().to_owned(), message: error.to_string() }
    }
}

/// Reads records whose values are `document.v1`.
#[derive(Debug, Clone, Copy)]
pub struct NativeDecoder {
    max_document_bytes: usize,
}

impl NativeDecoder {
    /// A decoder that refuses values of more than `max_document_bytes` bytes.
    pub fn new(max_document_bytes: usize) -> Self {
        Self { max_document_bytes }
    }

    /// What the record says.
    pub fn change(&self, record: &RawRecord) -> Result<Change, DecodeError> {
        let key = key(record)?;
        let tenant = tenant_header(&record.headers)?;
        let Some(value) = &record.value else {
            let id = DocumentId::new(key.ok_or(DecodeError::Nothing)?)?;
            let tenant = Tenant::new(tenant.unwrap_or_default())?;
            return Ok(Change::Delete(DocumentKey { tenant, id }));
        };
        check_size(value, self.max_document_bytes)?;
        let document = DocumentV1::from_json(value)?.into_document(key, tenant)?;
        Ok(Change::Upsert(Box::new(document)))
    }
}

/// Whether `value` has at most `limit` bytes.
pub(crate) fn check_size(value: &[u8], limit: usize) -> Result<(), DecodeError> {
    match value.len() {
        bytes if bytes > limit => Err(DecodeError::TooLarge { bytes, limit }),
        _ => Ok(()),
    }
}

impl Decoder for NativeDecoder {
    fn decode(&self, record: &RawRecord) -> Result<Change, Undecoded> {
        self.change(record).map_err(|error| DeadLetterReason::from(error).into())
    }
}

/// The key as text; an empty one counts as none.
pub(crate) fn key(record: &RawRecord) -> Result<Option<&str>, DecodeError> {
    let Some(key) = record.key.as_deref().filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(key);
    text.map(Some)
        .map_err(|error| DecodeError::KeyNotUtf8 { at: error.valid_up_to(), bytes: key.len() })
}

/// The tenant that a header names.
pub(crate) fn tenant_header(headers: &[Header]) -> Result<Option<&str>, DecodeError> {
    let value = last_header(headers, TENANT_HEADER);
    value.map(std::str::from_utf8).transpose().map_err(|_| DecodeError::TenantNotUtf8)
}

/// The last header of the name, as Kafka's own `lastHeader` takes it; null counts as none.
pub(crate) fn last_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    let header = headers.iter().rev().find(|(known, _)| known == name);
    header.and_then(|(_, value)| value.as_deref())
}

impl DocumentV1 {
    /// Reads and checks a value: afterwards every limit holds, but for what ids are made of.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        Self::from_value(parse(json)?)
    }

    /// As [`Self::from_json`], of JSON that has been parsed.
    pub(crate) fn from_value(json: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(json, "", FIELDS)?;
        let text = fields
            .string("text", usize::MAX)?
            .ok_or_else(|| FieldError::new("text", Problem::Missing))?;
        let content_type = match fields.string("content_type", usize::MAX)? {
            None => None,
            Some(name) => Some(content_type(&name).map(name_of).ok_or_else(|| {
                let allowed = "text/plain, text/markdown or text/html";
                let problem = Problem::NotAllowed { value: quote(name), allowed };
                FieldError::new("content_type", problem)
            })?),
        };
        let updated_at = fields.string("updated_at", usize::MAX)?;
        if let Some(time) = updated_at.as_ref().filter(|time| parse_millis(time).is_none()) {
            let allowed = "an RFC 3339 time with offset";
            let problem = Problem::NotAllowed { value: quote(time), allowed };
            return Err(FieldError::new("updated_at", problem).into());
        }
        Ok(Self {
            id: fields.string("id", MAX_DOCUMENT_ID_BYTES)?,
            title: fields.string("title", MAX_TITLE_BYTES)?,
            text,
            content_type,
            url: fields.string("url", MAX_URL_BYTES)?,
            tenant: fields.string("tenant", MAX_TENANT_BYTES)?,
            metadata: fields.take("metadata").map(metadata::decode).transpose()?,
            version: fields.take("version").map(version).transpose()?,
            updated_at,
        })
    }

    /// The document, with the record's key and tenant header.
    pub fn into_document(
        self,
        key: Option<&str>,
        tenant_header: Option<&str>,
    ) -> Result<Document, DecodeError> {
        let id = match (self.id, key) {
            (Some(id), Some(key)) if id != key => {
                return Err(DecodeError::IdMismatch { id: quote(id), key: quote(key) });
            }
            (Some(id), _) => id,
            (None, Some(key)) => key.to_owned(),
            (None, None) => return Err(DecodeError::NoId),
        };
        let tenant = match (self.tenant, tenant_header) {
            (Some(tenant), Some(header)) if tenant != header => {
                let (tenant, header) = (quote(tenant), quote(header));
                return Err(DecodeError::TenantMismatch { tenant, header });
            }
            (Some(tenant), _) => tenant,
            (None, header) => header.unwrap_or_default().to_owned(),
        };
        Ok(Document {
            key: DocumentKey { tenant: Tenant::new(tenant)?, id: DocumentId::new(id)? },
            title: self.title,
            text: self.text,
            content_type: self.content_type.and_then(content_type).unwrap_or_default(),
            url: self.url,
            metadata: self.metadata.unwrap_or_default(),
            version: self.version.map(|version| match version {
                Version::Number(number) => number.to_string(),
                Version::Text(text) => text,
            }),
            updated_at_ms: self.updated_at.as_deref().and_then(parse_millis),
        })
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }
}

/// The content type of this media type, without parameters.
pub(crate) fn content_type(name: &str) -> Option<ContentType> {
    match name {
        "text/plain" => Some(ContentType::Plain),
        "text/markdown" => Some(ContentType::Markdown),
        "text/html" => Some(ContentType::Html),
        _ => None,
    }
}

/// The media type of a content type.
pub fn name_of(content_type: ContentType) -> &'static str {
    match content_type {
        ContentType::Plain => "text/plain",
        ContentType::Markdown => "text/markdown",
        ContentType::Html => "text/html",
    }
}

fn version(json: Value) -> Result<Version, FieldError> {
    match json.as_i64() {
        Some(number) => Ok(Version::Number(number)),
        None if json.is_string() => string("version", json, MAX_VERSION_BYTES).map(Version::Text),
        None => Err(type_error("version", "a string or a whole number of 64 bits", &json)),
    }
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The key: the document's id.
    pub key: Vec<u8>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers: the tenant, unless it is the default one.
    pub headers: Vec<Header>,
}

/// The record that brings a document.
pub fn encode(document: &Document) -> Outgoing {
    let tenant = document.key.tenant.as_str();
    let value = DocumentV1 {
        id: Some(document.key.id.to_string()),
        title: document.title.clone(),
        text: document.text.clone(),
        content_type: Some(name_of(document.content_type)),
        url: document.url.clone(),
        tenant: (!tenant.is_empty()).then(|| tenant.to_owned()),
        metadata: (!document.metadata.is_empty()).then(|| document.metadata.clone()),
        version: document.version.clone().map(Version::Text),
        updated_at: document.updated_at_ms.and_then(format_millis),
    };
    Outgoing { value: Some(value.to_json()), ..tombstone(&document.key) }
}

/// The record that deletes a document.
pub fn tombstone(key: &DocumentKey) -> Outgoing {
    let tenant = key.tenant.as_str();
    let header = || (TENANT_HEADER.to_owned(), Some(tenant.as_bytes().to_vec()));
    Outgoing {
        key: key.id.as_str().as_bytes().to_vec(),
        value: None,
        headers: (!tenant.is_empty()).then(header).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
