//! Where a value stands in a record: the notation of every key of a mapping.
//!
//! | notation | what it names |
//! |---|---|
//! | `/a/b` | a JSON pointer into the value; with Debezium into the row, with CloudEvents into `data` |
//! | the empty string | the whole of it |
//! | `key:/a/b` | a JSON pointer into the record's key; `key:` is the whole key as text |
//! | `header:name` | a Kafka header, the last of its name |
//! | `ce:name` | an attribute of a CloudEvent, extensions included |

use std::fmt;

use serde_json::Value;

use crate::fields::kind;

/// A JSON pointer (RFC 6901). The empty one names the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(String);

/// Where a value stands in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// In the value (of Debezium: in the row; of CloudEvents: in `data`).
    Value(Pointer),
    /// In the key.
    Key(Pointer),
    /// In a header.
    Header(String),
    /// In an attribute of a CloudEvent.
    Attribute(String),
}

/// Why a text names no location. Reads on from the key that holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum LocationError {
    /// Neither a pointer nor one of the prefixes.
    #[error(
        "is \"{text}\"; expected a JSON pointer (RFC 6901) such as /{text}, or key:/name, \
         header:name or ce:name"
    )]
    Unknown {
        /// What was given.
        text: String,
    },
    /// A pointer that does not begin with a slash.
    #[error("is \"{text}\"; a JSON pointer (RFC 6901) begins with /, such as /{text}")]
    NoSlash {
        /// What was given.
        text: String,
    },
    /// A tilde that escapes nothing.
    #[error("is \"{text}\"; in a JSON pointer (RFC 6901) ~ is written ~0, and ~1 means /")]
    Tilde {
        /// What was given.
        text: String,
    },
    /// No header has this name.
    #[error("is \"header:\", which names no header; write header:name")]
    NoHeader,
    /// No attribute has this name.
    #[error(
        "is \"ce:{name}\"; an attribute of a CloudEvent is named by lower-case letters and digits, \
         and its data by a pointer"
    )]
    NoAttribute {
        /// What was given.
        name: String,
    },
}

impl Pointer {
    /// Reads a pointer.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(LocationError::NoSlash { text: text.to_owned() });
        }
        let escapes = text.split('~').skip(1);
        if !escapes.map(|rest| rest.chars().next()).all(|c| matches!(c, Some('0' | '1'))) {
            return Err(LocationError::Tilde { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole.
    pub(super) fn whole() -> Self {
        Self(String::new())
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names the whole.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// What it names in `root`; null counts as nothing.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        root.pointer(&self.0).filter(|value| !value.is_null())
    }

    /// What is there instead, at the nearest parent that exists. Only kinds of values are named,
    /// and the parts of the pointer itself: never what a record says (INV-7). `root` has no
    /// name of its own, so `whole` is its name.
    pub(super) fn explain(&self, root: &Value, whole: &str) -> String {
        let mut parent = self.0.as_str();
        let found = loop {
            match (root.pointer(parent), parent.rsplit_once('/')) {
                (Some(found), _) => break found,
                (None, Some((shorter, _))) => parent = shorter,
                // The empty pointer always finds the root.
                (None, None) => break root,
            }
        };
        let name = if parent.is_empty() { whole } else { parent };
        let rest = &self.0[parent.len()..];
        match found {
            Value::Object(_) if !rest.is_empty() => {
                let step = rest.split('/').nth(1).unwrap_or_default();
                format!("{name} is an object without {step:?}")
            }
            Value::Array(items) => format!("{name} is a list of {}", items.len()),
            other => format!("{name} is {}", kind(other)),
        }
    }
}

impl Location {
    /// Reads the notation above.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() || text.starts_with('/') {
            return Pointer::parse(text).map(Self::Value);
        }
        match text.split_once(':') {
            Some(("key", pointer)) => Pointer::parse(pointer).map(Self::Key),
            Some(("header", "")) => Err(LocationError::NoHeader),
            Some(("header", name)) => Ok(Self::Header(name.to_owned())),
            Some(("ce", name)) if is_attribute(name) => Ok(Self::Attribute(name.to_owned())),
            Some(("ce", name)) => Err(LocationError::NoAttribute { name: name.to_owned() }),
            _ => Err(LocationError::Unknown { text: text.to_owned() }),
        }
    }
}

/// The specification's rule for names, and its two names of the data, which are none.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#naming-conventions>
fn is_attribute(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && name != "data"
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(pointer) if pointer.is_whole() => f.write_str("\"\""),
            Self::Value(pointer) => f.write_str(pointer.as_str()),
            Self::Key(pointer) => write!(f, "key:{}", pointer.as_str()),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Attribute(name) => write!(f, "ce:{name}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_notation_is_read_and_printed() {
        for text in ["/a/b~1c~0d/0", "/", "key:/id", "key:", "header:my header", "ce:partitionkey"]
        {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("").unwrap(), Location::Value(Pointer(String::new())));
        let error = |text| Location::parse(text).unwrap_err().to_string();
        assert!(error("body").contains("such as /body"), "{}", error("body"));
        assert!(error("key:id").contains("begins with /, such as /id"), "{}", error("key:id"));
        for tilde in ["/a~", "/a~2b", "/~0~"] {
            assert!(error(tilde).contains("is written ~0"), "{}", error(tilde));
        }
        for none in ["header:", "ce:", "ce:data", "ce:my_name", "ce:Type", "topic:x"] {
            assert!(error(none).starts_with("is \""), "{none}");
        }
    }

    #[test]
    fn pointers_find_what_rfc_6901_says() {
        let root = json!({"a": {"b/c": [10, {"~": "x"}]}, "": 1, "n": null});
        let find = |text| Pointer::parse(text).unwrap().find(&root).cloned();
        assert_eq!(find("/a/b~1c/0"), Some(json!(10)));
        assert_eq!(find("/a/b~1c/1/~0"), Some(json!("x")));
        assert_eq!(find("/"), Some(json!(1)));
        assert_eq!(find(""), Some(root.clone()));
        for nothing in ["/n", "/a/b~1c/2", "/a/b~1c/01", "/a/b~1c/-", "/b", "/a/b"] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_there_instead_is_named_by_its_kind() {
        let root = json!({"a": {"b": ["secret", "secret"]}, "s": "secret", "n": null, "o": {}});
        let check = |text: &str, expected: &str| {
            let found = Pointer::parse(text).unwrap().explain(&root, "the value");
            assert_eq!(found, expected);
        };
        check("/x/y", "the value is an object without \"x\"");
        check("/a/x/y", "/a is an object without \"x\"");
        check("/a/b/7/z", "/a/b is a list of 2");
        check("/s/x", "/s is a string");
        check("/n", "/n is null");
        check("/n/x", "/n is null");
        check("/o/x~1y", "/o is an object without \"x~1y\"");
        assert_eq!(Pointer::parse("/a").unwrap().explain(&json!(1.5), "the row"), {
            "the row is a number with a fraction"
        });
    }
}
