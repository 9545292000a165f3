//! PostgreSQL's `format` and `parse_ident`, which tools take names apart and put them together with.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::functions::quoted;

/// `format(text, …)` with `%s`, `%I`, `%L` and `%%`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Format {
    signature: Signature,
}

impl Format {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

fn texts(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    let columns = args.args.iter();
    columns
        .map(|column| Ok(cast(&column.to_array(args.number_rows)?, &DataType::Utf8)?))
        .collect()
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = texts(&args)?;
        let value = |column: usize, row: usize| {
            let column = columns.get(column)?.as_string::<i32>();
            use datafusion::arrow::array::Array;
            column.is_valid(row).then(|| column.value(row))
        };
        let mut result = StringBuilder::new();
        for row in 0..args.number_rows {
            result.append_option(value(0, row).map(|form| {
                let mut next = 1;
                let mut text = String::new();
                let mut signs = form.chars();
                while let Some(sign) = signs.next() {
                    if sign != '%' {
                        text.push(sign);
                        continue;
                    }
                    let kind = signs.next();
                    if kind == Some('%') {
                        text.push('%');
                        continue;
                    }
                    let argument = value(next, row);
                    next += 1;
                    match kind {
                        Some('I') => text.push_str(&quoted(argument.unwrap_or_default())),
                        Some('L') => match argument {
                            Some(argument) => {
                                text.push_str(&format!("'{}'", argument.replace('\'', "''")));
                            }
                            None => text.push_str("NULL"),
                        },
                        _ => text.push_str(argument.unwrap_or_default()),
                    }
                }
                text
            }));
        }
        Ok(ColumnarValue::Array(Arc::new(result.finish())))
    }
}

/// `parse_ident(name)`: its parts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ParseIdent {
    signature: Signature,
}

impl ParseIdent {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ParseIdent {
    fn name(&self) -> &str {
        "parse_ident"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let item = Field::new_list_field(DataType::Utf8, true);
        Ok(DataType::List(Arc::new(item)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = texts(&args)?;
        let mut result = ListBuilder::new(StringBuilder::new());
        for name in columns
            .iter()
            .take(1)
            .flat_map(|column| column.as_string::<i32>())
        {
            result.append_option(name.map(parts));
        }
        Ok(ColumnarValue::Array(Arc::new(result.finish())))
    }
}

/// Parts of a name at dots outside of quotes, without the quotes.
fn parts(name: &str) -> Vec<Option<String>> {
    let mut parts = vec![String::new()];
    let mut quote = false;
    for sign in name.chars() {
        match sign {
            '"' => quote = !quote,
            '.' if !quote => parts.push(String::new()),
            sign => {
                if let Some(part) = parts.last_mut() {
                    match quote {
                        true => part.push(sign),
                        false => part.extend(sign.to_lowercase()),
                    }
                }
            }
        }
    }
    parts.into_iter().map(Some).collect()
}
