//! What reached around a tenant in other services. Every text that broke a filter of theirs stands
//! here as a document's id, as a tenant's name, as a metadata value and as a metadata key; what a
//! filter finds is compared with what it says, worked out without any filter text.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use livedex_core::{
    document::MetadataValue,
    filter::{Comparison, Field, Filter, Value},
    ids::{DocumentKey, Tenant},
    ports::{ChunkStore, Retriever, ServiceError},
    query::{Route, SearchRequest},
    row::ChunkRow,
};
use livedex_milvus::Collection;

use crate::fixtures::{collection, key, row, strong};

/// The metadata key that every row has, with its document's id as the value.
const NOTE: &str = "note";

/// Texts that end a literal or begin one, and words of the language.
const TEXTS: [&str; 14] = [
    // mem0 #5744: a value written into the expression as it came.
    "\") or true or (\"",
    "\" or \"\" == \"",
    "' or 1 == 1 or '",
    // openrag #466: `and` binds tighter than `or`.
    "x\" or tenant == \"b",
    "b",
    "ends with \\",
    "\\\"",
    "\\\\\" or true or \\\\\"",
    "\\u0022 or true or \\u0022",
    "\\x22) or (tenant != \\x22",
    "line\nbreak\r\n\ttab",
    "{tenant}",
    "[\"a\", \"b\"]",
    "a%_*",
];

pub(crate) async fn all(uri: String) -> Result<()> {
    let store = collection(&uri, "injections", 2).await?;
    let rows = rows()?;
    store.upsert(&rows, &[]).await?;
    no_filter_finds_another_tenant(&store, &rows).await?;
    store.settle().await?;
    no_filter_finds_another_tenant(&store, &rows).await?;
    no_metadata_key_is_read_as_an_expression(&store).await
}

