//! librdkafka's settings for each kind of client, with the reason where a default is not kept.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, consumer::BaseConsumer};

use crate::{KafkaConfig, KafkaError, diagnostics::QuietContext, error::other, properties};

/// KiB that librdkafka may have fetched ahead. Its default is 64 MiB; half of the default
/// in-flight budget is enough to keep the pipeline busy. May be overshot by one fetch.
const PREFETCH_KIB: usize = 16 * 1024;

/// Bytes of one fetch. The first batch of a fetch comes whole however large it is (KIP-74), so a
/// document above this is still read.
const FETCH_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that a producer holds for sending.
pub(crate) const SEND_BUFFER_KIB: usize = 64 * 1024;

/// Checks `config` and returns what all clients share.
fn base(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(KafkaError::Config(problems));
    }
    let mut client = ClientConfig::new();
    // Given explicitly: the default asks the `log` crate, which nothing here sets up. The lines
    // arrive at `ClientContext::log`, never at the terminal.
    let wants_debug = config.properties.contains_key("debug");
    client.set_log_level(if wants_debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    client
        .set("client.id", "livedex")
        // A broker that comes back is noticed within seconds (the default backs off to 10 s).
        .set("reconnect.backoff.max.ms", "2000");
    Ok(client)
}

/// Lays the user's properties and then what must not change over the defaults.
fn finish(mut client: ClientConfig, config: &KafkaConfig, fixed: &[(&str, &str)]) -> ClientConfig {
    client.extend(config.properties.clone());
    client.set("bootstrap.servers", &config.brokers);
    for (key, value) in fixed {
        client.set(*key, *value);
    }
    client
}

/// A member of the consumer group.
pub(crate) fn consumer(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut client = base(config)?;
    client
        .set("queued.max.messages.kbytes", PREFETCH_KIB.to_string())
        .set("queued.min.messages", "10000")
        // The default of 1 s would be a pause of that length each time the prefetch is full.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.max.bytes", FETCH_BYTES.to_string())
        // One fetch is under way per broker, and at the end of the log the broker holds it this
        // long. Meanwhile a partition that was just assigned or resumed waits; the default of
        // 500 ms is seen as half a second of nothing after each pause. New records end the hold
        // at once, so the cost is ten empty answers a second on an idle topic.
        .set("fetch.wait.max.ms", "100")
        // For the lag per partition; the statistics are not logged.
        .set("statistics.interval.ms", "5000");
    let is_classic =
        config.properties.get("group.protocol").is_none_or(|protocol| protocol == "classic");
    if is_classic {
        // A rebalance then stops only the partitions that move. The newer protocol has its
        // assignors on the broker and refuses this property.
        client.set("partition.assignment.strategy", "cooperative-sticky");
    }
    let mut fixed = vec![
        ("group.id", config.group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
    ];
    fixed.extend(config.instance_id.as_deref().map(|id| ("group.instance.id", id)));
    Ok(finish(client, config, &fixed))
}

/// A reader of committed offsets, metadata and whole topics. librdkafka assigns partitions only to
/// a client with a group id; the group is never joined.
pub(crate) fn reader(
    config: &KafkaConfig,
    group: &str,
) -> Result<BaseConsumer<QuietContext>, KafkaError> {
    reader_config(config, group)?
        .create_with_context(QuietContext::default())
        .map_err(|error| other(config, "setting up a reader", &error))
}

/// What a [`reader`] of `group` is made with.
pub(crate) fn reader_config(config: &KafkaConfig, group: &str) -> Result<ClientConfig, KafkaError> {
    let mut config = config.clone();
    // It never joins: what only members need may not get in its way.
    config.instance_id = None;
    config.properties.remove("partition.assignment.strategy");
    config.group = group.to_owned();
    Ok(consumer(&config)?.set("statistics.interval.ms", "0").clone())
}

/// A client that only asks and creates.
pub(crate) fn admin(config: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    Ok(finish(base(config)?, config, &[]))
}

/// A producer of messages of up to `max_message_bytes`: every message is durable on all in-sync
/// replicas before it counts, and is written once.
pub(crate) fn producer(
    config: &KafkaConfig,
    max_message_bytes: usize,
) -> Result<ClientConfig, KafkaError> {
    // Room for the key, headers and framing around the value.
    const ENVELOPE_BYTES: usize = 256 * 1024;
    let max_message_bytes =
        (max_message_bytes + ENVELOPE_BYTES).min(properties::MAX_MESSAGE_BYTES).to_string();
    let mut client = base(config)?;
    client
        .set("compression.type", "zstd")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "30000")
        .set("queue.buffering.max.kbytes", SEND_BUFFER_KIB.to_string())
        // Java's partitioner, not librdkafka's own CRC: a document's key must go to the same
        // partition whoever publishes it, or its order is lost.
        .set("partitioner", "murmur2_random");
    let fixed = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("message.max.bytes", max_message_bytes.as_str()),
    ];
    Ok(finish(client, config, &fixed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn what_keeps_the_promises_is_set_for_every_client() {
        let config = KafkaConfig::default();
        let consumer = consumer(&config).unwrap();
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("earliest"));
        assert_eq!(consumer.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        let producer = producer(&config, 1000).unwrap();
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("enable.idempotence"), Some("true"));
        assert_eq!(producer.get("message.max.bytes"), Some("263144"));
    }

    #[test]
    fn the_users_properties_win_over_defaults() {
        let mut config = KafkaConfig::default();
        config.properties.insert("partition.assignment.strategy".to_owned(), "range".to_owned());
        config.properties.insert("compression.type".to_owned(), "none".to_owned());
        assert_eq!(consumer(&config).unwrap().get("partition.assignment.strategy"), Some("range"));
        assert_eq!(producer(&config, 1).unwrap().get("compression.type"), Some("none"));
        config.properties.clear();
        config.properties.insert("group.protocol".to_owned(), "consumer".to_owned());
        assert_eq!(consumer(&config).unwrap().get("partition.assignment.strategy"), None);
    }

    #[test]
    fn a_broken_configuration_makes_no_client() {
        let config = KafkaConfig { group: String::new(), ..KafkaConfig::default() };
        assert!(
            matches!(consumer(&config), Err(KafkaError::Config(problems)) if problems.len() == 1)
        );
    }
}
