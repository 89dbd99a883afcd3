//! Which librdkafka properties a user may set, and which are secrets.
//!
//! A property that would break a promise of Livedex is refused with the reason rather than
//! overridden without a word.

use std::collections::BTreeMap;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError as RdError};

use crate::config::ConfigProblem;

/// Bytes: the top of librdkafka's range for `message.max.bytes`.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_000_000_000;

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// Why `property` may not be set, or `None` if it may.
fn refusal(property: &str) -> Option<&'static str> {
    const COMMITS: &str = "offsets are committed by Livedex itself, once Milvus has acknowledged";
    const DURABLE: &str = "a dead letter and a published document count once all in-sync replicas \
                           have them, exactly once";
    Some(match property {
        "enable.auto.commit"
        | "auto.commit.enable"
        | "auto.commit.interval.ms"
        | "enable.auto.offset.store"
        | "offset.store.method"
        | "offset.store.path"
        | "offset.store.sync.interval.ms" => COMMITS,
        "auto.offset.reset" => {
            "a partition without a committed offset is read from its start; anything else would skip documents"
        }
        "enable.partition.eof" => "Livedex needs it to know when it has caught up",
        "acks" | "request.required.acks" | "enable.idempotence" => DURABLE,
        "transactional.id" => "Livedex does not produce in transactions",
        "bootstrap.servers" | "metadata.broker.list" => "set kafka.brokers instead",
        "group.id" => "set kafka.group instead",
        "group.instance.id" => "set kafka.instance_id instead",
        "message.max.bytes" => "set ingest.max_document_bytes instead",
        "log.queue" => "librdkafka's log lines go to the log of Livedex",
        _ => return None,
    })
}

/// Whether the value of this librdkafka property must never be shown.
pub fn is_secret_property(property: &str) -> bool {
    const SECRET_PARTS: [&str; 5] = ["password", "secret", "passphrase", "private", "jaas"];
    matches!(property, "ssl.key.pem" | "ssl_key" | "sasl.oauthbearer.config")
        || SECRET_PARTS.iter().any(|part| property.contains(part))
}

/// The properties with secrets replaced, to be shown.
pub(crate) fn redacted(properties: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    properties
        .iter()
        .map(|(key, value)| {
            (key.as_str(), if is_secret_property(key) { REDACTED } else { value.as_str() })
        })
        .collect()
}

/// Everything that is wrong with these properties: the refused ones, and those that librdkafka
/// does not know or whose value it does not take.
pub(crate) fn problems(properties: &BTreeMap<String, String>) -> Vec<ConfigProblem> {
    properties
        .iter()
        .filter_map(|(key, value)| {
            let message = match refusal(key) {
                Some(reason) => format!("cannot be set: {reason}"),
                None => native_problem(key, value)?,
            };
            Some(ConfigProblem { key: format!("properties.\"{key}\""), message })
        })
        .collect()
}

/// What librdkafka says against one property.
fn native_problem(key: &str, value: &str) -> Option<String> {
    let mut config = ClientConfig::new();
    // Given explicitly: the default asks the `log` crate, which nothing here sets up.
    config.set_log_level(RDKafkaLogLevel::Error).set(key, value);
    match config.create_native_config() {
        Ok(_) => None,
        // librdkafka's words repeat the value.
        Err(_) if is_secret_property(key) => Some("is refused by librdkafka".to_owned()),
        Err(RdError::ClientConfig(_, words, _, _)) => Some(words),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, value: &str) -> Option<String> {
        problems(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
            .pop()
            .map(|problem| problem.message)
    }

    #[test]
    fn what_breaks_a_promise_is_refused_with_a_reason() {
        for key in [
            "enable.auto.commit",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "enable.partition.eof",
            "acks",
            "enable.idempotence",
            "transactional.id",
            "group.id",
            "group.instance.id",
            "bootstrap.servers",
        ] {
            let message = problem(key, "true");
            assert!(
                message.as_ref().is_some_and(|text| text.starts_with("cannot be set: ")),
                "{key}: {message:?}"
            );
        }
    }

    #[test]
    fn what_breaks_none_passes() {
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
            ("partition.assignment.strategy", "range"),
            ("group.protocol", "consumer"),
            ("session.timeout.ms", "20000"),
            ("isolation.level", "read_uncommitted"),
        ] {
            assert_eq!(problem(key, value), None, "{key}");
        }
    }

    #[test]
    fn unknown_names_and_bad_values_are_named() {
        let unknown = problem("sesion.timeout.ms", "1");
        assert!(unknown.is_some_and(|text| text.contains("sesion.timeout.ms")));
        let bad = problem("session.timeout.ms", "soon");
        assert!(bad.is_some_and(|text| text.contains("session.timeout.ms")));
    }

    #[test]
    fn secrets_are_known_by_name() {
        for key in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
        ] {
            assert!(is_secret_property(key), "{key}");
        }
        for key in
            ["sasl.username", "ssl.ca.location", "ssl.certificate.location", "ssl.key.location"]
        {
            assert!(!is_secret_property(key), "{key}");
        }
    }
}
