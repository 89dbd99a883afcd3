//! Searching by words: what BM25 finds and how it ranks, and collections without it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use livedex_core::{
    filter::{Comparison, Field, Filter, Value},
    ids::Tenant,
    ports::{ChunkStore, Retriever, ServiceError},
    query::{Candidate, Consistency, Route, SearchRequest},
    row::ChunkRow,
};
use livedex_milvus::{Analyzer, Collection, Milvus, MilvusConfig, MilvusError};
use livedex_testkit::MilvusLite;

use crate::fixtures::{collection, config, direction, key, model, row, strong};

/// All of this group.
pub(crate) async fn all(uri: String) -> Result<()> {
    scores_are_those_of_bm25(&uri).await?;
    titles_and_headings_are_words_too(&uri).await?;
    no_words_find_nothing(&uri).await?;
    any_text_may_be_asked(&uri).await?;
    filter_and_tenant_hold_for_words(&uri).await?;
    words_follow_their_rows(&uri).await?;
    a_collection_without_bm25_does_everything_else(&uri).await?;
    a_collection_keeps_its_analyzer(&uri).await?;
    an_analyzer_that_is_not_there_is_one_clear_error(&uri).await
}

/// A search by words that reads its own writes.
fn words(text: &str, limit: usize) -> SearchRequest {
    SearchRequest { route: Route::Bm25(text.to_owned()), ..strong(Vec::new(), limit) }
}

async fn ids(store: &Collection, request: &SearchRequest) -> Result<Vec<String>> {
    let found = store.search(request).await?;
    Ok(found.iter().map(|found| found.fields.document.id.as_str().to_owned()).collect())
}

async fn with_analyzer(uri: &str, name: &str, analyzer: Analyzer) -> Result<Collection> {
    let milvus = Milvus::connect(&MilvusConfig { analyzer, ..config(uri, name) }).await?;
    Ok(milvus.ensure_collection(&model("fp", 4)).await?)
}

/// A row with a text of its own and neither title nor heading.
fn bare(id: &str, text: &str) -> Result<ChunkRow> {
    let mut row = row(&key("", id)?, 0, text, direction(1, 4));
    row.fields.title.clear();
    row.fields.heading.clear();
    Ok(row)
}

const TEXTS: [(&str, &str); 5] = [
    ("a", "The bees make honey, and the bees sting."),
    ("b", "Honey from lavender; honey from clover."),
    ("c", "A hive."),
    ("d", "BEES"),
    ("e", "Nothing of the kind is written in this rather long text about winter."),
];

/// Okapi BM25 of the query over the texts, with Lucene's idf: what Milvus computes.
fn bm25(query: &str) -> HashMap<&'static str, f64> {
    const K1: f64 = 1.2;
    const B: f64 = 0.75;
    let cut = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let texts: Vec<(&str, Vec<String>)> = TEXTS.iter().map(|(id, text)| (*id, cut(text))).collect();
    let n = texts.len() as f64;
    let mean = texts.iter().map(|(_, words)| words.len()).sum::<usize>() as f64 / n;
    let mut scores = HashMap::new();
    for (id, text) in &texts {
        let mut score = 0.0;
        for word in cut(query) {
            let with = texts.iter().filter(|(_, words)| words.contains(&word)).count() as f64;
            let idf = ((n - with + 0.5) / (with + 0.5)).ln_1p();
            let tf = text.iter().filter(|other| **other == word).count() as f64;
            let length = text.len() as f64 / mean;
            score += idf * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length));
        }
        if score > 0.0 {
            scores.insert(*id, score);
        }
    }
    scores
}

