//! `documents_get.v1`: a request to read a document, and `documents_reply.v1`, its chunks.

use std::sync::Arc;

use livedex_core::{
    document::Metadata,
    ids::{DocumentId, Tenant},
    limits::{MAX_CHUNKS_PER_DOCUMENT, MAX_DOCUMENT_ID_BYTES, MAX_PAGE_CHUNKS},
    query::{Consistency, Passage},
    requests::DocumentRequest,
};
use serde::{Deserialize, Serialize};

use crate::{
    fields::{FieldError, Fields, Problem, parse, string},
    reply::{Chunk, Include, MalformedReply, Source, Watermark, some, updated_at},
    request::{Parts, RequestError, Written, collection, consistency_name, freshness, tenant},
};

const FIELDS: &[&str] =
    &["collection", "document_id", "tenant", "from", "limit", "consistency", "after", "include"];

/// Reads and checks a request: afterwards every limit holds.
pub fn decode(json: &[u8]) -> Result<DocumentRequest, RequestError> {
    let mut fields = Fields::new(parse(json)?, "", FIELDS)?;
    let collection = collection(&mut fields)?;
    let id = string("document_id", fields.need("document_id")?, MAX_DOCUMENT_ID_BYTES)?;
    if id.is_empty() {
        return Err(FieldError::new("document_id", Problem::Empty).into());
    }
    let document = DocumentId::new(id).map_err(|error| {
        FieldError::new("document_id", Problem::Other(format!("is not valid: {error}")))
    })?;
    let tenant = tenant(&mut fields)?;
    let from = fields.count("from", 0, MAX_CHUNKS_PER_DOCUMENT - 1)?;
    let limit = fields.count("limit", 1, MAX_PAGE_CHUNKS)?;
    let (consistency, after) = freshness(&mut fields)?;
    let parts = Parts::decode(&mut fields)?;
    Ok(DocumentRequest {
        collection,
        document,
        tenant,
        from: from.and_then(|from| u32::try_from(from).ok()).unwrap_or(0),
        limit,
        consistency,
        after,
        include_text: parts.text,
        include_metadata: parts.metadata,
        include_vectors: parts.vectors,
    })
}

/// The request as JSON, without what is the default.
pub fn encode(request: &DocumentRequest) -> Vec<u8> {
    let mut json = Written::default();
    json.put_some("collection", request.collection.as_deref());
    json.put("document_id", request.document.as_str());
    json.put_some("tenant", request.tenant.as_ref().map(Tenant::as_str));
    json.put_some("from", (request.from > 0).then_some(request.from));
    json.put_some("limit", request.limit);
    json.put_freshness(request.consistency, &request.after);
    let parts = Parts {
        text: request.include_text,
        metadata: request.include_metadata,
        vectors: request.include_vectors,
    };
    parts.encode(&mut json);
    json.into_bytes()
}

impl From<&DocumentRequest> for Include {
    fn from(request: &DocumentRequest) -> Self {
        Self {
            text: request.include_text,
            metadata: request.include_metadata,
            vectors: request.include_vectors,
            explain: false,
        }
    }
}

/// A document, or a page of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentReplyV1 {
    /// The collection that was read.
    pub collection: String,
    /// The document's id.
    pub document_id: String,
    /// Its tenant; absent for the default tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    /// Where a reader finds it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The producer's version of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// When the producer changed it (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub updated_at: Option<String>,
    /// Its metadata; absent if it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata: Option<Metadata>,
    /// The record that wrote the newest of these chunks.
    pub source: Source,
    /// Its chunks by ordinal.
    pub chunks: Vec<Chunk>,
    /// The ordinal to go on from (`from`); absent with the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<u32>,
    /// The consistency level that was read with: `strong`, `bounded` or `eventually`.
    pub consistency: String,
    /// How far each partition that feeds the collection is ingested.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub watermarks: Vec<Watermark>,
    /// Records that are not in the collection yet, over all partitions; absent if that is not known
    /// of every one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lag: Option<u64>,
}

impl DocumentReplyV1 {
    /// The document that these chunks are of, as it is sent, without watermarks and lag. `None` if
    /// there are no chunks: then nothing is known of it.
    ///
    /// An update writes the new chunks before it removes the old ones; what is said of the document
    /// is what the newest of its chunks says. Its records are in one partition, so that the offset
    /// tells which that is.
    pub fn new(
        collection: &str,
        mut passages: Vec<Passage>,
        next: Option<u32>,
        include: Include,
        consistency: Consistency,
    ) -> Option<Self> {
        passages.sort_by_key(|passage| passage.fields.ordinal);
        let newest = passages.iter().max_by_key(|passage| passage.fields.position.offset)?;
        let document = newest.fields.clone();
        Some(Self {
            collection: collection.to_owned(),
            document_id: document.document.id.to_string(),
            tenant: some(document.document.tenant.to_string()),
            title: some(document.title),
            url: some(document.url),
            version: some(document.version),
            updated_at: updated_at(document.updated_at_ms),
            metadata: include.metadata.then(|| Arc::unwrap_or_clone(document.metadata)),
            source: document.position.into(),
            chunks: passages.into_iter().map(|passage| Chunk::new(passage, include)).collect(),
            next,
            consistency: consistency_name(consistency).to_owned(),
            watermarks: Vec::new(),
            lag: None,
        })
    }

    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        crate::reply::to_json(self)
    }

    /// As a client reads it.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedReply> {
        crate::reply::from_json(json)
    }
}

#[cfg(test)]
mod tests;
