//! How long a caller still waits.
//!
//! The header says for how many milliseconds, not until when: clocks differ between machines. It
//! counts from the moment the request is read here.

use std::time::{Duration, Instant};

use crate::error::QueryError;

/// The longest deadline, in milliseconds; a longer one counts as this. A request holds one of the
/// places in flight until its deadline at most.
pub const MAX_DEADLINE_MS: u64 = 120_000;

/// What is kept back of the time for bringing the reply to the caller: a tenth, but no more than
/// this.
const RETURN_TRIP: Duration = Duration::from_millis(50);

/// When a reply must be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    reply_by: Instant,
}

impl Deadline {
    /// The deadline of a request that came at `received` and whose caller waits for `patience`.
    pub fn new(received: Instant, patience: Duration) -> Self {
        let patience = patience.min(Duration::from_millis(MAX_DEADLINE_MS));
        Self { reply_by: received + (patience - (patience / 10).min(RETURN_TRIP)) }
    }

    /// The deadline that a request's header asks for, or else `default`.
    pub fn of_request(
        received: Instant,
        header: Option<&str>,
        default: Duration,
    ) -> Result<Self, QueryError> {
        let Some(value) = header else { return Ok(Self::new(received, default)) };
        match value.trim().parse() {
            Ok(ms) => Ok(Self::new(received, Duration::from_millis(ms))),
            Err(_) => Err(QueryError::DeadlineHeader { value: value.chars().take(40).collect() }),
        }
    }

    /// When the reply must be on its way.
    pub fn reply_by(self) -> Instant {
        self.reply_by
    }

    /// The same, a little later.
    pub(crate) fn later(self, by: Duration) -> Self {
        Self { reply_by: self.reply_by + by }
    }

    /// Whether there is no time left.
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.reply_by
    }

    /// Waits for `work`, but not longer than the deadline.
    pub(crate) async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        if self.has_passed() {
            return None;
        }
        tokio::time::timeout_at(self.reply_by.into(), work).await.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_kept_for_the_way_back() {
        let now = Instant::now();
        let left = |ms| Deadline::new(now, Duration::from_millis(ms)).reply_by() - now;
        assert_eq!(left(100), Duration::from_millis(90));
        assert_eq!(left(10_000), Duration::from_millis(9_950));
        assert_eq!(left(u64::MAX), Duration::from_millis(MAX_DEADLINE_MS - 50));
        assert_eq!(left(0), Duration::ZERO);
    }

    #[test]
    fn the_header_wins_and_nonsense_is_refused() {
        let now = Instant::now();
        let default = Duration::from_secs(1);
        let of = |header| Deadline::of_request(now, header, default);
        assert_eq!(of(None).unwrap(), Deadline::new(now, default));
        assert_eq!(of(Some(" 250 ")).unwrap(), Deadline::new(now, Duration::from_millis(250)));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert!(of(Some(nonsense)).is_err(), "{nonsense:?}");
        }
    }
}
