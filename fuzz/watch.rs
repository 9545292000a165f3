//! Watches what inputs do beside giving an outcome: memory and panics.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::{Mutex, Once, PoisonError};

/// The program's allocator, which tells a thread's largest allocation.
struct Measured(mimalloc::MiMalloc);

#[global_allocator]
static ALLOCATOR: Measured = Measured(mimalloc::MiMalloc);

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn measure(size: usize) {
    // A thread that ends has none any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

/// The size of this thread's largest allocation since the last call.
pub fn largest_allocation() -> usize {
    LARGEST.take()
}

// SAFETY: the allocator's own answers are handed on.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        measure(layout.size());
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        measure(layout.size());
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        measure(size);
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

/// Panics so far: in which thread, and where.
static PANICS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
/// Parts of paths of sources whose panics are caught by who calls them, and not told.
static TOLERATED: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// Notes panics from now on.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let at = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            let tolerated = TOLERATED.lock().unwrap_or_else(PoisonError::into_inner);
            if tolerated.iter().any(|part| at.contains(part)) {
                return;
            }
            let thread = std::thread::current()
                .name()
                .unwrap_or_default()
                .to_string();
            PANICS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((thread, at));
            default(panic);
        }));
    });
}

/// Does not tell the panics of sources whose paths have these parts: whoever calls them catches those.
pub fn tolerate_panics_of(sources: &[&'static str]) {
    TOLERATED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(sources);
    note_panics();
}

/// Tells the panics so far of threads with these names.
pub fn panics_of(threads: &'static [&'static str]) -> impl Fn() -> Vec<(String, String)> {
    note_panics();
    move || {
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        panics
            .iter()
            .filter(|(thread, _)| threads.contains(&thread.as_str()))
            .cloned()
            .collect()
    }
}
