//! Chunks by their places: the neighbours of a hit, the pages of a document.
//!
//! One query reads many spans, in pages bounded in bytes (`page`). While a document is updated a
//! place may have two rows for a moment, since new rows are written before old ones are removed. Then
//! the newer version's row is answered with: of one topic and partition that with the higher
//! offset. Versions of different partitions have no order; there the producer's `updated_at` decides,
//! and then the key, so that the answer does not change from one time to the next.

use std::{
    cmp::Ordering,
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
    ops::RangeInclusive,
};

use livedex_core::{
    ids::DocumentKey,
    ports::ServiceError,
    query::{Passage, PassageRequest, Span},
    row::ChunkFields,
};

use crate::{
    collection::Collection,
    columns::Columns,
    literal::{push_string, string_in},
    page::{page_rows, vector_row_bytes},
    retrieve::level,
    schema::{field, row_fields},
};

/// Places of one query: with the longest ids its filter has some 300 KiB, far below the limit of an
/// RPC. Enough for the neighbours of all hits of a reply.
const QUERY_PLACES: usize = 128;

/// Bytes of a row without its vector, as a guess: chunks by default have some 800 bytes of text.
const ROW_BYTES: usize = 2048;

/// A document, and ordinals of it.
type Place<'a> = (&'a DocumentKey, RangeInclusive<u32>);

impl Collection {
    pub(crate) async fn read_passages(
        &self,
        request: &PassageRequest,
    ) -> Result<Vec<Passage>, ServiceError> {
        let places = places(&request.spans);
        let vector_bytes =
            if request.with_vectors { vector_row_bytes(self.dimension()) } else { 0 };
        let rows = page_rows(ROW_BYTES + vector_bytes);
        let fields = row_fields(request.with_vectors);
        let level = level(request.consistency);
        let mut newest: HashMap<(DocumentKey, u32), Passage> = HashMap::new();
        for places in places.chunks(QUERY_PLACES) {
            self.pages("passages", &filter(places), &fields, rows, level, |page| {
                let columns = Columns::new(page.get_output_fields(), page.get_row_count() as usize);
                for row in columns.passages(columns.texts(field::ID)?, request.with_vectors)? {
                    match newest.entry((row.fields.document.clone(), row.fields.ordinal)) {
                        Entry::Vacant(entry) => {
                            entry.insert(row);
                        }
                        Entry::Occupied(mut entry) => {
                            if by_version(&row.fields, &entry.get().fields).is_gt() {
                                entry.insert(row);
                            }
                        }
                    }
                }
                Ok(())
            })
            .await?;
        }
        let mut order: HashMap<&DocumentKey, usize> = HashMap::new();
        for (document, _) in places {
            let next = order.len();
            order.entry(document).or_insert(next);
        }
        let mut found: Vec<Passage> = newest.into_values().collect();
        let at = |passage: &Passage| order.get(&passage.fields.document).copied();
        found.sort_by_key(|passage| (at(passage), passage.fields.ordinal));
        Ok(found)
    }
}

/// The places that the spans cover, each once: documents in the order in which they are first named,
/// their ordinals ascending, ranges that meet as one.
fn places(spans: &[Span]) -> Vec<Place<'_>> {
    let mut documents: Vec<(&DocumentKey, Vec<RangeInclusive<u32>>)> = Vec::new();
    let mut at: HashMap<&DocumentKey, usize> = HashMap::new();
    for span in spans.iter().filter(|span| !span.ordinals.is_empty()) {
        let index = *at.entry(&span.document).or_insert(documents.len());
        match documents.get_mut(index) {
            Some((_, ranges)) => ranges.push(span.ordinals.clone()),
            None => documents.push((&span.document, vec![span.ordinals.clone()])),
        }
    }
    let mut places: Vec<Place<'_>> = Vec::new();
    for (document, mut ranges) in documents {
        ranges.sort_by_key(|range| *range.start());
        let first = places.len();
        for range in ranges {
            match places[first..].last_mut() {
                Some((_, last)) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => places.push((document, range)),
            }
        }
    }
    places
}

