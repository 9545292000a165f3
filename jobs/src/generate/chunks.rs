//! Files in chunks: threads make them, one writes them in order.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::sampling::Dice;
use super::{GenerateError, MadeFile};

/// What every file's maker knows.
pub(super) struct Sheet {
    pub(super) seed: u64,
    /// Keeps the random streams of the files apart.
    pub(super) number: u64,
    /// Readable rows of the whole file.
    pub(super) rows: u64,
    /// A record that cannot be read follows on every so many rows; none in a clean file.
    pub(super) dirt: Option<u64>,
}

impl Sheet {
    /// The random stream of the chunk that starts at `row`.
    pub(super) fn dice(&self, row: u64) -> Dice {
        Dice::new(self.seed, (self.number << 56) ^ row)
    }

    /// The number of the unreadable record to put in after `row`, if one belongs there.
    pub(super) fn dirt_after(&self, row: u64) -> Option<u64> {
        self.dirt
            .filter(|period| row % period == period - 1)
            .map(|period| row / period)
    }
}

/// A part of a file.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) unreadable: u64,
    pub(super) duplicates: u64,
}

/// Makes the rows of one file.
pub(super) trait Job: Sync {
    fn sheet(&self) -> &Sheet;

    /// Rows in a chunk; a megabyte or so of text is a good size.
    fn chunk_rows(&self) -> u64;

    /// The `rows`, which are one whole chunk. Depends on nothing but their numbers.
    fn make(&self, rows: Range<u64>) -> Chunk;
}

/// Rows before the one at hand, to repeat one of them.
pub(super) struct Recent {
    ranges: Vec<Range<usize>>,
    next: usize,
}

impl Recent {
    const KEPT: usize = 256;

    pub(super) fn new() -> Self {
        Self {
            ranges: Vec::with_capacity(Self::KEPT),
            next: 0,
        }
    }

    /// Remembers where a row lies.
    pub(super) fn push(&mut self, range: Range<usize>) {
        match self.ranges.get_mut(self.next) {
            Some(oldest) => *oldest = range,
            None => self.ranges.push(range),
        }
        self.next = (self.next + 1) % Self::KEPT;
    }

    /// Writes one of them again; false when there is none.
    pub(super) fn repeat(&self, dice: &mut Dice, bytes: &mut Vec<u8>) -> bool {
        let at = dice.below(self.ranges.len() as u32) as usize;
        let Some(range) = self.ranges.get(at) else {
            return false;
        };
        bytes.extend_from_within(range.clone());
        true
    }
}

/// Writes one file; `progress` hears the rows of each chunk.
pub(super) fn write_file(
    threads: usize,
    folder: &Path,
    name: &'static str,
    job: &dyn Job,
    progress: &mut dyn FnMut(u64),
) -> Result<MadeFile, GenerateError> {
    let path = folder.join(name);
    let failed = |source| GenerateError::Io {
        path: path.clone(),
        source,
    };
    let mut file = File::create(&path).map_err(failed)?;
    let rows = job.sheet().rows;
    let size = job.chunk_rows();
    let chunks = rows.div_ceil(size);
    let range = move |chunk: u64| chunk * size..rows.min((chunk + 1) * size);
    let threads = (threads.max(1) as u64).min(chunks);

    let mut made = MadeFile {
        name,
        rows,
        bytes: 0,
        unreadable: 0,
        duplicates: 0,
    };
    std::thread::scope(|scope| {
        // Thread t makes the chunks t, t + threads, …; the bound keeps it from running ahead.
        let queues: Vec<_> = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    let mut chunk = first;
                    // A closed queue means that the writer gave up.
                    while chunk < chunks && sender.send(job.make(range(chunk))).is_ok() {
                        chunk += threads;
                    }
                });
                receiver
            })
            .collect();
        for (number, queue) in (0..chunks).zip(queues.iter().cycle()) {
            let Ok(chunk) = queue.recv() else {
                // Its thread panicked; the scope passes that on.
                break;
            };
            file.write_all(&chunk.bytes)?;
            made.bytes += chunk.bytes.len() as u64;
            made.unreadable += chunk.unreadable;
            made.duplicates += chunk.duplicates;
            let rows = range(number);
            progress(rows.end - rows.start);
        }
        Ok(())
    })
    .map_err(failed)?;
    Ok(made)
}
