//! Values that will be needed soon.

/// Bytes that a processor fetches at once.
const CACHE_LINE: usize = 64;

/// Asks for values to be brought into the caches: a hint, which changes nothing but the time.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in values.chunks(CACHE_LINE / size_of::<T>()) {
        // SAFETY: a hint to the processor, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T>(_: &[T]) {}
