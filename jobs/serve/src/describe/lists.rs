//! A list's items with their places, as clients take keys apart.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `pg_numbered(list)`: a list of structs, `x` the item and `n` its place from 1; what `_pg_expandarray` gives as rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    signature: Signature,
}

impl Numbered {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

fn fields(item: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("x", item.clone(), true),
        Field::new("n", DataType::Int32, true),
    ])
}

impl ScalarUDFImpl for Numbered {
    fn name(&self) -> &str {
        "pg_numbered"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(item)] => Ok(DataType::new_list(
                DataType::Struct(fields(item.data_type())),
                true,
            )),
            _ => plan_err!("_pg_expandarray takes a list"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [list] = args.args.as_slice() else {
            return plan_err!("_pg_expandarray takes a list");
        };
        let list = list.to_array(rows)?;
        let list: &ListArray = list.as_list();
        let places: Int32Array = list
            .offsets()
            .lengths()
            .flat_map(|length| 1..=i32::try_from(length).unwrap_or(i32::MAX))
            .collect();
        let first = list.offsets().first().copied().unwrap_or(0) as usize;
        let items = list.values().slice(first, places.len());
        let fields = fields(items.data_type());
        let columns: Vec<ArrayRef> = vec![items, Arc::new(places)];
        let structs = StructArray::try_new(fields.clone(), columns, None)?;
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
        let offsets =
            datafusion::arrow::buffer::OffsetBuffer::from_lengths(list.offsets().lengths());
        let numbered = ListArray::try_new(item, offsets, Arc::new(structs), list.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(numbered)))
    }
}
