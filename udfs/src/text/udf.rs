//! The SQL function `clean_text(text)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringArrayType};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::types::logical_string;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignatureClass,
    Volatility,
};

use super::clean_text_into;

/// `clean_text(text) -> Utf8`: the text as the tokenizer wants it, see [`clean_text_into`]. Null gives null.
///
/// Takes any string type; what can be cast to one is refused unless the caller casts it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CleanText {
    signature: Signature,
}

impl CleanText {
    /// The function under its name `clean_text`.
    pub fn new() -> Self {
        let text = Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
        Self {
            signature: Signature::coercible(vec![text], Volatility::Immutable),
        }
    }
}

impl Default for CleanText {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for CleanText {
    fn name(&self) -> &str {
        "clean_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text] = take_function_args(self.name(), args.args)?;
        match text {
            ColumnarValue::Scalar(scalar) => {
                let cleaned = scalar.try_as_str().flatten().map(|text| {
                    let mut out = String::new();
                    clean_text_into(text, &mut out);
                    out
                });
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(cleaned)))
            }
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(clean_array(&array)?)),
        }
    }
}

fn clean_array(array: &ArrayRef) -> Result<ArrayRef> {
    let cleaned = match array.data_type() {
        DataType::Utf8 => clean_strings(array.as_string::<i32>())?,
        DataType::LargeUtf8 => clean_strings(array.as_string::<i64>())?,
        DataType::Utf8View => clean_strings(array.as_string_view())?,
        other => return exec_err!("clean_text takes strings, not {other}"),
    };
    Ok(Arc::new(cleaned))
}

fn clean_strings<'a>(texts: impl StringArrayType<'a>) -> Result<StringArray> {
    let mut values = String::new();
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0);
    for text in texts.iter() {
        if let Some(text) = text {
            clean_text_into(text, &mut values);
        }
        let end = i32::try_from(values.len())
            .map_err(|_| exec_datafusion_err!("clean_text: a batch of more than 2 GiB of text"))?;
        offsets.push(end);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let values = Buffer::from_vec(values.into_bytes());
    Ok(StringArray::try_new(
        offsets,
        values,
        texts.nulls().cloned(),
    )?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{LargeStringArray, StringViewArray};
    use datafusion::logical_expr::ScalarUDF;
    use datafusion::prelude::SessionContext;

    use super::*;

    const TEXTS: [Option<&str>; 5] = [
        Some("Buy $TSLA at https://x.y/z now!"),
        None,
        Some(""),
        Some("@bob \u{1f680}\u{1f680}"),
        Some("A1 B2"),
    ];
    const CLEANED: [Option<&str>; 5] = [
        Some("buy tsla at http now"),
        None,
        Some(""),
        Some(" "),
        Some("a b"),
    ];

    #[test]
    fn every_string_type_gives_the_same() {
        let expected = StringArray::from(CLEANED.to_vec());
        let arrays: [ArrayRef; 3] = [
            Arc::new(StringArray::from(TEXTS.to_vec())),
            Arc::new(LargeStringArray::from(TEXTS.to_vec())),
            Arc::new(StringViewArray::from(TEXTS.to_vec())),
        ];
        for array in arrays {
            assert_eq!(clean_array(&array).unwrap().as_string::<i32>(), &expected);
            let part = clean_array(&array.slice(1, 3)).unwrap();
            assert_eq!(part.as_string::<i32>(), &expected.slice(1, 3));
            assert!(clean_array(&array.slice(0, 0)).unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn runs_in_sql() {
        let ctx = SessionContext::new();
        ctx.register_udf(ScalarUDF::from(CleanText::new()));
        let sql = "SELECT clean_text(t) AS c FROM (VALUES ('Hi @bob: 5'), (NULL), ('É')) AS v(t)
                   UNION ALL SELECT clean_text('A@b') UNION ALL SELECT clean_text(NULL)
                   UNION ALL SELECT clean_text(arrow_cast('B', 'Utf8View'))";
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let mut rows: Vec<Option<String>> = batches
            .iter()
            .flat_map(|b| {
                b.column(0)
                    .as_string::<i32>()
                    .iter()
                    .map(|v| v.map(str::to_owned))
                    .collect::<Vec<_>>()
            })
            .collect();
        rows.sort();
        let expected = [None, None, Some(""), Some("a"), Some("b"), Some("hi  ")];
        assert_eq!(rows, expected.map(|v| v.map(str::to_owned)));

        assert!(ctx.sql("SELECT clean_text(5)").await.is_err());
        assert!(ctx.sql("SELECT clean_text('a', 'b')").await.is_err());
    }
}
