//! How long a step takes and how much memory the process holds meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// What a step cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The most memory the process was seen to hold during the step, in bytes; steps that run at the same time
    /// share it. 0 where the system does not tell.
    pub peak_memory_bytes: u64,
}

/// Measures from its making until [`Meter::stop`].
pub struct Meter {
    started: Instant,
    peak: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
}

impl Meter {
    /// Starts to measure.
    pub fn start() -> Self {
        let meter = Self {
            started: Instant::now(),
            peak: Arc::new(AtomicU64::new(resident_bytes())),
            running: Arc::new(AtomicBool::new(true)),
        };
        let (peak, running) = (Arc::clone(&meter.peak), Arc::clone(&meter.running));
        std::thread::spawn(move || {
            while running.load(Ordering::Relaxed) {
                peak.fetch_max(resident_bytes(), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        meter
    }

    /// What was used since the start.
    pub fn stop(&self) -> Cost {
        self.running.store(false, Ordering::Relaxed);
        let peak = self
            .peak
            .fetch_max(resident_bytes(), Ordering::Relaxed)
            .max(resident_bytes());
        Cost {
            seconds: self.started.elapsed().as_secs_f64(),
            peak_memory_bytes: peak,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
    }
}

/// The process's resident memory, from `/proc/self/statm`.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// The page size of every 64-bit Linux that the project is built for.
const PAGE_BYTES: u64 = 4096;
