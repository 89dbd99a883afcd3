//! `query.v1`: a request.

use livedex_core::{
    filter::FilterError,
    ids::Tenant,
    limits::{MAX_CANDIDATES, MAX_INSTRUCTION_BYTES, MAX_QUERY_BYTES, MAX_TENANT_BYTES, MAX_TOP_K},
    query::{Consistency, QueryRequest},
};
use serde_json::{Map, Value, json};

use crate::{
    error::{ErrorBody, ErrorCode},
    fields::{FieldError, Fields, Problem, SyntaxError, parse, quote, type_error},
    filter,
};

const FIELDS: &[&str] = &[
    "query",
    "top_k",
    "candidates",
    "filter",
    "tenant",
    "instruction",
    "rerank",
    "consistency",
    "include",
];

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
        ErrorBody {
            code: self.code(),
            message: self.to_string(),
            field,
            limit,
            retry_after_ms: None,
        }
    }
}

/// Reads and checks a request: afterwards every limit holds.
pub fn decode(json: &[u8]) -> Result<QueryRequest, RequestError> {
    let mut fields = Fields::new(parse(json)?, "", FIELDS)?;
    let query = fields
        .string("query", MAX_QUERY_BYTES)?
        .ok_or_else(|| FieldError::new("query", Problem::Missing))?;
    if query.trim().is_empty() {
        return Err(FieldError::new("query", Problem::Empty).into());
    }
    let top_k = fields.count("top_k", 1, MAX_TOP_K)?;
    let candidates = fields.count("candidates", 1, MAX_CANDIDATES)?;
    if let (Some(top_k), Some(candidates)) = (top_k, candidates)
        && candidates < top_k
    {
        let problem = format!("is {candidates}, less than `top_k` ({top_k})");
        return Err(FieldError::new("candidates", Problem::Other(problem)).into());
    }
    let filter = match fields.take("filter") {
        None => None,
        Some(json) => {
            let filter = filter::decode(json, "filter")?;
            filter.validate()?;
            Some(filter)
        }
    };
    let tenant = match fields.string("tenant", MAX_TENANT_BYTES)? {
        None => None,
        Some(name) => Some(Tenant::new(name).map_err(|error| {
            FieldError::new("tenant", Problem::Other(format!("is not valid: {error}")))
        })?),
    };
    let instruction = fields.string("instruction", MAX_INSTRUCTION_BYTES)?;
    if instruction.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(FieldError::new("instruction", Problem::Empty).into());
    }
    let rerank = fields.boolean("rerank")?.unwrap_or(true);
    let consistency = match fields.string("consistency", usize::MAX)? {
        None => None,
        Some(name) => Some(consistency(&name).ok_or_else(|| {
            let allowed = "strong, bounded or eventually";
            FieldError::new("consistency", Problem::NotAllowed { value: quote(name), allowed })
        })?),
    };
    let (include_text, include_metadata) = include(fields.take("include"))?;
    Ok(QueryRequest {
        top_k,
        candidates,
        filter,
        tenant,
        instruction,
        rerank,
        consistency,
        include_text,
        include_metadata,
        ..QueryRequest::new(query)
    })
}

fn consistency(name: &str) -> Option<Consistency> {
    match name {
        "strong" => Some(Consistency::Strong),
        "bounded" => Some(Consistency::Bounded),
        "eventually" => Some(Consistency::Eventually),
        _ => None,
    }
}

/// Whether text and metadata are wanted; both, if nothing is said.
fn include(json: Option<Value>) -> Result<(bool, bool), FieldError> {
    let parts = match json {
        None => return Ok((true, true)),
        Some(Value::Array(parts)) => parts,
        Some(other) => return Err(type_error("include", "a list", &other)),
    };
    let (mut text, mut metadata) = (false, false);
    for (i, part) in parts.into_iter().enumerate() {
        match part {
            Value::String(name) if name == "text" => text = true,
            Value::String(name) if name == "metadata" => metadata = true,
            Value::String(name) => {
                let problem =
                    Problem::NotAllowed { value: quote(name), allowed: "text or metadata" };
                return Err(FieldError::new(format!("include[{i}]"), problem));
            }
            other => return Err(type_error(&format!("include[{i}]"), "a string", &other)),
        }
    }
    Ok((text, metadata))
}

/// The request as JSON, without what is the default.
pub fn encode(request: &QueryRequest) -> Vec<u8> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("query", json!(request.query));
    if let Some(top_k) = request.top_k {
        put("top_k", json!(top_k));
    }
    if let Some(candidates) = request.candidates {
        put("candidates", json!(candidates));
    }
    if let Some(filter) = &request.filter {
        put("filter", filter::encode(filter));
    }
    if let Some(tenant) = &request.tenant {
        put("tenant", json!(tenant.as_str()));
    }
    if let Some(instruction) = &request.instruction {
        put("instruction", json!(instruction));
    }
    if !request.rerank {
        put("rerank", json!(false));
    }
    match request.consistency {
        Some(Consistency::Strong) => put("consistency", json!("strong")),
        Some(Consistency::Eventually) => put("consistency", json!("eventually")),
        Some(Consistency::Bounded) => put("consistency", json!("bounded")),
        None => None,
    };
    if !(request.include_text && request.include_metadata) {
        let mut include = Vec::new();
        if request.include_text {
            include.push("text");
        }
        if request.include_metadata {
            include.push("metadata");
        }
        put("include", json!(include));
    }
    Value::Object(map).to_string().into_bytes()
}

#[cfg(test)]
mod tests;
