#![allow(clippy::unwrap_used, reason = "tests may panic")]

use clap::Parser;
use livedex_core::query::Mode;
use livedex_wire::query::{decode, encode};
use serde_json::{Value, json};

use super::*;
use crate::cli::{Cli, Command, QueryArgs};

/// What is typed behind `livedex query`.
fn typed(arguments: &[&str]) -> QueryArgs {
    let line = ["livedex", "query"].iter().chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Query(args) => args,
        other => panic!("{other:?}"),
    }
}

/// The request that a command line makes, as it is sent. What is sent is what the contract accepts.
fn sent(arguments: &[&str]) -> Value {
    let args = typed(arguments);
    let read = Read::new(&args.read).unwrap();
    let request = request(&args.search, read).unwrap();
    let request = QueryRequest { query: args.text.unwrap(), ..request };
    let json = encode(&request);
    assert_eq!(decode(&json).unwrap(), request);
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn without_flags_only_the_question_is_sent() {
    assert_eq!(sent(&["why?"]), json!({ "query": "why?" }));
}

#[test]
fn every_field_of_the_contract_has_a_flag() {
    let filter = r#"{"eq": {"field": "metadata.lang", "value": "en"}}"#;
    let found = sent(&[
        "why?",
        "--also",
        "how come?",
        "--also",
        "what for?",
        "--collection",
        "docs",
        "--mode",
        "hybrid",
        "-k",
        "3",
        "--candidates",
        "20",
        "--filter",
        filter,
        "--tenant",
        "a",
        "--instruction",
        "find it",
        "--no-rerank",
        "--strong",
        "--after",
        "t[1]@5",
        "--group-by",
        "document",
        "--min-score",
        "0.25",
        "--neighbours",
        "2",
        "--explain",
        "--include",
        "text,vectors",
    ]);
    let expected = json!({
        "query": "why?",
        "queries": ["how come?", "what for?"],
        "collection": "docs",
        "mode": "hybrid",
        "top_k": 3,
        "candidates": 20,
        "filter": { "eq": { "field": "metadata.lang", "value": "en" } },
        "tenant": "a",
        "instruction": "find it",
        "rerank": false,
        "consistency": "strong",
        "after": [{ "topic": "t", "partition": 1, "offset": 5 }],
        "group_by": "document",
        "min_score": 0.25,
        "neighbours": 2,
        "explain": true,
        "include": ["text", "vectors"],
    });
    assert_eq!(found, expected);
    assert_eq!(sent(&["q", "--include", "none"])["include"], json!([]));
    assert_eq!(sent(&["q", "--consistency", "eventually"])["consistency"], "eventually");
    assert_eq!(sent(&["q", "--mode", "bm25"])["mode"], "bm25");
    assert_eq!(sent(&["q", "--tenant", ""])["tenant"], "");
}

#[test]
fn a_collection_may_be_named_before_and_behind_the_command() {
    let cli = Cli::try_parse_from(["livedex", "--collection", "docs", "query", "q"]).unwrap();
    match cli.command {
        Command::Query(args) => assert_eq!(args.read.collection.as_deref(), Some("docs")),
        other => panic!("{other:?}"),
    }
    assert_eq!(sent(&["q", "--collection", "docs"])["collection"], "docs");
    // What workers write to (kafka.group) is another flag than the grouping of hits.
    assert!(Cli::try_parse_from(["livedex", "query", "q", "--group", "workers"]).is_ok());
}

#[test]
fn of_each_partition_the_last_record_is_waited_for() {
    let lines = "{\"id\": \"a\", \"topic\": \"t\", \"partition\": 0, \"offset\": 3}\n\n\
                 {\"id\": \"b\", \"topic\": \"t\", \"partition\": 0, \"offset\": 9}\n\
                 {\"id\": \"c\", \"topic\": \"t\", \"partition\": 1, \"offset\": 2}\n";
    let found = newest(positions(lines.as_bytes(), "a file").unwrap());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["t[0]@9", "t[1]@2"]);
    let error = positions("{\"topic\": \"t\"}\n".as_bytes(), "a file").unwrap_err().to_string();
    assert!(error.contains("line 1 of a file"), "{error}");
}

#[test]
fn as_many_lines_as_there_are_become_one_position_each_partition() {
    let lines: String = (0..5000)
        .map(|n| format!("{{\"topic\": \"t\", \"partition\": {}, \"offset\": {n}}}\n", n % 3))
        .collect();
    let found = newest(positions(lines.as_bytes(), "a file").unwrap());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["t[0]@4998", "t[1]@4999", "t[2]@4997"]);
}

#[test]
fn none_stands_alone() {
    let args = typed(&["q", "--include", "none,text"]);
    let error = Read::new(&args.read).unwrap_err().to_string();
    assert!(error.contains("none stands alone"), "{error}");
}

#[test]
fn a_mode_has_one_of_three_names() {
    assert_eq!(typed(&["q", "--mode", "dense"]).search.mode.map(Mode::from), Some(Mode::Dense));
    let error = Cli::try_parse_from(["livedex", "query", "q", "--mode", "vector"]).unwrap_err();
    assert!(error.to_string().contains("dense, bm25, hybrid"), "{error}");
}
