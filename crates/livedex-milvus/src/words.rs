//! BM25: the words of the chunks, beside their embeddings.
//!
//! A collection with BM25 has two fields more. [`SOURCE`] holds what was embedded: the chunk's text
//! with its context in front (title and headings, [`embed_text`]), so that a word of the title finds
//! the chunks of the document as it does by their embeddings. Milvus' BM25 function reads one field,
//! so that costs a second copy of the text in storage, which no search and no query asks for. Milvus
//! makes [`WORDS`] of it when a row is written: sparse vectors of the words' frequencies, which are
//! never sent. BM25's constants are Milvus' defaults, written out because Milvus Lite has others.
//!
//! A collection that was made before there was BM25, or with [`Analyzer::None`], has neither field
//! and goes on without.

use std::collections::HashMap;

use livedex_core::{chunk::embed_text, limits::MAX_CHUNK_TEXT_BYTES, row::ChunkFields};
use milvus::v2::types::{
    CollectionSchema, DataType, FieldData, FieldSchema, Function, FunctionType, IndexParam,
    IndexType, MetricType,
};
use serde_json::{Value, json};

use crate::config::Analyzer;

/// The text that BM25 reads: VARCHAR with an analyzer.
pub(crate) const SOURCE: &str = "search_text";

/// The frequencies of its words: a sparse vector, the output of Milvus' function.
pub(crate) const WORDS: &str = "words";

/// Bytes of the text that BM25 reads: all that VARCHAR takes. What is longer is cut at a character;
/// that takes a chunk within 514 bytes of the limit.
pub(crate) const MAX_SOURCE_BYTES: usize = MAX_CHUNK_TEXT_BYTES;

/// How fast a word's repetitions stop counting.
const K1: f64 = 1.2;

/// How much a long text counts for less.
const B: f64 = 0.75;

/// What Milvus' analyzer `english` leaves out, for Milvus Lite, which has no such list: that of
/// Lucene (`_ENGLISH_STOP_WORDS_` in its `EnglishAnalyzer`).
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// Adds both fields and the function to the schema. `lite`: the server is Milvus Lite.
pub(crate) fn add(schema: CollectionSchema, analyzer: Analyzer, lite: bool) -> CollectionSchema {
    let Some(params) = params(analyzer, lite) else { return schema };
    let max = u32::try_from(MAX_SOURCE_BYTES).unwrap_or(u32::MAX);
    let source = FieldSchema::new()
        .name(SOURCE)
        .data_type(DataType::VarChar)
        .max_length(max)
        .enable_analyzer(true)
        .analyzer_params(params);
    let words = FieldSchema::new().name(WORDS).data_type(DataType::SparseFloatVector);
    let function = Function::new()
        .name("bm25")
        .function_type(FunctionType::Bm25)
        .input_fields([SOURCE])
        .output_fields([WORDS]);
    schema.add_field(source).add_field(words).add_function(function)
}

/// Whether a collection has both fields, or else neither; otherwise what is wrong with them.
pub(crate) fn are_among(fields: &[FieldSchema]) -> Result<bool, String> {
    let find = |name: &str| fields.iter().find(|field| field.get_name() == name);
    match (find(SOURCE), find(WORDS)) {
        (None, None) => Ok(false),
        (Some(source), Some(found)) => {
            let (source, found) = (source.get_data_type(), found.get_data_type());
            match (source, found) {
                (DataType::VarChar, DataType::SparseFloatVector) => Ok(true),
                _ => Err(format!(
                    "its fields `{}` and `{}` are {source:?} and {found:?}, expected are VarChar and \
                     SparseFloatVector",
                    SOURCE, WORDS
                )),
            }
        }
        (one, _) => {
            let missing = if one.is_some() { WORDS } else { SOURCE };
            Err(format!("it has no field `{missing}`"))
        }
    }
}

