//! How many requests are answered at once.
//!
//! A queue in front of a device that is busy helps nobody: every answer gets later, and none more is
//! given. So a request is refused at once (429) when an answer would take many times as long as on
//! an idle service. What that comes to in requests is measured, not configured: a CPU computes one
//! query after the other, a GPU many together.
//!
//! With `pace` the time between two answers while others are still in flight, n requests in flight
//! take n · pace; with `alone` the time of an answer on a service that is nearly idle, the limit is
//! max_slowdown · alone / pace. On a device that computes one after the other, pace is alone, and
//! the limit is `max_slowdown` itself; on one that computes eight in the time of one, it is eight times
//! that.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The least limit, whatever was measured: with fewer a device waits for the next request.
const LEAST: usize = 4;

/// An answer within this time is not late, whatever it takes alone.
const SOON: f64 = 0.1;

/// A request that came while no more than this were in flight tells how long an answer takes alone.
const NEARLY_IDLE: usize = 1;

/// The weight of a new measurement: the last 20 or so count.
const WEIGHT: f64 = 0.1;

/// Longer than any answer takes: a clock that jumped is no measurement.
const MAX_SECONDS: f64 = 600.0;

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Requests in flight at most, whatever was measured: each holds its candidates' texts.
    pub max_in_flight: usize,
    /// How many times as long as alone an answer may take; not less than 1.
    pub max_slowdown: f64,
}

/// Lets requests in, and measures how they get on.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    in_flight: AtomicUsize,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// Seconds between answers while others are in flight.
    pace: Option<f64>,
    /// Seconds of an answer on a service that is nearly idle.
    alone: Option<f64>,
    /// Seconds of an answer as a share: divided by the number of requests that it was in flight with.
    /// No more than `alone` would be now, which cannot be measured while the service is busy: it
    /// stands in for it when requests have become heavier.
    share: Option<f64>,
    /// When the last answer was given while another was in flight, or the first request came.
    last: Option<Instant>,
}

/// A request that was let in. Dropping it makes room, and what it took counts only if it was
/// [answered](Place::answered): failures may be quick.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    came: Instant,
    /// How many were in flight before it.
    before: usize,
    is_answered: bool,
}

impl Place {
    /// It was answered: makes room, and counts.
    pub fn answered(mut self) {
        self.is_answered = true;
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How many are in flight at most.
    pub limit: usize,
    /// When there may be room.
    pub retry_after: Duration,
}

impl Admission {
    /// With nobody in it.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, in_flight: AtomicUsize::new(0), measured: Mutex::default() })
    }

    /// Lets a request in, if there is room.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Result<Place, Full> {
        let limit = self.limit();
        let entered = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1));
        match entered {
            Ok(before) => {
                let mut measured = self.measured();
                if before == 0 {
                    measured.last = Some(now);
                }
                Ok(Place { admission: self.clone(), came: now, before, is_answered: false })
            }
            Err(_) => Err(Full { limit, retry_after: self.retry_after() }),
        }
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// How many may be in flight, as far as is known now.
    pub fn limit(&self) -> usize {
        let most = self.bounds.max_in_flight.max(1);
        let measured = self.measured();
        let (Some(pace), Some(alone)) = (measured.pace, longer(measured.alone, measured.share))
        else {
            return most;
        };
        let limit = ((self.bounds.max_slowdown * alone).max(SOON) / pace.max(1e-9)).ceil();
        // An `as` from a float saturates.
        (limit as usize).clamp(LEAST.min(most), most)
    }

    /// How long a request that comes now would wait for those before it.
    pub fn wait(&self) -> Duration {
        let pace = self.measured().pace.unwrap_or(0.0);
        Duration::from_secs_f64((pace * self.in_flight() as f64).min(MAX_SECONDS))
    }

    /// The time until one of those in flight is answered. That callers do not all come back at the same
    /// moment is theirs to see to.
    fn retry_after(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(10);
        let pace = self.measured().pace.unwrap_or(0.1);
        Duration::from_secs_f64(pace.min(MAX_SECONDS)).max(LEAST)
    }

    fn leave(&self, place: &Place, now: Instant) {
        let others = self.in_flight.fetch_sub(1, Ordering::AcqRel) - 1;
        let mut measured = self.measured();
        if !place.is_answered {
            // The time until the next answer is not known.
            measured.last = None;
            return;
        }
        let took = now.saturating_duration_since(place.came);
        if place.before <= NEARLY_IDLE {
            average(&mut measured.alone, took);
        }
        average(&mut measured.share, took.div_f64(place.before as f64 + 1.0));
        if let Some(last) = measured.last {
            average(&mut measured.pace, now.saturating_duration_since(last));
        }
        measured.last = (others > 0).then_some(now);
    }

    fn measured(&self) -> std::sync::MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.leave(self, Instant::now());
    }
}

