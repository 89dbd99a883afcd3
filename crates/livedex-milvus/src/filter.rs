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
mod tests;
