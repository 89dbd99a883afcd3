//! The watermark against a rule that remembers everything.

use std::collections::BTreeMap;

use livedex_core::watermark::Watermark;

/// Tracks and finishes offsets as the bytes say, two bytes a step, and compares the position to
/// commit with its definition after each: the first offset that is not finished, or the one behind
/// the last.
///
/// # Panics
/// If they differ, or if the position goes back.
pub fn watermark(data: &[u8]) {
    let mut watermark = Watermark::new();
    let mut finished: BTreeMap<i64, bool> = BTreeMap::new();
    let (mut next, mut before) = (0, None);
    for step in data.chunks_exact(2) {
        let [kind, argument] = [step[0], step[1]].map(i64::from);
        match kind % 4 {
            // Gaps are what compaction and transactions leave.
            0 | 1 => {
                next += 1 + argument % 5;
                watermark.track(next);
                finished.insert(next, false);
            }
            2 => {
                if let Some(nth) = finished.keys().nth(argument as usize % finished.len().max(1)) {
                    let offset = *nth;
                    watermark.finish(offset);
                    finished.insert(offset, true);
                }
            }
            // An offset that may be unknown, or finished already.
            _ => {
                let offset = next - argument;
                watermark.finish(offset);
                if let Some(done) = finished.get_mut(&offset) {
                    *done = true;
                }
            }
        }
        let first_unfinished = finished.iter().find(|(_, done)| !**done).map(|(offset, _)| *offset);
        let behind_the_last = finished.keys().next_back().map(|last| last + 1);
        let position = watermark.position();
        assert_eq!(position, first_unfinished.or(behind_the_last));
        assert_eq!(watermark.in_flight(), finished.values().filter(|done| !**done).count());
        assert!(before <= position, "the position went back from {before:?} to {position:?}");
        before = position;
    }
}
