//! The right to write for a partition, dead after a revoke (INV-4).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a lease hangs on beside its own life: the clock of the group's session, say, which this
/// crate does not read (INV-2).
pub trait Guard: fmt::Debug + Send + Sync {
    /// Whether writes are still allowed. Once it has said no it says no for ever: whoever heard it
    /// has given its record up, and nobody else finishes that record.
    fn is_live(&self) -> bool;
}

/// Held by every record of a partition; once the partition is revoked, no write and no commit
/// may follow from any of them, because another member may own the partition by then.
///
/// Clones share their fate. The consumer kills the lease inside the rebalance callback, before
/// anything else. A guarded lease also ends when its guard says so, without anybody being there
/// to kill it: a process that was stopped writes before it hears of the rebalance.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    dead: Arc<AtomicBool>,
    guard: Option<Arc<dyn Guard>>,
}

impl Lease {
    /// A live lease that ends when it is killed and not before.
    pub fn new() -> Self {
        Self::default()
    }

    /// A lease that ends when it is killed or when `guard` says so.
    pub fn guarded(guard: Arc<dyn Guard>) -> Self {
        Self { guard: Some(guard), ..Self::default() }
    }

    /// Whether writes are still allowed.
    pub fn is_live(&self) -> bool {
        !self.dead.load(Ordering::Acquire) && self.guard.as_ref().is_none_or(|g| g.is_live())
    }

    /// Ends it, for good.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_fate_and_others_do_not() {
        let (lease, other) = (Lease::new(), Lease::new());
        let clone = lease.clone();
        assert!(clone.is_live());
        lease.kill();
        assert!(!clone.is_live() && !lease.is_live() && other.is_live());
    }

    #[derive(Debug)]
    struct Switch(AtomicBool);

    impl Guard for Switch {
        fn is_live(&self) -> bool {
            self.0.load(Ordering::Acquire)
        }
    }

    #[test]
    fn a_guard_ends_every_lease_that_it_stands_before() {
        let guard = Arc::new(Switch(AtomicBool::new(true)));
        let leases = [Lease::guarded(guard.clone()), Lease::guarded(guard.clone())];
        leases[0].kill();
        assert!(!leases[0].is_live() && leases[1].is_live());
        guard.0.store(false, Ordering::Release);
        assert!(!leases[0].is_live() && !leases[1].is_live());
    }
}
