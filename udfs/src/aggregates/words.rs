//! One value of many numbers: what an aggregate hands to the functions that look something up in it. As a list view, whose
//! copies in rows share its elements, it can be joined to any number of rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, ListViewArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;

use super::arguments::{check_present, list_array, list_of, lists, numbers};

/// The type of such a value: `LIST VIEW<BIGINT>`.
pub(super) fn words_type() -> DataType {
    DataType::ListView(word_field())
}

fn word_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

/// Refuses what is no value of the aggregate function `maker`.
pub(super) fn check_words(function: &str, maker: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::ListView(item) if item.data_type() == &DataType::Int64 => Ok(given.clone()),
        other => plan_err!("{function}: what must come from {maker} is {other}"),
    }
}

/// The value.
pub(super) fn words_value(words: Vec<i64>) -> Result<ScalarValue> {
    let Ok(size) = i32::try_from(words.len()) else {
        return exec_err!("{} numbers are too many for one value", words.len());
    };
    let words = Arc::new(Int64Array::from(words));
    let value =
        ListViewArray::try_new(word_field(), vec![0].into(), vec![size].into(), words, None)?;
    Ok(ScalarValue::ListView(Arc::new(value)))
}

/// The field of a state that is numbers too.
pub(super) fn words_state_fields(args: &StateFieldsArgs) -> Vec<FieldRef> {
    let name = format_state_name(args.name, "words");
    vec![Arc::new(Field::new(name, list_of(DataType::Int64), true))]
}

/// A state of numbers.
pub(super) fn words_state(words: Vec<i64>) -> Result<Vec<ScalarValue>> {
    let offsets = OffsetBuffer::from_lengths([words.len()]);
    let state = list_array(offsets, Arc::new(Int64Array::from(words)), None)?;
    Ok(vec![ScalarValue::List(Arc::new(state))])
}

/// The numbers of each of several states, where they are.
pub(super) fn words_of_states(
    states: &[ArrayRef],
) -> Result<impl Iterator<Item = ScalarBuffer<i64>>> {
    let states: &ListArray = lists(states, 0, "a state")?;
    let Some(words) = states.values().as_primitive_opt::<Int64Type>() else {
        return exec_err!("a state must be BIGINT, not {}", states.value_type());
    };
    let offsets = states.value_offsets();
    let rows = (0..states.len()).filter(|row| states.is_valid(*row));
    Ok(rows.map(move |row| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        words.values().slice(start, end - start)
    }))
}

/// The rows of two INT columns, of which nothing may be null.
pub(super) fn rows_of_two<'a>(
    function: &str,
    columns: &'a [ArrayRef],
    names: [&str; 2],
) -> Result<impl Iterator<Item = (i32, i32)> + use<'a>> {
    let first = numbers::<Int32Type>(columns, 0, names[0])?;
    let second = numbers::<Int32Type>(columns, 1, names[1])?;
    check_present(function, names[0], first, None)?;
    check_present(function, names[1], second, None)?;
    let rows = first.values().iter().zip(second.values());
    Ok(rows.map(|(&first, &second)| (first, second)))
}

/// Two numbers in the halves of one.
pub(super) fn pair(upper: i32, lower: i32) -> i64 {
    i64::from(upper) << 32 | i64::from(lower.cast_unsigned())
}

/// The number in the upper half.
pub(super) fn upper(pair: i64) -> i32 {
    (pair >> 32) as i32
}

/// The number in the lower half.
pub(super) fn lower(pair: i64) -> i32 {
    pair as i32
}

/// The first place, of so many, to look for an id at, by Knuth's multiplicative hashing (TAOCP 6.4), whose upper bits are the
/// good ones.
#[inline(always)]
pub(super) fn first_place(places: usize, id: i32) -> usize {
    let hash = id.cast_unsigned().wrapping_mul(0x9E37_79B1);
    ((u64::from(hash) * places as u64) >> 32) as usize
}

/// A column of values, nearly always the same one in all rows.
pub(super) struct Words {
    words: Int64Array,
    offsets: ScalarBuffer<i32>,
    sizes: ScalarBuffer<i32>,
    nulls: Option<NullBuffer>,
    /// One value for all rows.
    constant: bool,
}

impl Words {
    pub(super) fn read(values: &ColumnarValue) -> Result<Self> {
        let column = values.to_array(1)?;
        let parts = column.as_list_view_opt::<i32>().and_then(|values| {
            let words = values.values().as_primitive_opt::<Int64Type>()?;
            Some((values, words.clone()))
        });
        let (column, words) =
            parts.ok_or_else(|| exec_datafusion_err!("{} is no such value", column.data_type()))?;
        let same = |numbers: &[i32]| numbers.windows(2).all(|two| two[0] == two[1]);
        let all_same = column.null_count() == 0 && same(column.offsets()) && same(column.sizes());
        Ok(Self {
            words,
            offsets: column.offsets().clone(),
            sizes: column.sizes().clone(),
            nulls: column.nulls().cloned(),
            constant: matches!(values, ColumnarValue::Scalar(_)) || all_same,
        })
    }

    /// The numbers that all rows share, if they do.
    pub(super) fn shared(&self) -> Option<&[i64]> {
        (self.constant && !self.sizes.is_empty()).then(|| self.get(0))
    }

    /// The numbers of that row's value; none of null.
    pub(super) fn get(&self, row: usize) -> &[i64] {
        let row = if self.constant { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return &[];
        }
        let (start, size) = (self.offsets[row] as usize, self.sizes[row] as usize);
        &self.words.values()[start..start + size]
    }
}
