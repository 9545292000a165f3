//! When the allocator gives memory back.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// Freed memory is kept for this long, in milliseconds, in case it is wanted again.
///
/// mimalloc's own second is shorter than a step of a run, whose batches then come back to memory that must be cleared
/// anew: a third of the page faults of reading a million messages.
const KEEP_MILLISECONDS: i64 = 10_000;

/// The option of that name, whose number the crate does not give.
const PURGE_DELAY: mi_option_t = 15;

/// Has mimalloc keep freed memory a little longer, in a program that allocates by it. Call it before any threads are
/// started.
pub fn keep_freed_memory() {
    // SAFETY: the option exists, and is set before there are threads.
    unsafe { mi_option_set(PURGE_DELAY, KEEP_MILLISECONDS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If mimalloc numbers its options otherwise one day, another default is found here.
    #[test]
    fn the_option_is_the_delay() {
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000);
        keep_freed_memory();
        assert_eq!(delay(), KEEP_MILLISECONDS);
    }
}
