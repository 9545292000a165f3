//! `id_map`: numbers by id as one value, that rows in any number look up without a join.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, ListViewArray, PrimitiveArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, DocSection, Documentation, ScalarFunctionArgs,
    ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{
    check_count, check_present, list_array, list_of, lists, numbers, structs, whole_number,
};
use super::second_degree::CANDIDATE;

const NAME: &str = "id_map";

/// `id_map(id INT, value INT)`: the value of each id, the smallest where there are several. Ids are positive; nothing may
/// be null. [`Mapped`] and [`WithStanding`] look ids up.
///
/// Gives `LIST VIEW<BIGINT>`, an open-addressing table of at most half of its slots taken: one value for a cross join,
/// whose copies in rows share its elements.
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

fn slots_type() -> DataType {
    DataType::ListView(slot_field())
}

fn slot_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

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
        Ok(slots_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "slots");
        Ok(vec![Arc::new(Field::new(
            name,
            list_of(DataType::Int64),
            true,
        ))])
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

fn slot(id: i32, value: i32) -> Slot {
    i64::from(id) << 32 | i64::from(value.cast_unsigned())
}

fn id_of(slot: Slot) -> i32 {
    (slot >> 32) as i32
}

fn value_of(slot: Slot) -> i32 {
    slot as i32
}

/// Where `id` is among a power of two of slots, or where it would be. The first to look at is that of Knuth's
/// multiplicative hashing (TAOCP 6.4), whose upper bits are the good ones.
#[inline(always)]
fn place_of(slots: &[Slot], id: i32) -> usize {
    let mask = slots.len() - 1;
    let hash = id.cast_unsigned().wrapping_mul(0x9E37_79B1);
    let mut place = ((u64::from(hash) * slots.len() as u64) >> 32) as usize;
    // A full table is none of ours; but any statement may bring one, and must end.
    for _ in 0..mask {
        let slot = slots[place & mask];
        let differs = id_of(slot) ^ id;
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
            *found = slot(id, value);
        } else if value < value_of(*found) {
            *found = slot(id, value);
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
                let place = place_of(&self.slots, id_of(kept));
                self.slots[place] = kept;
            }
        }
        Ok(())
    }
}

