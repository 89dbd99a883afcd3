//! Compares the whole collection with what it should say.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use anyhow::Result;
use livedex_core::{
    chunk::Chunker,
    document::Document,
    ids::{ChunkId, DocumentKey},
    record::SourcePosition,
    row::{ChunkFields, ChunkRow, PreparedChunk, prepare},
};

/// How far a number of a stored vector may be from what was computed: both are the same f32 unless
/// the server normalises once more.
const VECTOR_TOLERANCE: f32 = 1e-5;

/// How many examples of each kind a report shows.
const EXAMPLES: usize = 3;

/// What is wrong with a collection; empty lists if nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Rows that were looked at.
    pub rows: usize,
    /// Chunks that should be there and are not.
    pub lost: Vec<String>,
    /// Rows of a live document whose text its last version does not have.
    pub stale: Vec<String>,
    /// Rows with a primary key, or a place in a document, that another row has too.
    pub duplicate: Vec<String>,
    /// Rows of documents that are deleted or never were.
    pub orphan: Vec<String>,
    /// Rows with the right key and something else that differs.
    pub wrong: Vec<String>,
    /// Rows whose vector is not that of their text.
    pub wrong_vectors: Vec<String>,
}

/// What computes the vector of a text, as the embedder did.
pub type Vectors<'a> = &'a dyn Fn(&str) -> Vec<f32>;

impl Report {
    /// Whether the collection says exactly what it should.
    pub fn is_clean(&self) -> bool {
        self.kinds().iter().all(|(_, found)| found.is_empty())
    }

    fn kinds(&self) -> [(&'static str, &[String]); 6] {
        [
            ("lost", &self.lost),
            ("stale", &self.stale),
            ("duplicate", &self.duplicate),
            ("orphan", &self.orphan),
            ("wrong", &self.wrong),
            ("wrong vectors", &self.wrong_vectors),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.rows)?;
        for (kind, found) in self.kinds() {
            write!(f, ", {} {kind}", found.len())?;
            for example in found.iter().take(EXAMPLES) {
                write!(f, " [{example}]")?;
            }
        }
        Ok(())
    }
}

/// Compares `rows`, all rows of the collection, with the chunks that `expected`, all live
/// documents in their last version, are cut into. Where a row came from is not compared. Vectors
/// are, where `vectors` can compute them.
pub fn check(
    rows: &[ChunkRow],
    expected: &BTreeMap<DocumentKey, Document>,
    chunker: &Chunker,
    fingerprint: &str,
    vectors: Option<Vectors<'_>>,
) -> Result<Report> {
    let nowhere = SourcePosition { topic: Arc::from(""), partition: 0, offset: 0 };
    let mut wanted: HashMap<ChunkId, PreparedChunk> = HashMap::new();
    for document in expected.values() {
        for chunk in prepare(document, chunker.chunk(document)?, fingerprint, &nowhere) {
            wanted.insert(chunk.fields.id.clone(), chunk);
        }
    }

    let mut report = Report { rows: rows.len(), ..Report::default() };
    let mut ids = HashSet::new();
    let mut places = HashSet::new();
    for ChunkRow { fields: row, vector } in rows {
        let name = format!("{}#{} {}", row.document, row.ordinal, row.id);
        // Both are recorded: a key that is there twice takes its place twice too.
        let first_id = ids.insert(&row.id);
        let first_place = places.insert((&row.document, row.ordinal));
        if !first_id || !first_place {
            report.duplicate.push(name.clone());
        }
        if !expected.contains_key(&row.document) {
            report.orphan.push(name);
        } else if let Some(want) = wanted.get(&row.id) {
            if let Some(difference) = difference(row, &want.fields) {
                report.wrong.push(format!("{name}: {difference}"));
            }
            if let Some(vectors) = vectors
                && !same(vector, &vectors(&want.embed_text))
            {
                report.wrong_vectors.push(name);
            }
        } else {
            report.stale.push(name);
        }
    }
    let wanted = wanted.values().map(|want| &want.fields);
    let mut lost: Vec<_> = wanted.filter(|want| !ids.contains(&want.id)).collect();
    lost.sort_by_key(|want| (&want.document, want.ordinal));
    report.lost = lost.iter().map(|want| format!("{}#{}", want.document, want.ordinal)).collect();
    Ok(report)
}

/// The first field in which they differ.
fn difference(row: &ChunkFields, want: &ChunkFields) -> Option<&'static str> {
    let fields = [
        ("document", row.document == want.document),
        ("ordinal", row.ordinal == want.ordinal),
        ("text", row.text == want.text),
        ("heading", row.heading == want.heading),
        ("title", row.title == want.title),
        ("url", row.url == want.url),
        ("metadata", row.metadata == want.metadata),
        ("version", row.version == want.version),
        ("updated_at", row.updated_at_ms == want.updated_at_ms),
        ("content_hash", row.content_hash == want.content_hash),
        ("attributes_hash", row.attributes_hash == want.attributes_hash),
    ];
    fields.into_iter().find(|(_, equal)| !equal).map(|(name, _)| name)
}

