//! Back-pressure with hysteresis: when to pause reading and when to go on.
//!
//! Two marks and not one, because pausing a partition empties librdkafka's prefetch queue
//! (librdkafka #2703): what was fetched ahead is fetched again, so a gate that flaps reads the
//! topic many times over.

/// Open below the high mark, closed from there until the low mark is reached again.
#[derive(Debug)]
pub(crate) struct Gate {
    high: usize,
    low: usize,
    is_closed: bool,
}

/// A gate that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Reading must pause.
    Closed,
    /// Reading may go on.
    Opened,
}

impl Gate {
    /// A gate that closes at `high` bytes (inclusive) and opens at half of it (inclusive).
    pub(crate) fn new(high: usize) -> Self {
        Self { high, low: high / 2, is_closed: false }
    }

    /// Tells it the bytes in flight. `Some` if it moved.
    pub(crate) fn update(&mut self, in_flight: usize) -> Option<Moved> {
        if !self.is_closed && in_flight >= self.high {
            self.is_closed = true;
            Some(Moved::Closed)
        } else if self.is_closed && in_flight <= self.low {
            self.is_closed = false;
            Some(Moved::Opened)
        } else {
            None
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_at_the_high_mark_and_opens_at_the_low_one() {
        let mut gate = Gate::new(100);
        let moves: Vec<_> = [0, 99, 100, 500, 99, 51, 50, 99, 51, 100]
            .into_iter()
            .map(|bytes| gate.update(bytes))
            .collect();
        let (none, closed, opened) = (None, Some(Moved::Closed), Some(Moved::Opened));
        assert_eq!(moves, [none, none, closed, none, none, none, opened, none, none, closed]);
        assert!(gate.is_closed());
    }

    #[test]
    fn one_record_above_the_mark_does_not_lock_it() {
        let mut gate = Gate::new(1);
        assert_eq!(gate.update(10_000_000), Some(Moved::Closed));
        assert_eq!(gate.update(0), Some(Moved::Opened));
    }
}
