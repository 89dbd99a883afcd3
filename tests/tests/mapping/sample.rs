//! `livedex check --sample`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use livedex_core::ports::{FinishedRecord, RecordSource as _, SourceEvent};
use livedex_kafka::{
    Admin, EndMode, KafkaConfig, KafkaSource, PartitionLag, PeekFrom, Publisher, TopicSpec,
};
use livedex_testkit::{Broker, Livedex, binary::Finished, stack::runtime, wait::until};
use serde_json::Value;

use crate::events::{MAPPING, Record, event, tombstone, truncate};
use crate::groups;

const SOON: Duration = Duration::from_secs(30);

/// The cleaner looks every 15 s.
const COMPACTED: Duration = Duration::from_secs(90);

/// A topic with records in it.
struct Topic {
    kafka: KafkaConfig,
    livedex: Livedex,
}

impl Topic {
    fn new(broker: &Broker, name: &str, spec: TopicSpec, mapping: &str) -> Result<Self> {
        let kafka = KafkaConfig {
            brokers: broker.brokers(),
            topic: name.to_owned(),
            group: format!("{name}-reader"),
            ..KafkaConfig::default()
        };
        runtime()?.block_on(Admin::new(&kafka).ensure_topics(&[spec]))?;
        let livedex = Livedex::new(&format!(
            "[kafka]\nbrokers = \"{}\"\ntopic = \"{name}\"\ngroup = \"{}\"\n{mapping}",
            kafka.brokers, kafka.group
        ))?;
        Ok(Self { kafka, livedex })
    }

    /// Sends records one after the other, each to its partition.
    fn publish(&self, records: impl IntoIterator<Item = (i32, Record)>) -> Result<()> {
        runtime()?.block_on(async {
            let publisher = Publisher::new(&self.kafka)?;
            for (partition, (key, value, headers)) in records {
                publisher
                    .publish_record(key.as_deref(), value.as_deref(), &headers, Some(partition))
                    .await?;
            }
            Ok(())
        })
    }

    fn sample(&self, arguments: &[&str]) -> Result<Finished> {
        let finished = self.livedex.run(&[&["check", "--sample"], arguments].concat(), SOON)?;
        ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        Ok(finished)
    }

    /// The lines of a sample in JSON, and its summary.
    fn json(&self, arguments: &[&str]) -> Result<(Vec<Value>, Value)> {
        let finished = self.sample(&[arguments, &["--json"]].concat())?;
        let lines = finished.stdout.lines().map(serde_json::from_str);
        let mut lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
        let mut last = lines.pop().context("no line")?;
        Ok((lines, last["summary"].take()))
    }

    /// What the broker remembers of readers and records.
    fn traces(&self) -> Result<(BTreeSet<String>, Vec<PartitionLag>)> {
        let admin = Admin::new(&self.kafka);
        let lag = runtime()?.block_on(admin.lag(&self.kafka.group, &self.kafka.topic))?;
        Ok((groups::list(&self.kafka.brokers)?, lag))
    }

    /// Reads the topic as its group does, and commits half of it.
    fn commit_half(&self) -> Result<()> {
        runtime()?.block_on(async {
            let config = self.kafka.clone();
            let start = move || KafkaSource::start(&config, EndMode::UntilCaughtUp);
            let mut source = tokio::task::spawn_blocking(start).await??;
            let (acknowledger, stopper) = (source.acknowledger(), source.stopper());
            while let Some(event) = source.next().await {
                let SourceEvent::Records(records) = event? else { continue };
                for record in records.iter().filter(|record| record.position.offset < 2) {
                    acknowledger.finish(&FinishedRecord {
                        position: record.position.clone(),
                        bytes: record.size(),
                        lease: record.lease.clone(),
                    });
                }
            }
            Ok(stopper.close(SOON).await?)
        })
    }
}

