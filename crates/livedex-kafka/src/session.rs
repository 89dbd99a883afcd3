//! How long this process may believe that its partitions are its own.
//!
//! Guarantee: a write that was started under a live lease is over before the coordinator can have
//! given the partition to another member, also if the whole process stands still for any time (a
//! signal, a paused virtual machine, a suspended laptop) and goes on before the poll thread has
//! heard of the rebalance.
//!
//! A member that stands still sends no heartbeats, and after `session.timeout.ms` its partitions
//! go to another. When the poll thread last ran the process ran, and its heartbeats went out at
//! most one interval before. So a lease lives while the poll thread ran less than [`Session::room`]
//! ago: the session's timeout less a heartbeat's interval, the deadline of a write and a margin.
//!
//! What is left is the moment between the look at the lease and the request's leaving. A process
//! that is stopped exactly there sends it late; Milvus has no conditional write to refuse it with.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use livedex_core::lease::Guard;
use nix::time::{ClockId, clock_gettime};

use crate::KafkaConfig;

/// In the place of a time: the session has ended. No clock gets there in 500 years.
const EXPIRED: u64 = u64::MAX;

/// For what takes time and is not counted: requests on the wire, threads waiting for a processor.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// The least room that is any use: ten polls of the poll thread.
pub(crate) const MIN_ROOM: Duration = Duration::from_secs(1);

/// librdkafka's defaults, which are the Java client's.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// In the newer group protocol both are the broker's to set (`group.consumer.session.timeout.ms`,
/// `group.consumer.heartbeat.interval.ms`), and these are its defaults.
const BROKER_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The times of the group's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) session: Duration,
    pub(crate) heartbeat: Duration,
}

impl Times {
    /// Those that `config` sets, or else the defaults.
    pub(crate) fn of(config: &KafkaConfig) -> Self {
        let property = |name: &str| {
            let value = config.properties.get(name)?;
            // A value that is no number is librdkafka's to refuse.
            value.trim().parse().ok().map(Duration::from_millis)
        };
        if config.properties.get("group.protocol").is_some_and(|name| name == "consumer") {
            return Self { session: SESSION_TIMEOUT, heartbeat: BROKER_HEARTBEAT_INTERVAL };
        }
        Self {
            session: property("session.timeout.ms").unwrap_or(SESSION_TIMEOUT),
            heartbeat: property("heartbeat.interval.ms").unwrap_or(HEARTBEAT_INTERVAL),
        }
    }

    /// How long the poll thread may stand still before leases end; zero if there is no room.
    pub(crate) fn room(self, write_timeout: Duration) -> Duration {
        self.session.saturating_sub(self.heartbeat + write_timeout + MARGIN)
    }
}

/// The time since some moment, going on while the process or the machine stands still.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Since the machine was started, its sleep included. `Instant` leaves a suspended machine's sleep
/// out, and the coordinator does not.
fn boot_time() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // Fails for clocks that a kernel does not have. Then no lease ever lives, which is safe.
    clock_gettime(CLOCK).map_or(Duration::MAX, Duration::from)
}

/// One session: from joining the group until it is found to have stood still for too long. The
/// guard of all leases that are given out meanwhile.
pub(crate) struct Session {
    clock: Clock,
    room: Duration,
    /// Nanoseconds of the clock when the poll thread last ran, or [`EXPIRED`]. One number for
    /// both, so that of a poll and an end at the same time one comes first.
    polled: AtomicU64,
}

impl Session {
    pub(crate) fn start(config: &KafkaConfig) -> Self {
        Self::with_clock(Times::of(config).room(config.write_timeout), Arc::new(boot_time))
    }

    pub(crate) fn with_clock(room: Duration, clock: Clock) -> Self {
        let polled = AtomicU64::new(nanos(clock()));
        Self { clock, room, polled }
    }

    /// The next one, after this one has ended.
    pub(crate) fn renewed(&self) -> Self {
        Self::with_clock(self.room, Arc::clone(&self.clock))
    }

    /// How long the poll thread may stand still.
    pub(crate) fn room(&self) -> Duration {
        self.room
    }

    /// The poll thread runs. Returns whether the session still lives; it never does again.
    pub(crate) fn poll(&self) -> bool {
        let now = nanos((self.clock)());
        let renew = |polled| (!self.is_over(polled, now)).then_some(now);
        self.polled.fetch_update(Ordering::AcqRel, Ordering::Acquire, renew).is_ok()
    }

