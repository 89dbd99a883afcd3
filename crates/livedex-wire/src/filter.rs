//! The filter tree inside a request.
//!
//! Each node is an object with one operator: `{"eq": {"field": "metadata.lang", "value": "en"}}`,
//! `ne`, `lt`, `lte`, `gt`, `gte` alike; `{"in": {"field": …, "values": […]}}`;
//! `{"contains": {"field": "metadata.tags", "value": "x"}}` (a list holds the string);
//! `{"prefix": {"field": …, "value": "x"}}`; `{"exists": {"field": "metadata.x"}}`;
//! `{"and": […]}`, `{"or": […]}`, `{"not": {…}}`. Fields are `document_id`, `tenant`, `updated_at`
//! (compared with RFC 3339 times) and `metadata.KEY`, where KEY is all that follows the first dot.

use livedex_core::{
    filter::{Comparison, Field, Filter, Value},
    limits::{MAX_FILTER_DEPTH, MAX_FILTER_STRING_BYTES},
};
use serde_json::{Map, Value as Json, json};

use crate::{
    fields::{FieldError, Fields, Problem, quote, string, type_error},
    metadata::{Numeric, decode_number},
    time::{format_millis, parse_millis},
};

const OPERATORS: &[&str] = &[
    "eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "prefix", "exists", "and", "or", "not",
];

/// What a field may be called.
const FIELD_NAMES: &str = "document_id, tenant, updated_at or metadata.KEY";

/// A filter as a person types it.
pub fn print(filter: &Filter) -> String {
    encode(filter).to_string()
}

/// Reads a filter that a person typed as JSON; the error says what is wrong with it.
pub fn parse(json: &str) -> Result<Filter, FilterSyntax> {
    let json = serde_json::from_str(json)
        .map_err(|error| FilterSyntax(format!("the filter is no JSON: {error}")))?;
    decode(json, "filter").map_err(|error| FilterSyntax(error.to_string()))
}

/// What is wrong with a typed filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterSyntax(String);

/// Reads the filter at `path`. Depth is bounded here, the other limits by
/// [`Filter::validate`].
pub(crate) fn decode(json: Json, path: &str) -> Result<Filter, FieldError> {
    decode_node(json, path, 1)
}

fn decode_node(json: Json, path: &str, depth: usize) -> Result<Filter, FieldError> {
    if depth > MAX_FILTER_DEPTH {
        let problem =
            Problem::TooLong { length: depth, limit: MAX_FILTER_DEPTH, unit: "levels or more" };
        return Err(FieldError::new("filter", problem));
    }
    let map = match json {
        Json::Object(map) => map,
        other => return Err(type_error(path, "an object with one operator", &other)),
    };
    let n_operators = map.len();
    let (Some((operator, operand)), 1) = (map.into_iter().next(), n_operators) else {
        let problem =
            format!("has {n_operators} operators, expected one of {}", OPERATORS.join(", "));
        return Err(FieldError::new(path, Problem::Other(problem)));
    };
    let below = format!("{path}.{}", quote(&operator));
    let compare = |comparison| {
        let (field, value) = field_and_value(operand.clone(), &below)?;
        Ok(Filter::Compare(field, comparison, value))
    };
    match operator.as_str() {
        "eq" => compare(Comparison::Eq),
        "ne" => compare(Comparison::Ne),
        "lt" => compare(Comparison::Lt),
        "lte" => compare(Comparison::Lte),
        "gt" => compare(Comparison::Gt),
        "gte" => compare(Comparison::Gte),
        "in" => {
            let mut fields = Fields::new(operand, &below, &["field", "values"])?;
            let field = field(&mut fields)?;
            let path = fields.path("values");
            let values = match fields.need("values")? {
                Json::Array(values) => values,
                other => return Err(type_error(&path, "a list", &other)),
            };
            let values = values
                .into_iter()
                .enumerate()
                .map(|(i, one)| value(&field, one, &format!("{path}[{i}]")))
                .collect::<Result<_, _>>()?;
            Ok(Filter::In(field, values))
        }
        "contains" => {
            let mut fields = Fields::new(operand, &below, &["field", "value"])?;
            let key = metadata_key(&mut fields)?;
            Ok(Filter::Contains(key, text(&mut fields)?))
        }
        "prefix" => {
            let mut fields = Fields::new(operand, &below, &["field", "value"])?;
            let field = field(&mut fields)?;
            Ok(Filter::Prefix(field, text(&mut fields)?))
        }
        "exists" => {
            let mut fields = Fields::new(operand, &below, &["field"])?;
            Ok(Filter::Exists(metadata_key(&mut fields)?))
        }
        "and" => Ok(Filter::And(nodes(operand, &below, depth)?)),
        "or" => Ok(Filter::Or(nodes(operand, &below, depth)?)),
        "not" => Ok(Filter::Not(Box::new(decode_node(operand, &below, depth + 1)?))),
        _ => Err(FieldError::new(below, Problem::Unknown { known: OPERATORS.join(", ") })),
    }
}

