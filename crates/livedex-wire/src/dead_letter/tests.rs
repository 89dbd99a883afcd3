#![allow(clippy::unwrap_used, reason = "tests may panic")]

use livedex_core::{
    lease::Lease,
    record::{SourcePosition, Stage},
};

use super::*;

#[test]
fn a_dead_letter_tells_all_but_the_value() {
    let mut record = RawRecord {
        position: SourcePosition { topic: "t".into(), partition: 1, offset: 2 },
        key: Some(b"a".to_vec()),
        value: Some(b"the secret sauce".to_vec()),
        headers: Vec::new(),
        timestamp_ms: Some(0),
        lease: Lease::new(),
    };
    let reason = DeadLetterReason {
        stage: Stage::Decode,
        class: "DecodeError.Json".to_owned(),
        message: "not JSON".to_owned(),
    };
    let json = |record: &RawRecord| {
        String::from_utf8(DeadLetterV1::new(record, &reason).to_json()).unwrap()
    };
    assert_eq!(
        json(&record),
        r#"{"source":{"topic":"t","partition":1,"offset":2},"timestamp":"1970-01-01T00:00:00Z","stage":"DECODE","class":"DecodeError.Json","message":"not JSON","key":{"utf8":"a"},"value_bytes":16}"#
    );
    record.key = Some(vec![0xff, 0xfe]);
    record.value = None;
    record.timestamp_ms = None;
    assert_eq!(
        json(&record),
        r#"{"source":{"topic":"t","partition":1,"offset":2},"stage":"DECODE","class":"DecodeError.Json","message":"not JSON","key":{"base64":"//4="}}"#
    );
}
