//! The watchdog: a device that hangs is dead.
//!
//! A kernel that never ends, or a driver's call that never returns, gives no error: the thread that
//! waits for it would wait for ever, and everybody behind it. So a thread that never touches
//! the device looks at how long a batch has been on it. Past the limit the device is declared dead,
//! callers get that answer, and the process should end. Since the driver's own exit handlers may
//! hang as well, the process is aborted if the batch still hangs a while later; if it has come
//! back meanwhile there is nothing that could hold the exit.

use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::activity::{Activity, Load, Watch};

/// When to act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long a batch's turn may last, submission included.
    pub(crate) turn: Duration,
    /// How long the process has for its end after that.
    pub(crate) end: Duration,
}

/// Watches until the device is closed and idle. `declare` gets the reason once a batch is overdue;
/// `abort` is called if it still is after [`Limits::end`].
pub(crate) fn spawn(
    activity: Arc<Activity>,
    limits: Limits,
    declare: impl FnOnce(String) + Send + 'static,
    abort: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name("livedex-watchdog".to_owned()).spawn(move || {
        let Watch::Overdue(load, lasted) = activity.overdue(limits.turn) else {
            return;
        };
        declare(reason(load, lasted, limits.turn));
        if !activity.idle_within(limits.end) {
            tracing::error!(waited = ?limits.end, "the device still hangs: aborting the process");
            abort();
        }
    })
}

fn reason(Load { lane, tokens }: Load, lasted: Duration, limit: Duration) -> String {
    format!(
        "a batch of {tokens} tokens of the {} lane has been on the device for {:.1} s, watchdog_ms \
         allows {}: a kernel or the driver hangs",
        lane.label(),
        lasted.as_secs_f64(),
        limit.as_millis()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::sync::mpsc;

    use super::*;
    use crate::scheduler::policy::Lane;

    const LOAD: Load = Load { lane: Lane::Ingest, tokens: 512 };
    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(3600);

    /// What the watchdog said, in order.
    fn watched(
        activity: &Arc<Activity>,
        limits: Limits,
    ) -> (JoinHandle<()>, mpsc::Receiver<String>) {
        let (say, said) = mpsc::channel();
        let abort = say.clone();
        let declare = move |reason| say.send(reason).unwrap();
        let abort = move || abort.send("abort".into()).unwrap();
        (spawn(activity.clone(), limits, declare, abort).unwrap(), said)
    }

    #[test]
    fn a_batch_that_hangs_is_declared_and_then_ends_the_process() {
        let activity = Arc::new(Activity::default());
        let _turn = activity.begin(LOAD);
        let (thread, said) = watched(&activity, Limits { turn: SHORT, end: SHORT });
        thread.join().unwrap();
        let said: Vec<String> = said.iter().collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("a batch of 512 tokens of the ingest lane"), "{said:?}");
        assert!(said[0].contains("watchdog_ms allows 5:"), "{said:?}");
        assert_eq!(said[1], "abort");
    }

    #[test]
    fn a_batch_that_comes_back_aborts_nothing() {
        let activity = Arc::new(Activity::default());
        let turn = activity.begin(LOAD);
        let (thread, said) = watched(&activity, Limits { turn: SHORT, end: LONG });
        assert!(said.recv().unwrap().contains("hangs"));
        drop(turn);
        thread.join().unwrap();
        assert!(said.recv().is_err(), "it said nothing more");
    }

    #[test]
    fn work_that_goes_on_is_left_alone() {
        let activity = Arc::new(Activity::default());
        let (thread, said) = watched(&activity, Limits { turn: LONG, end: SHORT });
        let mut turn = activity.begin(LOAD);
        for _ in 0..100 {
            let next = activity.begin(LOAD);
            drop(turn);
            turn = next;
        }
        activity.close();
        drop(turn);
        thread.join().unwrap();
        assert!(said.recv().is_err());
    }
}
