//! The typed filter tree as filter text (INV-6).
//!
//! One function renders it. Every node stands in parentheses, and the tenant's predicate is
//! joined last and from outside, so that nothing a client sends can reach around it.
//!
//! Where Milvus and Milvus Lite disagree, the rendering avoids the question:
//!
//! - A condition on a metadata key is `(exists P and P op v)`. A comparison with an absent key is
//!   unknown rather than false on both, and `not` of unknown matches nothing; with `exists` in
//!   front it is false, so `not` is the complement. A value of another type than the stored one
//!   never equals it; whether `not (P < v)` matches such a row is left to the server.
//! - `in` on a metadata key is an `or` of equalities: Milvus Lite takes only fields left of `in`.
//! - A prefix is a range, `f >= "ab" and f < "ac"`, not `like "ab%"`: Milvus Lite has no escape in
//!   `like`, and Milvus' escape rules changed between versions.
//! - Milvus does not unescape the key in `metadata["key"]` and cuts it at `][`
//!   (`getColumnInfoFromJSONIdentifier` in its plan parser), so keys with `"`, `\`, `][` or
//!   control characters cannot be named there. They are refused, on both servers alike.

use std::fmt::Write as _;

use livedex_core::{
    filter::{Comparison, Field, Filter, FilterError, Value},
    ids::Tenant,
};

use crate::{
    literal::{after_prefix, push_string},
    schema::field,
};

/// Why a filter cannot be asked of Milvus. Never holds a value of the filter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// A limit of the tree.
    #[error(transparent)]
    Invalid(#[from] FilterError),
    /// A metadata key that a Milvus expression cannot name.
    #[error("a metadata key in the filter {problem}")]
    Key {
        /// What about it.
        problem: &'static str,
    },
    /// Booleans have no order.
    #[error("a boolean in the filter can only be compared with eq, ne and in")]
    BoolOrder,
    /// Milvus reads the digits without their sign, so the lowest integer overflows.
    #[error("an integer in the filter is below the limit {limit}")]
    TooLow {
        /// The lowest that can be asked.
        limit: i64,
    },
}

/// The filter text of a search: empty if neither is given.
pub fn render(filter: Option<&Filter>, tenant: Option<&Tenant>) -> Result<String, RenderError> {
    let mut out = String::new();
    if let Some(filter) = filter {
        filter.validate()?;
        push_filter(&mut out, filter)?;
    }
    if let Some(tenant) = tenant {
        if !out.is_empty() {
            out = format!("({out}) and ");
        }
        out.push('(');
        out.push_str(field::TENANT);
        out.push_str(" == ");
        push_string(&mut out, tenant.as_str());
        out.push(')');
    }
    Ok(out)
}

fn push_filter(out: &mut String, filter: &Filter) -> Result<(), RenderError> {
    out.push('(');
    match filter {
        Filter::Compare(field, comparison, value) => {
            let path = Path::new(field)?;
            path.push_guard(out);
            push_comparison(out, &path, *comparison, value)?;
        }
        Filter::In(field, values) => {
            let path = Path::new(field)?;
            path.push_guard(out);
            push_in(out, &path, values)?;
        }
        Filter::Contains(key, text) => {
            let path = Path::metadata(key)?;
            path.push_guard(out);
            write_str(out, format_args!("json_contains({}, ", path.text));
            push_string(out, text);
            out.push(')');
        }
        Filter::Prefix(field, prefix) => {
            let path = Path::new(field)?;
            path.push_guard(out);
            write_str(out, format_args!("{} >= ", path.text));
            push_string(out, prefix);
            if let Some(end) = after_prefix(prefix) {
                write_str(out, format_args!(" and {} < ", path.text));
                push_string(out, &end);
            }
        }
        Filter::Exists(key) => write_str(out, format_args!("exists {}", Path::metadata(key)?.text)),
        Filter::And(children) => push_joined(out, children, " and ")?,
        Filter::Or(children) => push_joined(out, children, " or ")?,
        Filter::Not(child) => {
            out.push_str("not ");
            push_filter(out, child)?;
        }
    }
    out.push(')');
    Ok(())
}

fn push_joined(out: &mut String, children: &[Filter], with: &str) -> Result<(), RenderError> {
    for (i, child) in children.iter().enumerate() {
        if i > 0 {
            out.push_str(with);
        }
        push_filter(out, child)?;
    }
    Ok(())
}

