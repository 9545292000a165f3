//! The row log that the accumulators share: rows of all groups as they arrive, arranged by group on demand.

use std::collections::VecDeque;

use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::EmitTo;

/// Groups per bucket, as a power of two: few enough for a bucket's rows to be arranged within the caches.
pub(super) const GROUP_BITS: usize = 10;
const GROUPS: usize = 1 << GROUP_BITS;

/// Rows per chunk, as a power of two.
const CHUNK_BITS: usize = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// A row that knows its group within its bucket.
pub(super) trait Grouped: Copy {
    /// The number that [`RowLog::push`] gave.
    fn local_group(&self) -> u16;
}

/// The rows of consecutive groups in chunks: growing neither moves them nor leaves more than a chunk unused.
#[derive(Debug)]
struct Bucket<T> {
    chunks: Vec<Vec<T>>,
}

/// Rows in buckets by group. Rows are numbered within their bucket, so that emitting the first groups leaves the rows of
/// the others as they are.
#[derive(Debug)]
pub(super) struct RowLog<T> {
    buckets: VecDeque<Bucket<T>>,
    /// Groups of the first bucket that were emitted.
    emitted: usize,
    len: usize,
    /// Rows that there is memory for.
    capacity: usize,
}

impl<T> Default for RowLog<T> {
    fn default() -> Self {
        Self {
            buckets: VecDeque::new(),
            emitted: 0,
            len: 0,
            capacity: 0,
        }
    }
}