/// Whether two vectors are the same, number by number. A NaN is never the same.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= VECTOR_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use livedex_core::chunk::ChunkConfig;

    use super::*;
    use crate::{
        embedder::{HashEmbedder, Words},
        workload::Workload,
    };

    fn chunker() -> Chunker {
        Chunker::new(ChunkConfig { max_tokens: 64, overlap_tokens: 0 }, Arc::new(Words)).unwrap()
    }

    fn rows_of(documents: &BTreeMap<DocumentKey, Document>) -> Vec<ChunkRow> {
        let embedder = HashEmbedder::new(8);
        let position = SourcePosition { topic: Arc::from("t"), partition: 3, offset: 9 };
        documents
            .values()
            .flat_map(|document| {
                prepare(document, chunker().chunk(document).unwrap(), "model", &position)
            })
            .map(|chunk| {
                let vector = embedder.vector(&chunk.embed_text);
                ChunkRow { fields: chunk.fields, vector }
            })
            .collect()
    }

    fn report(rows: &[ChunkRow], expected: &BTreeMap<DocumentKey, Document>) -> Report {
        let embedder = HashEmbedder::new(8);
        check(rows, expected, &chunker(), "model", Some(&|text| embedder.vector(text))).unwrap()
    }

    #[test]
    fn every_kind_of_mistake_is_found_and_named() {
        let mut workload = Workload::new(5);
        workload.create(30).unwrap();
        let before = rows_of(&workload.expected());
        assert!(report(&before, &workload.expected()).is_clean());
        assert!(before.len() > 60, "{}", before.len());

        // Nothing was applied of an update and a deletion.
        let old = workload.expected();
        let _ = workload.update(6);
        let _ = workload.delete(4);
        let expected = workload.expected();
        let found = report(&before, &expected);
        let n_deleted =
            before.iter().filter(|row| !expected.contains_key(&row.fields.document)).count();
        assert_eq!(found.orphan.len(), n_deleted);
        assert!(!found.stale.is_empty() && !found.lost.is_empty(), "{found}");
        assert_eq!(found.duplicate.len(), 0);

        // One row less, one twice, one with another URL, one with another's vector, one with none.
        let mut rows = before.clone();
        let missing = rows.pop().unwrap().fields;
        rows.push(rows[0].clone());
        rows[1].fields.url = "elsewhere".to_owned();
        rows[2].vector = rows[3].vector.clone();
        rows[4].vector[0] = f32::NAN;
        let found = report(&rows, &old);
        assert_eq!(found.lost, [format!("{}#{}", missing.document, missing.ordinal)]);
        assert_eq!((found.duplicate.len(), found.wrong.len()), (1, 1));
        assert_eq!(found.wrong_vectors.len(), 2);
        assert!(found.wrong[0].ends_with(": url"), "{found}");
        assert_eq!((found.stale.len(), found.orphan.len()), (0, 0));

        // Everything is lost in an empty collection, and everything embedded by another model is
        // stale.
        assert_eq!(report(&[], &old).lost.len(), before.len());
        let found = check(&before, &old, &chunker(), "another", None).unwrap();
        assert_eq!((found.stale.len(), found.lost.len()), (before.len(), before.len()));
    }
}
