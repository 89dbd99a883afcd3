//! What else a client asks, beside a query: to have texts reranked or embedded, and to read a
//! document. Checked as a [`crate::query::QueryRequest`] is: every limit holds, and `None` means the
//! server's default.

use crate::{
    ids::{DocumentId, Tenant},
    query::Consistency,
    record::SourcePosition,
};

/// A text that the reranker scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RerankDocument {
    /// The client's own name for it, which comes back with its score: 1 to
    /// [`crate::limits::MAX_DOCUMENT_ID_BYTES`] bytes. Nothing looks at it.
    pub id: Option<String>,
    /// The text: 1 to [`crate::limits::MAX_CHUNK_TEXT_BYTES`] bytes, not only white space.
    pub text: String,
}

/// Stage 2 alone, over texts that the client brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RerankRequest {
    /// The query's text: 1 to [`crate::limits::MAX_QUERY_BYTES`] bytes, not only white space.
    pub query: String,
    /// What is scored: 1 to [`crate::limits::MAX_RERANK_DOCUMENTS`] texts.
    pub documents: Vec<RerankDocument>,
    /// How many of the best are answered with, 1 to [`crate::limits::MAX_RERANK_DOCUMENTS`]; all
    /// that were scored if `None`.
    pub top_k: Option<usize>,
    /// The task for instruction-aware models: 1 to [`crate::limits::MAX_INSTRUCTION_BYTES`] bytes.
    pub instruction: Option<String>,
    /// Whether results carry their text.
    pub include_text: bool,
}

/// What a text is to an embedder: models may put different prompts before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextKind {
    /// What is looked for.
    #[default]
    Query,
    /// What is found: embedded as a chunk's text.
    Document,
}

/// Texts to embed as stage 1 does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedRequest {
    /// 1 to [`crate::limits::MAX_EMBED_TEXTS`] texts, each 1 to
    /// [`crate::limits::MAX_CHUNK_TEXT_BYTES`] bytes and not only white space.
    pub texts: Vec<String>,
    /// What all of them are.
    pub kind: TextKind,
    /// The task for instruction-aware models: 1 to [`crate::limits::MAX_INSTRUCTION_BYTES`] bytes.
    /// Always `None` for [`TextKind::Document`], whose prompt has none.
    pub instruction: Option<String>,
}

/// A document's chunks in their order, a page at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRequest {
    /// The collection's name.
    pub collection: Option<String>,
    /// The document.
    pub document: DocumentId,
    /// Its tenant; the default tenant if `None`.
    pub tenant: Option<Tenant>,
    /// The first ordinal wanted, below [`crate::limits::MAX_CHUNKS_PER_DOCUMENT`].
    pub from: u32,
    /// Chunks wanted: 1 to [`crate::limits::MAX_PAGE_CHUNKS`].
    pub limit: Option<usize>,
    /// How fresh the data must be: [`Consistency::Strong`] with `after`, else
    /// [`Consistency::Bounded`] if `None`.
    pub consistency: Option<Consistency>,
    /// Records that must be in the collection before it is read, at most
    /// [`crate::limits::MAX_AFTER`].
    pub after: Vec<SourcePosition>,
    /// Whether chunks carry their text.
    pub include_text: bool,
    /// Whether the document's metadata comes with it.
    pub include_metadata: bool,
    /// Whether chunks carry their embeddings.
    pub include_vectors: bool,
}

impl DocumentRequest {
    /// The whole document, as far as it fits a page: default consistency, with text and metadata.
    pub fn new(document: DocumentId) -> Self {
        Self {
            collection: None,
            document,
            tenant: None,
            from: 0,
            limit: None,
            consistency: None,
            after: Vec::new(),
            include_text: true,
            include_metadata: true,
            include_vectors: false,
        }
    }

    /// How fresh the data must be, resolved.
    pub fn consistency(&self) -> Consistency {
        Consistency::resolve(self.consistency, &self.after)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::query::QueryRequest;

    #[test]
    fn records_to_wait_for_make_a_read_strong() {
        let after = vec![SourcePosition { topic: "t".into(), partition: 0, offset: 1 }];
        let mut document = DocumentRequest::new(DocumentId::new("a").unwrap());
        let mut query = QueryRequest::new("q");
        assert_eq!(document.consistency(), Consistency::Bounded);
        assert_eq!(query.consistency(), Consistency::Bounded);
        document.consistency = Some(Consistency::Eventually);
        query.consistency = document.consistency;
        assert_eq!(document.consistency(), Consistency::Eventually);
        assert_eq!(query.consistency(), Consistency::Eventually);
        document.after.clone_from(&after);
        query.after = after;
        assert_eq!(document.consistency(), Consistency::Strong);
        assert_eq!(query.consistency(), Consistency::Strong);
    }
}
