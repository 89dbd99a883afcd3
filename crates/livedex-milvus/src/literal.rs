//! Strings and numbers in filter text.
//!
//! Filter templates would keep values out of the text, but Milvus Lite does not know them, so
//! every value goes through here. What comes out reads back as the same value in both grammars:
//!
//! - Milvus: a double-quoted string, unescaped by Go's `strconv.Unquote`
//!   (`internal/parser/planparserv2/utils.go`), where `\'` in double quotes is an error.
//! - Milvus Lite: `\"`, `\'`, `\\`, `\n`, `\r` and `\t` only, anything else after a backslash is
//!   an error (`milvus_lite/search/filter/tokens.py`).
//!
//! Hence exactly five characters are escaped and all others stand for themselves.

/// Appends `text` as a string literal.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `field in ["a", "b"]`; `texts` has at least one entry.
pub(crate) fn string_in<'a>(field: &str, texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = format!("{field} in [");
    for (i, text) in texts.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        push_string(&mut out, text);
    }
    out.push(']');
    out
}

/// The smallest string above every string that starts with `prefix`; `None` if there is none
/// (an empty prefix, or one of nothing but the last code point).
///
/// Both servers compare strings by code point, which is the byte order of UTF-8.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut head = prefix.to_owned();
    while let Some(last) = head.pop() {
        let next = match last {
            // Surrogates are no characters.
            '\u{D7FF}' => Some('\u{E000}'),
            char::MAX => None,
            c => char::from_u32(c as u32 + 1),
        };
        if let Some(next) = next {
            head.push(next);
            return Some(head);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;

    use super::*;

    /// Reads a literal at the start of `text` as Milvus Lite does: the string and its length.
    pub(crate) fn read_lite(text: &str) -> Option<(String, usize)> {
        let mut chars = text.char_indices();
        let ('"', mut out) = (chars.next()?.1, String::new()) else { return None };
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((out, at + 1)),
                '\r' | '\n' => return None,
                '\\' => out.push(match chars.next()?.1 {
                    c @ ('"' | '\'' | '\\') => c,
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    _ => return None,
                }),
                c => out.push(c),
            }
        }
        None
    }

    /// The same as Go's `strconv.Unquote` does for what Milvus' lexer takes for a literal.
    fn read_go(text: &str) -> Option<(String, usize)> {
        let mut chars = text.char_indices();
        let ('"', mut out) = (chars.next()?.1, String::new()) else { return None };
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((out, at + 1)),
                '\r' | '\n' => return None,
                '\\' => out.push(match chars.next()?.1 {
                    c @ ('"' | '\\') => c,
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    // `\'`, octal, hexadecimal and `\u` are never written by us.
                    _ => return None,
                }),
                c => out.push(c),
            }
        }
        None
    }

    fn literal(text: &str) -> String {
        let mut out = String::new();
        push_string(&mut out, text);
        out
    }

    proptest! {
        #[test]
        fn a_literal_reads_back_as_the_string_and_ends_where_it_ends(
            text in any::<String>(),
            rest in any::<String>(),
        ) {
            let literal = literal(&text);
            let followed = format!("{literal}{rest}");
            prop_assert_eq!(read_lite(&followed), Some((text.clone(), literal.len())));
            prop_assert_eq!(read_go(&followed), Some((text, literal.len())));
        }

        #[test]
        fn a_literal_of_quotes_and_backslashes_reads_back(text in "[\"'\\\\ntr()\n\r\t\u{0}\u{1F600}%_-]{0,40}") {
            let literal = literal(&text);
            prop_assert_eq!(read_lite(&literal), Some((text.clone(), literal.len())));
            prop_assert_eq!(read_go(&literal), Some((text, literal.len())));
        }

        #[test]
        fn the_range_of_a_prefix_holds_what_starts_with_it_and_nothing_else(
            prefix in any::<String>(),
            other in any::<String>(),
        ) {
            let inside = |text: &str| {
                text >= prefix.as_str() && after_prefix(&prefix).is_none_or(|end| text < end.as_str())
            };
            prop_assert_eq!(inside(&other), other.starts_with(&prefix));
            let longer = format!("{prefix}{other}");
            prop_assert!(inside(&longer));
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix("ab"), Some("ac".to_owned()));
        assert_eq!(after_prefix("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(after_prefix("\u{D7FF}"), Some("\u{E000}".to_owned()));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
        assert_eq!(after_prefix(""), None);
    }

    #[test]
    fn a_list_of_strings() {
        assert_eq!(string_in("id", ["a", "b\""]), r#"id in ["a", "b\""]"#);
    }
}
