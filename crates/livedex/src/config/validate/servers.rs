//! Where Kafka, Milvus and NATS are, and what is read and written there.

use std::{collections::BTreeMap, time::Duration};

use livedex_kafka::KafkaConfig;
use livedex_milvus::{Analyzer, FlushPolicy, MAX_COLLECTION_NAME, MilvusConfig, MilvusTls};
use livedex_query::NatsConfig;

use super::Check;
use crate::config::raw::{RawConfig, RawFlush};

impl Check<'_> {
    pub(super) fn kafka(&mut self, raw: &RawConfig) -> KafkaConfig {
        let mut properties = BTreeMap::new();
        for (name, value) in &raw.kafka.properties {
            // An environment variable's name cannot hold a dot, and no property holds an
            // underscore.
            properties.insert(name.replace('_', "."), value.0.clone());
        }
        for (name, path) in &raw.kafka.properties_file {
            let key = format!("kafka.properties_file.\"{name}\"");
            if let Some(value) = self.secret_file(&key, path) {
                properties.insert(name.replace('_', "."), value);
            }
        }
        let config = KafkaConfig {
            stream: raw.kafka.topic.clone(),
            brokers: raw.kafka.brokers.clone(),
            topic: raw.kafka.topic.clone(),
            dead_letter_topic: raw.kafka.dead_letter_topic.clone(),
            group: raw.kafka.group.clone(),
            instance_id: raw.kafka.instance_id.clone(),
            properties,
            max_in_flight_bytes: raw.kafka.max_in_flight_bytes,
            max_document_bytes: raw.ingest.max_document_bytes,
            write_timeout: Duration::from_millis(raw.milvus.timeout_ms),
            ..KafkaConfig::default()
        };
        for problem in config.problems() {
            let section = if problem.key == "max_document_bytes" { "ingest" } else { "kafka" };
            self.wrong(&format!("{section}.{}", problem.key), problem.message);
        }
        config
    }

    pub(super) fn milvus(&mut self, raw: &RawConfig) -> MilvusConfig {
        let raw = &raw.milvus;
        let has_scheme = ["http://", "https://"].iter().any(|scheme| raw.uri.starts_with(scheme));
        if !has_scheme {
            self.wrong(
                "milvus.uri",
                format!("is \"{}\", expected http://host:port or https://host:port", raw.uri),
            );
        }
        self.collection("milvus.collection", &raw.collection);
        MilvusConfig {
            uri: raw.uri.clone(),
            token: self.secret("milvus.token", raw.token.as_ref(), raw.token_file.as_ref()),
            database: raw.database.clone(),
            collection: raw.collection.clone(),
            tls: MilvusTls { ca_file: self.file(&raw.tls.ca_file), domain: raw.tls.domain.clone() },
            timeout: self.millis("milvus.timeout_ms", raw.timeout_ms),
            flush: match raw.flush {
                RawFlush::Never => FlushPolicy::Never,
                RawFlush::WhenIdle => FlushPolicy::WhenIdle,
            },
            deletions_ttl: raw.deletions_ttl_hours.map(|hours| self.deletions_ttl(hours)),
            analyzer: self.analyzer(&raw.analyzer),
        }
    }

    /// The name of a collection.
    pub(super) fn collection(&mut self, key: &str, name: &str) {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= MAX_COLLECTION_NAME
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            self.wrong(
                key,
                format!(
                    "is \"{name}\"; allowed are letters, digits and _, not starting with a digit, \
                     up to {MAX_COLLECTION_NAME} of them"
                ),
            );
        }
    }

    fn analyzer(&mut self, name: &str) -> Analyzer {
        Analyzer::named(name).unwrap_or_else(|| {
            let known = Analyzer::ALL.map(|analyzer| format!("\"{}\"", analyzer.name())).join(", ");
            self.wrong("milvus.analyzer", format!("is \"{name}\", expected one of {known}"));
            Analyzer::default()
        })
    }

    /// Hours, 1 to a hundred years.
    fn deletions_ttl(&mut self, hours: u64) -> Duration {
        const MOST: u64 = 100 * 365 * 24;
        if !(1..=MOST).contains(&hours) {
            let message = format!("is {hours} h, allowed are 1 to {MOST}");
            self.wrong("milvus.deletions_ttl_hours", message);
        }
        Duration::from_secs(hours.min(MOST) * 60 * 60)
    }

    pub(super) fn nats(&mut self, raw: &RawConfig) -> NatsConfig {
        let raw = &raw.nats;
        let token = self.secret("nats.token", raw.token.as_ref(), raw.token_file.as_ref());
        let password =
            self.secret("nats.password", raw.password.as_ref(), raw.password_file.as_ref());
        if raw.user.is_some() != password.is_some() {
            self.wrong("nats.user", "and nats.password belong together; set both or none");
        }
        if raw.tls.cert_file.is_some() != raw.tls.key_file.is_some() {
            self.wrong(
                "nats.tls.cert_file",
                "and nats.tls.key_file belong together; set both or none",
            );
        }
        for (key, value) in
            [("nats.subject_prefix", &raw.subject_prefix), ("nats.queue_group", &raw.queue_group)]
        {
            let is_token = |token: &str| {
                !token.is_empty()
                    && !token.contains(|c: char| c.is_whitespace() || "*>".contains(c))
            };
            if !value.split('.').all(is_token) {
                self.wrong(
                    key,
                    format!("is \"{value}\"; use words joined by dots, without spaces, * and >"),
                );
            }
        }
        NatsConfig {
            url: raw.url.clone(),
            credentials_file: self.file(&raw.credentials_file),
            token,
            user: raw.user.clone(),
            password,
            tls_required: raw.tls.required,
            tls_ca_file: self.file(&raw.tls.ca_file),
            tls_cert_file: self.file(&raw.tls.cert_file),
            tls_key_file: self.file(&raw.tls.key_file),
            subject_prefix: raw.subject_prefix.clone(),
            queue_group: raw.queue_group.clone(),
            ..NatsConfig::default()
        }
    }
}
