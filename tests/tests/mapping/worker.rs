//! A worker with a mapping.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_core::{
    dead_letter,
    document::{ContentType, Document, MetadataValue},
    ids::{DocumentId, DocumentKey, Tenant},
};
use livedex_kafka::Publisher;
use livedex_testkit::{Broker, Livedex, Stack, stack::header, stack::runtime, wait::until};

use crate::events::{MAPPING, event, tombstone, truncate};

/// For a debug build on a busy machine to load its models and read the table.
const FOLLOWED: Duration = Duration::from_secs(120);

const STOP: Duration = Duration::from_secs(30);

/// A snapshot, changes and deletions, each followed by its tombstone: the collection says what the
/// table says, and the only dead letter is the one event that speaks of no row.
pub(crate) fn a_table_is_followed(broker: Broker) -> Result<()> {
    let stack = Stack::start(broker)?;
    let livedex = Livedex::new(&format!("{}{MAPPING}", stack.config()))?;
    let body = |id: u32, version: u32| {
        format!("Article {id} in version {version}.\n\n## More\n\nWhat it has always said of {id}.")
    };
    let mut events: Vec<_> =
        (0..12).map(|id| event("r", id, &format!("Title {id}"), &body(id, 1))).collect();
    events.extend((0..4).map(|id| event("u", id, &format!("Title {id}"), &body(id, 2))));
    events.push(truncate());
    events.push(event("c", 12, "Title 12", &body(12, 1)));
    for id in [3, 5, 7] {
        events.extend([event("d", id, "", ""), tombstone(id)]);
    }
    let expected: BTreeMap<_, _> = (0..13_u32)
        .filter(|id| ![3, 5, 7].contains(id))
        .map(|id| article(id, &body(id, if id < 4 { 2 } else { 1 })))
        .collect::<Result<_>>()?;

    runtime()?.block_on(async {
        let publisher = Publisher::new(stack.kafka())?;
        for (key, value, headers) in &events {
            publisher.publish_record(key.as_deref(), value.as_deref(), headers, None).await?;
        }
        let mut worker = livedex.start(&["ingest"])?;
        // Before the group's first member a fresh broker has no coordinator to ask.
        until("partitions", FOLLOWED, || {
            let log = worker.still_runs().and_then(|()| worker.stderr());
            async move {
                let is_assigned = log?.contains("partitions assigned");
                Ok(if is_assigned { Ok(()) } else { Err("none yet".to_owned()) })
            }
        })
        .await?;
        stack
            .until_committed(FOLLOWED)
            .await
            .with_context(|| worker.stderr().unwrap_or_default())?;
        let report = stack.report(&expected).await?;
        ensure!(report.is_clean() && report.rows >= expected.len(), "{report}");
        let letters = stack.dead_letters().await?;
        ensure!(letters.len() == 1, "{} dead letters", letters.len());
        let class = header(&letters[0], dead_letter::EXCEPTION_CLASS_NAME)?;
        ensure!(class == "MappingError.Debezium", "{class}");
        let finished = tokio::task::spawn_blocking(move || worker.terminate(STOP)).await??;
        ensure!(!finished.success()?.stderr.contains("panicked"));
        Ok(())
    })
}

/// What the mapping makes of a row.
fn article(id: u32, body: &str) -> Result<(DocumentKey, Document)> {
    let key = DocumentKey { tenant: Tenant::default(), id: DocumentId::new(id.to_string())? };
    let document = Document {
        key: key.clone(),
        title: Some(format!("Title {id}")),
        text: format!("# Title {id}\n\n{body}"),
        content_type: ContentType::Markdown,
        url: None,
        metadata: [("lang".to_owned(), MetadataValue::String("en".to_owned()))].into(),
        version: None,
        updated_at_ms: Some(1_777_636_800_000),
    };
    Ok((key, document))
}
