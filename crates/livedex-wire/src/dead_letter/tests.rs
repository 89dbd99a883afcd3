#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{lease::Lease, record::RawRecord};

use super::*;

fn position(topic: &str, partition: i32, offset: i64) -> SourcePosition {
    SourcePosition { topic: topic.into(), partition, offset }
}

fn letter() -> DeadLetter {
    DeadLetter {
        position: position("t.dlq", 0, 7),
        written_at_ms: Some(1_000),
        record: RawRecord {
            position: position("t", 1, 2),
            key: Some(b"a".to_vec()),
            value: Some(b"the secret sauce".to_vec()),
            headers: Vec::new(),
            timestamp_ms: Some(0),
            lease: Lease::new(),
        },
        stage: "DECODE".to_owned(),
        class: "DecodeError.Json".to_owned(),
        message: "not JSON".to_owned(),
        refused_by: Some("livedex".to_owned()),
        value_dropped_bytes: None,
    }
}

fn json(letter: &DeadLetter) -> String {
    String::from_utf8(DeadLetterV1::new(letter).to_json()).unwrap()
}

#[test]
fn a_dead_letter_tells_all_but_the_value() {
    assert_eq!(
        json(&letter()),
        r#"{"source":{"topic":"t","partition":1,"offset":2},"timestamp":"1970-01-01T00:00:00Z","stage":"DECODE","class":"DecodeError.Json","message":"not JSON","key":{"utf8":"a"},"value_bytes":16,"letter":{"topic":"t.dlq","partition":0,"offset":7},"written_at":"1970-01-01T00:00:01Z","refused_by":"livedex"}"#
    );
}

#[test]
fn what_is_not_there_is_left_out_and_what_is_special_is_said() {
    let mut letter = letter();
    letter.record.key = Some(vec![0xff, 0xfe]);
    letter.record.value = None;
    letter.record.timestamp_ms = None;
    letter.record.headers.push(replay::replayed_from_header(&position("t", 1, 0)));
    letter.written_at_ms = None;
    letter.refused_by = None;
    letter.value_dropped_bytes = Some(12_000_000);
    assert_eq!(
        json(&letter),
        r#"{"source":{"topic":"t","partition":1,"offset":2},"stage":"DECODE","class":"DecodeError.Json","message":"not JSON","key":{"base64":"//4="},"value_bytes":12000000,"value_dropped":true,"letter":{"topic":"t.dlq","partition":0,"offset":7},"replayed_from":{"topic":"t","partition":1,"offset":0}}"#
    );
}
