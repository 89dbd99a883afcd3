#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;

use super::*;

const CORPUS: &str = "{\"_id\": \"d1\", \"title\": \"T\", \"text\": \"one\"}\n\
    {\"_id\": 2, \"title\": null, \"text\": \"\", \"metadata\": {\"a\": 1}}\n\n";
const QUERIES: &str = "{\"_id\": 7, \"text\": \"what\"}\n{\"_id\": \"q8\", \"text\": \"who\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\n7\td1\t2\n7\t2\t0\nq8\td1\t-1\n";

fn read_of(corpus: &str, queries: &str, qrels: &str) -> Result<TestSet, BeirError> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("qrels")).unwrap();
    for (name, text) in
        [("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels/test.tsv", qrels)]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    read(dir.path())
}

/// The file's name, the line and the problem.
fn problem(error: BeirError) -> (String, usize, Problem) {
    match error {
        BeirError::Line { path, line, problem } => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), line, problem)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn ids_are_strings_or_numbers_and_a_title_may_be_missing() {
    let set = read_of(CORPUS, QUERIES, QRELS).unwrap();
    let document = |id: &str, title: &str, text: &str| Document {
        id: id.to_owned(),
        title: title.to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(set.documents, [document("d1", "T", "one"), document("2", "", "")]);
    assert_eq!(set.qrels["7"], Judged::from([("d1".to_owned(), 2), ("2".to_owned(), 0)]));
    // A judgement of 0 or less is not relevant.
    let measurable: Vec<&str> = set.measurable().map(|query| query.id.as_str()).collect();
    assert_eq!(measurable, ["7"]);
}

#[test]
fn judgements_need_no_header_and_may_end_with_carriage_returns() {
    let with = read_of(CORPUS, QUERIES, QRELS).unwrap();
    let (_, without) = QRELS.split_once('\n').unwrap();
    assert_eq!(read_of(CORPUS, QUERIES, without).unwrap(), with);
    assert_eq!(read_of(CORPUS, QUERIES, &QRELS.replace('\n', "\r\n")).unwrap(), with);
}

#[test]
fn a_line_that_is_wrong_is_named_with_its_file() {
    let wrong = format!("{CORPUS}{{\"_id\": \"d3\"}}\n");
    let (file, line, found) = problem(read_of(&wrong, QUERIES, QRELS).unwrap_err());
    assert_eq!((file.as_str(), line), ("corpus.jsonl", 4));
    assert!(matches!(found, Problem::Json { expected: CORPUS_LINE, .. }), "{found}");

    for broken in
        ["not json", "{\"_id\": 1.5, \"text\": \"x\"}", "{\"_id\": null, \"text\": \"x\"}"]
    {
        let (file, line, found) = problem(read_of(CORPUS, broken, QRELS).unwrap_err());
        assert_eq!((file.as_str(), line), ("queries.jsonl", 1));
        assert!(matches!(found, Problem::Json { expected: QUERY_LINE, .. }), "{found}");
    }
    let wrong = format!("{QUERIES}{{\"_id\": \"7\", \"text\": \"again\"}}");
    let found = problem(read_of(CORPUS, &wrong, QRELS).unwrap_err());
    assert_eq!(found, ("queries.jsonl".to_owned(), 3, Problem::Twice { id: "7".to_owned() }));
    let wrong = "{\"_id\": \"\", \"text\": \"x\"}";
    let found = problem(read_of(CORPUS, wrong, QRELS).unwrap_err());
    assert_eq!(found, ("queries.jsonl".to_owned(), 1, Problem::EmptyId));
}

#[test]
fn a_judgement_that_is_wrong_is_named_with_its_line() {
    let judged_twice = Problem::JudgedTwice { query: "7".to_owned(), document: "d1".to_owned() };
    for (line, expected) in [
        ("7\td1", Problem::Columns { found: 2 }),
        ("7 0 d1 1", Problem::Columns { found: 1 }),
        ("7\td9\t0.5", Problem::Score { found: "0.5".to_owned() }),
        ("\td9\t1", Problem::EmptyId),
        ("7\td1\t2", judged_twice),
    ] {
        let (file, at, found) =
            problem(read_of(CORPUS, QUERIES, &format!("{QRELS}{line}\n")).unwrap_err());
        assert_eq!((file.as_str(), at, found), ("test.tsv", 5, expected));
    }
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BeirError::Read { path, source }
            if path.ends_with("corpus.jsonl") && source.kind() == io::ErrorKind::NotFound),
        "{error}"
    );
    let error = read_of("\n", QUERIES, QRELS).unwrap_err();
    assert!(matches!(&error, BeirError::Empty { path } if path.ends_with("corpus.jsonl")));
    for qrels in ["query-id\tcorpus-id\tscore\n", "other\td1\t1\n", "q8\td1\t0\n"] {
        let error = read_of(CORPUS, QUERIES, qrels).unwrap_err();
        assert!(matches!(error, BeirError::NothingRelevant { .. }), "{error}");
    }
}