impl Accumulator for Slots {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let ids = numbers::<Int32Type>(values, 0, "id")?;
        let numbers = numbers::<Int32Type>(values, 1, "value")?;
        check_present(NAME, "id", ids, None)?;
        check_present(NAME, "value", numbers, None)?;
        let mut pairs = ids.values().iter().zip(numbers.values());
        pairs.try_for_each(|(&id, &value)| self.insert(id, value))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = lists(states, 0, "the state of id_map")?;
        for state in states.iter().flatten() {
            let slots = slots_of(&state)?.values();
            let taken = || slots.iter().filter(|&&slot| slot != 0);
            // They come in the order of their places: into a table that is too small they would all go to one end.
            self.make_room(taken().count())?;
            for &kept in taken() {
                self.insert(id_of(kept), value_of(kept))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let slots = Int64Array::from(self.slots.clone());
        let offsets = OffsetBuffer::from_lengths([slots.len()]);
        let state = list_array(offsets, Arc::new(slots), None)?;
        Ok(vec![ScalarValue::List(Arc::new(state))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.make_room(1)?;
        let slots = Int64Array::from(self.slots.clone());
        let (offsets, sizes) = (vec![0], vec![slots.len() as i32]);
        let map = ListViewArray::try_new(
            slot_field(),
            offsets.into(),
            sizes.into(),
            Arc::new(slots),
            None,
        )?;
        Ok(ScalarValue::ListView(Arc::new(map)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.slots.capacity() * size_of::<Slot>()
    }
}

fn slots_of(slots: &ArrayRef) -> Result<&Int64Array> {
    slots
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| exec_datafusion_err!("{NAME}: the slots must be BIGINT"))
}

/// Whether all rows are the same elements.
fn all_equal(maps: &ListViewArray) -> bool {
    let same = |numbers: &[i32]| numbers.windows(2).all(|two| two[0] == two[1]);
    maps.null_count() == 0 && !maps.is_empty() && same(maps.offsets()) && same(maps.sizes())
}

/// A column of maps, nearly always the same one in all rows.
struct Maps {
    slots: Int64Array,
    offsets: ScalarBuffer<i32>,
    sizes: ScalarBuffer<i32>,
    nulls: Option<NullBuffer>,
    /// One map for all rows.
    constant: bool,
}

impl Maps {
    fn read(maps: &ColumnarValue) -> Result<Self> {
        let column = maps.to_array(1)?;
        let Some(maps_of) = column.as_list_view_opt::<i32>() else {
            return exec_err!("{} is no id_map", column.data_type());
        };
        let this = Self {
            slots: slots_of(maps_of.values())?.clone(),
            offsets: maps_of.offsets().clone(),
            sizes: maps_of.sizes().clone(),
            nulls: maps_of.nulls().cloned(),
            constant: matches!(maps, ColumnarValue::Scalar(_)) || all_equal(maps_of),
        };
        let lengths = this.sizes.iter().all(|&size| {
            // What `place_of` relies on.
            usize::try_from(size).is_ok_and(|size| size == 0 || size.is_power_of_two())
        });
        match lengths {
            true => Ok(this),
            false => exec_err!("an id_map has a power of two of slots"),
        }
    }

    /// The slots of that row's map; none for null.
    fn get(&self, row: usize) -> &[Slot] {
        let row = if self.constant { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return &[];
        }
        let (start, size) = (self.offsets[row] as usize, self.sizes[row] as usize);
        &self.slots.values()[start..start + size]
    }
}

/// The value of `id`, and whether the map knows it. No slot is that of an id that is not positive.
#[inline(always)]
fn value(slots: &[Slot], id: i32) -> (i32, bool) {
    match slots {
        [] => (0, false),
        slots => {
            let found = slots[place_of(slots, id)];
            (value_of(found), found != 0 && id_of(found) == id)
        }
    }
}

/// Refuses what is no map.
fn check_map(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::ListView(item) if item.data_type() == &DataType::Int64 => Ok(given.clone()),
        other => plan_err!("{function}: the map must come from {NAME}, it is {other}"),
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
            check_map(self.name(), &given[0])?,
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
        let maps = Maps::read(maps)?;
        let ids = ids.to_array(args.number_rows)?;
        let ids: &PrimitiveArray<Int32Type> = ids.as_primitive();
        let (values, known): (Vec<i32>, Vec<bool>) = match maps.constant {
            true => {
                let slots = maps.get(0);
                ids.values().iter().map(|&id| value(slots, id)).unzip()
            }
            false => (ids.values().iter().enumerate())
                .map(|(row, &id)| value(maps.get(row), id))
                .unzip(),
        };
        let known = NullBuffer::union(Some(&NullBuffer::from(known)), ids.nulls());
        let values = Int32Array::new(values.into(), known);
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// `with_standing(connections LIST<STRUCT<id INT, weight BIGINT>>, map)`: the same lists as `second_degree` takes them as
/// candidates, with the value that a map of [`IdMap`] has for each id as its `standing`, or -1.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WithStanding {
    signature: Signature,
}

impl Default for WithStanding {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

const WITHOUT: i32 = -1;

impl ScalarUDFImpl for WithStanding {
    fn name(&self) -> &str {
        "with_standing"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.name(), given, 2)?;
        check_map(self.name(), &given[1])?;
        if let DataType::List(item) = &given[0]
            && let DataType::Struct(fields) = item.data_type()
            && let [id, weight] = &fields[..]
            && (id.data_type(), weight.data_type()) == (&DataType::Int32, &DataType::Int64)
        {
            return Ok(given.to_vec());
        }
        plan_err!(
            "{}: the argument connections must be a List of Struct(id Int32, weight Int64), not {}",
            self.name(),
            given[0]
        )
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(CANDIDATE.clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [connections, maps] = args.args.as_slice() else {
            return exec_err!("with_standing takes two arguments");
        };
        let connections = connections.to_array(args.number_rows)?;
        let connections: &ListArray = lists(std::slice::from_ref(&connections), 0, "connections")?;
        let elements = structs(connections, "connections")?;
        let columns = elements.columns();
        let ids = numbers::<Int32Type>(columns, 0, "connections.id")?;
        let maps = Maps::read(maps)?;
        let mut standings = vec![WITHOUT; ids.len()];
        let offsets = connections.value_offsets();
        for (row, ends) in offsets.windows(2).enumerate() {
            let (range, slots) = (ends[0] as usize..ends[1] as usize, maps.get(row));
            for (standing, &id) in standings[range.clone()]
                .iter_mut()
                .zip(&ids.values()[range])
            {
                let (value, known) = value(slots, id);
                *standing = if known { value } else { WITHOUT };
            }
        }
        let columns = columns.iter().cloned();
        let columns = columns.chain([Arc::new(Int32Array::from(standings)) as ArrayRef]);
        let nulls = elements.nulls().cloned();
        let candidates = StructArray::try_new(CANDIDATE.clone(), columns.collect(), nulls)?;
        Ok(ColumnarValue::Array(Arc::new(list_array(
            connections.offsets().clone(),
            Arc::new(candidates),
            connections.nulls().cloned(),
        )?)))
    }
}
