//! The input arrays of `second_degree`, kept as they came, without copies, until their groups are emitted.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Fields, Int32Type, Int64Type, UInt32Type};
use datafusion::arrow;
use datafusion::common::{Result, exec_datafusion_err, exec_err};

use super::super::arguments::{field, list_array, lists, numbers, selected, struct_array, structs};
use super::super::log::{Grouped, RowLog};
use super::NAME;
use crate::prefetch::prefetch;

/// An element of a list of candidates.
pub(super) static CANDIDATE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("id", DataType::Int32),
        field("weight", DataType::Int64),
        field("standing", DataType::Int32),
    ])
});

/// A column of lists, or of references to lists as `by_reference` makes them.
#[derive(Debug)]
struct Lists {
    lists: ListArray,
    /// Which list each row has, when they are given by reference; otherwise each row has its own.
    keys: Option<UInt32Array>,
}

impl Lists {
    fn read(columns: &[ArrayRef], at: usize, name: &str) -> Result<Self> {
        let referred = columns
            .get(at)
            .and_then(|column| column.as_any_dictionary_opt());
        Ok(match referred {
            Some(referred) => {
                let keys = cast(referred.keys(), &DataType::UInt32)?;
                Self {
                    lists: lists(std::slice::from_ref(referred.values()), 0, name)?.clone(),
                    keys: Some(keys.as_primitive::<UInt32Type>().clone()),
                }
            }
            None => Self {
                lists: lists(columns, at, name)?.clone(),
                keys: None,
            },
        })
    }

    fn rows(&self) -> usize {
        self.keys
            .as_ref()
            .map_or(self.lists.len(), |keys| keys.len())
    }

    /// Which list that row has; nothing for null.
    fn key(&self, row: usize) -> Option<usize> {
        match &self.keys {
            None => Some(row),
            Some(keys) => keys.is_valid(row).then(|| keys.value(row) as usize),
        }
        .filter(|&list| self.lists.is_valid(list))
    }

    /// Where the elements of that row's list are; nowhere for null.
    fn range(&self, row: usize) -> Range<usize> {
        let offsets: &OffsetBuffer<i32> = self.lists.offsets();
        self.key(row).map_or(0..0, |list| {
            offsets[list] as usize..offsets[list + 1] as usize
        })
    }

    /// What they hold in bytes, an element having so many bits: not the lists that are only referred to, which others
    /// hold too.
    fn bytes(&self, element_bits: usize) -> usize {
        match &self.keys {
            None => spanned(&self.lists, element_bits),
            Some(keys) => size_of_val(&keys.values()[..]),
        }
    }

    /// Each row with a list of its own, of these elements.
    fn each(&self, elements: ArrayRef) -> Result<ListArray> {
        let nulls = self.lists.nulls().cloned();
        let lists = list_array(self.lists.offsets().clone(), elements, nulls)?;
        match &self.keys {
            None => Ok(lists),
            Some(keys) => Ok(take(&lists, keys, None)?.as_list().clone()),
        }
    }
}

/// The lists of candidates of a batch.
#[derive(Debug)]
pub(super) struct CandidateLists {
    lists: Lists,
    ids: Int32Array,
    weights: Int64Array,
    standings: Int32Array,
}

