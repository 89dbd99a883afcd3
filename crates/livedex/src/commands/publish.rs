//! `livedex publish`: files and folders onto the topic, and tombstones for what is gone.

use std::{collections::BTreeMap, collections::BTreeSet, process::ExitCode};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use livedex_core::{
    ids::{DocumentId, DocumentKey, Tenant},
    record::SourcePosition,
};
use livedex_kafka::{Admin, Publisher, TopicSpec};
use livedex_wire::{
    document::{Outgoing, encode, tombstone},
    mapping::Format,
};

use super::{
    files::{self, Common, Skip},
    print,
};
use crate::{cli::PublishArgs, config::Config, worker::BROKER_DEFAULT};

/// Records on their way at once: enough to fill librdkafka's batches, few enough to hold.
const MAX_IN_FLIGHT: usize = 256;

/// Publishes, and prints what was sent and what was left out.
pub(super) async fn run(config: &Config, args: &PublishArgs) -> anyhow::Result<ExitCode> {
    let tenant = Tenant::new(&args.tenant).context("--tenant")?;
    if args.sync && !args.tenant.is_empty() && args.id_prefix.is_empty() {
        // A record key is the id alone: another tenant's ids would look like files that are gone.
        bail!("--sync with --tenant needs --id-prefix, to tell this tenant's ids from others");
    }
    let stream = config.stream(args.stream.as_deref())?;
    let kafka = &stream.kafka;
    if stream.mapping.format() != Format::DocumentV1 {
        bail!(
            "publish sends document.v1, but mapping.format says that the records of topic {} are \"{}\"; \
             use a configuration for another topic",
            kafka.topic,
            stream.mapping.format().as_str()
        );
    }
    let (found, n_other) = files::find(&args.paths, &args.id_prefix, &args.exclude)?;
    let admin = Admin::new(kafka);
    admin.ping().await?;
    admin.ensure_topics(&[TopicSpec::new(&kafka.topic, BROKER_DEFAULT)]).await?;
    let publisher = Publisher::new(kafka)?;
    let common = Common {
        tenant: tenant.clone(),
        url_base: args.url_base.clone(),
        max_bytes: stream.max_document_bytes,
    };

    let bar = progress_bar(found.len() as u64);
    let mut skipped: BTreeMap<Skip, usize> = BTreeMap::new();
    if n_other > 0 {
        skipped.insert(Skip::OtherType, n_other);
    }
    let mut sent_ids = BTreeSet::new();
    let documents = found.iter().filter_map(|file| {
        bar.set_message(file.id.clone());
        match files::read(file, &common) {
            Ok(Ok(document)) => {
                sent_ids.insert(file.id.clone());
                Some(Ok((file.id.clone(), encode(&document))))
            }
            Ok(Err(skip)) => {
                *skipped.entry(skip).or_default() += 1;
                bar.inc(1);
                None
            }
            Err(error) => Some(Err(error)),
        }
    });
    let n_sent = send(&publisher, documents, args.json, &bar).await?;
    bar.finish_and_clear();

    let gone = match args.sync {
        true => missing(&admin, &kafka.topic, &sent_ids, &args.id_prefix).await?,
        false => Vec::new(),
    };
    let keys: Vec<DocumentKey> = gone
        .iter()
        .chain(&args.delete)
        .map(|id| {
            let id = DocumentId::new(id.as_str()).with_context(|| format!("--delete {id}"))?;
            Ok(DocumentKey { tenant: tenant.clone(), id })
        })
        .collect::<anyhow::Result<_>>()?;
    let tombstones = keys.iter().map(|key| Ok((key.id.to_string(), tombstone(key))));
    let n_deleted = send(&publisher, tombstones, args.json, &bar).await?;

    if !args.json {
        print(&summary(&kafka.topic, n_sent, n_deleted, &skipped));
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends every record and waits until each is durable.
pub(super) async fn send(
    publisher: &Publisher,
    records: impl Iterator<Item = anyhow::Result<(String, Outgoing)>>,
    json: bool,
    bar: &ProgressBar,
) -> anyhow::Result<usize> {
    stream::iter(records)
        .map(|record| async {
            let (id, record) = record?;
            let position = publisher
                .publish(record.key, record.value, record.headers)
                .await
                .with_context(|| format!("{id} was not published"))?;
            if json {
                print(&json_line(&id, &position));
            }
            bar.inc(1);
            anyhow::Ok(())
        })
        .buffer_unordered(MAX_IN_FLIGHT)
        .try_fold(0, |n, ()| async move { Ok(n + 1) })
        .await
}

/// Documents that are alive on the topic, start with the prefix, and have no file any more.
async fn missing(
    admin: &Admin,
    topic: &str,
    sent: &BTreeSet<String>,
    prefix: &str,
) -> anyhow::Result<Vec<String>> {
    let keys = admin.read_keys(topic).await?;
    let ids = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
    Ok(ids.filter(|id| id.starts_with(prefix) && !sent.contains(id)).collect())
}

fn json_line(id: &str, position: &SourcePosition) -> String {
    serde_json::json!({
        "id": id,
        "topic": &*position.topic,
        "partition": position.partition,
        "offset": position.offset,
    })
    .to_string()
}

fn summary(
    topic: &str,
    n_sent: usize,
    n_deleted: usize,
    skipped: &BTreeMap<Skip, usize>,
) -> String {
    let mut text = format!("published {n_sent} documents to {topic}");
    if n_deleted > 0 {
        text += &format!(", {n_deleted} tombstones");
    }
    for (skip, n) in skipped {
        text += &format!("; skipped {n} ({})", skip.as_str());
    }
    text
}

/// On a terminal a bar, elsewhere nothing.
fn progress_bar(n_files: u64) -> ProgressBar {
    let bar = ProgressBar::new(n_files);
    if let Ok(style) =
        ProgressStyle::with_template("publishing {bar:30} {pos}/{len} files  {wide_msg:.dim}")
    {
        bar.set_style(style);
    }
    bar
}
