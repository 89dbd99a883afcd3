//! What the requests have in common: why one is refused, and the fields that several have.

use livedex_core::{
    filter::FilterError,
    ids::Tenant,
    limits::{
        MAX_AFTER, MAX_COLLECTION_BYTES, MAX_INSTRUCTION_BYTES, MAX_TENANT_BYTES, MAX_TOPIC_BYTES,
    },
    query::Consistency,
    record::SourcePosition,
};
use serde_json::{Map, Value, json};

use crate::{
    error::{ErrorBody, ErrorCode},
    fields::{FieldError, Fields, Problem, SyntaxError, quote, string, text},
};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A field is not as it should be.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl RequestError {
    /// Too large if a text or a list is longer than its limit, or else a bad request.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Field(FieldError { problem: Problem::TooLong { .. }, .. })
            | Self::Filter(
                FilterError::TooLong { .. }
                | FilterError::TooManyNodes { .. }
                | FilterError::TooDeep { .. },
            ) => ErrorCode::TooLarge,
            _ => ErrorCode::BadRequest,
        }
    }

    /// The error as it is sent.
    pub fn body(&self) -> ErrorBody {
        let (field, limit) = match self {
            Self::Syntax(_) => (None, None),
            Self::Field(error) => (Some(error.field.clone()), error.limit()),
            Self::Filter(error) => {
                let limit = match error {
                    FilterError::TooManyNodes { limit }
                    | FilterError::TooDeep { limit }
                    | FilterError::TooLong { limit, .. } => Some(*limit as u64),
                    _ => None,
                };
                (Some("filter".to_owned()), limit)
            }
        };
        ErrorBody { field, limit, ..ErrorBody::new(self.code(), self.to_string()) }
    }
}

/// A text that must be there: 1 to `limit` bytes, not only white space.
pub(crate) fn need_text(
    fields: &mut Fields,
    name: &'static str,
    limit: usize,
) -> Result<String, FieldError> {
    let value = fields.need(name)?;
    text(&fields.path(name), value, limit)
}

/// A list of 1 to `limit` entries, each read with its path; `None` if it is absent.
pub(crate) fn list_of<T>(
    fields: &mut Fields,
    name: &'static str,
    limit: usize,
    read: impl Fn(&str, Value) -> Result<T, FieldError>,
) -> Result<Option<Vec<T>>, FieldError> {
    let path = fields.path(name);
    match fields.list(name, limit)? {
        None => Ok(None),
        Some(list) if list.is_empty() => Err(FieldError::new(path, Problem::Empty)),
        Some(list) => each(&path, list, read).map(Some),
    }
}

/// The same of a list that must be there.
pub(crate) fn need_list<T>(
    fields: &mut Fields,
    name: &'static str,
    limit: usize,
    read: impl Fn(&str, Value) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let missing = FieldError::new(fields.path(name), Problem::Missing);
    list_of(fields, name, limit, read)?.ok_or(missing)
}

/// Reads every entry of the list at `path`.
fn each<T>(
    path: &str,
    list: Vec<Value>,
    read: impl Fn(&str, Value) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    list.into_iter().enumerate().map(|(i, value)| read(&format!("{path}[{i}]"), value)).collect()
}

pub(crate) fn tenant(fields: &mut Fields) -> Result<Option<Tenant>, FieldError> {
    let Some(name) = fields.string("tenant", MAX_TENANT_BYTES)? else {
        return Ok(None);
    };
    Tenant::new(name).map(Some).map_err(|error| {
        FieldError::new(fields.path("tenant"), Problem::Other(format!("is not valid: {error}")))
    })
}

pub(crate) fn instruction(fields: &mut Fields) -> Result<Option<String>, FieldError> {
    optional_text(fields, "instruction", MAX_INSTRUCTION_BYTES)
}

pub(crate) fn collection(fields: &mut Fields) -> Result<Option<String>, FieldError> {
    optional_text(fields, "collection", MAX_COLLECTION_BYTES)
}

/// A text that may be absent, but not be empty.
pub(crate) fn optional_text(
    fields: &mut Fields,
    name: &'static str,
    limit: usize,
) -> Result<Option<String>, FieldError> {
    let path = fields.path(name);
    fields.take(name).map(|value| text(&path, value, limit)).transpose()
}

