//! Errors that end a command or the process, each one line that says what to do.

use std::time::Duration;

use livedex_core::ports::ServiceError;
use rdkafka::{error::KafkaError as RdError, types::RDKafkaErrorCode};

use crate::{KafkaConfig, config::ConfigProblem};

/// Why Kafka cannot be used. The text is one line: what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// The configuration cannot be used.
    #[error("{}", join(.0))]
    Config(Vec<ConfigProblem>),
    /// No broker answered in time.
    #[error(
        "no Kafka broker answered at {brokers} within {:.1} s ({detail}); check kafka.brokers and security.protocol, and that Kafka runs",
        waited.as_secs_f32()
    )]
    Unreachable {
        /// `kafka.brokers`.
        brokers: String,
        /// How long was waited.
        waited: Duration,
        /// librdkafka's reason.
        detail: String,
    },
    /// The broker does not accept who we are, or we do not accept its certificate.
    #[error(
        "Kafka at {brokers} refused the login ({detail}); check security.protocol, sasl.* and ssl.* in kafka.properties"
    )]
    Authentication {
        /// `kafka.brokers`.
        brokers: String,
        /// librdkafka's reason.
        detail: String,
    },
    /// The login is accepted and may not do this.
    #[error(
        "Kafka at {brokers} does not allow this ({what}); grant the ACL, or use another login in kafka.properties"
    )]
    Unauthorized {
        /// `kafka.brokers`.
        brokers: String,
        /// What was asked for.
        what: String,
    },
    /// The topic does not exist.
    #[error(
        "Kafka at {brokers} has no topic \"{topic}\"; create it, or correct its name in the configuration"
    )]
    UnknownTopic {
        /// `kafka.brokers`.
        brokers: String,
        /// The topic's name.
        topic: String,
    },
    /// A message is larger than what may be sent.
    #[error("a message of {bytes} bytes is too large for topic \"{topic}\": the limit is {}", limit_words(.limit))]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key, value and headers.
        bytes: usize,
        /// The limit in bytes, and the setting it comes from; `None` if the broker does not
        /// tell it.
        limit: Option<(usize, &'static str)>,
    },
    /// A request was not answered in time.
    #[error("Kafka at {brokers} did not answer within {:.1} s: {what}", waited.as_secs_f32())]
    Timeout {
        /// `kafka.brokers`.
        brokers: String,
        /// How long was waited.
        waited: Duration,
        /// What was asked for.
        what: String,
    },
    /// librdkafka cannot go on; the process should end.
    #[error("the Kafka consumer cannot go on ({detail}); restart it{}", advice(.code))]
    Fatal {
        /// librdkafka's code.
        code: RDKafkaErrorCode,
        /// librdkafka's reason.
        detail: String,
    },
    /// Anything else that Kafka or librdkafka answered.
    #[error("Kafka at {brokers}: {what}: {detail}")]
    Other {
        /// `kafka.brokers`.
        brokers: String,
        /// What was tried.
        what: String,
        /// The answer.
        detail: String,
    },
}

impl KafkaError {
    /// The error for a librdkafka `code` that came while doing `what` with `topic`.
    pub(crate) fn from_code(
        brokers: &str,
        topic: &str,
        what: &str,
        code: RDKafkaErrorCode,
    ) -> Self {
        use RDKafkaErrorCode as Code;
        let brokers = brokers.to_owned();
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                Self::UnknownTopic { brokers, topic: topic.to_owned() }
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => {
                Self::Unauthorized { brokers, what: format!("{what}: {code}") }
            }
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => {
                Self::Authentication { brokers, detail: code.to_string() }
            }
            _ => Self::Other { brokers, what: what.to_owned(), detail: code.to_string() },
        }
    }
}

/// The error for a request that failed.
pub(crate) fn request_failed(
    config: &KafkaConfig,
    topic: &str,
    what: &str,
    error: &RdError,
) -> KafkaError {
    let code = match error {
        RdError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    match code {
        Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => {
            KafkaError::Timeout {
                brokers: config.brokers.clone(),
                waited: config.start_timeout,
                what: what.to_owned(),
            }
        }
        Some(code) => KafkaError::from_code(&config.brokers, topic, what, code),
        None => other(config, what, error),
    }
}

/// The error for anything else that failed while doing `what`.
pub(crate) fn other(config: &KafkaConfig, what: &str, error: &dyn std::error::Error) -> KafkaError {
    KafkaError::Other {
        brokers: config.brokers.clone(),
        what: what.to_owned(),
        detail: error.to_string().replace(['\n', '\r'], " "),
    }
}

/// A fatal error of the source, or the outcome of a dead letter: what the pipeline decides by.
impl From<KafkaError> for ServiceError {
    fn from(error: KafkaError) -> Self {
        match error {
            KafkaError::Unreachable { .. }
            | KafkaError::UnknownTopic { .. }
            | KafkaError::Other { .. } => Self::Retry(error.to_string()),
            KafkaError::Timeout { .. } => Self::Unknown(error.to_string()),
            KafkaError::Config(_)
            | KafkaError::Authentication { .. }
            | KafkaError::Unauthorized { .. }
            | KafkaError::TooLarge { .. }
            | KafkaError::Fatal { .. } => Self::Reject(error.to_string()),
        }
    }
}

fn join(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn limit_words(limit: &Option<(usize, &'static str)>) -> String {
    match limit {
        Some((bytes, setting)) => format!("{bytes} ({setting})"),
        None => "the broker's (message.max.bytes, or the topic's max.message.bytes)".to_owned(),
    }
}

fn advice(code: &RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::FencedInstanceId => ", with a kafka.instance_id that no other member has",
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            ", with the partition.assignment.strategy that the other members of the group have"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_with_value_and_limit() {
        let error = KafkaError::TooLarge {
            topic: "docs".to_owned(),
            bytes: 2_000_000,
            limit: Some((1_048_588, "the topic's max.message.bytes")),
        };
        assert_eq!(
            error.to_string(),
            "a message of 2000000 bytes is too large for topic \"docs\": the limit is 1048588 (the topic's \
             max.message.bytes)"
        );
        let error = KafkaError::Unreachable {
            brokers: "127.0.0.1:1".to_owned(),
            waited: Duration::from_secs(5),
            detail: "connection refused".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "no Kafka broker answered at 127.0.0.1:1 within 5.0 s (connection refused); check kafka.brokers and \
             security.protocol, and that Kafka runs"
        );
    }

    #[test]
    fn codes_become_types() {
        let from = |code| KafkaError::from_code("b:1", "t", "read", code);
        assert!(matches!(
            from(RDKafkaErrorCode::UnknownTopicOrPartition),
            KafkaError::UnknownTopic { .. }
        ));
        assert!(matches!(
            from(RDKafkaErrorCode::GroupAuthorizationFailed),
            KafkaError::Unauthorized { .. }
        ));
        assert!(matches!(
            from(RDKafkaErrorCode::SaslAuthenticationFailed),
            KafkaError::Authentication { .. }
        ));
        assert!(matches!(from(RDKafkaErrorCode::InvalidMessage), KafkaError::Other { .. }));
    }
}
