//! RFC 3339 to milliseconds and back, and times that people type.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// Milliseconds since 1970-01-01T00:00:00Z of an RFC 3339 time with its offset
/// (`2026-05-01T12:00:00Z`, `2026-05-01T14:00:00.5+02:00`); digits below a millisecond are cut off.
/// `None` if it is none.
pub fn parse_millis(text: &str) -> Option<i64> {
    // jiff reads more than RFC 3339 (zones in brackets, hours alone); those are told apart here.
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let sign = |at: usize, sign: u8| bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&sign));
    let is_shaped = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18].into_iter().all(digit)
        && sign(4, b'-')
        && sign(7, b'-')
        && (sign(10, b'T') || sign(10, b' '))
        && sign(13, b':')
        && sign(16, b':')
        && !text.contains('[');
    if !is_shaped {
        return None;
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// A time that a person typed, in milliseconds since 1970: an RFC 3339 time, or how long before
/// `now_ms` (`90s`, `2h`, `1d 12h`, `1 week`; a day has 24 hours). `None` if it is neither.
pub fn parse_when(text: &str, now_ms: i64) -> Option<i64> {
    parse_millis(text).or_else(|| {
        let span: Span = text.trim().parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        // "2h ago" is negative for jiff.
        let ago: SignedDuration = ago.abs();
        now_ms.checked_sub(i64::try_from(ago.as_millis()).ok()?)
    })
}

/// Milliseconds since 1970 by this machine's clock; 0 if that is set before.
pub fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time in UTC; `None` if it is before the year -9999 or after 9999.
pub fn format_millis(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let check =
            |text: &str, millis: Option<i64>| assert_eq!(parse_millis(text), millis, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-05-01T14:00:00.5+02:00", Some(1_777_636_800_500));
        check("2026-05-01 12:00:00z", Some(1_777_636_800_000));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        check("2026-05-01", None);
        check("2026-05-01T12:00:00", None);
        check("2026-13-01T12:00:00Z", None);
        check("2026-05-01T12:00:00+02:00[Europe/Berlin]", None);
        check("yesterday", None);
        check("", None);
        assert_eq!(format_millis(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(format_millis(1_777_636_800_500).as_deref(), Some("2026-05-01T12:00:00.5Z"));
        assert_eq!(format_millis(i64::MAX), None);
    }

    #[test]
    fn what_a_person_types_is_a_time_or_how_long_ago() {
        const NOW: i64 = 1_777_636_800_500;
        let check = |text: &str, millis: Option<i64>| {
            assert_eq!(parse_when(text, NOW), millis, "{text}");
        };
        check("1970-01-01T00:00:01Z", Some(1000));
        check("2h", Some(NOW - 2 * 3_600_000));
        check(" 90s ", Some(NOW - 90_000));
        check("15 minutes ago", Some(NOW - 15 * 60_000));
        check("1d 12h", Some(NOW - 36 * 3_600_000));
        check("1 week", Some(NOW - 7 * 24 * 3_600_000));
        check("PT1H", Some(NOW - 3_600_000));
        // A month has no length of its own.
        check("1 month", None);
        check("2", None);
        check("yesterday", None);
        check("", None);
    }
}