pub(crate) fn a_sample_leaves_no_trace(broker: &Broker) -> Result<()> {
    let spec = TopicSpec::new("articles", 2);
    let topic = Topic::new(broker, "articles", spec, MAPPING)?;
    topic.publish([
        (0, event("r", 1004, "Refunds", "Ask us within 30 days.")),
        (0, event("u", 1004, "Refunds", "Ask us within 60 days.")),
        (0, event("d", 1004, "", "")),
        (0, tombstone(1004)),
        (1, event("c", 1005, "Shipping", "It takes a week.")),
    ])?;
    topic.commit_half()?;
    let before = topic.traces()?;
    ensure!(before.0.contains("articles-reader"), "{before:?}");
    let committed: Vec<_> = before.1.iter().map(|lag| (lag.committed, lag.high)).collect();
    ensure!(committed == [(Some(2), 4), (Some(1), 1)], "{before:?}");

    let finished = topic.sample(&["10"])?.success()?;
    let lines: Vec<&str> = finished.stdout.lines().collect();
    ensure!(
        lines
            == [
                "articles[0]@0  upsert  1004  \"Refunds\"  text/markdown  33 characters  metadata lang",
                "articles[0]@1  upsert  1004  \"Refunds\"  text/markdown  33 characters  metadata lang",
                "articles[0]@2  delete  1004",
                "articles[0]@3  delete  1004",
                "articles[1]@0  upsert  1005  \"Shipping\"  text/markdown  28 characters  metadata lang",
                "5 records of topic articles (2 partitions, 5 offsets): 3 documents, 2 deletions, 0 dead \
                 letters",
            ],
        "{}",
        finished.stdout
    );
    ensure!(!finished.stdout.contains("within"), "a text without --show-text");
    let shown = topic.sample(&["10", "--show-text"])?.success()?;
    ensure!(shown.stdout.contains("# Refunds Ask us within 60 days."), "{}", shown.stdout);

    // A record that would become a dead letter fails the check, which names its reason.
    topic.publish([(1, truncate())])?;
    let before = topic.traces()?;
    let failed = topic.sample(&["10"])?;
    ensure!(failed.status.code() == Some(1), "{}", failed.status);
    for words in [
        "articles[1]@1  dead letter  DECODE MappingError.Debezium: the table was truncated",
        "1 dead letter (1 MappingError.Debezium)",
    ] {
        ensure!(failed.stdout.contains(words), "no {words:?} in {}", failed.stdout);
    }
    let (lines, summary) = topic.json(&["10"])?;
    ensure!(lines.len() == 6 && lines.iter().all(|line| line.get("text").is_none()), "{lines:?}");
    let line = &lines[4];
    ensure!(
        line["outcome"] == "upsert" && line["id"] == "1005" && line["partition"] == 1,
        "{line}"
    );
    ensure!(line["updated_at"] == "2026-05-01T12:00:00Z" && line["characters"] == 28, "{line}");
    ensure!(lines[5]["class"] == "MappingError.Debezium" && lines[5]["stage"] == "DECODE");
    ensure!(summary["documents"] == 3 && summary["deletions"] == 2, "{summary}");
    ensure!(summary["dead_letters"]["MappingError.Debezium"] == 1, "{summary}");

    // Neither the group that is configured nor one that nobody has seen has left anything.
    topic.sample(&["10", "--group", "never-seen", "--from-beginning"])?;
    let after = topic.traces()?;
    ensure!(before == after, "before {before:?}, after {after:?}");
    Ok(())
}

pub(crate) fn a_sample_is_spread_and_has_two_ends(broker: &Broker) -> Result<()> {
    let mapping = "[mapping]\nformat = \"json\"\ntext = \"/body\"\ntitle = \"/titel\"\n";
    let topic = Topic::new(broker, "pages", TopicSpec::new("pages", 3), mapping)?;
    let page = |n: i32| -> Record {
        let value = format!("{{\"title\": \"Page {n}\", \"body\": \"Text {n}.\"}}");
        (Some(format!("page-{n}").into_bytes()), Some(value.into_bytes()), Vec::new())
    };
    // 40 records in the first partition, 1 in the second, none in the third.
    topic.publish((0..40).map(|n| (0, page(n))).chain([(1, page(40))]))?;
    let ids = |arguments: &[&str]| -> Result<Vec<String>> {
        let (lines, summary) = topic.json(arguments)?;
        ensure!(summary["offsets"] == 41 && summary["partitions"] == 3, "{summary}");
        Ok(lines.iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect())
    };
    ensure!(ids(&["4"])? == ["page-37", "page-38", "page-39", "page-40"]);
    ensure!(ids(&["3", "--from-beginning"])? == ["page-0", "page-1", "page-40"]);
    ensure!(ids(&["1000"])?.len() == 41);
    // A place where no document has a value is probably mistyped.
    let finished = topic.sample(&["5"])?.success()?;
    let words = "no document has a value at mapping.title = /titel";
    ensure!(finished.stdout.lines().last() == Some(words), "{}", finished.stdout);
    Ok(())
}

