//! RFC 3339 to milliseconds and back.

use jiff::Timestamp;

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
}
