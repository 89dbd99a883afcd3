//! When a document was changed: RFC 3339 or a number since 1970.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::{format_millis, parse_millis};

/// How a time is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeFormat {
    /// RFC 3339 with an offset.
    #[default]
    Rfc3339,
    /// Seconds since 1970, perhaps with a fraction.
    Seconds,
    /// Milliseconds since 1970 (Debezium's `Timestamp`).
    Milliseconds,
    /// Microseconds since 1970 (Debezium's `MicroTimestamp`).
    Microseconds,
    /// Nanoseconds since 1970 (Debezium's `NanoTimestamp`).
    Nanoseconds,
}

impl TimeFormat {
    /// What is expected, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Rfc3339 => "RFC 3339 time with offset (mapping.updated_at_format)",
            Self::Seconds => "time in seconds since 1970 (mapping.updated_at_format)",
            Self::Milliseconds => "time in milliseconds since 1970 (mapping.updated_at_format)",
            Self::Microseconds => "time in microseconds since 1970 (mapping.updated_at_format)",
            Self::Nanoseconds => "time in nanoseconds since 1970 (mapping.updated_at_format)",
        }
    }

    /// Milliseconds since 1970; what is below one is cut off. A number may also stand in a string,
    /// as it does in a header. `None` if it is none, or none of the years -9999 to 9999.
    pub(super) fn millis(self, value: &Value) -> Option<i64> {
        let millis = match (self.per_second(), value) {
            (None, Value::String(text)) => parse_millis(text),
            (None, _) => None,
            (Some(per_second), Value::Number(number)) => match number.as_i64() {
                Some(number) => whole(number, per_second),
                None => number.as_f64().and_then(|number| fraction(number, per_second)),
            },
            (Some(per_second), Value::String(text)) => match text.parse() {
                Ok(number) => whole(number, per_second),
                Err(_) => text.parse().ok().and_then(|number| fraction(number, per_second)),
            },
            (Some(_), _) => None,
        };
        millis.filter(|millis| format_millis(*millis).is_some())
    }

    /// Its unit's parts of a second; `None` for RFC 3339.
    fn per_second(self) -> Option<i64> {
        match self {
            Self::Rfc3339 => None,
            Self::Seconds => Some(1),
            Self::Milliseconds => Some(1_000),
            Self::Microseconds => Some(1_000_000),
            Self::Nanoseconds => Some(1_000_000_000),
        }
    }
}

fn whole(number: i64, per_second: i64) -> Option<i64> {
    let millis = (i128::from(number) * 1_000).div_euclid(i128::from(per_second));
    i64::try_from(millis).ok()
}

fn fraction(number: f64, per_second: i64) -> Option<i64> {
    // Whole numbers below 2^53 are exact as floats.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let millis = (number * 1_000.0 / per_second as f64).floor();
    (millis.abs() < EXACT).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_each_format() {
        let check = |format: TimeFormat, value: Value, millis: Option<i64>| {
            assert_eq!(format.millis(&value), millis, "{format:?} {value}");
        };
        check(TimeFormat::Rfc3339, json!("2026-05-01T14:00:00.5+02:00"), Some(1_777_636_800_500));
        check(TimeFormat::Rfc3339, json!("2026-05-01"), None);
        check(TimeFormat::Rfc3339, json!(1_777_636_800), None);
        check(TimeFormat::Seconds, json!(1_777_636_800), Some(1_777_636_800_000));
        check(TimeFormat::Seconds, json!(1_777_636_800.5), Some(1_777_636_800_500));
        check(TimeFormat::Seconds, json!(-1), Some(-1000));
        check(TimeFormat::Milliseconds, json!(1_777_636_800_500_i64), Some(1_777_636_800_500));
        check(TimeFormat::Milliseconds, json!("1777636800500"), Some(1_777_636_800_500));
        check(TimeFormat::Microseconds, json!(1_777_636_800_500_999_i64), Some(1_777_636_800_500));
        check(TimeFormat::Microseconds, json!(-1), Some(-1));
        check(TimeFormat::Nanoseconds, json!(i64::MAX), Some(9_223_372_036_854));
        // A time in another unit than it is read as lies far outside of all years.
        check(TimeFormat::Seconds, json!(1_777_636_800_500_i64), None);
        check(TimeFormat::Seconds, json!(1e300), None);
        check(TimeFormat::Seconds, json!("nan"), None);
        check(TimeFormat::Milliseconds, json!("soon"), None);
        check(TimeFormat::Milliseconds, json!(true), None);
        check(TimeFormat::Milliseconds, json!(u64::MAX), None);
    }
}