/// The rows at these places. The ids stand in front by themselves: those are looked up in their
/// index, and Milvus Lite, which looks at unflushed rows one by one, is done with most of them there.
fn filter(places: &[Place<'_>]) -> String {
    let mut ids: Vec<&str> = places.iter().map(|(document, _)| document.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let conditions: Vec<String> = places.iter().map(condition).collect();
    let mut out = string_in(field::DOCUMENT_ID, ids);
    out.push_str(" and ");
    push_any(&mut out, &conditions);
    out
}

fn condition((document, ordinals): &Place<'_>) -> String {
    let mut out = format!("({} == ", field::TENANT);
    push_string(&mut out, document.tenant.as_str());
    out.push_str(&format!(" and {} == ", field::DOCUMENT_ID));
    push_string(&mut out, document.id.as_str());
    let (start, end) = (ordinals.start(), ordinals.end());
    // Writing to a `String` does not fail.
    let _ = write!(out, " and {0} >= {start} and {0} <= {end})", field::ORDINAL);
    out
}

/// Joins them by `or` in halves: a chain would become a tree as deep as it is long, and whoever reads
/// it recurses.
fn push_any(out: &mut String, conditions: &[String]) {
    match conditions {
        [] => {}
        [one] => out.push_str(one),
        _ => {
            let (some, others) = conditions.split_at(conditions.len() / 2);
            out.push('(');
            push_any(out, some);
            out.push_str(" or ");
            push_any(out, others);
            out.push(')');
        }
    }
}

/// Which of two rows at one place is of the newer version.
fn by_version(a: &ChunkFields, b: &ChunkFields) -> Ordering {
    let (left, right) = (&a.position, &b.position);
    let by_record = if (&left.topic, left.partition) == (&right.topic, right.partition) {
        left.offset.cmp(&right.offset)
    } else {
        a.updated_at_ms.cmp(&b.updated_at_ms)
    };
    by_record.then_with(|| a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use livedex_core::ids::{DocumentId, Tenant};

    use super::*;
    use crate::columns::tests::row;

    fn span(id: &str, ordinals: RangeInclusive<u32>) -> Span {
        let id = DocumentId::new(id).unwrap();
        Span { document: DocumentKey { tenant: Tenant::default(), id }, ordinals }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a client may ask for one")]
    fn spans_of_one_document_are_merged_and_documents_keep_their_order() {
        let spans = [
            span("b", 7..=9),
            span("a", 0..=0),
            span("b", 2..=3),
            span("b", 4..=5),
            span("c", 3..=2),
            span("b", 8..=u32::MAX),
            span("a", 0..=0),
        ];
        let places = places(&spans);
        let places: Vec<_> =
            places.iter().map(|(d, range)| (d.id.as_str(), range.clone())).collect();
        assert_eq!(places, [("b", 2..=5), ("b", 7..=u32::MAX), ("a", 0..=0)]);
        assert!(super::places(&[]).is_empty());
    }

    #[test]
    fn a_filter_names_each_place_in_parentheses() {
        let spans = [span("a\") or (\"", 1..=2), span("b", 0..=0), span("c", 0..=0)];
        assert_eq!(
            filter(&places(&spans)),
            "document_id in [\"a\\\") or (\\\"\", \"b\", \"c\"] and \
             ((tenant == \"\" and document_id == \"a\\\") or (\\\"\" and ordinal >= 1 and ordinal <= 2) or \
             ((tenant == \"\" and document_id == \"b\" and ordinal >= 0 and ordinal <= 0) or \
             (tenant == \"\" and document_id == \"c\" and ordinal >= 0 and ordinal <= 0)))"
        );
    }

    #[test]
    fn the_newer_version_wins() {
        let of = |id: &str, partition: i32, offset: i64, updated_at_ms: i64| {
            let mut fields = row(id, "text", vec![1.0]).fields;
            fields.position.partition = partition;
            fields.position.offset = offset;
            fields.updated_at_ms = updated_at_ms;
            fields
        };
        // By offset within a partition, whatever the producer's clock says.
        assert!(by_version(&of("a", 0, 9, 1), &of("b", 0, 8, 2)).is_gt());
        // By the producer's clock between partitions, whatever the offsets say.
        assert!(by_version(&of("a", 0, 9, 1), &of("b", 1, 8, 2)).is_lt());
        assert!(by_version(&of("a", 0, 9, 1), &of("b", 1, 8, 1)).is_lt());
    }
}