impl CandidateLists {
    /// Reads lists of structs, whose fields count by position, or references to such lists. Fails where an element
    /// that is in use lacks something.
    pub(super) fn read(
        columns: &[ArrayRef],
        at: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<Self> {
        let lists = Lists::read(columns, at, "candidates")?;
        let elements = structs(&lists.lists, "candidates")?.clone();
        let columns = elements.columns();
        let this = Self {
            lists,
            ids: numbers::<Int32Type>(columns, 0, "candidates.id")?.clone(),
            weights: numbers::<Int64Type>(columns, 1, "candidates.weight")?.clone(),
            standings: numbers::<Int32Type>(columns, 2, "candidates.standing")?.clone(),
        };
        let arrays: [&dyn Array; 4] = [&elements, &this.ids, &this.weights, &this.standings];
        if arrays.iter().any(|array| array.null_count() > 0) {
            let unusable = |at: usize| arrays.iter().any(|array| array.is_null(at));
            let lists = &this.lists;
            if (0..lists.rows()).any(|row| selected(filter, row) && lists.range(row).any(unusable))
            {
                return exec_err!("{NAME}: a candidate's id, weight and standing must not be null");
            }
        }
        Ok(this)
    }

    /// What they hold in bytes: ids, weights and standings.
    fn bytes(&self) -> usize {
        self.lists.bytes(8 * (4 + 8 + 4))
    }

    /// The list of that row.
    pub(super) fn get(&self, row: usize) -> CandidateList<'_> {
        let range = self.lists.range(row);
        CandidateList {
            ids: &self.ids.values()[range.clone()],
            weights: &self.weights.values()[range.clone()],
            standings: &self.standings.values()[range],
        }
    }

    /// The same lists with the field names of a state.
    pub(super) fn renamed(&self) -> Result<ListArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.clone()),
            Arc::new(self.weights.clone()),
            Arc::new(self.standings.clone()),
        ];
        self.lists
            .each(Arc::new(struct_array(&CANDIDATE, columns)?))
    }
}

/// One list of candidates.
#[derive(Clone, Copy)]
pub(super) struct CandidateList<'a> {
    pub(super) ids: &'a [i32],
    pub(super) weights: &'a [i64],
    /// Reputations in millionths; below 0 see [`super::table::Standing`].
    pub(super) standings: &'a [i32],
}

impl CandidateList<'_> {
    /// Asks for it to be brought into the caches: lists lie anywhere in memory, so ranking would wait for them more than
    /// it computes.
    pub(super) fn prefetch(&self) {
        prefetch(self.ids);
        prefetch(self.weights);
        prefetch(self.standings);
    }
}

/// The lists of followed users of a batch.
#[derive(Debug)]
pub(super) struct FollowedLists {
    lists: Lists,
    ids: Int32Array,
}

impl FollowedLists {
    /// Reads lists of ids, or references to such lists; fails where an id in use is null.
    pub(super) fn read(
        columns: &[ArrayRef],
        at: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<Self> {
        let lists = Lists::read(columns, at, "followed")?;
        let ids = std::slice::from_ref(lists.lists.values());
        let ids = numbers::<Int32Type>(ids, 0, "followed")?.clone();
        let holds_null = |row: usize| lists.range(row).any(|at| ids.is_null(at));
        if ids.null_count() > 0
            && (0..lists.rows()).any(|row| selected(filter, row) && holds_null(row))
        {
            return exec_err!("{NAME}: a followed id must not be null");
        }
        Ok(Self { lists, ids })
    }

    /// The list of that row; empty for null.
    pub(super) fn get(&self, row: usize) -> &[i32] {
        &self.ids.values()[self.lists.range(row)]
    }

    /// Each row with a list of its own.
    pub(super) fn owned(&self) -> Result<ListArray> {
        self.lists.each(Arc::new(self.ids.clone()))
    }
}

/// The part of the buffers that these lists refer to, in bytes. Slices of one large array each count for their share.
fn spanned(lists: &ListArray, element_bits: usize) -> usize {
    let offsets = lists.value_offsets();
    let elements = match (offsets.first(), offsets.last()) {
        (Some(&first), Some(&last)) => (last - first) as usize,
        _ => 0,
    };
    (elements * element_bits).div_ceil(8) + size_of_val(offsets)
}

/// One path list or followed list of a group: where it lies and, for path lists, whose candidates they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRef {
    local_group: u16,
    batch: u32,
    pub(super) row: u32,
    pub(super) reason_id: i32,
}

impl Grouped for ListRef {
    fn local_group(&self) -> u16 {
        self.local_group
    }
}

#[derive(Debug)]
struct Batch<L> {
    /// None when no row refers to it any more.
    lists: Option<L>,
    rows: usize,
    bytes: usize,
}