impl<T: Grouped> Bucket<T> {
    /// Appends a row and gives the rows that memory was taken for.
    fn push(&mut self, row: T) -> usize {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => {
                // The first chunk grows with its rows, since many buckets stay small.
                let before = chunk.capacity();
                chunk.push(row);
                chunk.capacity() - before
            }
            last => {
                let mut chunk = Vec::with_capacity(if last.is_some() { CHUNK } else { 4 });
                chunk.push(row);
                let taken = chunk.capacity();
                self.chunks.push(chunk);
                taken
            }
        }
    }

    fn get(&self, row: u32) -> &T {
        let row = row as usize;
        &self.chunks[row >> CHUNK_BITS][row & (CHUNK - 1)]
    }

    fn rows(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    fn capacity(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

impl<T: Grouped> RowLog<T> {
    /// Appends a row of `group`; `row` makes it from its group within its bucket.
    pub(super) fn push(&mut self, group: usize, row: impl FnOnce(u16) -> T) {
        let group = self.emitted + group;
        let bucket = group >> GROUP_BITS;
        if bucket >= self.buckets.len() {
            self.buckets
                .resize_with(bucket + 1, || Bucket { chunks: Vec::new() });
        }
        self.capacity += self.buckets[bucket].push(row((group & (GROUPS - 1)) as u16));
        self.len += 1;
    }

    /// Fails when `more` rows would be more than list offsets of 32 bits can count.
    pub(super) fn check_room(&self, more: usize) -> Result<()> {
        if self.len.saturating_add(more) > i32::MAX as usize {
            return exec_err!(
                "more than {} rows in one aggregate: use more partitions",
                i32::MAX
            );
        }
        Ok(())
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        let chunks = self.capacity / CHUNK + self.buckets.len();
        self.capacity * size_of::<T>()
            + chunks * size_of::<Vec<T>>()
            + self.buckets.capacity() * size_of::<Bucket<T>>()
    }

    /// The rows by group.
    pub(super) fn by_group(&self) -> ByGroup<'_, T> {
        ByGroup {
            log: self,
            bucket: None,
            starts: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Removes the rows of the first `groups` groups, showing each to `removed`; later groups move down.
    pub(super) fn remove_groups(&mut self, groups: usize, mut removed: impl FnMut(&T)) {
        self.emitted += groups;
        while self.emitted >= GROUPS {
            self.emitted -= GROUPS;
            if let Some(bucket) = self.buckets.pop_front() {
                self.capacity -= bucket.capacity();
                self.len -= bucket.rows().inspect(|row| removed(row)).count();
            }
        }
        let Some(first) = self.buckets.front_mut() else {
            self.emitted = 0;
            return;
        };
        self.capacity -= first.capacity();
        let mut kept = Bucket { chunks: Vec::new() };
        for row in std::mem::take(&mut first.chunks).into_iter().flatten() {
            if usize::from(row.local_group()) < self.emitted {
                removed(&row);
                self.len -= 1;
            } else {
                self.capacity += kept.push(row);
            }
        }
        *first = kept;
    }
}

/// Rows by group, one bucket at a time: groups are to be asked for in ascending order. Within a group rows keep their
/// order.
pub(super) struct ByGroup<'a, T> {
    log: &'a RowLog<T>,
    /// The bucket that is arranged.
    bucket: Option<usize>,
    /// The rows of group `g` are `order[starts[g]..starts[g + 1]]`.
    starts: Vec<u32>,
    order: Vec<u32>,
}

impl<'a, T: Grouped> ByGroup<'a, T> {
    /// The rows of `group`.
    pub(super) fn rows(&mut self, group: usize) -> impl Iterator<Item = &'a T> {
        let group = self.log.emitted + group;
        let at = group >> GROUP_BITS;
        let bucket = self.log.buckets.get(at);
        if self.bucket != Some(at) {
            self.bucket = Some(at);
            self.arrange(bucket);
        }
        let group = group & (GROUPS - 1);
        let rows = &self.order[self.starts[group] as usize..self.starts[group + 1] as usize];
        rows.iter()
            .filter_map(move |&row| bucket.map(|bucket| bucket.get(row)))
    }

    /// A counting sort of a bucket's row numbers.
    fn arrange(&mut self, bucket: Option<&Bucket<T>>) {
        // Counted two places up and then moved on one place up, `starts` ends as what its name says.
        self.starts.clear();
        self.starts.resize(GROUPS + 2, 0);
        let groups = || {
            bucket
                .into_iter()
                .flat_map(Bucket::rows)
                .map(|row| usize::from(row.local_group()))
        };
        for group in groups() {
            self.starts[group + 2] += 1;
        }
        let mut total = 0;
        for start in &mut self.starts {
            total += *start;
            *start = total;
        }
        self.order.clear();
        self.order.resize(total as usize, 0);
        for (row, group) in groups().enumerate() {
            let start = &mut self.starts[group + 1];
            self.order[*start as usize] = row as u32;
            *start += 1;
        }
    }
}

/// How many of `groups` groups are to be emitted.
pub(super) fn emitted(emit_to: EmitTo, groups: usize) -> usize {
    match emit_to {
        EmitTo::All => groups,
        EmitTo::First(n) => n.min(groups),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Row(u16, usize);

    impl Grouped for Row {
        fn local_group(&self) -> u16 {
            self.0
        }
    }

    /// Row `i` belongs to group `7 i mod groups`.
    fn log(rows: usize, groups: usize) -> RowLog<Row> {
        let mut log = RowLog::default();
        for row in 0..rows {
            log.push(row * 7 % groups, |local| Row(local, row));
        }
        log
    }

    fn check(log: &RowLog<Row>, rows: usize, groups: usize, gone: usize) {
        let mut by_group = log.by_group();
        for group in gone..groups {
            let found: Vec<usize> = by_group.rows(group - gone).map(|row| row.1).collect();
            let expected: Vec<usize> = (0..rows).filter(|row| row * 7 % groups == group).collect();
            assert_eq!(found, expected, "group {group} of {groups}");
        }
        assert_eq!(
            log.capacity,
            log.buckets.iter().map(Bucket::capacity).sum::<usize>()
        );
    }

    #[test]
    fn arranges_by_group_and_forgets_the_first() {
        for (rows, groups) in [(0, 3), (5000, 1), (5000, 5), (9000, 2 * GROUPS + 17)] {
            let mut log = log(rows, groups);
            check(&log, rows, groups, 0);
            let mut gone = 0;
            for more in [1, groups / 2, groups / 4] {
                gone += more;
                let mut removed = Vec::new();
                log.remove_groups(more, |row| removed.push(row.1));
                assert_eq!(
                    removed.len(),
                    (0..rows)
                        .filter(|row| (gone - more..gone).contains(&(row * 7 % groups)))
                        .count()
                );
                assert_eq!(
                    log.len(),
                    (0..rows).filter(|row| row * 7 % groups >= gone).count()
                );
                check(&log, rows, groups, gone.min(groups));
            }
        }
    }

    #[test]
    fn groups_after_an_emission_are_numbered_from_the_first_that_is_left() {
        let mut log = log(100, 50);
        log.remove_groups(48, |_| ());
        log.push(1, |local| Row(local, 100));
        log.push(2 + GROUPS, |local| Row(local, 101));
        let mut by_group = log.by_group();
        let mut rows = |group| by_group.rows(group).map(|row| row.1).collect::<Vec<_>>();
        assert_eq!(rows(1), [7, 57, 100]);
        assert!(rows(2).is_empty());
        assert_eq!(rows(2 + GROUPS), [101]);
    }
}
