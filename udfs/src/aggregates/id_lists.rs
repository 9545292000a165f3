//! `id_lists`: the items of each id as one value, that rows in any number look up without a join.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, DocSection, Documentation, ScalarFunctionArgs,
    ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{Offsets, check_count, list_array, list_of, whole_number};
use super::words::{
    Words, check_words, lower, pair, rows_of_two, upper, words_of_states, words_state,
    words_state_fields, words_type, words_value,
};

const NAME: &str = "id_lists";

/// `id_lists(id INT, item INT)`: the items of each id, each once. Nothing may be null. [`ItemsOf`] looks ids up.
///
/// Gives `LIST VIEW<BIGINT>`: the pairs in ascending order, the id in the upper half of a number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IdLists {
    signature: Signature,
}

impl Default for IdLists {
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
        "The items of each id, as one value in which `items_of` looks ids up.",
        "id_lists(id, item)",
    )
    .with_argument("id", "A number (INT)")
    .with_argument("item", "One of the numbers that belong to it (INT)")
    .build()
});

impl AggregateUDFImpl for IdLists {
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
            whole_number(NAME, "item", &given[1], DataType::Int32)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(words_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(words_state_fields(&args))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Pairs::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The pairs as they come, an id in the upper half and an item in the lower one.
#[derive(Debug, Default)]
struct Pairs(Vec<i64>);

impl Accumulator for Pairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = rows_of_two(NAME, values, ["id", "item"])?;
        self.0.extend(rows.map(|(id, item)| pair(id, item)));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for pairs in words_of_states(states)? {
            self.0.extend_from_slice(&pairs);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        // States are sorted side by side, and what is left to do is to merge them.
        let mut pairs = std::mem::take(&mut self.0);
        pairs.sort_unstable();
        words_state(pairs)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut pairs = std::mem::take(&mut self.0);
        // The stable sort is one that finds runs.
        pairs.sort();
        pairs.dedup();
        words_value(pairs)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.capacity() * size_of::<i64>()
    }
}

/// `items_of(lists, id INT) -> LIST<INT>`: the items that a value of [`IdLists`] has for the id, in ascending order of their
/// bits; an empty list when it has none, or for null.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ItemsOf {
    signature: Signature,
}

impl Default for ItemsOf {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ItemsOf {
    fn name(&self) -> &str {
        "items_of"
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
        Ok(list_of(DataType::Int32))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [all, ids] = args.args.as_slice() else {
            return exec_err!("{} takes two arguments", self.name());
        };
        let all = Words::read(all)?;
        let ids = ids.to_array(args.number_rows)?;
        let ids = ids.as_primitive::<Int32Type>();
        let mut items: Vec<i32> = Vec::new();
        let mut offsets = Offsets::with_capacity(ids.len());
        // Where the last id's items began, for a start: ids nearly always ascend.
        let mut before = 0;
        for (row, &id) in ids.values().iter().enumerate() {
            if ids.is_valid(row) {
                let pairs = all.get(row);
                let start = first_of(pairs, id, before);
                let found = pairs[start..].iter().take_while(|&&pair| upper(pair) == id);
                items.extend(found.map(|&pair| lower(pair)));
                before = start;
            }
            offsets.end_at(items.len())?;
        }
        let items = Arc::new(Int32Array::from(items));
        Ok(ColumnarValue::Array(Arc::new(list_array(
            offsets.finish(),
            items,
            None,
        )?)))
    }
}

/// The place of the first pair of `id`, or of where it would be: by steps of double the length from `near` (Bentley, Yao
/// 1976) when it is not before that.
fn first_of(pairs: &[i64], id: i32, near: usize) -> usize {
    let first = pair(id, 0);
    let mut from = match pairs.get(near) {
        Some(&pair) if pair <= first => near,
        _ => 0,
    };
    let mut step = 1;
    while pairs.get(from + step).is_some_and(|&pair| pair < first) {
        from += step;
        step *= 2;
    }
    let to = (from + step).min(pairs.len());
    from.min(to) + pairs[from.min(to)..to].partition_point(|&pair| pair < first)
}
