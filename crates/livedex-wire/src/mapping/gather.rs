//! The fields of a document, gathered from where the mapping says they stand.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    Mapping,
    error::MappingError,
    location::Location,
    opened::Opened,
    scope::Scope,
    text::{ContentTypeRule, TextRule, media_type},
};
use crate::{
    document::{content_type, name_of},
    fields::parse,
    time::format_millis,
};

/// The fields of a `document.v1`.
pub(super) fn fields(
    mapping: &Mapping,
    scope: &Scope<'_>,
    opened: &Opened,
) -> Result<Map<String, Value>, MappingError> {
    let mut fields = Map::new();
    fields.insert("text".to_owned(), text(mapping, scope)?.into());
    let content_type = media_type_of(mapping, scope)?;
    fields.insert("content_type".to_owned(), content_type.into());
    for (field, location) in
        [("title", &mapping.title), ("url", &mapping.url), ("version", &mapping.version)]
    {
        if let Some(location) = location {
            fields.insert(field.to_owned(), scope.text(field, location)?.into());
        }
    }
    let updated_at = updated_at(mapping, scope)?.or(opened.updated_at_ms);
    fields.insert("updated_at".to_owned(), updated_at.and_then(format_millis).into());
    fields.insert("metadata".to_owned(), metadata(mapping, scope)?.into());
    Ok(fields)
}

fn text(mapping: &Mapping, scope: &Scope<'_>) -> Result<String, MappingError> {
    const FIELD: &str = "text";
    let text = |location: &Location| scope.text(FIELD, location);
    match &mapping.text {
        TextRule::Whole => Ok(scope.body.and_then(Value::as_str).unwrap_or_default().to_owned()),
        TextRule::Parts(parts) => {
            let texts = parts.iter().filter_map(|at| text(at).transpose());
            let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
            if texts.is_empty() {
                return Err(scope.missing(FIELD, parts));
            }
            let has_text = |text: &&str| parts.len() == 1 || !text.is_empty();
            let texts: Vec<&str> = texts.iter().map(String::as_str).filter(has_text).collect();
            Ok(texts.join("\n\n"))
        }
        TextRule::Template(template) => {
            template.render(text)?.ok_or_else(|| scope.missing("template", template.locations()))
        }
    }
}

fn media_type_of(mapping: &Mapping, scope: &Scope<'_>) -> Result<&'static str, MappingError> {
    let found = match &mapping.content_type {
        ContentTypeRule::Fixed(fixed) => Some(*fixed),
        ContentTypeRule::Data => {
            let data = scope.attributes.get("datacontenttype").and_then(Value::as_str);
            data.and_then(|data| content_type(&media_type(data)))
        }
        ContentTypeRule::At(location) => match scope.text("content_type", location)? {
            None => None,
            Some(text) => Some(
                content_type(&media_type(&text))
                    .ok_or_else(|| MappingError::ContentType { location: location.to_string() })?,
            ),
        },
    };
    Ok(name_of(found.unwrap_or_default()))
}

fn updated_at(mapping: &Mapping, scope: &Scope<'_>) -> Result<Option<i64>, MappingError> {
    const FIELD: &str = "updated_at";
    let Some((location, format)) = &mapping.updated_at else {
        return Ok(None);
    };
    let Some(value) = scope.find(FIELD, location)? else {
        return Ok(None);
    };
    format.millis(&value).map(Some).ok_or_else(|| MappingError::Time {
        field: FIELD.to_owned(),
        location: location.to_string(),
        expected: format.expected(),
    })
}

/// The fields of the object, and over them the named ones.
fn metadata(mapping: &Mapping, scope: &Scope<'_>) -> Result<Map<String, Value>, MappingError> {
    let mut metadata = match &mapping.metadata_object {
        None => Map::new(),
        Some(location) => object(scope, "metadata_object", location)?,
    };
    for (name, location) in &mapping.metadata {
        if let Some(value) = scope.find(&format!("metadata.{name}"), location)? {
            metadata.insert(name.clone(), value.into_owned());
        }
    }
    Ok(metadata)
}

/// An object, or a string that holds one, as Debezium writes a column of JSON.
fn object(
    scope: &Scope<'_>,
    field: &str,
    location: &Location,
) -> Result<Map<String, Value>, MappingError> {
    let Some(found) = scope.find(field, location)? else {
        return Ok(Map::new());
    };
    let parsed = match found.as_ref() {
        Value::String(text) => parse(text.as_bytes()).map_or_else(|_| found.clone(), Cow::Owned),
        _ => found.clone(),
    };
    match parsed.into_owned() {
        Value::Object(map) => Ok(map),
        _ => Err(scope.wrong_kind(field, location, &found, "an object")),
    }
}