fn push_comparison(
    out: &mut String,
    path: &Path,
    comparison: Comparison,
    value: &Value,
) -> Result<(), RenderError> {
    let ordered = !matches!(comparison, Comparison::Eq | Comparison::Ne);
    if ordered && matches!(value, Value::Bool(_)) {
        return Err(RenderError::BoolOrder);
    }
    let operator = match comparison {
        Comparison::Eq => "==",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Lte => "<=",
        Comparison::Gt => ">",
        Comparison::Gte => ">=",
    };
    write_str(out, format_args!("{} {operator} ", path.text));
    push_value(out, value)
}

fn push_in(out: &mut String, path: &Path, values: &[Value]) -> Result<(), RenderError> {
    if path.in_metadata {
        out.push('(');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                out.push_str(" or ");
            }
            push_comparison(out, path, Comparison::Eq, value)?;
        }
        out.push(')');
    } else {
        write_str(out, format_args!("{} in [", path.text));
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            push_value(out, value)?;
        }
        out.push(']');
    }
    Ok(())
}

fn push_value(out: &mut String, value: &Value) -> Result<(), RenderError> {
    match value {
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(i64::MIN) => return Err(RenderError::TooLow { limit: i64::MIN + 1 }),
        Value::Int(value) => write_str(out, format_args!("{value}")),
        // Debug writes the shortest digits that read back, with a point or an exponent.
        Value::Float(value) => write_str(out, format_args!("{value:?}")),
        Value::String(text) => push_string(out, text),
    }
    Ok(())
}

/// What a condition looks at, as text.
struct Path {
    text: String,
    in_metadata: bool,
}

impl Path {
    fn new(of: &Field) -> Result<Self, RenderError> {
        match of {
            Field::DocumentId => {
                Ok(Self { text: field::DOCUMENT_ID.to_owned(), in_metadata: false })
            }
            Field::Tenant => Ok(Self { text: field::TENANT.to_owned(), in_metadata: false }),
            Field::UpdatedAt => Ok(Self { text: field::UPDATED_AT.to_owned(), in_metadata: false }),
            Field::Metadata(key) => Self::metadata(key),
        }
    }

    fn metadata(key: &str) -> Result<Self, RenderError> {
        let problem = if key.is_empty() {
            Some("is empty")
        } else if key.contains(['"', '\\']) {
            Some("holds a quote or a backslash, which Milvus cannot look up")
        } else if key.contains("][") {
            Some("holds `][`, which Milvus cannot look up")
        } else if key.chars().any(char::is_control) {
            Some("holds a control character, which Milvus cannot look up")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(RenderError::Key { problem });
        }
        let mut text = format!("{}[", field::METADATA);
        push_string(&mut text, key);
        text.push(']');
        Ok(Self { text, in_metadata: true })
    }

    /// `exists P and `, for a metadata key.
    fn push_guard(&self, out: &mut String) {
        if self.in_metadata {
            write_str(out, format_args!("exists {} and ", self.text));
        }
    }
}

