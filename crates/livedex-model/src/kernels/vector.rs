//! Loops compiled for the best instruction set of the processor.

use pulp::{Arch, NullaryFnOnce};

/// Runs `f`, which should be `#[inline(always)]` like all that it calls: what is not inlined is
/// compiled for the lowest instruction set, where a fused multiply-add is a call of a function.
///
/// `f` is called through a reference. Handing a closure to [`Arch::dispatch`] itself would consume
/// it, and the shim that rustc makes for that is not always inlined: with GELU in it the loops were
/// five times slower.
#[inline(always)]
pub(super) fn vectorised<R>(arch: Arch, f: impl FnMut() -> R) -> R {
    arch.dispatch(ByReference(f))
}

struct ByReference<F>(F);

impl<F: FnMut() -> R, R> NullaryFnOnce for ByReference<F> {
    type Output = R;

    #[inline(always)]
    fn call(mut self) -> R {
        (self.0)()
    }
}
