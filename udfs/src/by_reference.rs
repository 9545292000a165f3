//! `by_reference`: lets joins pass lists on without copying them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, DictionaryArray, UInt32Array};
use datafusion::arrow::datatypes::{DataType, UInt32Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The SQL function `by_reference(value)`: the same values as a dictionary in which each row has an entry of its own.
///
/// A join that repeats a row then repeats a key of four bytes and not the value: of use for long lists on the side
/// that is held in memory. Null stays null.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ByReference {
    signature: Signature,
}

impl Default for ByReference {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ByReference {
    fn name(&self) -> &str {
        "by_reference"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let [value] = given else {
            return plan_err!("by_reference takes one argument, not {}", given.len());
        };
        Ok(DataType::Dictionary(
            Box::new(DataType::UInt32),
            Box::new(value.clone()),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [value] = args.args.as_slice() else {
            return exec_err!("by_reference takes one argument");
        };
        let values = value.to_array(rows)?;
        let keys = (0..values.len() as u32).map(|row| values.is_valid(row as usize).then_some(row));
        let keys: UInt32Array = keys.collect();
        let referred = DictionaryArray::<UInt32Type>::try_new(keys, values)?;
        Ok(ColumnarValue::Array(Arc::new(referred)))
    }
}