/// Writing to a `String` does not fail.
fn write_str(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::limits::MAX_FILTER_VALUES;
    use proptest::prelude::*;

    use super::*;
    use crate::literal::tests::read_lite;

    fn meta(key: &str) -> Field {
        Field::Metadata(key.to_owned())
    }

    fn text(value: &str) -> Value {
        Value::String(value.to_owned())
    }

    fn check(filter: &Filter, expected: &str) {
        assert_eq!(render(Some(filter), None).unwrap(), expected);
    }

    #[test]
    fn every_kind() {
        check(
            &Filter::Compare(Field::DocumentId, Comparison::Eq, text("a\"b")),
            r#"(document_id == "a\"b")"#,
        );
        check(
            &Filter::Compare(Field::UpdatedAt, Comparison::Gte, Value::Int(-5)),
            "(updated_at >= -5)",
        );
        check(
            &Filter::Compare(meta("year"), Comparison::Ne, Value::Float(1e300)),
            r#"(exists metadata["year"] and metadata["year"] != 1e300)"#,
        );
        check(
            &Filter::In(Field::DocumentId, vec![text("a"), text("b")]),
            r#"(document_id in ["a", "b"])"#,
        );
        check(
            &Filter::In(meta("k"), vec![Value::Int(1), Value::Bool(true)]),
            r#"(exists metadata["k"] and (metadata["k"] == 1 or metadata["k"] == true))"#,
        );
        check(
            &Filter::Contains("tags".into(), "x".into()),
            r#"(exists metadata["tags"] and json_contains(metadata["tags"], "x"))"#,
        );
        check(
            &Filter::Prefix(Field::DocumentId, "a%_".into()),
            r#"(document_id >= "a%_" and document_id < "a%`")"#,
        );
        check(&Filter::Prefix(Field::DocumentId, String::new()), r#"(document_id >= "")"#);
        check(&Filter::Exists("k".into()), r#"(exists metadata["k"])"#);
        check(
            &Filter::And(vec![
                Filter::Exists("a".into()),
                Filter::Or(vec![
                    Filter::Exists("b".into()),
                    Filter::Not(Box::new(Filter::Exists("c".into()))),
                ]),
            ]),
            r#"((exists metadata["a"]) and ((exists metadata["b"]) or (not (exists metadata["c"]))))"#,
        );
    }

    #[test]
    fn the_tenant_is_added_last_and_outside() {
        let tenant = Tenant::new("t\") or true or (\"").unwrap();
        let filter = Filter::Or(vec![Filter::Exists("a".into()), Filter::Exists("b".into())]);
        assert_eq!(
            render(Some(&filter), Some(&tenant)).unwrap(),
            r#"(((exists metadata["a"]) or (exists metadata["b"]))) and (tenant == "t\") or true or (\"")"#,
        );
        assert_eq!(render(None, Some(&Tenant::default())).unwrap(), r#"(tenant == "")"#);
        assert_eq!(render(None, None).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for key in ["", "a\"b", "a\\b", "a][b", "a\nb", "a\u{0}"] {
            let error = render(Some(&Filter::Exists(key.to_owned())), None).unwrap_err();
            assert!(matches!(error, RenderError::Key { .. }), "{key:?}: {error}");
        }
        let order = Filter::Compare(meta("k"), Comparison::Lt, Value::Bool(true));
        assert_eq!(render(Some(&order), None), Err(RenderError::BoolOrder));
        let low = Filter::Compare(meta("k"), Comparison::Eq, Value::Int(i64::MIN));
        assert!(matches!(render(Some(&low), None), Err(RenderError::TooLow { .. })));
        let long = Filter::In(meta("k"), vec![Value::Int(1); MAX_FILTER_VALUES + 1]);
        assert!(matches!(render(Some(&long), None), Err(RenderError::Invalid(_))));
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        let nasty = "[a\"'\\\\() =\n\u{1F600}]{0,12}";
        let key = "[a-z()' =\u{1F600}]{1,12}";
        let value = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            (-1_000_000_i64..1_000_000).prop_map(Value::Int),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::Float),
            nasty.prop_map(Value::String),
        ];
        let leaf = prop_oneof![
            (key, value.clone()).prop_map(|(k, v)| Filter::Compare(
                Field::Metadata(k),
                Comparison::Eq,
                v
            )),
            (key, prop::collection::vec(value, 1..4))
                .prop_map(|(k, v)| Filter::In(Field::Metadata(k), v)),
            nasty.prop_map(|t| Filter::Compare(
                Field::DocumentId,
                Comparison::Ne,
                Value::String(t)
            )),
            (key, nasty).prop_map(|(k, t)| Filter::Contains(k, t)),
            nasty.prop_map(|t| Filter::Prefix(Field::DocumentId, t)),
            key.prop_map(Filter::Exists),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::Or),
                inner.prop_map(|f| Filter::Not(Box::new(f))),
            ]
        })
    }

    proptest! {
        /// Outside of string literals only our own words are left, and the last parenthesis
        /// group of the top level is the tenant's.
        #[test]
        fn no_value_leaves_its_literal(filter in any_filter(), tenant in "[a\"\\\\() ]{0,10}") {
            let rendered = render(Some(&filter), Some(&Tenant::new(tenant.clone()).unwrap())).unwrap();
            let (mut skeleton, mut strings) = (String::new(), Vec::new());
            let mut rest = rendered.as_str();
            while let Some(c) = rest.chars().next() {
                if c == '"' {
                    let (string, len) = read_lite(rest).unwrap();
                    strings.push(string);
                    skeleton.push('S');
                    rest = &rest[len..];
                } else {
                    skeleton.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
            prop_assert!(skeleton.ends_with(") and (tenant == S)"), "{}", skeleton);
            prop_assert_eq!(strings.last(), Some(&tenant));
            let head = skeleton.strip_suffix(" and (tenant == S)").unwrap();
            // The rest of the text is one single group.
            let mut depth = 0_i32;
            for (i, c) in head.char_indices() {
                depth += i32::from(c == '(') - i32::from(c == ')');
                prop_assert!(depth > 0 || i == head.len() - 1, "{}", skeleton);
            }
            prop_assert_eq!(depth, 0);
            let words = head.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for word in words {
                let known = ["", "S", "and", "or", "not", "exists", "metadata", "document_id",
                    "json_contains", "true", "false"];
                let number = word.starts_with(|c: char| c.is_ascii_digit());
                prop_assert!(number || known.contains(&word), "{} in {}", word, skeleton);
            }
        }
    }
}
