//! The documents onto the topic.

use anyhow::Context;
use livedex_core::{
    document::{Document, Metadata},
    ids::{DocumentId, DocumentKey, Tenant},
};
use livedex_eval::beir;
use livedex_kafka::Publisher;
use livedex_wire::document::{Outgoing, encode};

use super::{super::publish, place::Place, progress::Progress};

/// Publishes every document as `document.v1`, and waits until each is durable.
pub(super) async fn publish(place: &Place, documents: &[beir::Document]) -> anyhow::Result<()> {
    let publisher = Publisher::new(place.kafka())?;
    let progress = Progress::new("publishing", documents.len());
    let records = documents.iter().map(|document| {
        progress.step();
        record(document)
    });
    publish::send(&publisher, records, false, &indicatif::ProgressBar::hidden()).await?;
    Ok(())
}

fn record(document: &beir::Document) -> anyhow::Result<(String, Outgoing)> {
    let id = DocumentId::new(document.id.as_str())
        .with_context(|| format!("corpus.jsonl: the id {:?}", document.id))?;
    let document = Document {
        key: DocumentKey { tenant: Tenant::default(), id },
        title: Some(document.title.clone()).filter(|title| !title.is_empty()),
        text: document.text.clone(),
        content_type: Default::default(),
        url: None,
        metadata: Metadata::new(),
        version: None,
        updated_at_ms: None,
    };
    Ok((document.key.id.to_string(), encode(&document)))
}
