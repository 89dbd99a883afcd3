//! The typed filter tree of a query.
//!
//! Clients never send filter text (INV-6): they send this tree, and `livedex-milvus` renders it.

use crate::limits::{
    MAX_FILTER_DEPTH, MAX_FILTER_NODES, MAX_FILTER_STRING_BYTES, MAX_FILTER_VALUES,
};

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The document's id.
    DocumentId,
    /// The document's tenant; the empty name is the default tenant.
    Tenant,
    /// The document's `updated_at`, compared as milliseconds since 1970.
    UpdatedAt,
    /// A key of the metadata.
    Metadata(String),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// A string.
    String(String),
}

/// How a field is compared with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal; a row without the field does not match.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

/// A filter: a tree of conditions.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// The field compared with a value.
    Compare(Field, Comparison, Value),
    /// The field equals one of the values (at least one).
    In(Field, Vec<Value>),
    /// The list in this metadata key contains the string.
    Contains(String, String),
    /// The string field starts with the text.
    Prefix(Field, String),
    /// The metadata key is there.
    Exists(String),
    /// All of these (at least one).
    And(Vec<Filter>),
    /// One of these or more (at least one).
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// Too many conditions.
    #[error("the filter has more than {limit} nodes")]
    TooManyNodes {
        /// The limit, inclusive.
        limit: usize,
    },
    /// Nested too deep.
    #[error("the filter is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, inclusive.
        limit: usize,
    },
    /// `and`, `or` or `in` without an entry.
    #[error("`{operator}` in the filter has no entries")]
    Empty {
        /// The operator.
        operator: &'static str,
    },
    /// A list or a string that is too long.
    #[error("{what} in the filter has {length} {unit}, the limit is {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// The limit, inclusive.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// A number that is not finite.
    #[error("a number in the filter is not finite")]
    NotFinite,
    /// A field that cannot be compared like that.
    #[error("`{field}` in the filter cannot be used with {value}")]
    Type {
        /// The field.
        field: &'static str,
        /// What was given.
        value: &'static str,
    },
}

impl Filter {
    /// Checks every limit of the tree, and that `document_id` and `tenant` meet strings
    /// only and `updated_at` integers only.
    pub fn validate(&self) -> Result<(), FilterError> {
        let mut n_nodes = 0;
        self.validate_node(1, &mut n_nodes)
    }

    fn validate_node(&self, depth: usize, n_nodes: &mut usize) -> Result<(), FilterError> {
        *n_nodes += 1;
        if *n_nodes > MAX_FILTER_NODES {
            return Err(FilterError::TooManyNodes { limit: MAX_FILTER_NODES });
        }
        if depth > MAX_FILTER_DEPTH {
            return Err(FilterError::TooDeep { limit: MAX_FILTER_DEPTH });
        }
        match self {
            Self::Compare(field, _, value) => check_pair(field, value),
            Self::In(field, values) => {
                if values.is_empty() {
                    return Err(FilterError::Empty { operator: "in" });
                }
                if values.len() > MAX_FILTER_VALUES {
                    return Err(FilterError::TooLong {
                        what: "an `in` list",
                        length: values.len(),
                        limit: MAX_FILTER_VALUES,
                        unit: "values",
                    });
                }
                values.iter().try_for_each(|value| check_pair(field, value))
            }
            Self::Contains(key, text) => check_string(key).and_then(|()| check_string(text)),
            Self::Prefix(field, text) => {
                if *field == Field::UpdatedAt {
                    return Err(FilterError::Type { field: "updated_at", value: "a prefix" });
                }
                check_field(field).and_then(|()| check_string(text))
            }
            Self::Exists(key) => check_string(key),
            Self::And(children) | Self::Or(children) => {
                if children.is_empty() {
                    let operator = if matches!(self, Self::And(_)) { "and" } else { "or" };
                    return Err(FilterError::Empty { operator });
                }
                children.iter().try_for_each(|child| child.validate_node(depth + 1, n_nodes))
            }
            Self::Not(child) => child.validate_node(depth + 1, n_nodes),
        }
    }
}

fn check_pair(field: &Field, value: &Value) -> Result<(), FilterError> {
    check_field(field)?;
    match (field, value) {
        (Field::DocumentId | Field::Tenant, Value::String(_))
        | (Field::UpdatedAt, Value::Int(_)) => {}
        (Field::DocumentId, _) => {
            return Err(FilterError::Type { field: "document_id", value: "what is no string" });
        }
        (Field::Tenant, _) => {
            return Err(FilterError::Type { field: "tenant", value: "what is no string" });
        }
        (Field::UpdatedAt, _) => {
            return Err(FilterError::Type { field: "updated_at", value: "what is no time" });
        }
        (Field::Metadata(_), _) => {}
    }
    match value {
        Value::String(text) => check_string(text),
        Value::Float(number) if !number.is_finite() => Err(FilterError::NotFinite),
        _ => Ok(()),
    }
}

