//! Documents, queries and judgements from a folder in BEIR layout
//! (<https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset>):
//!
//! - `corpus.jsonl`: `{"_id": "d1", "title": "...", "text": "..."}` a line; the title may be left out
//! - `queries.jsonl`: `{"_id": "q1", "text": "..."}` a line
//! - `qrels/test.tsv`: `query-id`, `corpus-id` and `score` with tabs between, below a header
//!
//! Ids may be strings or whole numbers. Scores are whole numbers; above 0 is relevant, and a
//! higher one is more so. What is not judged is not relevant.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

/// The judgements of one query: how relevant a document is, by its id.
pub type Judged = BTreeMap<String, i64>;

/// The judgements of all queries, by the query's id.
pub type Qrels = BTreeMap<String, Judged>;

/// A test set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSet {
    /// The documents, in the order of the file; no id is there twice.
    pub documents: Vec<Document>,
    /// The queries, in the order of the file; no id is there twice.
    pub queries: Vec<Query>,
    /// The judgements.
    pub qrels: Qrels,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// Its title; empty if it has none.
    pub title: String,
    /// Its text, which may be empty.
    pub text: String,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// Why a folder is no test set. A line is named by its number, from 1; its text is not quoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeirError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A file without a line.
    #[error("{} holds nothing", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No query can be measured.
    #[error(
        "no query of {} has a relevant document: its ids are not those of queries.jsonl, or no score is above 0",
        path.display()
    )]
    NothingRelevant {
        /// The judgements.
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is no JSON, or lacks a field, or has one of another type.
    Json {
        /// Where it stops to be right, in bytes from 1.
        column: usize,
        /// What was wanted.
        expected: &'static str,
    },
    /// An id is empty.
    EmptyId,
    /// An id came before.
    Twice {
        /// The id.
        id: String,
    },
    /// Not three columns.
    Columns {
        /// How many there are.
        found: usize,
    },
    /// The score is no whole number.
    Score {
        /// What stands there.
        found: String,
    },
    /// A document is judged for a query that it was judged for before.
    JudgedTwice {
        /// The query's id.
        query: String,
        /// The document's id.
        document: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { column, expected } => write!(f, "expected {expected} (column {column})"),
            Self::EmptyId => f.write_str("the id is empty"),
            Self::Twice { id } => write!(f, "the id {id:?} is there twice"),
            Self::Columns { found } => write!(
                f,
                "{found} columns; expected query-id, corpus-id and score with tabs between"
            ),
            Self::Score { found } => write!(f, "the score {found:?} is no whole number"),
            Self::JudgedTwice { query, document } => {
                write!(f, "document {document:?} is judged twice for query {query:?}")
            }
        }
    }
}

/// Reads a test set. At least one of its queries has a relevant document.
pub fn read(folder: &Path) -> Result<TestSet, BeirError> {
    let mut documents = Vec::new();
    json_lines(&folder.join("corpus.jsonl"), CORPUS_LINE, |entry: CorpusLine| {
        let id = entry.id.text();
        documents.push(Document {
            id: id.clone(),
            title: entry.title.unwrap_or_default(),
            text: entry.text,
        });
        id
    })?;
    let mut queries = Vec::new();
    json_lines(&folder.join("queries.jsonl"), QUERY_LINE, |entry: QueryLine| {
        let id = entry.id.text();
        queries.push(Query { id: id.clone(), text: entry.text });
        id
    })?;
    let path = folder.join("qrels").join("test.tsv");
    let set = TestSet { documents, queries, qrels: judgements(&path)? };
    let is_measurable = set.measurable().next().is_some();
    if is_measurable { Ok(set) } else { Err(BeirError::NothingRelevant { path }) }
}

impl TestSet {
    /// The queries that have a relevant document: on others every measure is undefined.
    pub fn measurable(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter().filter(|query| {
            self.qrels.get(&query.id).is_some_and(|judged| judged.values().any(|&score| score > 0))
        })
    }
}

const CORPUS_LINE: &str =
    "an object with \"_id\" (a string or a whole number), \"text\" and perhaps \"title\" (strings)";

const QUERY_LINE: &str =
    "an object with \"_id\" (a string or a whole number) and \"text\" (a string)";

#[derive(Deserialize)]
struct CorpusLine {
    #[serde(rename = "_id")]
    id: Id,
    title: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: Id,
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl Id {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Reads a file of JSON lines; `take` keeps an entry and gives its id.
fn json_lines<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
    mut take: impl FnMut(T) -> String,
) -> Result<(), BeirError> {
    let mut seen = HashSet::new();
    lines(path, |_, text| {
        let entry = serde_json::from_str(text)
            .map_err(|error| Problem::Json { column: error.column(), expected })?;
        let id = take(entry);
        if id.is_empty() {
            return Err(Problem::EmptyId);
        }
        match seen.replace(id) {
            Some(id) => Err(Problem::Twice { id }),
            None => Ok(()),
        }
    })
}

fn judgements(path: &Path) -> Result<Qrels, BeirError> {
    let mut qrels = Qrels::new();
    lines(path, |line, text| {
        let columns: Vec<&str> = text.split('\t').map(str::trim).collect();
        let [query, document, score] = columns[..] else {
            return Err(Problem::Columns { found: columns.len() });
        };
        let score: i64 = match score.parse() {
            Ok(score) => score,
            // The header.
            Err(_) if line == 1 => return Ok(()),
            Err(_) => return Err(Problem::Score { found: score.to_owned() }),
        };
        if query.is_empty() || document.is_empty() {
            return Err(Problem::EmptyId);
        }
        let judged = qrels.entry(query.to_owned()).or_default();
        match judged.insert(document.to_owned(), score) {
            None => Ok(()),
            Some(_) => {
                Err(Problem::JudgedTwice { query: query.to_owned(), document: document.to_owned() })
            }
        }
    })?;
    Ok(qrels)
}

/// Gives every line that is not blank, with its number, to `take`.
fn lines(
    path: &Path,
    mut take: impl FnMut(usize, &str) -> Result<(), Problem>,
) -> Result<(), BeirError> {
    let unreadable = |source| BeirError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut is_empty = true;
    for (index, text) in BufReader::new(file).lines().enumerate() {
        let text = text.map_err(unreadable)?;
        if text.trim().is_empty() {
            continue;
        }
        is_empty = false;
        let line = index + 1;
        take(line, &text).map_err(|problem| BeirError::Line {
            path: path.to_owned(),
            line,
            problem,
        })?;
    }
    if is_empty { Err(BeirError::Empty { path: path.to_owned() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
