//! The right to write for a partition, dead after a revoke (INV-4).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Held by every record of a partition; once the partition is revoked, no write and no commit
/// may follow from any of them, because another member may own the partition by then.
///
/// Clones share their fate. The consumer kills the lease inside the rebalance callback, before
/// anything else.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    dead: Arc<AtomicBool>,
}

impl Lease {
    /// A live lease, for a partition that has just been assigned.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether writes are still allowed.
    pub fn is_live(&self) -> bool {
        !self.dead.load(Ordering::Acquire)
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
}
