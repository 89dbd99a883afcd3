//! Rows cut into upserts bounded in rows and bytes, with one key at most once in each.
//!
//! Milvus refuses a batch that holds a key twice and strings above their field's limit; Milvus
//! Lite takes both. A NaN is taken by Lite and breaks its index. So all of that is checked here,
//! for both alike, before anything is sent.

use std::collections::HashMap;

use livedex_core::{
    limits::{MAX_METADATA_BYTES, MAX_UPSERT_BYTES, MAX_UPSERT_ROWS},
    ports::ServiceError,
    row::ChunkRow,
};

use crate::{
    columns::metadata_to_json,
    schema::{field, max_bytes},
    words,
};

/// What a row costs on the wire beside its strings, metadata and vector: five integers of up to
/// ten bytes, and tags and lengths of eighteen fields.
const ROW_OVERHEAD: usize = 5 * 10 + 18 * 4;

/// Checks all rows, then cuts them into batches in their order. Of several rows with one key the
/// last is kept. `has_bm25`: what BM25 reads is sent as well.
pub(crate) fn batches(
    rows: &[ChunkRow],
    dimension: usize,
    has_bm25: bool,
) -> Result<Vec<Vec<&ChunkRow>>, ServiceError> {
    let sizes =
        rows.iter().map(|row| size(row, dimension, has_bm25)).collect::<Result<Vec<_>, _>>()?;
    let last: HashMap<&str, usize> =
        rows.iter().enumerate().map(|(i, row)| (row.fields.id.as_str(), i)).collect();
    let mut batches: Vec<Vec<&ChunkRow>> = Vec::new();
    let mut bytes = 0;
    for (i, (row, size)) in rows.iter().zip(sizes).enumerate() {
        if last.get(row.fields.id.as_str()) != Some(&i) {
            continue;
        }
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_UPSERT_ROWS && bytes + size <= MAX_UPSERT_BYTES => {
                batch.push(row);
                bytes += size;
            }
            _ => {
                batches.push(vec![row]);
                bytes = size;
            }
        }
    }
    Ok(batches)
}

/// Checks a row; its bytes in an upsert.
fn size(row: &ChunkRow, dimension: usize, has_bm25: bool) -> Result<usize, ServiceError> {
    let fields = &row.fields;
    let refuse = |problem: String| ServiceError::Reject(format!("chunk {} {problem}", fields.id));
    if row.vector.len() != dimension {
        let found = row.vector.len();
        return Err(refuse(format!(
            "has a vector of {found} numbers, the collection has {dimension}"
        )));
    }
    if let Some(at) = row.vector.iter().position(|number| !number.is_finite()) {
        return Err(refuse(format!("has a vector whose number {at} is not finite")));
    }
    // A zero vector has no direction, so no cosine with anything.
    if row.vector.iter().all(|number| *number == 0.0) {
        return Err(refuse("has a vector of zeros".to_owned()));
    }
    let mut bytes = ROW_OVERHEAD + 4 * dimension;
    if has_bm25 {
        bytes += words::max_source_bytes(fields);
    }
    for (name, text) in [
        (field::ID, fields.id.as_str()),
        (field::TENANT, fields.document.tenant.as_str()),
        (field::DOCUMENT_ID, fields.document.id.as_str()),
        (field::TEXT, &fields.text),
        (field::HEADING, &fields.heading),
        (field::TITLE, &fields.title),
        (field::URL, &fields.url),
        (field::VERSION, &fields.version),
        (field::CONTENT_HASH, fields.content_hash.as_str()),
        (field::ATTRIBUTES_HASH, fields.attributes_hash.as_str()),
        (field::SOURCE_TOPIC, &fields.position.topic),
    ] {
        if let Some(max) = max_bytes(name).filter(|max| text.len() > *max) {
            return Err(refuse(format!(
                "has a `{name}` of {} bytes, the limit is {max}",
                text.len()
            )));
        }
        bytes += text.len();
    }
    let metadata = metadata_to_json(&fields.metadata).to_string().len();
    if metadata > MAX_METADATA_BYTES {
        return Err(refuse(format!(
            "has metadata of {metadata} bytes, the limit is {MAX_METADATA_BYTES}"
        )));
    }
    Ok(bytes + metadata)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::limits::MAX_CHUNK_TEXT_BYTES;
    use proptest::prelude::*;

    use super::*;
    use crate::columns::tests::row;

    #[test]
    fn the_last_of_one_key_wins() {
        let rows =
            [row("1", "old", vec![1.0]), row("2", "b", vec![1.0]), row("1", "new", vec![1.0])];
        let batches = batches(&rows, 1, true).unwrap();
        let texts: Vec<_> = batches[0].iter().map(|row| row.fields.text.as_str()).collect();
        assert_eq!(texts, ["b", "new"]);
    }

    #[test]
    fn rows_that_milvus_would_not_take_are_refused() {
        let mut long = row("1", "", vec![1.0]);
        long.fields.title = "x".repeat(5000);
        let wide = "x".repeat(MAX_CHUNK_TEXT_BYTES + 1);
        for (row, problem) in [
            (row("1", "", vec![1.0, 2.0]), "2 numbers, the collection has 1"),
            (row("1", "", vec![f32::NAN]), "not finite"),
            (row("1", "", vec![0.0]), "zeros"),
            (row("1", &wide, vec![1.0]), "`text` of 65536 bytes, the limit is 65535"),
            (long, "`title` of 5000 bytes, the limit is 4096"),
        ] {
            let error = batches(&[row], 1, false).unwrap_err();
            assert!(
                matches!(&error, ServiceError::Reject(message) if message.contains(problem)),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn batches_hold_every_key_once_and_stay_within_their_bounds(
            rows in prop::collection::vec((0_u16..2000, 0_usize..60_000), 0..400),
            dimension in 1_usize..2000,
            has_bm25 in any::<bool>(),
        ) {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(id, length)| row(&id.to_string(), &"x".repeat(length), vec![1.0; dimension]))
                .collect();
            let batches = batches(&rows, dimension, has_bm25).unwrap();
            let mut seen = std::collections::HashSet::new();
            for batch in &batches {
                let bytes: usize = batch.iter().map(|row| size(row, dimension, has_bm25).unwrap()).sum();
                prop_assert!(batch.len() <= MAX_UPSERT_ROWS);
                prop_assert!(bytes <= MAX_UPSERT_BYTES || batch.len() == 1);
                for row in batch {
                    prop_assert!(seen.insert(row.fields.id.as_str()));
                }
            }
            let keys: std::collections::HashSet<_> = rows.iter().map(|row| row.fields.id.as_str()).collect();
            prop_assert_eq!(seen, keys);
        }
    }
}
