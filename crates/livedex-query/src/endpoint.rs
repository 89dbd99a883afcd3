//! What the service and its endpoints are called: names, subjects, headers, contracts.

use std::collections::HashMap;

use livedex_wire::schemas;

/// The service's name in discovery.
pub const SERVICE_NAME: &str = "livedex";

/// The service's version in discovery.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The header with the milliseconds that the caller still waits.
pub const DEADLINE_HEADER: &str = "Livedex-Deadline-Ms";

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Both stages.
    Query,
    /// Stage 1 alone.
    Retrieve,
    /// Stage 2 alone, for the caller's own texts.
    Rerank,
    /// Embeddings.
    Embed,
    /// A document's chunks in their order.
    Documents,
    /// What every instance says about itself.
    Status,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Query, Self::Retrieve, Self::Rerank, Self::Embed, Self::Documents, Self::Status];

    /// Those that the queue group shares: one instance answers.
    pub const SHARED: [Self; 5] =
        [Self::Query, Self::Retrieve, Self::Rerank, Self::Embed, Self::Documents];

    /// Its name in discovery and in metrics, where a dot may not stand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Retrieve => "retrieve",
            Self::Rerank => "rerank",
            Self::Embed => "embed",
            Self::Documents => "documents-get",
            Self::Status => "status",
        }
    }

    /// Its subject behind the prefix.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Documents => "documents.get",
            other => other.name(),
        }
    }

    /// What INFO says of it: the names of its messages, and their JSON Schemas.
    pub(crate) fn contract(self) -> HashMap<String, String> {
        let names: &[&str] = match self {
            Self::Query | Self::Retrieve => &["query.v1", "reply.v1", "error.v1"],
            Self::Rerank => &["rerank.v1", "rerank_reply.v1", "error.v1"],
            Self::Embed => &["embed.v1", "embed_reply.v1", "error.v1"],
            Self::Documents => &["documents_get.v1", "documents_reply.v1", "error.v1"],
            Self::Status => &["status.v1"],
        };
        let schemas = schemas::all();
        names
            .iter()
            .filter_map(|name| schemas.iter().find(|(known, _)| known == name))
            .map(|(name, schema)| ((*name).to_owned(), (*schema).to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_its_contracts() {
        for endpoint in Endpoint::ALL {
            let expected = if endpoint == Endpoint::Status { 1 } else { 3 };
            assert_eq!(endpoint.contract().len(), expected, "{endpoint:?}");
        }
    }
}
