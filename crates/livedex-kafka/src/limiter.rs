//! Says a repeated complaint rarely: a broker that is away makes librdkafka complain many times
//! a second.

use std::time::{Duration, Instant};

/// How often the same kind of complaint is let through.
const PERIOD: Duration = Duration::from_secs(30);

/// Lets one complaint through per [`PERIOD`].
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    last: Option<Instant>,
    n_suppressed: u64,
}

impl Limiter {
    /// Whether a complaint at `now` is to be said: `Some` with the number of those that were
    /// not since the last one.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PERIOD) {
            self.n_suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.n_suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_period_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(limiter.pass(start), Some(0));
        assert_eq!(limiter.pass(start + Duration::from_secs(1)), None);
        assert_eq!(limiter.pass(start + Duration::from_secs(29)), None);
        assert_eq!(limiter.pass(start + PERIOD), Some(2));
        assert_eq!(limiter.pass(start + PERIOD + PERIOD), Some(0));
    }
}