/// The analyzer in Milvus' words; `None` for [`Analyzer::None`]. Milvus Lite knows the tokenizers
/// `standard` and `jieba` and a list of stop words, and passes over every other filter
/// (`milvus_lite/analyzer/factory.py`).
fn params(analyzer: Analyzer, lite: bool) -> Option<Value> {
    match (analyzer, lite) {
        (Analyzer::None, _) => None,
        (Analyzer::English, true) => Some(json!({
            "tokenizer": "standard",
            "filter": ["lowercase", {"type": "stop", "stop_words": STOP_WORDS}],
        })),
        (Analyzer::Chinese, true) => Some(json!({"tokenizer": "jieba"})),
        (analyzer, _) => Some(json!({"type": analyzer.name()})),
    }
}

/// The index of the words.
pub(crate) fn index() -> (&'static str, IndexParam) {
    // As pymilvus sends them: Milvus Lite reads them nowhere else.
    let constants = json!({"bm25_k1": K1, "bm25_b": B}).to_string();
    let param = IndexParam::new()
        .field_name(WORDS)
        .index_name(WORDS)
        .index_type(IndexType::SparseInvertedIndex)
        .metric_type(MetricType::Bm25)
        .extra_params(HashMap::from([("params".to_owned(), constants)]));
    (WORDS, param)
}

/// The column of an upsert. The words themselves are not sent: Milvus refuses them.
pub(crate) fn column<'a>(rows: impl Iterator<Item = &'a ChunkFields>) -> FieldData {
    FieldData::VarChar { name: SOURCE.to_owned(), values: rows.map(source).collect() }
}

/// What BM25 reads of a chunk.
fn source(row: &ChunkFields) -> String {
    let mut text = embed_text(&row.title, &row.heading, &row.text);
    text.truncate(text.floor_char_boundary(MAX_SOURCE_BYTES));
    text
}

/// At most so many bytes an upsert has for it.
pub(crate) fn max_source_bytes(row: &ChunkFields) -> usize {
    const BETWEEN: usize = 5;
    MAX_SOURCE_BYTES.min(row.title.len() + row.heading.len() + row.text.len() + BETWEEN)
}

/// Whether there is a word in a query at all. Without one Milvus need not be asked, and the SDK
/// would refuse a blank text. A query of stop words alone is Milvus' to answer with nothing.
pub(crate) fn has_word(query: &str) -> bool {
    query.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::tests::row;

    #[test]
    fn bm25_reads_what_is_embedded_and_no_more_than_fits() {
        let mut one = row("1", "text", vec![1.0]).fields;
        one.title = "Title".to_owned();
        one.heading = "A > B".to_owned();
        assert_eq!(source(&one), "Title > A > B\n\ntext");
        assert!(source(&one).len() <= max_source_bytes(&one));
        one.text = "\u{E4}".repeat(MAX_SOURCE_BYTES / 2);
        let cut = source(&one);
        assert!(cut.starts_with("Title > A > B\n\n\u{E4}"));
        assert!((MAX_SOURCE_BYTES - 1..=MAX_SOURCE_BYTES).contains(&cut.len()));
        assert_eq!(max_source_bytes(&one), MAX_SOURCE_BYTES);
    }

    #[test]
    fn an_analyzer_has_milvus_name_and_none_has_no_fields() {
        for analyzer in Analyzer::ALL {
            assert_eq!(Analyzer::named(analyzer.name()), Some(analyzer));
            for lite in [false, true] {
                let schema = add(CollectionSchema::new(), analyzer, lite);
                let count = if analyzer == Analyzer::None { 0 } else { 2 };
                assert_eq!(schema.get_fields().len(), count, "{analyzer:?}");
                assert_eq!(schema.get_functions().len(), count / 2);
            }
        }
        assert_eq!(params(Analyzer::English, false), Some(json!({"type": "english"})));
        assert_eq!(Analyzer::named("klingon"), None);
    }

    #[test]
    fn punctuation_is_no_word() {
        for (query, expected) in
            [("", false), (" \n", false), ("?! \u{1F600}", false), ("\u{4E2D}", true)]
        {
            assert_eq!(has_word(query), expected, "{query:?}");
        }
    }
}