/// In each tenant a document of each id.
fn rows() -> Result<Vec<ChunkRow>> {
    let mut rows = Vec::new();
    for tenant in tenants() {
        for id in names().chain(["x"]) {
            let mut row = row(&key(tenant, id)?, 0, "honey", vec![1.0, 0.0]);
            let note = MetadataValue::String(id.to_owned());
            row.fields.metadata = std::sync::Arc::new([(NOTE.to_owned(), note)].into());
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Those that an id or a tenant can be: without control characters.
fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.into_iter().filter(|text| Tenant::new(*text).is_ok())
}

fn tenants() -> impl Iterator<Item = &'static str> {
    ["", "a"].into_iter().chain(names())
}

async fn no_filter_finds_another_tenant(store: &Collection, rows: &[ChunkRow]) -> Result<()> {
    for text in TEXTS {
        for (index, filter) in filters(text).into_iter().enumerate() {
            // By turns, so that every filter meets some of them.
            let own = [None, Some(""), Some(text)][index % 3].and_then(|own| Tenant::new(own).ok());
            for tenant in [Some(Tenant::new("a")?), own] {
                let expected: BTreeSet<&DocumentKey> = rows
                    .iter()
                    .map(|row| &row.fields.document)
                    .filter(|document| tenant.as_ref().is_none_or(|own| document.tenant == *own))
                    .filter(|document| says(&filter, document))
                    .collect();
                let request = SearchRequest {
                    filter: Some(filter.clone()),
                    tenant,
                    ..strong(vec![1.0, 0.0], 1000)
                };
                let found = store.search(&request).await?;
                let found: BTreeSet<_> = found.iter().map(|one| &one.fields.document).collect();
                ensure!(found == expected, "{request:?} found {found:?}");
            }
        }
    }
    // The words' search has the same filter.
    let filter = Some(Filter::Or(filters(TEXTS[0])));
    let route = Route::Bm25("honey".to_owned());
    let tenant = Some(Tenant::new("a")?);
    let request = SearchRequest { route, filter, tenant, ..strong(Vec::new(), 1000) };
    let found = store.search(&request).await?;
    ensure!(found.len() == names().count() + 1, "{}", found.len());
    ensure!(found.iter().all(|one| one.fields.document.tenant.as_str() == "a"));
    Ok(())
}

/// Filters that name the text, and some that would let everything through.
fn filters(text: &str) -> Vec<Filter> {
    let value = || Value::String(text.to_owned());
    let note = || Field::Metadata(NOTE.to_owned());
    let compare = |field, comparison| Filter::Compare(field, comparison, value());
    let not = |filter| Filter::Not(Box::new(filter));
    let mut filters = Vec::new();
    for field in [Field::Tenant, Field::DocumentId, note()] {
        filters.push(compare(field.clone(), Comparison::Eq));
        filters.push(compare(field.clone(), Comparison::Ne));
        filters.push(compare(field.clone(), Comparison::Gte));
        filters.push(Filter::In(field.clone(), vec![value(), Value::String("x".to_owned())]));
        filters.push(Filter::Prefix(field.clone(), text.to_owned()));
        filters.push(not(compare(field, Comparison::Eq)));
    }
    // Another tenant by name, alone and beside a condition, and every tenant but one's own.
    let other = || Filter::Compare(Field::Tenant, Comparison::Eq, Value::String("b".to_owned()));
    filters.push(other());
    filters.push(Filter::Or(vec![compare(Field::DocumentId, Comparison::Eq), other()]));
    filters.push(Filter::Or(vec![other(), Filter::Prefix(Field::Tenant, String::new())]));
    filters.push(not(Filter::And(vec![other(), compare(note(), Comparison::Eq)])));
    filters.push(not(Filter::In(Field::Tenant, vec![Value::String("a".to_owned()), value()])));
    filters
}

/// Whether a filter of [`filters`] says so of a document of [`rows`].
fn says(filter: &Filter, document: &DocumentKey) -> bool {
    let of = |field: &Field| match field {
        Field::Tenant => document.tenant.as_str(),
        _ => document.id.as_str(),
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    match filter {
        Filter::Compare(field, Comparison::Eq, value) => of(field) == text(value),
        Filter::Compare(field, Comparison::Ne, value) => of(field) != text(value),
        Filter::Compare(field, _, value) => *of(field) >= *text(value),
        Filter::In(field, values) => values.iter().any(|value| of(field) == text(value)),
        Filter::Prefix(field, prefix) => of(field).starts_with(prefix),
        Filter::And(parts) => parts.iter().all(|part| says(part, document)),
        Filter::Or(parts) => parts.iter().any(|part| says(part, document)),
        Filter::Not(part) => !says(part, document),
        Filter::Contains(..) | Filter::Exists(_) => false,
    }
}

/// langchain4j #6333: a metadata key written into the expression as it came. Keys that Milvus cannot
/// look up are refused, all others are looked up, and no row has them.
async fn no_metadata_key_is_read_as_an_expression(store: &Collection) -> Result<()> {
    let keys =
        ["x\"] == \"\" or tenant != \"", "note\"] != \"\" or metadata[\"", "note'] or true or ['"];
    for key in TEXTS.into_iter().chain(keys) {
        let field = Field::Metadata(key.to_owned());
        for filter in [
            Filter::Exists(key.to_owned()),
            Filter::Contains(key.to_owned(), "x".to_owned()),
            Filter::Compare(field.clone(), Comparison::Ne, Value::String(String::new())),
            Filter::In(field.clone(), vec![Value::Int(1), Value::Bool(true)]),
            Filter::Prefix(field.clone(), String::new()),
        ] {
            let filter = Some(filter);
            let request = SearchRequest { filter, ..strong(vec![1.0, 0.0], 1000) };
            let is_refused = key.contains(['"', '\\']) || key.chars().any(char::is_control);
            match store.search(&request).await {
                Ok(found) => ensure!(found.is_empty() && !is_refused, "{key:?}: {found:?}"),
                Err(ServiceError::Reject(_)) => ensure!(is_refused, "{key:?} was refused"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
