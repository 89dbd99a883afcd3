//! The stream: the history of a documentation site, as changes of documents.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use livedex_core::{
    document::{Change, ContentType, Document},
    ids::{DocumentId, DocumentKey, Tenant},
};
use serde_json::Value;

/// One event: which document it is about, and its text now, `None` if it is gone.
pub(crate) struct Event {
    pub(crate) path: String,
    pub(crate) text: Option<Arc<str>>,
}

impl Event {
    pub(crate) fn key(&self) -> Result<DocumentKey> {
        Ok(DocumentKey { tenant: Tenant::default(), id: DocumentId::new(self.path.as_str())? })
    }

    pub(crate) fn change(&self) -> Result<Change> {
        let key = self.key()?;
        Ok(match &self.text {
            None => Change::Delete(key),
            Some(text) => Change::Upsert(Box::new(Document {
                key,
                title: None,
                text: text.to_string(),
                content_type: ContentType::Markdown,
                url: None,
                metadata: Default::default(),
                version: None,
                updated_at_ms: None,
            })),
        })
    }
}

/// All events in their order.
pub(crate) fn read(folder: &Path) -> Result<Vec<Event>> {
    let mut texts: HashMap<String, Arc<str>> = HashMap::new();
    for blob in lines(&folder.join("blobs.jsonl.gz"))? {
        texts.insert(text(&blob, "blob")?.to_owned(), text(&blob, "text")?.into());
    }
    let mut events = Vec::new();
    for (event, seq) in lines(&folder.join("events.jsonl.gz"))?.into_iter().zip(0_u64..) {
        anyhow::ensure!(event["seq"].as_u64() == Some(seq), "event {seq} is {}", event["seq"]);
        let text_now = match text(&event, "op")? {
            "delete" => None,
            "insert" | "update" => {
                Some(Arc::clone(texts.get(text(&event, "blob")?).context("no such blob")?))
            }
            other => bail!("operation {other}"),
        };
        events.push(Event { path: text(&event, "path")?.to_owned(), text: text_now });
    }
    Ok(events)
}

/// What is alive at the end.
pub(crate) fn last(events: &[Event]) -> Result<BTreeMap<DocumentKey, Document>> {
    let mut documents = BTreeMap::new();
    for event in events {
        match event.change()? {
            Change::Upsert(document) => documents.insert(event.key()?, *document),
            Change::Delete(key) => documents.remove(&key),
        };
    }
    Ok(documents)
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    BufReader::new(GzDecoder::new(file)).lines().map(|l| Ok(serde_json::from_str(&l?)?)).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no {key}"))
}
