//! `trimmed` and `ranks`: lists that cost less to sort, and to number.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Int32Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The SQL function `trimmed(list)`: the same lists over no other elements than theirs.
///
/// An aggregate's result is one array, of which batches are slices. What sorts or selects rows of a slice would take
/// room for the elements of all of them. Nothing is copied.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Trimmed {
    signature: Signature,
}

impl Default for Trimmed {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Trimmed {
    fn name(&self) -> &str {
        "trimmed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [list @ DataType::List(_)] => Ok(list.clone()),
            _ => plan_err!("trimmed takes one argument, a List"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list] = args.args.as_slice() else {
            return exec_err!("trimmed takes one argument");
        };
        let array = list.to_array(args.number_rows)?;
        let (Some(lists), DataType::List(item)) = (array.as_list_opt::<i32>(), array.data_type())
        else {
            return exec_err!("trimmed takes a List, not {}", array.data_type());
        };
        let offsets = lists.value_offsets();
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return Ok(ColumnarValue::Array(array));
        };
        let elements = lists
            .values()
            .slice(first as usize, (last - first) as usize);
        let offsets = offsets.iter().map(|offset| offset - first).collect();
        let lists = ListArray::try_new(
            Arc::clone(item),
            OffsetBuffer::new(offsets),
            elements,
            lists.nulls().cloned(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

/// The SQL function `ranks(list) -> LIST<INT>`: for each list the numbers from 1 to its length. Null stays null.
///
/// Unnested beside the list they number its elements, at a fraction of what `generate_series` costs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ranks {
    signature: Signature,
}

impl Default for Ranks {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Ranks {
    fn name(&self) -> &str {
        "ranks"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [DataType::List(_)] => Ok(DataType::new_list(DataType::Int32, true)),
            _ => plan_err!("ranks takes one argument, a List"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list] = args.args.as_slice() else {
            return exec_err!("ranks takes one argument");
        };
        let array = list.to_array(args.number_rows)?;
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("ranks takes a List, not {}", array.data_type());
        };
        let offsets = lists.value_offsets();
        let first = offsets.first().copied().unwrap_or_default();
        let lengths = offsets.windows(2).map(|ends| ends[1] - ends[0]);
        let ranks: Vec<i32> = lengths.flat_map(|length| 1..=length).collect();
        let offsets = offsets.iter().map(|offset| offset - first).collect();
        let ranks = ListArray::try_new(
            Arc::new(Field::new_list_field(DataType::Int32, true)),
            OffsetBuffer::new(offsets),
            Arc::new(Int32Array::from(ranks)),
            lists.nulls().cloned(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(ranks)))
    }
}