fn longer(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

fn average(mean: &mut Option<f64>, new: Duration) {
    let new = new.as_secs_f64();
    if new <= MAX_SECONDS {
        *mean = Some(mean.map_or(new, |mean| mean + WEIGHT * (new - mean)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn admission(max_in_flight: usize, max_slowdown: f64) -> Arc<Admission> {
        Admission::new(Bounds { max_in_flight, max_slowdown })
    }

    /// A device that computes one after the other: `rounds` times so many, which take `time` together.
    fn run(admission: &Arc<Admission>, at_once: usize, time: Duration, rounds: usize) {
        let mut now = Instant::now();
        for _ in 0..rounds {
            let places: Vec<Place> =
                (0..at_once).map_while(|_| admission.enter(now).ok()).collect();
            let each = time / u32::try_from(places.len()).unwrap();
            for mut place in places {
                now += each;
                place.is_answered = true;
                admission.leave(&place, now);
                std::mem::forget(place);
            }
        }
    }

    #[test]
    fn before_anything_is_measured_the_configured_bound_holds() {
        let admission = admission(2, 8.0);
        let _first = admission.enter(Instant::now()).unwrap();
        let _second = admission.enter(Instant::now()).unwrap();
        let full = admission.enter(Instant::now()).unwrap_err();
        assert_eq!(full.limit, 2);
        assert!(full.retry_after > Duration::ZERO);
        drop(_first);
        assert!(admission.enter(Instant::now()).is_ok());
    }

    #[test]
    fn a_device_that_computes_one_after_the_other_has_the_slowdown_as_its_limit() {
        let admission = admission(64, 8.0);
        run(&admission, 1, Duration::from_millis(100), 50);
        assert_eq!(admission.limit(), 8);
        // Under load the same: each still takes 100 ms of the device.
        run(&admission, 6, Duration::from_millis(600), 50);
        assert!((8..=13).contains(&admission.limit()), "{}", admission.limit());
    }

    #[test]
    fn a_device_that_computes_many_at_once_takes_as_many_more() {
        let admission = admission(1000, 8.0);
        run(&admission, 1, Duration::from_millis(100), 50);
        let mut now = Instant::now();
        for _ in 0..100 {
            let places: Vec<Place> = (0..8).map(|_| admission.enter(now).unwrap()).collect();
            now += Duration::from_millis(100);
            for mut place in places {
                place.is_answered = true;
                admission.leave(&place, now);
                std::mem::forget(place);
            }
        }
        // 64, give or take what the last answers weigh: eight come at once.
        assert!((40..=110).contains(&admission.limit()), "{}", admission.limit());
    }

    #[test]
    fn failures_are_no_answers() {
        let admission = admission(64, 8.0);
        run(&admission, 1, Duration::from_millis(100), 50);
        for _ in 0..100 {
            drop(admission.enter(Instant::now()).unwrap());
        }
        assert_eq!((admission.limit(), admission.in_flight()), (8, 0));
    }

    #[test]
    fn requests_that_become_heavy_do_not_shut_the_door() {
        let admission = admission(64, 8.0);
        run(&admission, 1, Duration::from_millis(1), 50);
        run(&admission, 8, Duration::from_secs(8), 50);
        assert!(admission.limit() >= LEAST);
        run(&admission, 4, Duration::from_secs(4), 200);
        assert!((8..=13).contains(&admission.limit()), "{}", admission.limit());
    }
}
