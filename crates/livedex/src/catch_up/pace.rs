//! Speed over the last while, and the time that is left.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The while. Records are finished a wave at a time, and a wave may take seconds.
const WINDOW: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    done: u64,
    tokens: u64,
}

/// What was done when, over the last [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    samples: VecDeque<Sample>,
}

impl Pace {
    /// Notes what is done at `now`: offsets, and tokens that were embedded.
    pub(super) fn note(&mut self, now: Instant, done: u64, tokens: u64) {
        while self.samples.len() > 1
            && self.samples.front().is_some_and(|first| now - first.at > WINDOW)
        {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, done, tokens });
    }

    /// Tokens a second; 0 until two moments were noted.
    pub(super) fn tokens_per_second(&self) -> f64 {
        self.over(|sample| sample.tokens).unwrap_or(0.0)
    }

    /// How long it will take to `total`; `None` while nothing moves.
    pub(super) fn left(&self, total: u64) -> Option<Duration> {
        let rate = self.over(|sample| sample.done).filter(|rate| *rate > 0.0)?;
        let left = total.saturating_sub(self.samples.back()?.done);
        Duration::try_from_secs_f64(left as f64 / rate).ok()
    }

    fn over(&self, what: impl Fn(&Sample) -> u64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.at - first.at).as_secs_f64();
        // Partitions that were given away take what was done of them along.
        (seconds > 0.0).then(|| what(last).saturating_sub(what(first)) as f64 / seconds)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_last_while() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(pace.left(100), None);
        pace.note(start, 0, 0);
        assert_eq!((pace.left(100), pace.tokens_per_second()), (None, 0.0));
        pace.note(start + 10 * second, 0, 500);
        assert_eq!((pace.left(100), pace.tokens_per_second()), (None, 50.0), "nothing finished");
        pace.note(start + 20 * second, 40, 1000);
        assert_eq!(pace.left(100), Some(30 * second));
        // Slower since: what came before the window does not count.
        for (at, done) in [(30, 41), (40, 42), (50, 43), (60, 44)] {
            pace.note(start + at * second, done, 1000 + done);
        }
        assert_eq!(pace.left(47), Some(30 * second));
        assert!(pace.tokens_per_second() < 1.0);
    }

    #[test]
    fn a_partition_given_away_is_no_negative_speed() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.note(start, 50, 10);
        pace.note(start + Duration::from_secs(1), 20, 20);
        assert_eq!((pace.left(100), pace.tokens_per_second()), (None, 10.0));
    }
}
