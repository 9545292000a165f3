//! Exact arithmetic that SQL's own operators do not give: weeks since an anchor, and quotients of integers as
//! decimals with eight places.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Decimal128Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

const SECONDS_A_DAY: i64 = 86_400;
/// Places after the point of weights and scores.
const SCALE: i8 = 8;
const UNIT: i128 = 100_000_000;
const PRECISION: u8 = 20;

/// `week_of(seconds, anchor_day) -> BIGINT`: the week `k` whose days are `7(k-1)+1 … 7k` after the anchor.
///
/// `seconds` are since the epoch, `anchor_day` is in days since the epoch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WeekOf {
    signature: Signature,
}

impl WeekOf {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::exact(
                vec![DataType::Int64, DataType::Int64],
                Volatility::Immutable,
            ),
        }
    }
}

impl Default for WeekOf {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for WeekOf {
    fn name(&self) -> &str {
        "week_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [seconds, anchor] = take_args(&args)?;
        let (seconds, anchor) = (
            seconds.as_primitive::<Int64Type>(),
            anchor.as_primitive::<Int64Type>(),
        );
        let weeks: Int64Array =
            datafusion::arrow::compute::binary(seconds, anchor, |seconds, anchor| {
                let day = seconds.div_euclid(SECONDS_A_DAY).wrapping_sub(anchor);
                day.wrapping_add(6).div_euclid(7)
            })?;
        Ok(ColumnarValue::Array(Arc::new(weeks)))
    }
}

/// `ratio(numerator, denominator) -> DECIMAL(20, 8)`: the quotient of two integers, rounded half away from zero.
///
/// Numerators may be BIGINT or DECIMAL(p, 0); the denominator is a positive BIGINT.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    signature: Signature,
}

impl Ratio {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for Ratio {
    fn name(&self) -> &str {
        "ratio"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(PRECISION, SCALE))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [numerators, denominators] = take_args(&args)?;
        let whole = DataType::Decimal128(38, 0);
        let (numerators, denominators) = (cast(&numerators, &whole)?, cast(&denominators, &whole)?);
        let numerators = numerators.as_primitive::<Decimal128Type>();
        let denominators = denominators.as_primitive::<Decimal128Type>();
        let mut quotients = Decimal128Array::builder(numerators.len());
        for (numerator, denominator) in numerators.iter().zip(denominators.iter()) {
            quotients.append_option(match (numerator, denominator) {
                (Some(numerator), Some(denominator)) => Some(quotient(numerator, denominator)?),
                _ => None,
            });
        }
        let quotients = quotients
            .finish()
            .with_precision_and_scale(PRECISION, SCALE)?;
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

fn quotient(numerator: i128, denominator: i128) -> Result<i128> {
    if denominator <= 0 {
        return exec_err!("ratio: the denominator must be positive, not {denominator}");
    }
    let scaled = numerator.checked_mul(2 * UNIT).ok_or_else(|| {
        exec_datafusion_err!("ratio: {numerator} / {denominator} does not fit DECIMAL(20, 8)")
    })?;
    let rounded = (scaled.abs() + denominator) / (2 * denominator) * scaled.signum();
    if rounded.abs() >= 10i128.pow(u32::from(PRECISION)) {
        return exec_err!("ratio: {numerator} / {denominator} does not fit DECIMAL(20, 8)");
    }
    Ok(rounded)
}

fn take_args(args: &ScalarFunctionArgs) -> Result<[Arc<dyn Array>; 2]> {
    match args.args.as_slice() {
        [first, second] => Ok([
            first.to_array(args.number_rows)?,
            second.to_array(args.number_rows)?,
        ]),
        other => exec_err!("two arguments are needed, not {}", other.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_round_half_away_from_zero() {
        assert_eq!(quotient(1, 3).unwrap(), 33_333_333);
        assert_eq!(quotient(2, 3).unwrap(), 66_666_667);
        assert_eq!(quotient(1, 200_000_000).unwrap(), 1, "a half goes up");
        assert_eq!(quotient(-1, 200_000_000).unwrap(), -1);
        assert_eq!(quotient(7_776_000, 7_776_000).unwrap(), 100_000_000);
        assert!(quotient(1, 0).is_err());
        assert!(quotient(i128::MAX, 1).is_err());
        assert!(
            quotient(1_000_000_000_000, 1).is_err(),
            "thirteen digits before the point"
        );
    }
}
