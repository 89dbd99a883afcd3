//! The marks while a replay moves them.
//!
//! A mark stands before the first letter of its partition that could still be replayed, whatever
//! was replayed behind it.

use super::Marks;

/// The marks as they move.
#[derive(Debug, Default)]
pub(crate) struct MovingMarks {
    marks: Marks,
    /// Partitions whose mark stands before a letter that may be replayed later.
    held: Vec<i32>,
    is_changed: bool,
}

impl MovingMarks {
    /// From where the marks stand.
    pub(crate) fn new(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Where the marks stand.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// A record was looked at; `may_pass` is whether it need not be looked at again. Records of a
    /// partition come in offset order. A mark never goes back.
    pub(crate) fn settle(&mut self, partition: i32, offset: i64, may_pass: bool) {
        if !may_pass && !self.held.contains(&partition) {
            self.held.push(partition);
        }
        let is_behind = self.marks.get(&partition).is_none_or(|&mark| mark <= offset);
        if !self.held.contains(&partition) && is_behind {
            self.marks.insert(partition, offset + 1);
            self.is_changed = true;
        }
    }

    /// Whether a mark has moved since they were last [saved](Self::saved).
    pub(crate) fn has_news(&self) -> bool {
        self.is_changed
    }

    /// The marks as they are have been saved.
    pub(crate) fn saved(&mut self) {
        self.is_changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_passes_nothing_that_could_still_be_replayed() {
        let mut moving = MovingMarks::new(Marks::from([(0, 5), (1, 100)]));
        assert!(!moving.has_news());
        moving.settle(0, 5, true);
        moving.settle(0, 7, true);
        moving.settle(0, 8, false);
        moving.settle(0, 9, true);
        // Read again from the start: the mark stays ahead.
        moving.settle(1, 3, true);
        moving.settle(2, 0, true);
        moving.settle(3, 0, false);
        assert!(moving.has_news());
        assert_eq!(moving.marks, Marks::from([(0, 8), (1, 100), (2, 1)]));
        moving.saved();
        assert!(!moving.has_news());
    }
}
