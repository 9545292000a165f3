//! Decoded pages of the tables of one run, up to so many bytes; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use tokio::sync::OnceCell;

/// Bytes of pages that are kept when nobody says.
const CAPACITY: usize = 256 << 20;

/// Which page: the table's first address in memory tells tables apart, then the page's number.
pub type PageKey = (usize, usize);
type Cell = Arc<OnceCell<RecordBatch>>;

/// Pages in memory.
#[derive(Debug)]
pub struct Pages {
    capacity: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pages: HashMap<PageKey, Cell>,
    ages: VecDeque<(PageKey, usize)>,
    bytes: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Pages {
    /// At most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: AtomicUsize::new(capacity),
            kept: Mutex::default(),
        }
    }

    /// The page, read when it is not here; who asks for the same meanwhile waits for it.
    pub async fn get<F>(&self, key: PageKey, read: F) -> Result<RecordBatch>
    where
        F: Future<Output = Result<RecordBatch>>,
    {
        let cell = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kept.pages.entry(key).or_default())
        };
        if let Some(page) = cell.get() {
            return Ok(page.clone());
        }
        let mut first = false;
        let page = cell.get_or_try_init(|| {
            first = true;
            read
        });
        let page = page.await?.clone();
        if first {
            self.keep(key, page.get_array_memory_size());
        }
        Ok(page)
    }

    fn keep(&self, key: PageKey, bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ages.push_back((key, bytes));
        kept.bytes += bytes;
        while kept.bytes > self.capacity.load(Ordering::Relaxed) {
            let Some((oldest, bytes)) = kept.ages.pop_front() else {
                break;
            };
            kept.pages.remove(&oldest);
            kept.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int32Array};

    use super::*;

    fn page(rows: i32) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    #[tokio::test]
    async fn the_oldest_page_goes_when_there_is_no_room() {
        let size = page(1000).get_array_memory_size();
        let pages = Pages::new(2 * size);
        for number in 0..3 {
            pages
                .get((0, number), async { Ok(page(1000)) })
                .await
                .unwrap();
        }
        let read = AtomicUsize::new(0);
        for number in [2, 1, 0] {
            let count = async {
                read.fetch_add(1, Ordering::Relaxed);
                Ok(page(1000))
            };
            pages.get((0, number), count).await.unwrap();
        }
        assert_eq!(read.load(Ordering::Relaxed), 1);
        assert!(pages.kept.lock().unwrap().bytes <= 2 * size);
    }
}