/// The batches that rows still refer to, and those rows.
#[derive(Debug)]
pub(super) struct Held<L> {
    pub(super) rows: RowLog<ListRef>,
    batches: VecDeque<Batch<L>>,
    /// The number of the first batch in `batches`.
    first: u32,
    bytes: usize,
}

impl<L> Default for Held<L> {
    fn default() -> Self {
        Self {
            rows: RowLog::default(),
            batches: VecDeque::new(),
            first: 0,
            bytes: 0,
        }
    }
}

impl Held<CandidateLists> {
    /// Keeps the lists of `(row, group, reason_id)`, leaving out those that are null. How long a list is stands anywhere
    /// in memory: it is not asked before the list is needed.
    pub(super) fn hold(
        &mut self,
        lists: CandidateLists,
        rows: impl Iterator<Item = (usize, usize, i32)>,
    ) -> Result<()> {
        let bytes = lists.bytes();
        let is_null = |lists: &CandidateLists, row| lists.lists.key(row).is_none();
        self.push(lists, bytes, is_null, rows)
    }
}

impl Held<FollowedLists> {
    /// Keeps the lists of `(row, group)`, leaving out those without elements, and a list that the row before referred
    /// to for the same group.
    pub(super) fn hold(
        &mut self,
        lists: FollowedLists,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let bytes = lists.lists.bytes(8 * 4);
        let keys: Vec<(usize, usize, Option<usize>)> = rows
            .map(|(row, group)| (row, group, lists.lists.key(row)))
            .collect();
        let mut before = None;
        let rows = keys.into_iter().filter_map(|(row, group, list)| {
            let known = before.replace((group, list)) == Some((group, list));
            (!known).then_some((row, group, 0))
        });
        self.push(
            lists,
            bytes,
            |lists, row| lists.lists.range(row).is_empty(),
            rows,
        )
    }
}

impl<L> Held<L> {
    fn push(
        &mut self,
        lists: L,
        bytes: usize,
        is_empty: impl Fn(&L, usize) -> bool,
        rows: impl Iterator<Item = (usize, usize, i32)>,
    ) -> Result<()> {
        let number = u32::try_from(self.batches.len())
            .ok()
            .and_then(|n| self.first.checked_add(n));
        let Some(batch) = number else {
            return exec_err!("{NAME}: too many batches");
        };
        let before = self.rows.len();
        for (row, group, reason_id) in rows.filter(|&(row, ..)| !is_empty(&lists, row)) {
            self.rows.check_room(1)?;
            self.rows.push(group, |local_group| ListRef {
                local_group,
                batch,
                row: row as u32,
                reason_id,
            });
        }
        let rows = self.rows.len() - before;
        if rows > 0 {
            self.batches.push_back(Batch {
                lists: Some(lists),
                rows,
                bytes,
            });
            self.bytes += bytes;
        }
        Ok(())
    }

    /// The batch that a row refers to.
    pub(super) fn lists(&self, row: &ListRef) -> Result<&L> {
        let batch = self.batches.get((row.batch - self.first) as usize);
        let lists = batch.and_then(|batch| batch.lists.as_ref());
        lists.ok_or_else(|| exec_datafusion_err!("{NAME}: a batch was dropped too early"))
    }

    /// Forgets the rows of the first groups and drops the batches that are no longer referred to.
    pub(super) fn remove_groups(&mut self, emitted: usize) {
        self.rows.remove_groups(emitted, |row| {
            if let Some(batch) = self.batches.get_mut((row.batch - self.first) as usize) {
                batch.rows -= 1;
                if batch.rows == 0 {
                    batch.lists = None;
                    self.bytes -= batch.bytes;
                }
            }
        });
        while self.batches.front().is_some_and(|batch| batch.rows == 0) {
            self.batches.pop_front();
            self.first += 1;
        }
        if self.batches.is_empty() {
            self.first = 0;
        }
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.rows.size() + self.bytes + self.batches.capacity() * size_of::<Batch<L>>()
    }
}
