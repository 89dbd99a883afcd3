//! What is read from which topic into which collection.

use livedex_kafka::KafkaConfig;
use livedex_milvus::{MilvusConfig, ledger_name};

use super::Check;
use crate::config::{
    StreamConfig,
    raw::{RawConfig, RawStream},
};

impl Check<'_> {
    /// The stream of the top-level keys.
    pub(super) fn top(&mut self, raw: &RawConfig) -> StreamConfig {
        let schema_registry = self.schema_registry(&raw.schema_registry);
        self.encodings("mapping", &raw.mapping, schema_registry.is_some());
        StreamConfig {
            name: raw.kafka.topic.clone(),
            kafka: self.kafka(raw),
            milvus: self.milvus(raw),
            mapping: self.mapping("mapping", &raw.mapping),
            schema_registry,
            chunk: self.chunk("chunk", &raw.chunk),
            pipeline: self.pipeline("ingest", &raw.ingest),
            max_document_bytes: raw.ingest.max_document_bytes,
        }
    }

    /// The streams of the list, or the one of the top-level keys if there is no list.
    pub(super) fn streams(&mut self, raw: &RawConfig, top: &StreamConfig) -> Vec<StreamConfig> {
        if raw.streams.is_empty() {
            return vec![top.clone()];
        }
        let streams: Vec<StreamConfig> = raw
            .streams
            .iter()
            .enumerate()
            .map(|(index, stream)| self.stream(&key(index), raw, stream, top))
            .collect();
        for (index, stream) in streams.iter().enumerate() {
            for (other, before) in streams[..index].iter().enumerate() {
                self.pair(&key(index), stream, &key(other), before);
            }
            self.among(&key(index), stream, &streams);
        }
        streams
    }

    /// One stream by itself. What it has from the top-level keys has been checked there.
    fn stream(
        &mut self,
        prefix: &str,
        top_raw: &RawConfig,
        raw: &RawStream,
        top: &StreamConfig,
    ) -> StreamConfig {
        let topic = raw.topic.clone().unwrap_or_default();
        if topic.is_empty() {
            self.wrong(&format!("{prefix}.topic"), "is not set; name the topic that is read");
        }
        let name = raw.name.clone().unwrap_or_else(|| topic.clone());
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if raw.name.is_some() && (name.is_empty() || !name.chars().all(is_name)) {
            let message = format!(
                "is \"{name}\"; allowed are letters, digits, '.', '_' and '-', at least one"
            );
            self.wrong(&format!("{prefix}.name"), message);
        }
        let dead_letter_topic =
            raw.dead_letter_topic.clone().unwrap_or_else(|| format!("{topic}.dlq"));
        let kafka = KafkaConfig {
            stream: name.clone(),
            topic,
            dead_letter_topic,
            group: raw.group.clone(),
            // Unique within the group, which the streams share unless they say otherwise.
            instance_id: top.kafka.instance_id.as_ref().map(|id| format!("{id}-{name}")),
            max_document_bytes: raw.ingest.max_document_bytes,
            ..top.kafka.clone()
        };
        for problem in kafka.problems() {
            let section = match problem.key.as_str() {
                "topic" if kafka.topic.is_empty() => continue,
                "dead_letter_topic" if kafka.topic.is_empty() => continue,
                "topic" | "dead_letter_topic" => prefix.to_owned(),
                "group" if raw.group != top_raw.kafka.group => prefix.to_owned(),
                "max_document_bytes" if raw.ingest != top_raw.ingest => format!("{prefix}.ingest"),
                _ => continue,
            };
            self.wrong(&format!("{section}.{}", problem.key), problem.message);
        }
        if raw.collection != top_raw.milvus.collection {
            self.collection(&format!("{prefix}.collection"), &raw.collection);
        }
        StreamConfig {
            kafka,
            milvus: MilvusConfig { collection: raw.collection.clone(), ..top.milvus.clone() },
            mapping: match raw.mapping == top_raw.mapping {
                true => top.mapping.clone(),
                false => {
                    let key = format!("{prefix}.mapping");
                    self.encodings(&key, &raw.mapping, top.schema_registry.is_some());
                    self.mapping(&key, &raw.mapping)
                }
            },
            schema_registry: top.schema_registry.clone(),
            chunk: match raw.chunk == top_raw.chunk {
                true => top.chunk,
                false => self.chunk(&format!("{prefix}.chunk"), &raw.chunk),
            },
            pipeline: match raw.ingest == top_raw.ingest {
                true => top.pipeline,
                false => self.pipeline(&format!("{prefix}.ingest"), &raw.ingest),
            },
            max_document_bytes: raw.ingest.max_document_bytes,
            name,
        }
    }

    /// A stream and one before it.
    fn pair(&mut self, key: &str, stream: &StreamConfig, before: &str, other: &StreamConfig) {
        if stream.kafka.topic.is_empty() || other.kafka.topic.is_empty() {
            return;
        }
        let (kafka, milvus) = (&stream.kafka, &stream.milvus);
        if stream.name == other.name {
            let message = format!("is \"{}\", as of {before}; give each its own", stream.name);
            self.wrong(&format!("{key}.name"), message);
        }
        let is_same_collection = milvus.collection == other.milvus.collection;
        if kafka.topic == other.kafka.topic && is_same_collection {
            let message = format!(
                "is \"{}\" for collection \"{}\", as of {before}: its documents would be written twice",
                kafka.topic, milvus.collection
            );
            self.wrong(&format!("{key}.topic"), message);
        } else if kafka.topic == other.kafka.topic && kafka.group == other.kafka.group {
            let message = format!(
                "is \"{}\" in group \"{}\", as of {before}: each would get a part of the records; set \
                 {key}.group",
                kafka.topic, kafka.group
            );
            self.wrong(&format!("{key}.topic"), message);
        }
        if is_same_collection && stream.chunk != other.chunk {
            let message = format!(
                "is not as of {before}, and both write into collection \"{}\"; chunks of one \
                 collection are cut alike, so that their scores compare",
                milvus.collection
            );
            self.wrong(&format!("{key}.chunk"), message);
        }
    }

    /// A stream among all of them.
    fn among(&mut self, at: &str, stream: &StreamConfig, all: &[StreamConfig]) {
        let others = || all.iter().enumerate().filter(|(index, _)| key(*index) != at);
        let letters = &stream.kafka.dead_letter_topic;
        if let Some((index, _)) = others().find(|(_, other)| other.kafka.topic == *letters) {
            let message = format!(
                "is \"{letters}\", which {} reads: dead letters would come back",
                key(index)
            );
            self.wrong(&format!("{at}.dead_letter_topic"), message);
        }
        let own = &stream.milvus.collection;
        let is_ledger = |other: &StreamConfig| ledger_name(&other.milvus.collection) == *own;
        if let Some((index, _)) = others().find(|(_, other)| is_ledger(other)) {
            let message =
                format!("is \"{own}\", where the deletions of {} are remembered", key(index));
            self.wrong(&format!("{at}.collection"), message);
        }
    }
}

/// How a stream is named in a message.
fn key(index: usize) -> String {
    format!("streams[{index}]")
}