async fn scores_are_those_of_bm25(uri: &str) -> Result<()> {
    let store = collection(uri, "bm25", 4).await?;
    ensure!(store.has_bm25() && store.search(&words("honey", 10)).await?.is_empty());
    let rows = TEXTS.iter().map(|(id, text)| bare(id, text)).collect::<Result<Vec<_>>>()?;
    store.upsert(&rows, &[]).await?;
    for flushed in [false, true] {
        for query in ["honey", "Bees honey", "the winter", "hive", "bees bees"] {
            let expected = bm25(query);
            let found = store.search(&words(query, 10)).await?;
            ensure!(found.len() == expected.len(), "{query}: {found:?} (flushed: {flushed})");
            for Candidate { fields, score, vector } in &found {
                let right = expected[fields.document.id.as_str()];
                ensure!((f64::from(*score) - right).abs() < 1e-4, "{query}: {score}, not {right}");
                let row = rows.iter().find(|row| row.fields.id == fields.id);
                ensure!(row.is_some_and(|row| row.fields == *fields) && vector.is_none());
            }
            ensure!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
        ensure!(store.search(&words("the honey bees", 2)).await?.len() == 2);
        ensure!(store.search(&words("honey", 0)).await?.is_empty());
        store.settle().await?;
    }
    let with_vectors = SearchRequest { with_vectors: true, ..words("hive", 10) };
    let found = store.search(&with_vectors).await?;
    ensure!(found.len() == 1 && found[0].vector.as_ref() == Some(&rows[2].vector), "{found:?}");
    Ok(())
}

async fn titles_and_headings_are_words_too(uri: &str) -> Result<()> {
    let store = collection(uri, "titles", 4).await?;
    let mut rows = [bare("titled", "one text")?, bare("headed", "two texts")?, bare("c", "three")?];
    rows[0].fields.title = "Zanzibar".to_owned();
    rows[1].fields.heading = "Islands > Pemba".to_owned();
    // All that VARCHAR takes, with a title in front of it.
    rows[2].fields.text = format!("first {}", "\u{E4} ".repeat(21_843));
    rows[2].fields.title = "Mafia".to_owned();
    store.upsert(&rows, &[]).await?;
    ensure!(ids(&store, &words("zanzibar", 10)).await? == ["titled"]);
    ensure!(ids(&store, &words("islands of pemba", 10)).await? == ["headed"]);
    ensure!(ids(&store, &words("mafia first", 10)).await? == ["c"]);
    // What BM25 reads is beside the row, not in it.
    let found = store.search(&words("zanzibar", 10)).await?;
    ensure!(found[0].fields == rows[0].fields);
    Ok(())
}

async fn no_words_find_nothing(uri: &str) -> Result<()> {
    let store = with_analyzer(uri, "english", Analyzer::English).await?;
    store.upsert(&[bare("a", "The bee is in the hive")?], &[]).await?;
    for flushed in [false, true] {
        for query in ["", " \t\n", "?! ... \u{1F600}", "_", "the", "It is not in the", "beehive"] {
            let found = store.search(&words(query, 10)).await?;
            ensure!(found.is_empty(), "{query:?} found {found:?} (flushed: {flushed})");
        }
        ensure!(ids(&store, &words("the bee", 10)).await? == ["a"]);
        store.settle().await?;
    }
    Ok(())
}

async fn any_text_may_be_asked(uri: &str) -> Result<()> {
    let store = collection(uri, "texts", 4).await?;
    let row = bare("a", "bee \"quoted\" back\\slash \u{4E2D}\u{6587} na\u{EF}ve")?;
    store.upsert(&[row], &[]).await?;
    let long = "bee ".repeat(4096);
    for query in
        ["\") or true or (\"bee", "bee\n\r\t\u{0}", "\\\\ BEE '", "\u{4E2D}\u{6587}", &long]
    {
        ensure!(ids(&store, &words(query, 10)).await? == ["a"], "{query:?}");
    }
    ensure!(ids(&store, &words("NA\u{CF}VE", 10)).await? == ["a"]);
    ensure!(ids(&store, &words("\") or true or (\"", 10)).await?.is_empty());
    Ok(())
}

async fn filter_and_tenant_hold_for_words(uri: &str) -> Result<()> {
    let store = collection(uri, "words_filtered", 4).await?;
    for tenant in ["", "t"] {
        for id in ["a", "b"] {
            store.upsert(&[row(&key(tenant, id)?, 0, "honey", direction(1, 4))], &[]).await?;
        }
    }
    let equal = |field, value: &str| {
        Filter::Compare(field, Comparison::Eq, Value::String(value.to_owned()))
    };
    for _ in 0..2 {
        ensure!(store.search(&words("honey", 10)).await?.len() == 4);
        let tenant = Some(Tenant::new("t")?);
        let mine = SearchRequest { tenant: tenant.clone(), ..words("honey", 10) };
        let found = store.search(&mine).await?;
        ensure!(found.len() == 2);
        ensure!(found.iter().all(|one| one.fields.document.tenant.as_str() == "t"), "{found:?}");
        let filter = Some(equal(Field::DocumentId, "b"));
        ensure!(ids(&store, &SearchRequest { filter, ..mine.clone() }).await? == ["b"]);
        let filter = Some(equal(Field::Tenant, ""));
        ensure!(store.search(&SearchRequest { filter, ..mine }).await?.is_empty());
        store.settle().await?;
    }
    Ok(())
}

async fn words_follow_their_rows(uri: &str) -> Result<()> {
    let store = collection(uri, "words_fresh", 4).await?;
    let (old, other) = (bare("a", "winter")?, bare("b", "winter")?);
    store.upsert(&[old.clone(), other.clone()], &[]).await?;
    store.settle().await?;
    // The same key with other words: the title changed.
    let mut new = old.clone();
    new.fields.title = "Summer".to_owned();
    store.upsert(std::slice::from_ref(&new), &[]).await?;
    store.delete(std::slice::from_ref(&other.fields.id), &[]).await?;
    for consistency in [Consistency::Strong, Consistency::Bounded, Consistency::Eventually] {
        ensure!(ids(&store, &SearchRequest { consistency, ..words("winter", 9) }).await? == ["a"]);
        ensure!(ids(&store, &SearchRequest { consistency, ..words("summer", 9) }).await? == ["a"]);
    }
    Ok(())
}

async fn a_collection_without_bm25_does_everything_else(uri: &str) -> Result<()> {
    let made = with_analyzer(uri, "wordless", Analyzer::None).await?;
    // Whoever opens it with an analyzer finds it as it is, a writer as well as a reader.
    let writer = with_analyzer(uri, "wordless", Analyzer::Standard).await?;
    let reader =
        Milvus::connect(&config(uri, "wordless")).await?.open_collection(&model("fp", 4)).await?;
    let document = key("", "a")?;
    writer.upsert(&[row(&document, 0, "text", direction(1, 4))], &[]).await?;
    for store in [made, writer, reader] {
        ensure!(!store.has_bm25());
        for query in ["text", ""] {
            let Err(ServiceError::Reject(error)) = store.search(&words(query, 10)).await else {
                anyhow::bail!("{query:?} was searched for")
            };
            ensure!(error.contains("`wordless`") && error.contains("milvus.analyzer"), "{error}");
        }
        ensure!(store.search(&strong(direction(1, 4), 10)).await?.len() == 1);
        ensure!(store.stored_rows(std::slice::from_ref(&document)).await?.len() == 1);
        ensure!(store.all_rows(true).await?.len() == 1);
    }
    Ok(())
}

async fn a_collection_keeps_its_analyzer(uri: &str) -> Result<()> {
    let english = with_analyzer(uri, "kept_analyzer", Analyzer::English).await?;
    english.upsert(&[bare("a", "The bee")?], &[]).await?;
    for analyzer in [Analyzer::Standard, Analyzer::None] {
        let store = with_analyzer(uri, "kept_analyzer", analyzer).await?;
        ensure!(store.has_bm25() && store.info() == english.info());
        store.upsert(&[bare("b", "The hive")?], &[]).await?;
        ensure!(ids(&store, &words("hive", 10)).await? == ["b"]);
        ensure!(store.search(&words("the", 10)).await?.is_empty(), "{analyzer:?}");
    }
    Ok(())
}

/// Milvus Lite has no jieba unless somebody installs it.
async fn an_analyzer_that_is_not_there_is_one_clear_error(uri: &str) -> Result<()> {
    let config = MilvusConfig { analyzer: Analyzer::Chinese, ..config(uri, "chinese") };
    let milvus = Milvus::connect(&config).await?;
    let Err(error) = milvus.ensure_collection(&model("fp", 4)).await else {
        anyhow::bail!("milvus lite has jieba")
    };
    ensure!(matches!(error, MilvusError::Service(ServiceError::Reject(_))), "{error:?}");
    ensure!(error.to_string().contains("jieba"), "{error}");
    // Nothing is left behind.
    ensure!(milvus.describe_collection().await?.is_none());
    let store = with_analyzer(uri, "chinese", Analyzer::Standard).await?;
    ensure!(store.has_bm25() && store.count().await? == 0);
    Ok(())
}

/// Milvus Lite is killed: the words of rows that it had acknowledged are there again.
pub(crate) async fn after_a_crash(mut server: MilvusLite) -> Result<()> {
    let store = collection(&server.uri(), "killed", 4).await?;
    // Not flushed: Milvus Lite 3.2.2 writes a segment's index in place after a flush, and one that is killed
    // in that moment cannot load the collection again.
    store.upsert(&[bare("a", "winter")?], &[]).await?;
    store.upsert(&[bare("b", "winter summer")?], &[]).await?;
    server.kill();
    server.start_again()?;
    let store = collection(&server.uri(), "killed", 4).await?;
    let found = store.search(&words("winter", 10)).await?;
    ensure!(found.len() == 2, "{found:?}");
    let summer = store.search(&words("summer", 10)).await?;
    let best = summer.first().context("the words of an unflushed row are gone")?;
    ensure!(summer.len() == 1 && best.fields.text == "winter summer");
    store.upsert(&[bare("b", "autumn")?], &[]).await?;
    ensure!(ids(&store, &words("autumn", 10)).await? == ["b"]);
    Ok(())
}
