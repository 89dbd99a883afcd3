//! What each thread brings to a product: a stream, a scratchpad, and oneDNN limited to it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::RefCell,
    ptr::null_mut,
};

use crate::{
    Error,
    abi::{Api, Ptr},
};

/// oneDNN wants its data on cache lines.
const ALIGNMENT: usize = 64;

/// Zeroed memory on a cache line's boundary.
pub(crate) struct Aligned {
    data: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Aligned {}
unsafe impl Sync for Aligned {}

impl Aligned {
    pub(crate) fn new(bytes: usize) -> Self {
        if bytes == 0 {
            return Self { data: null_mut(), bytes };
        }
        let layout = Self::layout(bytes);
        // SAFETY: the layout is not empty.
        let data = unsafe { alloc_zeroed(layout) };
        if data.is_null() {
            handle_alloc_error(layout);
        }
        Self { data, bytes }
    }

    fn layout(bytes: usize) -> Layout {
        // A matrix of a size that fails here has not been allocated before either.
        Layout::from_size_align(bytes, ALIGNMENT)
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<u8>()))
    }

    /// Null if there are no bytes.
    pub(crate) fn as_mut_ptr(&mut self) -> Ptr {
        self.data.cast()
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if !self.data.is_null() {
            // SAFETY: allocated by `new` with this layout.
            unsafe { dealloc(self.data, Self::layout(self.bytes)) }
        }
    }
}

/// A thread's own.
pub(crate) struct Thread {
    pub(crate) stream: Ptr,
    scratchpad: Aligned,
    tile: Aligned,
}

impl Thread {
    /// A scratchpad of at least so many bytes and a tile of so many numbers, whatever is in them.
    pub(crate) fn rooms(&mut self, bytes: usize, numbers: usize) -> (Ptr, *mut f32) {
        for (room, bytes) in [(&mut self.scratchpad, bytes), (&mut self.tile, 4 * numbers)] {
            if room.bytes < bytes {
                *room = Aligned::new(bytes);
            }
        }
        (self.scratchpad.as_mut_ptr(), self.tile.as_mut_ptr().cast())
    }
}

/// Runs `f` with what the calling thread has.
pub(crate) fn with_thread<R>(
    api: &'static Api,
    f: impl FnOnce(&mut Thread) -> Result<R, Error>,
) -> Result<R, Error> {
    thread_local! {
        static THREAD: RefCell<Option<Thread>> = const { RefCell::new(None) };
    }
    THREAD.with_borrow_mut(|thread| {
        let thread = match thread {
            Some(thread) => thread,
            None => {
                api.one_thread();
                let stream = api.stream()?;
                let (scratchpad, tile) = (Aligned::new(0), Aligned::new(0));
                thread.insert(Thread { stream, scratchpad, tile })
            }
        };
        f(thread)
    })
}
