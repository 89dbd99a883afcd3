//! `livedex check --sample N`: what records of the topic become, a line each.
//!
//! Reads beside the group and writes nothing, so that a mapping can be tried on a topic in use. Only
//! decoding is tried: a document may still be refused later, when it is split or written.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anyhow::bail;
use livedex_core::{
    document::{Change, Document},
    ids::DocumentKey,
    ports::Undecoded,
    record::{DeadLetterReason, SourcePosition},
};
use livedex_kafka::{Admin, PeekFrom, Peeked};
use livedex_wire::{document::name_of, mapping::Mapping, time::format_millis};
use serde_json::{Value, json};

use super::print;
use crate::{cli::CheckArgs, config::Config, decoding};

/// Characters of a text that are shown.
const SHOWN_CHARS: usize = 200;

/// Characters of a title that are shown.
const TITLE_CHARS: usize = 60;

/// Reads, decodes and prints; fails if a record would become a dead letter.
pub(super) async fn run(config: &Config, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let n = args.sample.unwrap_or_default() as usize;
    let from = if args.from_beginning { PeekFrom::Beginning } else { PeekFrom::End };
    let stream = config.stream(args.stream.as_deref())?;
    let topic = &stream.kafka.topic;
    let peeked = Admin::new(&stream.kafka).peek(topic, n, from).await?;
    let decoder = decoding::decoder(stream)?;
    let mut summary = Summary::default();
    for record in &peeked.records {
        let outcome = match decoder.decode(record) {
            Ok(change) => Ok(change),
            Err(Undecoded::Never(reason)) => Err(reason),
            Err(Undecoded::NotYet(why)) => bail!("{}: {why}", record.position),
        };
        summary.add(&stream.mapping, &outcome);
        let line = Line { position: &record.position, outcome: &outcome, args };
        match args.json {
            true => print(&line.json().to_string()),
            false => print(&line.text()),
        }
    }
    match args.json {
        true => print(&summary.json(topic, &peeked).to_string()),
        false => print(&summary.text(topic, &peeked)),
    }
    Ok(if summary.dead_letters.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Outcome = Result<Change, DeadLetterReason>;

/// What one record becomes.
struct Line<'a> {
    position: &'a SourcePosition,
    outcome: &'a Outcome,
    args: &'a CheckArgs,
}

impl Line<'_> {
    fn text(&self) -> String {
        let position = self.position;
        match self.outcome {
            Ok(Change::Upsert(document)) => {
                let mut parts = vec![
                    format!("{position}  upsert  {}", name(&document.key)),
                    name_of(document.content_type).to_owned(),
                    format!("{} characters", document.text.chars().count()),
                ];
                if let Some(title) = &document.title {
                    parts.insert(1, format!("\"{}\"", beginning(title, TITLE_CHARS)));
                }
                if !document.metadata.is_empty() {
                    let keys: Vec<&str> = document.metadata.keys().map(String::as_str).collect();
                    parts.push(format!("metadata {}", keys.join(", ")));
                }
                let mut text = parts.join("  ");
                if self.args.show_text {
                    text += &format!("\n    {}", beginning(&document.text, SHOWN_CHARS));
                }
                text
            }
            Ok(Change::Delete(key)) => format!("{position}  delete  {}", name(key)),
            Err(reason) => format!(
                "{position}  dead letter  {} {}: {}",
                reason.stage.as_str(),
                reason.class,
                reason.message
            ),
        }
    }

    fn json(&self) -> Value {
        let position = self.position;
        let mut line = json!({
            "topic": &*position.topic,
            "partition": position.partition,
            "offset": position.offset,
        });
        let more = match self.outcome {
            Ok(Change::Upsert(document)) => self.document(document),
            Ok(Change::Delete(key)) => json!({
                "outcome": "delete", "id": key.id.as_str(), "tenant": key.tenant.as_str(),
            }),
            Err(reason) => json!({
                "outcome": "dead_letter",
                "stage": reason.stage.as_str(),
                "class": reason.class,
                "message": reason.message,
            }),
        };
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        line
    }

    fn document(&self, document: &Document) -> Value {
        let mut line = json!({
            "outcome": "upsert",
            "id": document.key.id.as_str(),
            "tenant": document.key.tenant.as_str(),
            "title": document.title,
            "url": document.url,
            "content_type": name_of(document.content_type),
            "characters": document.text.chars().count(),
            "metadata": document.metadata.keys().collect::<Vec<_>>(),
            "version": document.version,
            "updated_at": document.updated_at_ms.and_then(format_millis),
        });
        if self.args.show_text {
            line["text"] = document.text.chars().take(SHOWN_CHARS).collect::<String>().into();
        }
        line
    }
}

/// The id, and in front of it the tenant unless it is the default one.
fn name(key: &DocumentKey) -> String {
    match key.tenant.as_str() {
        "" => key.id.to_string(),
        tenant => format!("{} (tenant {tenant})", key.id),
    }
}

/// The first characters on one line.
fn beginning(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What all of them become.
#[derive(Default)]
struct Summary {
    n_documents: usize,
    n_deletions: usize,
    /// How many, by class.
    dead_letters: BTreeMap<String, usize>,
    /// Fields that are mapped and that no document has; `None` before the first document.
    absent: Option<BTreeSet<String>>,
}

impl Summary {
    fn add(&mut self, mapping: &Mapping, outcome: &Outcome) {
        match outcome {
            Ok(Change::Upsert(document)) => {
                self.n_documents += 1;
                let absent: BTreeSet<String> = mapping.absent(document).into_iter().collect();
                self.absent = Some(match self.absent.take() {
                    None => absent,
                    Some(before) => &before & &absent,
                });
            }
            Ok(Change::Delete(_)) => self.n_deletions += 1,
            Err(reason) => *self.dead_letters.entry(reason.class.clone()).or_default() += 1,
        }
    }

    fn text(&self, topic: &str, peeked: &Peeked) -> String {
        let partitions = count(peeked.n_partitions, "partition");
        if peeked.n_offsets == 0 {
            return format!("topic {topic} ({partitions}) is empty");
        }
        let mut text = format!(
            "{} of topic {topic} ({partitions}, {} offsets): {}, {}, {}",
            count(peeked.records.len(), "record"),
            peeked.n_offsets,
            count(self.n_documents, "document"),
            count(self.n_deletions, "deletion"),
            count(self.dead_letters.values().sum(), "dead letter"),
        );
        let classes: Vec<String> =
            self.dead_letters.iter().map(|(class, n)| format!("{n} {class}")).collect();
        if !classes.is_empty() {
            text += &format!(" ({})", classes.join(", "));
        }
        for field in self.absent.iter().flatten() {
            text += &format!("\nno document has a value at mapping.{field}");
        }
        if peeked.is_cut {
            text += "\nthe other records were left out: these are as large as what is held at once";
        }
        text
    }

    fn json(&self, topic: &str, peeked: &Peeked) -> Value {
        json!({"summary": {
            "topic": topic,
            "partitions": peeked.n_partitions,
            "offsets": peeked.n_offsets,
            "records": peeked.records.len(),
            "documents": self.n_documents,
            "deletions": self.n_deletions,
            "dead_letters": self.dead_letters,
            "absent": self.absent.clone().unwrap_or_default(),
            "is_cut": peeked.is_cut,
        }})
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
