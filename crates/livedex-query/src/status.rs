//! What an instance says about itself: in replies, in discovery and on `<prefix>.status`.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use livedex_core::ports::ModelInfo;
use livedex_wire::{
    reply::Models,
    status::{CollectionStatus, StatusV1},
};

use crate::{
    admission::Admission,
    endpoint::VERSION,
    service::{Searched, Service},
};

/// How long `status` waits for the numbers of rows.
const ROWS_TIMEOUT: Duration = Duration::from_secs(2);

/// What does not change while an instance runs.
#[derive(Debug, Clone)]
pub struct Report {
    /// The names of the collections, the default one first.
    pub collections: Vec<String>,
    /// Stage 1's model.
    pub embedder: ModelInfo,
    /// Stage 2's model.
    pub reranker: Option<ModelInfo>,
}

impl Report {
    /// The report of a service.
    pub fn new(service: &Service) -> Self {
        Self {
            collections: service.collections.iter().map(|one| one.name.clone()).collect(),
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
            ("collection".to_owned(), self.collections.first().cloned().unwrap_or_default()),
            ("collections".to_owned(), self.collections.join(",")),
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

/// What `<prefix>.status` answers.
pub(crate) async fn status(
    id: &str,
    is_member: bool,
    service: &Service,
    report: &Report,
    admission: &Admission,
) -> StatusV1 {
    let collections = join_all(service.collections.iter().map(|one| of(service, one))).await;
    let Models { embedder, reranker } = report.models();
    StatusV1 {
        service_id: id.to_owned(),
        version: VERSION.to_owned(),
        collection: report.collections.first().cloned().unwrap_or_default(),
        rows: collections.first().and_then(|first| first.rows),
        embedder,
        reranker,
        in_flight: admission.in_flight() as u64,
        max_in_flight: Some(admission.limit() as u64),
        is_member,
        wait_ms: Some(u64::try_from(admission.wait().as_millis()).unwrap_or(u64::MAX)),
        collections,
    }
}

async fn of(service: &Service, collection: &Searched) -> CollectionStatus {
    let rows = tokio::time::timeout(ROWS_TIMEOUT, collection.retriever.rows()).await;
    let view = collection.view(&service.watermarks);
    CollectionStatus {
        name: collection.name.clone(),
        rows: rows.ok().and_then(Result::ok).flatten(),
        lag: view.lag,
        watermarks: view.watermarks,
    }
}
