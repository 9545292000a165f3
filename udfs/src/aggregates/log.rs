//! The row log that the accumulators share: rows of all groups in arrival order, arranged by group on demand.

use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::EmitTo;

/// Rows per chunk, as a power of two.
const CHUNK_BITS: usize = 14;
const CHUNK: usize = 1 << CHUNK_BITS;

/// A row that knows its group.
pub(super) trait Grouped: Copy {
    /// The index of the row's group.
    fn group(&self) -> u32;
    /// Renumbers the group after the first ones were emitted.
    fn set_group(&mut self, group: u32);
}

/// Rows in chunks: growing neither moves them nor leaves more than a chunk unused.
#[derive(Debug)]
pub(super) struct RowLog<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for RowLog<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Grouped> RowLog<T> {
    /// Appends a row.
    pub(super) fn push(&mut self, row: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(row),
            // The first chunk grows with its rows, since many accumulators stay small.
            None => self.chunks.push(vec![row]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(row);
                self.chunks.push(chunk);
            }
        }
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

    /// The row of that number.
    pub(super) fn get(&self, row: u32) -> &T {
        let row = row as usize;
        &self.chunks[row >> CHUNK_BITS][row & (CHUNK - 1)]
    }

    /// The rows in arrival order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.chunks.iter().flatten()
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        let rows: usize = self.chunks.iter().map(Vec::capacity).sum();
        rows * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    /// The rows of the first `groups` groups, arranged by group.
    pub(super) fn by_group(&self, groups: usize) -> ByGroup {
        ByGroup::new(self.iter().map(Grouped::group), groups)
    }

    /// Removes the rows of the first `emitted` groups and renumbers the others.
    pub(super) fn remove_groups(&mut self, emitted: usize) {
        let emitted = emitted as u32;
        let mut kept = Self::default();
        // Each chunk is freed as soon as it is read.
        for chunk in std::mem::take(&mut self.chunks) {
            for mut row in chunk {
                if let Some(group) = row.group().checked_sub(emitted) {
                    row.set_group(group);
                    kept.push(row);
                }
            }
        }
        *self = kept;
    }
}

/// Row numbers arranged by group with a counting sort; within a group they keep their order.
pub(super) struct ByGroup {
    /// The rows of group `g` are `rows[starts[g]..starts[g + 1]]`.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl ByGroup {
    fn new(row_groups: impl Iterator<Item = u32> + Clone, groups: usize) -> Self {
        // Counted two places up and filled in one place up, `starts` ends as the list of beginnings.
        let mut starts = vec![0u32; groups + 2];
        for group in row_groups.clone() {
            if let Some(count) = starts.get_mut(group as usize + 2) {
                *count += 1;
            }
        }
        // Later groups have no place and are left out.
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut rows = vec![0u32; total as usize];
        for (row, group) in row_groups.enumerate() {
            let group = group as usize;
            if group < groups {
                let place = &mut starts[group + 1];
                rows[*place as usize] = row as u32;
                *place += 1;
            }
        }
        starts.truncate(groups + 1);
        Self { starts, rows }
    }

    /// The numbers of the rows of `group`.
    pub(super) fn rows(&self, group: usize) -> &[u32] {
        &self.rows[self.starts[group] as usize..self.starts[group + 1] as usize]
    }

    /// The number of rows in all the groups.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
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
    struct Row(u32, usize);

    impl Grouped for Row {
        fn group(&self) -> u32 {
            self.0
        }
        fn set_group(&mut self, group: u32) {
            self.0 = group;
        }
    }

    fn log(rows: usize, groups: u32) -> RowLog<Row> {
        let mut log = RowLog::default();
        for row in 0..rows {
            log.push(Row((row as u32 * 7) % groups, row));
        }
        log
    }

    #[test]
    fn arranges_by_group_and_leaves_later_groups_out() {
        let log = log(2 * CHUNK + 10, 5);
        for groups in 0..=5 {
            let arranged = log.by_group(groups);
            let mut seen = 0;
            for group in 0..groups {
                let rows = arranged.rows(group);
                assert!(
                    rows.iter()
                        .all(|&r| log.get(r).0 as usize == group && log.get(r).1 == r as usize)
                );
                assert!(rows.is_sorted());
                seen += rows.len();
            }
            assert_eq!(seen, arranged.len());
            assert_eq!(seen, log.iter().filter(|r| (r.0 as usize) < groups).count());
        }
    }

    #[test]
    fn removing_groups_shifts_the_rest() {
        let mut log = log(2 * CHUNK + 10, 5);
        let kept: Vec<Row> = log
            .iter()
            .filter(|r| r.0 >= 2)
            .map(|r| Row(r.0 - 2, r.1))
            .collect();
        log.remove_groups(2);
        assert_eq!(log.iter().copied().collect::<Vec<_>>(), kept);
        assert_eq!(log.len(), kept.len());
        log.remove_groups(5);
        assert_eq!(log.len(), 0);
        assert_eq!(log.size(), 0);
    }
}