    fn is_over(&self, polled: u64, now: u64) -> bool {
        polled == EXPIRED || now.saturating_sub(polled) >= nanos(self.room)
    }
}

impl Guard for Session {
    fn is_live(&self) -> bool {
        let polled = self.polled.load(Ordering::Acquire);
        if !self.is_over(polled, nanos((self.clock)())) {
            return true;
        }
        // The poll thread must hear of it, or it would go on with records that were given up. If
        // it ran since the load, its word counts.
        self.polled
            .compare_exchange(polled, EXPIRED, Ordering::AcqRel, Ordering::Acquire)
            .is_err_and(|polled| polled != EXPIRED)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("room", &self.room).finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(EXPIRED)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A clock that a test moves: milliseconds.
    pub(crate) fn clock() -> (Arc<AtomicU64>, Clock) {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let hand = Arc::clone(&now);
        (hand, Arc::new(move || Duration::from_millis(now.load(Ordering::Relaxed))))
    }

    fn session(room_ms: u64) -> (Arc<AtomicU64>, Session) {
        let (hand, clock) = clock();
        (hand, Session::with_clock(Duration::from_millis(room_ms), clock))
    }

    fn pass(hand: &AtomicU64, ms: u64) {
        hand.fetch_add(ms, Ordering::Relaxed);
    }

    #[test]
    fn it_lives_while_it_is_polled() {
        let (hand, session) = session(100);
        for _ in 0..50 {
            pass(&hand, 99);
            assert!(session.is_live() && session.poll());
        }
    }

    #[test]
    fn a_writer_that_wakes_before_the_poll_thread_ends_it_for_both() {
        let (hand, session) = session(100);
        pass(&hand, 100);
        assert!(!session.is_live());
        // Not even a clock that were set back brings it to life.
        hand.fetch_sub(50, Ordering::Relaxed);
        assert!(!session.is_live() && !session.poll());
    }

    #[test]
    fn a_poll_thread_that_wakes_first_ends_it_too() {
        let (hand, session) = session(100);
        pass(&hand, 1000);
        assert!(!session.poll() && !session.is_live() && !session.poll());
        let next = session.renewed();
        assert!(next.is_live() && next.poll() && !session.is_live());
    }

    /// Whatever the interleaving: what one has called dead is dead for all, for ever, and none
    /// calls it dead because it has looked at the times one after the other.
    #[test]
    fn all_agree() {
        for gap in [4, 12] {
            for _ in 0..200 {
                let (hand, session) = session(10);
                let polls = || {
                    for step in 0..60 {
                        pass(&hand, if step == 40 { gap } else { 4 });
                        if !session.poll() {
                            return false;
                        }
                    }
                    true
                };
                let looks = || (0..100).map(|_| session.is_live()).collect::<Vec<_>>();
                let (polled, looked) = std::thread::scope(|scope| {
                    let looking = [scope.spawn(looks), scope.spawn(looks)];
                    (polls(), looking.map(|thread| thread.join().unwrap_or_default()))
                });
                assert_eq!(polled, gap == 4);
                assert_eq!(session.is_live(), polled);
                for answers in looked {
                    assert_eq!(answers.len(), 100);
                    assert!(answers.is_sorted_by(|before, after| before >= after), "{answers:?}");
                    assert!(answers[99] || !polled);
                }
            }
        }
    }

    #[test]
    fn the_room_is_what_heartbeat_and_write_leave() {
        let times = |properties: &[(&str, &str)]| {
            let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
            let properties: BTreeMap<_, _> = properties.iter().map(own).collect();
            Times::of(&KafkaConfig { properties, ..KafkaConfig::default() })
        };
        let ten = Duration::from_secs(10);
        assert_eq!(times(&[]).room(ten), Duration::from_secs(31));
        let short = [("session.timeout.ms", "12000"), ("heartbeat.interval.ms", "500")];
        assert_eq!(times(&short).room(ten), Duration::from_millis(500));
        assert_eq!(times(&short[..1]).room(ten), Duration::ZERO);
        // There these are not the client's to set.
        let newer = times(&[("group.protocol", "consumer")]);
        assert_eq!(newer.room(ten), Duration::from_secs(29));
    }

    #[test]
    fn the_clock_runs() {
        let before = boot_time();
        assert!(before > Duration::ZERO && boot_time() >= before && before < Duration::MAX);
    }
}