/// How fresh the data must be, and which records must be in it.
pub(crate) fn freshness(
    fields: &mut Fields,
) -> Result<(Option<Consistency>, Vec<SourcePosition>), FieldError> {
    let named = |name: &str| LEVELS.into_iter().find(|level| consistency_name(*level) == name);
    let consistency = fields.choice("consistency", named, "strong, bounded or eventually")?;
    let path = fields.path("after");
    let after = each(&path, fields.list("after", MAX_AFTER)?.unwrap_or_default(), position)?;
    match consistency {
        Some(weak @ (Consistency::Bounded | Consistency::Eventually)) if !after.is_empty() => {
            let problem = format!(
                "is {}, with `after` it must be strong: only a strong read is sure to see the \
                 records that were waited for",
                consistency_name(weak)
            );
            Err(FieldError::new(fields.path("consistency"), Problem::Other(problem)))
        }
        _ => Ok((consistency, after)),
    }
}

const LEVELS: [Consistency; 3] =
    [Consistency::Strong, Consistency::Bounded, Consistency::Eventually];

/// The name of a consistency level in the contracts.
pub fn consistency_name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Strong => "strong",
        Consistency::Bounded => "bounded",
        Consistency::Eventually => "eventually",
    }
}

/// A record's place.
fn position(path: &str, value: Value) -> Result<SourcePosition, FieldError> {
    let mut fields = Fields::new(value, path, &["topic", "partition", "offset"])?;
    let topic = need_text(&mut fields, "topic", MAX_TOPIC_BYTES)?;
    // The ranges are those of the types: the conversions cannot fail.
    let missing = |name: &str| FieldError::new(format!("{path}.{name}"), Problem::Missing);
    let partition = fields.whole("partition", 0..=i32::MAX.into())?;
    let partition = partition.and_then(|n| i32::try_from(n).ok());
    let offset = fields.whole("offset", 0..=i64::MAX.into())?.and_then(|n| i64::try_from(n).ok());
    Ok(SourcePosition {
        topic: topic.into(),
        partition: partition.ok_or_else(|| missing("partition"))?,
        offset: offset.ok_or_else(|| missing("offset"))?,
    })
}

/// What `include` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) text: bool,
    pub(crate) metadata: bool,
    pub(crate) vectors: bool,
}

impl Parts {
    /// What is included if nothing is said.
    pub(crate) const DEFAULT: Self = Self { text: true, metadata: true, vectors: false };

    /// Reads `include`.
    pub(crate) fn decode(fields: &mut Fields) -> Result<Self, FieldError> {
        let Some(names) = include(fields, &["text", "metadata", "vectors"], ALLOWED)? else {
            return Ok(Self::DEFAULT);
        };
        let has = |name| names.contains(&name);
        Ok(Self { text: has("text"), metadata: has("metadata"), vectors: has("vectors") })
    }

    /// Writes `include`, if it is not the default.
    pub(crate) fn encode(self, json: &mut Written) {
        if self != Self::DEFAULT {
            let parts =
                [(self.text, "text"), (self.metadata, "metadata"), (self.vectors, "vectors")];
            let names: Vec<&str> =
                parts.into_iter().filter(|(is_in, _)| *is_in).map(|(_, name)| name).collect();
            json.put("include", names);
        }
    }
}

const ALLOWED: &str = "text, metadata or vectors";

/// The names in `include`, of those that are known; `None` if it is absent.
pub(crate) fn include(
    fields: &mut Fields,
    known: &[&'static str],
    allowed: &'static str,
) -> Result<Option<Vec<&'static str>>, FieldError> {
    let path = fields.path("include");
    let Some(list) = fields.list("include", usize::MAX)? else {
        return Ok(None);
    };
    let read = |path: &str, value: Value| {
        let name = string(path, value, usize::MAX)?;
        known.iter().copied().find(|known| *known == name).ok_or_else(|| {
            FieldError::new(path, Problem::NotAllowed { value: quote(name), allowed })
        })
    };
    each(&path, list, read).map(Some)
}

/// A request as JSON that is written field by field, without what is the default.
#[derive(Debug, Default)]
pub(crate) struct Written(Map<String, Value>);

impl Written {
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A field that is there if it has a value.
    pub(crate) fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub(crate) fn put_freshness(
        &mut self,
        consistency: Option<Consistency>,
        after: &[SourcePosition],
    ) {
        self.put_some("consistency", consistency.map(consistency_name));
        if !after.is_empty() {
            let after = after.iter().map(
                |at| json!({ "topic": *at.topic, "partition": at.partition, "offset": at.offset }),
            );
            self.put("after", after.collect::<Vec<_>>());
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        Value::Object(self.0).to_string().into_bytes()
    }
}

#[cfg(test)]
pub(crate) mod tests;
