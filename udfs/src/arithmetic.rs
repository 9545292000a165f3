//! Exact arithmetic that SQL's own operators do not give: weeks since an anchor, quotients of integers as decimals with
//! eight places, and two ids as one key.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrowPrimitiveType, AsArray, Decimal128Array, Int64Array, PrimitiveArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

const SECONDS_A_DAY: i64 = 86_400;
/// Places after the point of weights and scores.
const SCALE: i8 = 8;
const UNIT: u64 = 100_000_000;
/// Digits of weights and scores: as many as 64 bits hold, which is how Parquet keeps such decimals.
const PRECISION: u8 = 18;
/// The greatest quotient, in units of the last place.
const MOST: u128 = 10u128.pow(PRECISION as u32) - 1;

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

/// `pair(a INT, b INT) -> BIGINT`: another number for every two numbers, `a` in its higher half and `b` in its lower one;
/// null when one of them is. Grouped and joined by faster than by both.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    signature: Signature,
}

impl Pair {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::exact(
                vec![DataType::Int32, DataType::Int32],
                Volatility::Immutable,
            ),
        }
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for Pair {
    fn name(&self) -> &str {
        "pair"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = take_args(&args)?;
        let (a, b) = (a.as_primitive::<Int32Type>(), b.as_primitive::<Int32Type>());
        let pairs: Int64Array = datafusion::arrow::compute::binary(a, b, |a, b| {
            i64::from(a) << 32 | i64::from(b.cast_unsigned())
        })?;
        Ok(ColumnarValue::Array(Arc::new(pairs)))
    }
}

/// `ratio(numerator, denominator)`: the quotient of two integers, rounded half away from zero.
///
/// The denominator is a positive BIGINT, the numerator a BIGINT or a DECIMAL(p, 0). Gives DECIMAL(18, 8); what doesn't fit is
/// an error.
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
        let denominators = cast(&denominators, &DataType::Int64)?;
        let denominators = denominators.as_primitive::<Int64Type>();
        let quotients = match numerators.as_primitive_opt::<Int64Type>() {
            Some(numerators) => quotients(numerators, denominators),
            None => {
                let numerators = cast(&numerators, &DataType::Decimal128(38, 0))?;
                let numerators = numerators.as_primitive::<Decimal128Type>();
                quotients(numerators, denominators)
            }
        }?;
        let quotients = quotients.with_precision_and_scale(PRECISION, SCALE)?;
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

/// Quotients in units of the last place.
fn quotients<T: ArrowPrimitiveType>(
    numerators: &PrimitiveArray<T>,
    denominators: &Int64Array,
) -> Result<Decimal128Array>
where
    i128: From<T::Native>,
{
    let nulls = NullBuffer::union(numerators.nulls(), denominators.nulls());
    // Nearly always one denominator for all.
    let mut by: Option<(i64, Denominator)> = None;
    let mut quotients = Vec::with_capacity(numerators.len());
    let pairs = numerators.values().iter().zip(denominators.values());
    for (row, (&numerator, &denominator)) in pairs.enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            quotients.push(0);
            continue;
        }
        let by = match &by {
            Some((known, by)) if *known == denominator => by,
            _ => &by.insert((denominator, Denominator::new(denominator)?)).1,
        };
        let numerator = i128::from(numerator);
        let Some(quotient) = by.divide(numerator) else {
            return exec_err!(
                "ratio: {numerator} / {denominator} does not fit {PRECISION} digits, {SCALE} of them after the point"
            );
        };
        quotients.push(quotient);
    }
    Ok(Decimal128Array::new(quotients.into(), nulls))
}

/// What numerators are multiplied with and divided by, in the lowest terms, for quotients in units of the last place.
struct Denominator {
    multiply: u64,
    divide: u64,
    /// How often twice `divide` goes into 2^64, one less where it does so exactly.
    reciprocal: u64,
}

impl Denominator {
    fn new(denominator: i64) -> Result<Self> {
        if denominator <= 0 {
            return exec_err!("ratio: the denominator must be positive, not {denominator}");
        }
        let denominator = denominator.unsigned_abs();
        // Euclid's algorithm.
        let (mut divisor, mut rest) = (denominator, UNIT);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let divide = denominator / divisor;
        Ok(Self {
            multiply: UNIT / divisor,
            divide,
            reciprocal: u64::MAX / (2 * divide),
        })
    }

    /// The quotient in units of the last place; nothing when it is more than [`MOST`] of them.
    fn divide(&self, numerator: i128) -> Option<i128> {
        let (size, below) = (numerator.unsigned_abs(), 2 * self.divide);
        // Multiplying by the reciprocal is several times as fast as dividing 64 bits, and that as dividing 128.
        let small = u64::try_from(size)
            .ok()
            .and_then(|size| size.checked_mul(2 * self.multiply))
            .and_then(|doubled| doubled.checked_add(self.divide));
        let rounded = match small {
            Some(above) => {
                let low = (u128::from(above) * u128::from(self.reciprocal)) >> 64;
                // The reciprocal is too small by at most 1, and so is `low`.
                low + u128::from(above - low as u64 * below >= below)
            }
            None => {
                let doubled = size.checked_mul(u128::from(2 * self.multiply))?;
                doubled.checked_add(u128::from(self.divide))? / u128::from(below)
            }
        };
        (rounded <= MOST).then_some(rounded as i128 * numerator.signum())
    }
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

    fn quotient(numerator: i128, denominator: i64) -> Result<Option<i128>> {
        Ok(Denominator::new(denominator)?.divide(numerator))
    }

    #[test]
    fn quotients_round_half_away_from_zero() {
        assert_eq!(quotient(1, 3).unwrap(), Some(33_333_333));
        assert_eq!(quotient(2, 3).unwrap(), Some(66_666_667));
        assert_eq!(quotient(1, 200_000_000).unwrap(), Some(1), "a half goes up");
        assert_eq!(quotient(-1, 200_000_000).unwrap(), Some(-1));
        assert_eq!(quotient(-1, 200_000_001).unwrap(), Some(0));
        assert_eq!(quotient(7_776_000, 7_776_000).unwrap(), Some(100_000_000));
        assert!(quotient(1, 0).is_err());
        assert!(quotient(1, -3).is_err());
        assert_eq!(quotient(i128::MAX, 1).unwrap(), None);
        assert_eq!(quotient(i128::MIN, 1).unwrap(), None);
        assert_eq!(
            quotient(10_000_000_000, 1).unwrap(),
            None,
            "eleven digits before the point"
        );
    }

    #[test]
    fn lowest_terms_and_few_bits_give_what_the_definition_gives() {
        for denominator in [1, 7, 243, 7_776_000, 7_776_000_000_000, (1 << 62) + 1] {
            for numerator in [0, 1, 38_879, 38_880, 38_881, 7_776_001, 1 << 40, 3 << 60] {
                let (doubled, by) = (2 * numerator * 100_000_000, i128::from(denominator));
                let expected = (doubled + by) / (2 * by);
                let found = quotient(numerator, denominator).unwrap();
                let fits = expected < 10i128.pow(18);
                assert_eq!(
                    found,
                    fits.then_some(expected),
                    "{numerator} / {denominator}"
                );
            }
        }
    }
}
