//! What an instance says about itself: in replies, in discovery and on `<prefix>.status`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use livedex_core::ports::ModelInfo;
use livedex_wire::reply::Models;

use crate::two_stage::Service;

/// What does not change while an instance runs.
#[derive(Debug, Clone)]
pub struct Report {
    /// The collection's name.
    pub collection: String,
    /// Stage 1's model.
    pub embedder: ModelInfo,
    /// Stage 2's model.
    pub reranker: Option<ModelInfo>,
}

impl Report {
    /// The report of a service.
    pub fn new(service: &Service) -> Self {
        Self {
            collection: service.collection.clone(),
            embedder: service.embedder.info().clone(),
            reranker: service.reranker.as_ref().map(|reranker| reranker.info().clone()),
        }
    }

    /// The models, for replies and `status`.
    pub(crate) fn models(&self) -> Models {
        Models {
            embedder: (&self.embedder).into(),
            reranker: self.reranker.as_ref().map(Into::into),
        }
    }

    /// As metadata for INFO and PING.
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            ("collection".to_owned(), self.collection.clone()),
            ("embedder".to_owned(), self.embedder.name.clone()),
            ("embedder_fingerprint".to_owned(), self.embedder.fingerprint.clone()),
            ("dimension".to_owned(), self.embedder.dimension.to_string()),
        ]);
        if let Some(reranker) = &self.reranker {
            metadata.insert("reranker".to_owned(), reranker.name.clone());
            metadata.insert("reranker_fingerprint".to_owned(), reranker.fingerprint.clone());
        }
        metadata
    }
}

/// How requests ended, by outcome.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    pub(crate) fn count(&self, outcome: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
