//! `id_map`: numbers by id as one value, that rows in any number look up without a join.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, Int32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, DocSection, Documentation, ScalarFunctionArgs,
    ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{check_count, whole_number};
use super::words::{
    Words, check_words, first_place, lower, pair, rows_of_two, upper, words_of_states, words_state,
    words_state_fields, words_type, words_value,
};

pub(super) const NAME: &str = "id_map";

/// `id_map(id INT, value INT)`: the value of each id, the smallest where there are several. Ids are positive; nothing may
/// be null. [`Mapped`] and [`WithStanding`](super::WithStanding) look ids up.
///
/// Gives `LIST VIEW<BIGINT>`: an open-addressing table of at most half of its slots taken, and a filter that knows most
/// ids that are not in it by one look at few bytes (Bloom 1970, with one hash function).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IdMap {
    signature: Signature,
}

impl Default for IdMap {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection {
            include: true,
            label: "Graph Functions",
            description: None,
        },
        "The smallest value of each id, as one value in which `mapped` looks ids up.",
        "id_map(id, value)",
    )
    .with_argument("id", "A positive number (INT)")
    .with_argument("value", "What it stands for (INT)")
    .build()
});

impl AggregateUDFImpl for IdMap {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 2)?;
        Ok(vec![
            whole_number(NAME, "id", &given[0], DataType::Int32)?,
            whole_number(NAME, "value", &given[1], DataType::Int32)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(words_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(words_state_fields(&args))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Slots::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// An id in the upper half and its value in the lower one; an empty slot is 0, since no id is.
type Slot = i64;

/// Where `id` is among a power of two of slots, or where it would be.
#[inline(always)]
fn place_of(slots: &[Slot], id: i32) -> usize {
    let mask = slots.len() - 1;
    let mut place = first_place(slots.len(), id);
    // A full table is none of ours; but any statement may bring one, and must end.
    for _ in 0..mask {
        let slot = slots[place & mask];
        let differs = upper(slot) ^ id;
        // Either is 0. As two conditions it would be two branches, and which one ends the search is as good as random.
        if slot.cast_unsigned().min(u64::from(differs.cast_unsigned())) == 0 {
            break;
        }
        place += 1;
    }
    place & mask
}

/// The table under construction.
#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    taken: usize,
}

impl Slots {
    fn insert(&mut self, id: i32, value: i32) -> Result<()> {
        if id <= 0 {
            return exec_err!("{NAME}: an id must be positive, not {id}");
        }
        self.make_room(1)?;
        let place = place_of(&self.slots, id);
        let found = &mut self.slots[place];
        if *found == 0 {
            self.taken += 1;
            *found = pair(id, value);
        } else if value < lower(*found) {
            *found = pair(id, value);
        }
        Ok(())
    }

    /// Grows until at most half of the slots are taken when there are `more` ids.
    fn make_room(&mut self, more: usize) -> Result<()> {
        let needed = 2 * (self.taken + more);
        if needed <= self.slots.len() {
            return Ok(());
        }
        if needed > 1 << 30 {
            return exec_err!("{NAME}: more than {} ids", self.taken);
        }
        let empty = vec![0; needed.next_power_of_two().max(16)];
        for kept in std::mem::replace(&mut self.slots, empty) {
            if kept != 0 {
                let place = place_of(&self.slots, upper(kept));
                self.slots[place] = kept;
            }
        }
        Ok(())
    }
}

impl Accumulator for Slots {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut rows = rows_of_two(NAME, values, ["id", "value"])?;
        rows.try_for_each(|(id, value)| self.insert(id, value))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for slots in words_of_states(states)? {
            let taken = || slots.iter().filter(|&&slot| slot != 0);
            // They come in the order of their places: into a table that is too small they would all go to one end.
            self.make_room(taken().count())?;
            for &kept in taken() {
                self.insert(upper(kept), lower(kept))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        words_state(std::mem::take(&mut self.slots))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.make_room(1)?;
        let mut words = std::mem::take(&mut self.slots);
        let slots = words.len();
        words.resize(slots + slots / SLOTS_A_WORD, 0);
        let (slots, filter) = words.split_at_mut(slots);
        for slot in slots.iter().filter(|&&slot| slot != 0) {
            let (word, bit) = filter_place(filter.len(), upper(*slot));
            filter[word] |= bit;
        }
        words_value(words)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.slots.capacity() * size_of::<Slot>()
    }
}

/// Slots for which the filter has 64 bits, of which so at most one in 16 is set.
const SLOTS_A_WORD: usize = 8;

/// The word of a filter, and the bit in it, that is set when the id is known.
#[inline(always)]
fn filter_place(words: usize, id: i32) -> (usize, i64) {
    let place = first_place(words * 64, id);
    (place >> 6, 1 << (place & 63))
}

/// A value of [`IdMap`].
#[derive(Clone, Copy)]
pub(super) struct Map<'a> {
    slots: &'a [Slot],
    filter: &'a [i64],
}

impl<'a> Map<'a> {
    /// Reads a value; null is a map of nothing.
    pub(super) fn read(words: &'a [i64]) -> Result<Self> {
        let slots = words.len() / (SLOTS_A_WORD + 1) * SLOTS_A_WORD;
        let (slots, filter) = words.split_at(slots);
        // What `place_of` relies on.
        let whole = slots.len().is_power_of_two() && filter.len() * SLOTS_A_WORD == slots.len();
        match whole || words.is_empty() {
            true => Ok(Self { slots, filter }),
            false => exec_err!("{} numbers are no {NAME}", words.len()),
        }
    }

    /// False when the map does not know the id; nearly always true only when it does.
    #[inline(always)]
    fn may_know(&self, id: i32) -> bool {
        let (word, bit) = filter_place(self.filter.len(), id);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The value of the id. No slot is that of an id that is not positive.
    #[inline(always)]
    pub(super) fn get(&self, id: i32) -> Option<i32> {
        if self.slots.is_empty() {
            return None;
        }
        let found = self.slots[place_of(self.slots, id)];
        (found != 0 && upper(found) == id).then(|| lower(found))
    }
}

/// `mapped(map, id INT) -> INT`: the value that a map of [`IdMap`] has for the id; null when it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Mapped {
    signature: Signature,
}

impl Default for Mapped {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Mapped {
    fn name(&self) -> &str {
        "mapped"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.name(), given, 2)?;
        Ok(vec![
            check_words(self.name(), NAME, &given[0])?,
            whole_number(self.name(), "id", &given[1], DataType::Int32)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [maps, ids] = args.args.as_slice() else {
            return exec_err!("mapped takes two arguments");
        };
        let maps = Words::read(maps)?;
        let ids = ids.to_array(args.number_rows)?;
        let ids = ids.as_primitive::<Int32Type>();
        let rows = ids.len();
        let mut values = vec![0; rows];
        let mut known = BooleanBufferBuilder::new(rows);
        known.append_n(rows, false);
        let mut look_up = |map: Map, row: usize| {
            if let Some(value) = map.get(ids.value(row)) {
                values[row] = value;
                known.set_bit(row, true);
            }
        };
        match maps.shared() {
            Some(words) => {
                let map = Map::read(words)?;
                let asked = BooleanBuffer::collect_bool(rows, |row| map.may_know(ids.value(row)));
                asked.set_indices().for_each(|row| look_up(map, row));
            }
            None => {
                for row in 0..rows {
                    look_up(Map::read(maps.get(row))?, row);
                }
            }
        }
        let known = NullBuffer::new(known.finish());
        let values = Int32Array::new(values.into(), NullBuffer::union(Some(&known), ids.nulls()));
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