fn check_field(field: &Field) -> Result<(), FilterError> {
    match field {
        Field::Metadata(key) => check_string(key),
        Field::DocumentId | Field::Tenant | Field::UpdatedAt => Ok(()),
    }
}

fn check_string(text: &str) -> Result<(), FilterError> {
    if text.len() > MAX_FILTER_STRING_BYTES {
        return Err(FilterError::TooLong {
            what: "a string",
            length: text.len(),
            limit: MAX_FILTER_STRING_BYTES,
            unit: "bytes",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn leaf() -> Filter {
        Filter::Exists("key".to_owned())
    }

    fn check(filter: Filter, expect: Result<(), &str>) {
        let result = filter.validate().map_err(|error| error.to_string());
        assert_eq!(result, expect.map_err(str::to_owned), "{filter:?}");
    }

    fn nested(levels: usize) -> Filter {
        (1..levels).fold(leaf(), |filter, _| Filter::Not(Box::new(filter)))
    }

    #[test]
    fn trees_are_bounded() {
        check(nested(MAX_FILTER_DEPTH), Ok(()));
        check(nested(MAX_FILTER_DEPTH + 1), Err("the filter is nested deeper than 8 levels"));
        // The tree's root is a node, too.
        check(Filter::And(vec![leaf(); MAX_FILTER_NODES - 1]), Ok(()));
        check(Filter::Or(vec![leaf(); MAX_FILTER_NODES]), Err("the filter has more than 64 nodes"));
        let wide = Filter::And(vec![Filter::Or(vec![leaf(); 31]), Filter::Or(vec![leaf(); 31])]);
        check(wide, Err("the filter has more than 64 nodes"));
    }

    #[test]
    fn lists_are_bounded_and_not_empty() {
        let values = |n| Filter::In(Field::Metadata("k".to_owned()), vec![Value::Int(1); n]);
        check(values(MAX_FILTER_VALUES), Ok(()));
        let error = "an `in` list in the filter has 257 values, the limit is 256";
        check(values(MAX_FILTER_VALUES + 1), Err(error));
        check(values(0), Err("`in` in the filter has no entries"));
        check(Filter::And(vec![]), Err("`and` in the filter has no entries"));
        check(Filter::Or(vec![]), Err("`or` in the filter has no entries"));
    }

    #[test]
    fn strings_are_bounded_wherever_they_stand() {
        let long = "ä".repeat(MAX_FILTER_STRING_BYTES / 2 + 1);
        let id = || Value::String(long.clone());
        let key = || Field::Metadata(long.clone());
        for filter in [
            Filter::Compare(Field::DocumentId, Comparison::Eq, id()),
            Filter::Compare(key(), Comparison::Eq, Value::Bool(true)),
            Filter::In(Field::DocumentId, vec![Value::String(String::new()), id()]),
            Filter::In(key(), vec![Value::Int(1)]),
            Filter::Contains(long.clone(), String::new()),
            Filter::Contains(String::new(), long.clone()),
            Filter::Prefix(Field::DocumentId, long.clone()),
            Filter::Prefix(key(), String::new()),
            Filter::Exists(long.clone()),
        ] {
            check(filter, Err("a string in the filter has 1026 bytes, the limit is 1024"));
        }
    }

    #[test]
    fn fields_meet_values_of_their_type() {
        let compare = |field, value| Filter::Compare(field, Comparison::Lt, value);
        check(compare(Field::DocumentId, Value::String("a".to_owned())), Ok(()));
        check(compare(Field::UpdatedAt, Value::Int(1)), Ok(()));
        let error = "`document_id` in the filter cannot be used with what is no string";
        check(compare(Field::DocumentId, Value::Int(1)), Err(error));
        let error = "`updated_at` in the filter cannot be used with what is no time";
        check(compare(Field::UpdatedAt, Value::String("2026".to_owned())), Err(error));
        check(Filter::In(Field::UpdatedAt, vec![Value::Int(1), Value::Bool(true)]), Err(error));
        let error = "`updated_at` in the filter cannot be used with a prefix";
        check(Filter::Prefix(Field::UpdatedAt, "2".to_owned()), Err(error));
        let number = |value| compare(Field::Metadata("k".to_owned()), Value::Float(value));
        check(number(1.5), Ok(()));
        for value in [f64::NAN, f64::INFINITY] {
            check(number(value), Err("a number in the filter is not finite"));
        }
    }
}
