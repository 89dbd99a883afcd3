//! Every kind of filter, on rows in memory and in a segment.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use livedex_core::{
    document::{Metadata, MetadataValue},
    filter::{Comparison, Field, Filter, Value},
    ids::Tenant,
    ports::{ChunkStore, Retriever, ServiceError},
    query::SearchRequest,
};
use livedex_milvus::Collection;

use crate::fixtures::{collection, key, row, strong};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    let store = collection(&uri, "filters", 2).await?;
    for (id, tenant, updated_at, metadata) in documents() {
        let mut row = row(&key(tenant, id)?, 0, id, vec![1.0, 0.0]);
        row.fields.metadata = metadata.into();
        row.fields.updated_at_ms = updated_at;
        store.upsert(&[row], &[]).await?;
    }
    every_kind(&store).await?;
    the_tenant_cannot_be_left(&store).await?;
    store.settle().await?;
    every_kind(&store).await?;
    the_tenant_cannot_be_left(&store).await?;
    what_cannot_be_asked_is_rejected(&store).await
}

const A: &str = "docs/a";
const B: &str = "docs/b";
const C: &str = "docs%c";
const D: &str = "docs_d";
const E: &str = "other/e";

fn documents() -> Vec<(&'static str, &'static str, i64, Metadata)> {
    let text = |text: &str| MetadataValue::String(text.to_owned());
    let texts =
        |texts: &[&str]| MetadataValue::Strings(texts.iter().map(|t| (*t).to_owned()).collect());
    let metadata = |entries: Vec<(&str, MetadataValue)>| -> Metadata {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    vec![
        (
            A,
            "",
            1000,
            metadata(vec![
                ("lang", text("en")),
                ("year", MetadataValue::Int(2020)),
                ("score", MetadataValue::Float(0.5)),
                ("draft", MetadataValue::Bool(true)),
                ("tags", texts(&["rust", "kafka"])),
            ]),
        ),
        (
            B,
            "",
            2000,
            metadata(vec![
                ("lang", text("de")),
                ("year", MetadataValue::Int(2021)),
                ("score", MetadataValue::Float(-1.0)),
                ("draft", MetadataValue::Bool(false)),
                ("tags", texts(&["rust"])),
                ("it's \u{1F600}", text("key")),
            ]),
        ),
        (
            C,
            "",
            3000,
            metadata(vec![
                ("lang", text("en-GB")),
                ("year", text("2021")),
                ("tags", texts(&[])),
                ("say", text("\") or true or (\"")),
            ]),
        ),
        (D, "", 0, Metadata::new()),
        (E, "t", 4000, metadata(vec![("lang", text("en"))])),
    ]
}

fn meta(key: &str) -> Field {
    Field::Metadata(key.to_owned())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn compare(field: Field, comparison: Comparison, value: Value) -> Filter {
    Filter::Compare(field, comparison, value)
}

async fn found(
    store: &Collection,
    filter: Option<Filter>,
    tenant: Option<&str>,
) -> Result<BTreeSet<String>> {
    let tenant = tenant.map(Tenant::new).transpose()?;
    let request = SearchRequest { filter, tenant, ..strong(vec![1.0, 0.0], 100) };
    let candidates = store.search(&request).await?;
    Ok(candidates.into_iter().map(|c| c.fields.document.id.as_str().to_owned()).collect())
}

async fn every_kind(store: &Collection) -> Result<()> {
    use Comparison::{Eq, Gt, Gte, Lt, Lte, Ne};
    let not = |filter: Filter| Filter::Not(Box::new(filter));
    let cases: Vec<(Filter, &[&str])> = vec![
        (compare(Field::DocumentId, Eq, text(A)), &[A]),
        (compare(Field::DocumentId, Ne, text(A)), &[B, C, D, E]),
        (compare(Field::DocumentId, Lt, text("docs/b")), &[A, C]),
        (compare(Field::UpdatedAt, Gt, Value::Int(1000)), &[B, C, E]),
        (compare(Field::UpdatedAt, Gte, Value::Int(1000)), &[A, B, C, E]),
        (compare(Field::UpdatedAt, Lte, Value::Int(0)), &[D]),
        (compare(meta("lang"), Eq, text("en")), &[A, E]),
        (compare(meta("lang"), Ne, text("en")), &[B, C]),
        (compare(meta("year"), Eq, Value::Int(2021)), &[B]),
        (compare(meta("year"), Eq, Value::Float(2021.0)), &[B]),
        (compare(meta("year"), Ne, Value::Int(2021)), &[A, C]),
        (compare(meta("year"), Lt, Value::Int(2021)), &[A]),
        (compare(meta("year"), Gte, Value::Int(2020)), &[A, B]),
        (compare(meta("score"), Lt, Value::Float(0.0)), &[B]),
        (compare(meta("score"), Gt, Value::Int(-2)), &[A, B]),
        (compare(meta("score"), Lte, Value::Float(0.5)), &[A, B]),
        (compare(meta("draft"), Eq, Value::Bool(true)), &[A]),
        (compare(meta("draft"), Ne, Value::Bool(true)), &[B]),
        (compare(meta("say"), Eq, text("\") or true or (\"")), &[C]),
        (compare(meta("say"), Eq, text("\\\") or true or (\"")), &[]),
        (compare(meta("it's \u{1F600}"), Eq, text("key")), &[B]),
        (Filter::In(Field::DocumentId, vec![text(A), text(E), text("gone")]), &[A, E]),
        (Filter::In(Field::UpdatedAt, vec![Value::Int(0), Value::Int(2000)]), &[B, D]),
        (Filter::In(meta("lang"), vec![text("de"), text("en-GB")]), &[B, C]),
        (
            Filter::In(meta("year"), vec![Value::Int(2020), text("2021"), Value::Bool(true)]),
            &[A, C],
        ),
        (Filter::Contains("tags".to_owned(), "rust".to_owned()), &[A, B]),
        (Filter::Contains("tags".to_owned(), "kafka".to_owned()), &[A]),
        (Filter::Contains("tags".to_owned(), "\"rust\"".to_owned()), &[]),
        (Filter::Contains("lang".to_owned(), "e".to_owned()), &[]),
        (Filter::Prefix(Field::DocumentId, "docs/".to_owned()), &[A, B]),
        (Filter::Prefix(Field::DocumentId, "docs%".to_owned()), &[C]),
        (Filter::Prefix(Field::DocumentId, "docs_".to_owned()), &[D]),
        (Filter::Prefix(Field::DocumentId, String::new()), &[A, B, C, D, E]),
        (Filter::Prefix(meta("lang"), "en".to_owned()), &[A, C, E]),
        (Filter::Prefix(meta("year"), "20".to_owned()), &[C]),
        (Filter::Exists("year".to_owned()), &[A, B, C]),
        (not(Filter::Exists("year".to_owned())), &[D, E]),
        (not(compare(meta("lang"), Eq, text("en"))), &[B, C, D]),
        (not(compare(meta("lang"), Ne, text("en"))), &[A, D, E]),
        (not(Filter::Contains("tags".to_owned(), "rust".to_owned())), &[C, D, E]),
        (not(Filter::In(meta("lang"), vec![text("de")])), &[A, C, D, E]),
        (
            Filter::And(vec![
                Filter::Exists("year".to_owned()),
                Filter::Or(vec![
                    compare(meta("lang"), Eq, text("de")),
                    compare(Field::UpdatedAt, Lt, Value::Int(2000)),
                ]),
            ]),
            &[A, B],
        ),
        (
            Filter::Or(vec![
                Filter::And(vec![
                    Filter::Exists("year".to_owned()),
                    not(Filter::Exists("score".to_owned())),
                ]),
                compare(Field::DocumentId, Eq, text(D)),
            ]),
            &[C, D],
        ),
    ];
    for (filter, expected) in cases {
        let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
        let found = found(store, Some(filter.clone()), None).await?;
        ensure!(found == expected, "{filter:?} found {found:?}, expected {expected:?}");
    }
    Ok(())
}

async fn the_tenant_cannot_be_left(store: &Collection) -> Result<()> {
    let everything = || {
        Filter::Or(vec![
            Filter::Prefix(Field::DocumentId, String::new()),
            compare(Field::DocumentId, Comparison::Ne, text("\") or true or (\"")),
        ])
    };
    ensure!(found(store, None, None).await?.len() == 5);
    ensure!(found(store, None, Some("t")).await? == BTreeSet::from(["other/e".to_owned()]));
    ensure!(found(store, Some(everything()), Some("t")).await?.len() == 1);
    ensure!(found(store, Some(everything()), Some("")).await?.len() == 4);
    let not = Filter::Not(Box::new(compare(Field::DocumentId, Comparison::Eq, text("x"))));
    ensure!(found(store, Some(not), Some("t")).await?.len() == 1);
    for tenant in ["nobody", "\") or true or (\"", "t\" or tenant == \"", "\\"] {
        ensure!(found(store, Some(everything()), Some(tenant)).await?.is_empty(), "{tenant}");
    }
    Ok(())
}

async fn what_cannot_be_asked_is_rejected(store: &Collection) -> Result<()> {
    for filter in [
        Filter::Exists("a\"] or true or metadata[\"b".to_owned()),
        Filter::And(Vec::new()),
        compare(meta("draft"), Comparison::Lt, Value::Bool(true)),
        compare(Field::DocumentId, Comparison::Eq, Value::Int(1)),
    ] {
        let request = SearchRequest { filter: Some(filter), ..strong(vec![1.0, 0.0], 10) };
        let outcome = store.search(&request).await;
        ensure!(matches!(outcome, Err(ServiceError::Reject(_))), "{outcome:?}");
    }
    Ok(())
}
