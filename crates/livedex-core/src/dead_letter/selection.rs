//! Which dead letters are meant.

use super::DeadLetter;

/// What a dead letter must be to be meant; `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Its class, or what stands before one of its dots: `DecodeError` is `DecodeError.Json` too.
    pub class: Option<String>,
    /// Its stage, in upper or lower case.
    pub stage: Option<String>,
    /// Written at this time or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Written before this time, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// The topic that its record came from.
    pub source_topic: Option<String>,
    /// Its record's key.
    pub key: Option<Vec<u8>>,
}

impl Selection {
    /// Whether every dead letter is meant.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `letter` is meant. One without a time is neither before nor after any.
    pub fn has(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(test)
        };
        let time = letter.written_at_ms;
        is(&self.class, &|class| is_class(&letter.class, class))
            && is(&self.stage, &|stage| letter.stage.eq_ignore_ascii_case(stage))
            && is(&self.source_topic, &|topic| *letter.record.position.topic == *topic)
            && self.since_ms.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until_ms.is_none_or(|until| time.is_some_and(|time| time < until))
            && (self.key.is_none() || self.key == letter.record.key)
    }
}

fn is_class(class: &str, wanted: &str) -> bool {
    class.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lease::Lease,
        record::{RawRecord, SourcePosition},
    };

    fn letter() -> DeadLetter {
        let position =
            |topic: &str| SourcePosition { topic: topic.into(), partition: 0, offset: 1 };
        DeadLetter {
            position: position("docs.dlq"),
            written_at_ms: Some(1_000),
            record: RawRecord {
                position: position("docs"),
                key: Some(b"a".to_vec()),
                value: None,
                headers: Vec::new(),
                timestamp_ms: None,
                lease: Lease::new(),
            },
            stage: "DECODE".to_owned(),
            class: "DecodeError.Json".to_owned(),
            message: "not JSON".to_owned(),
            refused_by: None,
            value_dropped_bytes: None,
        }
    }

    #[test]
    fn each_condition_can_rule_a_letter_out() {
        let everything = Selection::default();
        assert!(everything.is_everything() && everything.has(&letter()));
        let text = |text: &str| Some(text.to_owned());
        let class = |class| Selection { class: text(class), ..Selection::default() };
        let stage = |stage| Selection { stage: text(stage), ..Selection::default() };
        let topic = |topic| Selection { source_topic: text(topic), ..Selection::default() };
        let since = |ms| Selection { since_ms: Some(ms), ..Selection::default() };
        let until = |ms| Selection { until_ms: Some(ms), ..Selection::default() };
        let key = |key: &[u8]| Selection { key: Some(key.to_vec()), ..Selection::default() };
        for (selection, expected) in [
            (class("DecodeError.Json"), true),
            (class("DecodeError"), true),
            (class("Decode"), false),
            (class("DecodeError.Json.More"), false),
            (class("ChunkError"), false),
            (stage("DECODE"), true),
            (stage("decode"), true),
            (stage("WRITE"), false),
            (topic("docs"), true),
            (topic("doc"), false),
            (since(1_000), true),
            (since(1_001), false),
            (until(1_001), true),
            (until(1_000), false),
            (key(b"a"), true),
            (key(b""), false),
        ] {
            assert_eq!(selection.has(&letter()), expected, "{selection:?}");
            assert!(!selection.is_everything());
        }
    }

    #[test]
    fn all_conditions_hold_at_once() {
        let selection = Selection {
            class: Some("DecodeError".to_owned()),
            stage: Some("write".to_owned()),
            ..Selection::default()
        };
        assert!(!selection.has(&letter()));
    }

    #[test]
    fn a_letter_without_key_or_time_is_ruled_out_by_them() {
        let mut letter = letter();
        letter.written_at_ms = None;
        letter.record.key = None;
        for selection in [
            Selection { since_ms: Some(0), ..Selection::default() },
            Selection { until_ms: Some(i64::MAX), ..Selection::default() },
            Selection { key: Some(Vec::new()), ..Selection::default() },
        ] {
            assert!(!selection.has(&letter), "{selection:?}");
        }
    }
}
