//! `reputation(clean_body, clean_link_desc) → INT`: the model's score of a weekly document, in SQL.

use super::{Documents, LazyModel};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray as _, Int32Array, LargeStringArray, StringArray, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// The SQL function `reputation(clean_body, clean_link_desc)`: the probability in millionths (0 to 1000000) that a
/// weekly document is a good user's, at even odds. Null counts as empty; a document without a known word gives 0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Reputation {
    model: LazyModel,
    signature: Signature,
}

impl Reputation {
    /// The function for one model.
    #[must_use]
    pub fn new(model: impl Into<LazyModel>) -> Self {
        Self {
            model: model.into(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// The model that it scores with.
    #[must_use]
    pub fn model(&self) -> &LazyModel {
        &self.model
    }

    fn score(&self, body: &ArrayRef, link_desc: &ArrayRef) -> Result<Int32Array> {
        let (body, link_desc) = (Text::new(body)?, Text::new(link_desc)?);
        let rows = body.len();
        if link_desc.len() != rows {
            return exec_err!(
                "reputation: {rows} bodies, but {} link descriptions",
                link_desc.len()
            );
        }
        let outside = |error| DataFusionError::External(Box::new(error));
        let model = self.model.get().map_err(outside)?;
        let mut scores = Vec::with_capacity(rows);
        let mut documents = Documents::default();
        for row in 0..rows {
            documents.push(&model, body.get(row), link_desc.get(row));
            if documents.is_full() || row + 1 == rows {
                let batch = model.millionths(&documents.as_slices());
                scores.extend(batch.map_err(outside)?);
                documents.clear();
            }
        }
        Ok(Int32Array::from(scores))
    }
}

/// A column of strings in any of Arrow's layouts.
enum Text<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
}

impl<'a> Text<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Utf8(array.as_string())),
            DataType::LargeUtf8 => Ok(Self::LargeUtf8(array.as_string())),
            DataType::Utf8View => Ok(Self::Utf8View(array.as_string_view())),
            other => exec_err!("reputation takes strings, not {other}"),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Utf8(array) => array.len(),
            Self::LargeUtf8(array) => array.len(),
            Self::Utf8View(array) => array.len(),
        }
    }

    /// The bytes of a row; none for null.
    fn get(&self, row: usize) -> &'a [u8] {
        match self {
            Self::Utf8(array) if array.is_valid(row) => array.value(row).as_bytes(),
            Self::LargeUtf8(array) if array.is_valid(row) => array.value(row).as_bytes(),
            Self::Utf8View(array) if array.is_valid(row) => array.value(row).as_bytes(),
            _ => &[],
        }
    }
}

impl ScalarUDFImpl for Reputation {
    fn name(&self) -> &str {
        "reputation"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != 2 {
            return plan_err!(
                "reputation takes clean_body and clean_link_desc, not {} arguments",
                types.len()
            );
        }
        let coerce = |data_type: &DataType| match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(data_type.clone()),
            DataType::Null => Ok(DataType::Utf8),
            DataType::Dictionary(_, values) if values.is_string() => Ok(values.as_ref().clone()),
            other => plan_err!("reputation takes strings, not {other}"),
        };
        types.iter().map(coerce).collect()
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), DataType::Int32, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> = args
            .args
            .into_iter()
            .map(|arg| arg.into_array(rows))
            .collect::<Result<_>>()?;
        let [body, link_desc] = arrays.as_slice() else {
            return exec_err!("reputation takes clean_body and clean_link_desc");
        };
        let scores = self.score(body, link_desc)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &scores, 0,
            )?)),
            false => Ok(ColumnarValue::Array(Arc::new(scores))),
        }
    }
}
