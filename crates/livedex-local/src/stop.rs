//! A flag that ends every wait of this crate.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::LocalError;

/// A flag that many threads can wait on. Clones are the same flag; once set it stays set.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it and wakes everyone who waits.
    pub fn set(&self) {
        let (flag, changed) = &*self.inner;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// True once it is set.
    pub fn is_set(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is set, at most for `timeout`. True if it is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        let (flag, changed) = &*self.inner;
        let deadline = Instant::now() + timeout;
        let mut set = flag.lock().unwrap_or_else(PoisonError::into_inner);
        while !*set {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            set = changed.wait_timeout(set, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// [`LocalError::Stopped`] once it is set.
    pub fn check(&self) -> Result<(), LocalError> {
        if self.is_set() { Err(LocalError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn a_set_flag_ends_a_long_wait_in_another_thread() {
        let stop = Stop::new();
        let other = stop.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        stop.set();
        assert!(waiting.join().unwrap());
        assert!(matches!(stop.check(), Err(LocalError::Stopped)));
    }

    #[test]
    fn an_unset_flag_lets_the_timeout_pass() {
        assert!(!Stop::new().wait(Duration::from_millis(5)));
    }
}
