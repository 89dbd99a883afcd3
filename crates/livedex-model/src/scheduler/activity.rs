//! What the device is doing, and since when: what the watchdog and the metrics look at.
//!
//! Batches begin and end on whichever thread. A batch's turn begins when it is submitted or when the
//! one before it has ended, whichever comes later, so the turns of batches never overlap and add up
//! to the time in which the device had something to do.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::policy::Lane;

/// A batch that the watchdog reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) lane: Lane,
    pub(crate) tokens: usize,
}

/// Names a batch that was begun. Later ones are larger.
pub(crate) type TurnId = u64;

/// Shared by the threads of a device.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// Begun and not ended, by their turns.
    running: BTreeMap<TurnId, Load>,
    /// Batches begun so far.
    begun: TurnId,
    /// The oldest's turn began.
    since: Option<Instant>,
    /// Turns that are over and not yet taken.
    busy: Duration,
    /// No batch will begin any more.
    is_closed: bool,
}

/// What [`Activity::overdue`] waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// This batch's turn has lasted for so long.
    Overdue(Load, Duration),
    /// Nothing runs, and nothing will.
    Closed,
}

impl Activity {
    /// A batch is about to be given to the device.
    pub(crate) fn begin(self: &Arc<Self>, load: Load) -> Turn {
        let mut now = self.lock();
        let id = now.begun;
        now.begun += 1;
        now.running.insert(id, load);
        now.since.get_or_insert_with(Instant::now);
        self.changed.notify_all();
        Turn { activity: self.clone(), id }
    }

    fn end(&self, turn: TurnId) -> Duration {
        let mut now = self.lock();
        let was_oldest = now.running.first_key_value().is_some_and(|(&oldest, _)| oldest == turn);
        now.running.remove(&turn);
        if !was_oldest {
            return Duration::ZERO;
        }
        let ended = Instant::now();
        let lasted = now.since.map_or(Duration::ZERO, |since| ended - since);
        now.since = (!now.running.is_empty()).then_some(ended);
        now.busy += lasted;
        self.changed.notify_all();
        lasted
    }

    /// No batch will begin any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// How long the device was busy since this was asked last, by batches that have ended.
    pub(crate) fn take_busy(&self) -> Duration {
        std::mem::take(&mut self.lock().busy)
    }

    /// Waits until a batch's turn has lasted for `limit`, or the end.
    pub(crate) fn overdue(&self, limit: Duration) -> Watch {
        let mut now = self.lock();
        loop {
            let turn = now.running.first_key_value().map(|(_, &load)| load).zip(now.since);
            now = match turn {
                None if now.is_closed => return Watch::Closed,
                None => self.changed.wait(now).unwrap_or_else(PoisonError::into_inner),
                Some((load, since)) => {
                    let lasted = since.elapsed();
                    if lasted >= limit {
                        return Watch::Overdue(load, lasted);
                    }
                    let waited = self.changed.wait_timeout(now, limit - lasted);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for at most `patience` until nothing runs, and returns whether that is so.
    pub(crate) fn idle_within(&self, patience: Duration) -> bool {
        let runs = |now: &mut Now| !now.running.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, runs);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch's time on the device, which ends when this is dropped: also in a panic.
#[derive(Debug)]
pub(crate) struct Turn {
    activity: Arc<Activity>,
    id: TurnId,
}

impl Turn {
    pub(crate) fn id(&self) -> TurnId {
        self.id
    }

    /// The batch has ended, however: returns how long its turn was, nothing if it never was the oldest.
    pub(crate) fn end(self) -> Duration {
        // Dropping it then ends nothing more.
        self.activity.end(self.id)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.activity.end(self.id);
    }
}

/// The device thread's: closed when dropped, so that the watchdog ends with it.
#[derive(Debug)]
pub(crate) struct Open(Arc<Activity>);

impl Open {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        Self(activity)
    }
}

impl Deref for Open {
    type Target = Arc<Activity>;

    fn deref(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { lane: Lane::Query, tokens: 7 };

    #[test]
    fn turns_do_not_overlap() {
        let activity = Arc::new(Activity::default());
        let begun = Instant::now();
        let [first, failed, second] = [(); 3].map(|()| activity.begin(LOAD));
        assert!(first.id() < failed.id() && failed.id() < second.id());
        assert_eq!(failed.end(), Duration::ZERO, "it failed behind the first one");
        let turns = first.end() + second.end();
        assert!(turns <= begun.elapsed(), "two batches at once are one busy time");
        assert_eq!(activity.take_busy(), turns);
        assert_eq!(activity.take_busy(), Duration::ZERO, "taken once");
        assert!(activity.idle_within(Duration::ZERO));
    }

    #[test]
    fn a_batch_is_overdue_and_an_idle_device_is_not() {
        let activity = Arc::new(Activity::default());
        let turn = activity.begin(LOAD);
        let limit = Duration::from_millis(1);
        assert!(matches!(activity.overdue(limit), Watch::Overdue(LOAD, lasted) if lasted >= limit));
        assert!(!activity.idle_within(limit));
        drop(turn);
        assert!(activity.idle_within(Duration::ZERO));
        drop(Open::new(activity.clone()));
        assert_eq!(activity.overdue(Duration::ZERO), Watch::Closed);
    }

    #[test]
    fn closing_does_not_forget_what_runs() {
        let activity = Arc::new(Activity::default());
        let _turn = activity.begin(LOAD);
        activity.close();
        assert!(matches!(activity.overdue(Duration::ZERO), Watch::Overdue(LOAD, _)));
    }
}