pub(crate) fn what_is_not_there_is_said(broker: &Broker) -> Result<()> {
    let topic = Topic::new(broker, "empty", TopicSpec::new("empty", 2), MAPPING)?;
    let finished = topic.sample(&["5"])?.success()?;
    ensure!(finished.stdout == "topic empty (2 partitions) is empty\n", "{}", finished.stdout);
    let (lines, summary) = topic.json(&["5"])?;
    ensure!(lines.is_empty() && summary["records"] == 0, "{summary}");

    let finished = topic.sample(&["5", "--topic", "misspelt"])?;
    ensure!(finished.status.code() == Some(1), "{}", finished.status);
    ensure!(finished.stderr.contains("has no topic \"misspelt\""), "{}", finished.stderr);
    let known = runtime()?.block_on(Admin::new(&topic.kafka).partitions("misspelt"))?;
    ensure!(known.is_none(), "a look has created the topic");
    let finished = topic.sample(&["0"])?;
    ensure!(finished.status.code() == Some(2), "{}", finished.status);

    // What sends document.v1 has no business on a topic of others.
    std::fs::write(topic.livedex.dir().join("a.md"), "# A")?;
    let finished = topic.livedex.run(&["publish", "a.md"], SOON)?;
    ensure!(finished.stderr.contains("mapping.format"), "{}", finished.stderr);
    Ok(())
}

/// Of many versions of a few keys compaction leaves one each, and offsets between them that have
/// no record.
pub(crate) fn compacted_offsets_are_passed(broker: &Broker) -> Result<()> {
    let settings = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("min.compaction.lag.ms", "0"),
        ("segment.ms", "100"),
    ];
    let mut spec = TopicSpec::new("versions", 1);
    spec.config = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let mapping = "[mapping]\nformat = \"text\"\n";
    let topic = Topic::new(broker, "versions", spec, mapping)?;
    let version = |key: String, n: u32| -> (i32, Record) {
        (0, (Some(key.into_bytes()), Some(n.to_string().into_bytes()), Vec::new()))
    };
    topic.publish((0..8).map(|n| version(format!("early-{n}"), n)))?;
    topic.publish((0..200).map(|n| version("often".to_owned(), n)))?;
    let admin = Admin::new(&topic.kafka);
    let n_records = runtime()?.block_on(until("compaction", COMPACTED, || {
        // A segment is closed, and can be compacted, when a record comes after its time.
        let (admin, next) = (admin.clone(), version("often".to_owned(), 1000));
        let published = topic.kafka.clone();
        async move {
            let (_, (key, value, headers)) = next;
            Publisher::new(&published)?
                .publish_record(key.as_deref(), value.as_deref(), &headers, Some(0))
                .await?;
            let peeked = admin.peek("versions", 1000, PeekFrom::Beginning).await?;
            Ok(match peeked.records.len() {
                n if n < 100 => Ok(n),
                n => Err(format!("{n} records")),
            })
        }
    }))?;
    ensure!(n_records >= 9, "{n_records} records");
    // The early ones stand 200 offsets before the end. What is left may be compacted between two
    // looks, and then they are not of the same records.
    let (all, newest, summary) = runtime()?.block_on(until("two looks alike", SOON, || async {
        let (all, summary) = topic.json(&["1000"])?;
        let n_newest = all.len() - 5;
        let (newest, _) = topic.json(&[&n_newest.to_string()])?;
        Ok(match topic.json(&["1000"])?.0 == all {
            true => Ok((all, newest, summary)),
            false => Err("compacted meanwhile".to_owned()),
        })
    }))?;
    ensure!(summary["offsets"].as_i64() > Some(200), "{summary}");
    ensure!(newest == all[5..], "of {all:?} the newest are {newest:?}");
    let ids: Vec<_> = newest.iter().filter_map(|line| line["id"].as_str()).collect();
    ensure!(ids[..4] == ["early-5", "early-6", "early-7", "often"], "{ids:?}");
    Ok(())
}
