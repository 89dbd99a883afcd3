//! What of a document that is too long for a cross-encoder is scored.

use std::ops::Range;

use crate::{
    scheduler::{
        limits::{MAX_PARTS, PART_OVERLAP},
        telemetry,
    },
    spec::LongDocuments,
};

/// The parts of a document of `len` tokens, of which `room` (at least one) fit a pair: as few as
/// hold it, in order and equally long, neighbours overlapping. Never none. Counts a document that
/// loses tokens.
///
/// Equally long, because a last part of a few words would be scored without its context.
pub(crate) fn parts(len: usize, room: usize, long: LongDocuments) -> Vec<Range<usize>> {
    let most = match long {
        LongDocuments::BestPart => MAX_PARTS,
        LongDocuments::Truncate => 1,
    };
    // A small part of the room, so that few tokens are computed twice.
    let overlap = PART_OVERLAP.min(room / 8);
    let step = room - overlap;
    let count = len.saturating_sub(overlap).div_ceil(step).clamp(1, most);
    let covered = len.min(count * step + overlap);
    if covered < len {
        telemetry::truncated(telemetry::RERANKER);
    }
    let size = (covered + (count - 1) * overlap).div_ceil(count);
    (0..count)
        .map(|i| {
            let start = i * (covered - size) / (count - 1).max(1);
            start..start + size
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(len: usize, room: usize, long: LongDocuments, expected: &[(usize, usize)]) {
        let parts = parts(len, room, long);
        let parts: Vec<_> = parts.into_iter().map(|part| (part.start, part.end)).collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_does_not_fit_is_cut_or_split() {
        for long in [LongDocuments::BestPart, LongDocuments::Truncate] {
            check(0, 5, long, &[(0, 0)]);
            check(5, 5, long, &[(0, 5)]);
            check(80, 80, long, &[(0, 80)]);
        }
        check(6, 5, LongDocuments::Truncate, &[(0, 5)]);
        check(6, 5, LongDocuments::BestPart, &[(0, 3), (3, 6)]);
        check(100, 80, LongDocuments::BestPart, &[(0, 55), (45, 100)]);
    }

    proptest! {
        #[test]
        fn parts_cover_a_document_up_to_their_bound(len in 0usize..20_000, room in 1usize..2_000) {
            let parts = parts(len, room, LongDocuments::BestPart);
            prop_assert!(parts.len() <= MAX_PARTS);
            prop_assert_eq!(parts[0].start, 0);
            let end = parts[parts.len() - 1].end;
            let overlap = PART_OVERLAP.min(room / 8);
            let most = MAX_PARTS * (room - overlap) + overlap;
            prop_assert_eq!(end, len.min(most.max(room)));
            for part in &parts {
                prop_assert!(part.len() <= room);
                prop_assert_eq!(part.len(), parts[0].len());
            }
            for pair in parts.windows(2) {
                prop_assert!(pair[0].start < pair[1].start);
                prop_assert!(pair[0].end >= pair[1].start + overlap);
            }
        }
    }
}