fn nodes(json: Json, path: &str, depth: usize) -> Result<Vec<Filter>, FieldError> {
    match json {
        Json::Array(nodes) => nodes
            .into_iter()
            .enumerate()
            .map(|(i, node)| decode_node(node, &format!("{path}[{i}]"), depth + 1))
            .collect(),
        other => Err(type_error(path, "a list of filters", &other)),
    }
}

fn field_and_value(json: Json, path: &str) -> Result<(Field, Value), FieldError> {
    let mut fields = Fields::new(json, path, &["field", "value"])?;
    let field = field(&mut fields)?;
    let at = fields.path("value");
    let value = value(&field, fields.need("value")?, &at)?;
    Ok((field, value))
}

fn field(fields: &mut Fields) -> Result<Field, FieldError> {
    let path = fields.path("field");
    let name = string(&path, fields.need("field")?, "metadata.".len() + MAX_FILTER_STRING_BYTES)?;
    match name.as_str() {
        "document_id" => Ok(Field::DocumentId),
        "tenant" => Ok(Field::Tenant),
        "updated_at" => Ok(Field::UpdatedAt),
        _ => match name.strip_prefix("metadata.") {
            Some(key) if !key.is_empty() => Ok(Field::Metadata(key.to_owned())),
            _ => {
                let problem = Problem::NotAllowed { value: quote(name), allowed: FIELD_NAMES };
                Err(FieldError::new(path, problem))
            }
        },
    }
}

fn metadata_key(fields: &mut Fields) -> Result<String, FieldError> {
    match field(fields)? {
        Field::Metadata(key) => Ok(key),
        Field::DocumentId | Field::Tenant | Field::UpdatedAt => {
            let problem = Problem::Other("must be metadata.KEY with this operator".to_owned());
            Err(FieldError::new(fields.path("field"), problem))
        }
    }
}

fn text(fields: &mut Fields) -> Result<String, FieldError> {
    let path = fields.path("value");
    string(&path, fields.need("value")?, MAX_FILTER_STRING_BYTES)
}

fn value(field: &Field, json: Json, path: &str) -> Result<Value, FieldError> {
    if *field == Field::UpdatedAt {
        let text = string(path, json, MAX_FILTER_STRING_BYTES)?;
        return parse_millis(&text).map(Value::Int).ok_or_else(|| {
            let problem =
                Problem::NotAllowed { value: quote(text), allowed: "an RFC 3339 time with offset" };
            FieldError::new(path, problem)
        });
    }
    match json {
        Json::Bool(value) => Ok(Value::Bool(value)),
        Json::String(text) => {
            string(path, Json::String(text), MAX_FILTER_STRING_BYTES).map(Value::String)
        }
        Json::Number(number) => match decode_number(path, &number)? {
            Numeric::Int(value) => Ok(Value::Int(value)),
            Numeric::Float(value) => Ok(Value::Float(value)),
        },
        other => Err(type_error(path, "a string, a number, true or false", &other)),
    }
}

/// The filter as JSON.
pub(crate) fn encode(filter: &Filter) -> Json {
    match filter {
        Filter::Compare(field, comparison, value) => {
            let operator = match comparison {
                Comparison::Eq => "eq",
                Comparison::Ne => "ne",
                Comparison::Lt => "lt",
                Comparison::Lte => "lte",
                Comparison::Gt => "gt",
                Comparison::Gte => "gte",
            };
            node(operator, json!({ "field": field_name(field), "value": plain(field, value) }))
        }
        Filter::In(field, values) => {
            let values: Vec<Json> = values.iter().map(|value| plain(field, value)).collect();
            json!({ "in": { "field": field_name(field), "values": values } })
        }
        Filter::Contains(key, text) => {
            json!({ "contains": { "field": format!("metadata.{key}"), "value": text } })
        }
        Filter::Prefix(field, text) => {
            json!({ "prefix": { "field": field_name(field), "value": text } })
        }
        Filter::Exists(key) => json!({ "exists": { "field": format!("metadata.{key}") } }),
        Filter::And(nodes) => json!({ "and": nodes.iter().map(encode).collect::<Vec<_>>() }),
        Filter::Or(nodes) => json!({ "or": nodes.iter().map(encode).collect::<Vec<_>>() }),
        Filter::Not(below) => json!({ "not": encode(below) }),
    }
}

fn node(operator: &str, operand: Json) -> Json {
    Json::Object(Map::from_iter([(operator.to_owned(), operand)]))
}

fn field_name(field: &Field) -> String {
    match field {
        Field::DocumentId => "document_id".to_owned(),
        Field::Tenant => "tenant".to_owned(),
        Field::UpdatedAt => "updated_at".to_owned(),
        Field::Metadata(key) => format!("metadata.{key}"),
    }
}

fn plain(field: &Field, value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(millis) if *field == Field::UpdatedAt => json!(format_millis(*millis)),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::String(text) => json!(text),
    }
}
