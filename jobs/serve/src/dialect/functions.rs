//! Functions that PostgreSQL's words are said with, where DataFusion has none.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, StringBuilder};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Makes them known to a session.
///
/// # Errors
/// Errors of DataFusion.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    registry.register_udf(Arc::new(ScalarUDF::from(LikeEscape::new())))?;
    registry.register_udf(Arc::new(ScalarUDF::from(IntervalTimes::new())))?;
    Ok(())
}

/// `like_escape(pattern, escape)`: a pattern of LIKE that escapes by the backslash, of one that escapes by another sign
/// (by none if it is empty).
#[derive(Debug, PartialEq, Eq, Hash)]
struct LikeEscape {
    signature: Signature,
}

impl LikeEscape {
    fn new() -> Self {
        Self {
            signature: Signature::uniform(2, vec![DataType::Utf8], Volatility::Immutable),
        }
    }
}

fn by_backslash(pattern: &str, escape: &str) -> Result<String> {
    let mut signs = escape.chars();
    let (sign, None) = (signs.next(), signs.next()) else {
        return exec_err!("ESCAPE takes one sign or none, not {escape:?}");
    };
    let mut result = String::with_capacity(pattern.len() + 2);
    let mut signs = pattern.chars();
    while let Some(next) = signs.next() {
        if Some(next) == sign {
            let Some(escaped) = signs.next() else {
                return exec_err!("the pattern {pattern:?} ends with its escape sign");
            };
            result.push('\\');
            result.push(escaped);
        } else {
            if next == '\\' {
                result.push('\\');
            }
            result.push(next);
        }
    }
    Ok(result)
}

impl ScalarUDFImpl for LikeEscape {
    fn name(&self) -> &str {
        "like_escape"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter();
        let columns: Vec<ArrayRef> = columns
            .map(|column| column.to_array(args.number_rows))
            .collect::<Result<_>>()?;
        let [patterns, escapes] = columns.as_slice() else {
            return exec_err!("like_escape takes a pattern and a sign");
        };
        let mut result = StringBuilder::new();
        let escapes = escapes.as_string::<i32>();
        for (pattern, escape) in patterns.as_string::<i32>().iter().zip(escapes) {
            match (pattern, escape) {
                (Some(pattern), Some(escape)) => {
                    result.append_value(by_backslash(pattern, escape)?)
                }
                _ => result.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(result.finish())))
    }
}

/// `interval_times(number, interval)`: an interval so many times. What is left of a month counts as days, 30 to the
/// month, and what is left of a day as time, as in PostgreSQL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalTimes {
    signature: Signature,
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

impl IntervalTimes {
    fn new() -> Self {
        Self {
            signature: Signature::exact(vec![DataType::Float64, INTERVAL], Volatility::Immutable),
        }
    }
}

fn times(number: f64, interval: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let beyond =
        || exec_datafusion_err!("an interval {number} times is beyond what intervals can be");
    let months = f64::from(interval.months) * number;
    let days = f64::from(interval.days) * number + months.fract() * 30.0;
    let micros = interval.nanoseconds as f64 / 1e3 * number + days.fract() * 86_400e6;
    let whole = |value: f64| {
        let value = value.trunc();
        (value.abs() <= f64::from(i32::MAX)).then_some(value as i32)
    };
    let micros = micros.round();
    if micros.is_nan() || micros.abs() >= i64::MAX as f64 / 1e3 {
        return Err(beyond());
    }
    Ok(IntervalMonthDayNano {
        months: whole(months).ok_or_else(beyond)?,
        days: whole(days).ok_or_else(beyond)?,
        nanoseconds: micros as i64 * 1_000,
    })
}

impl ScalarUDFImpl for IntervalTimes {
    fn name(&self) -> &str {
        "interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [numbers, intervals] = columns.as_slice() else {
            return exec_err!("interval_times takes a number and an interval");
        };
        let numbers = numbers.as_primitive::<Float64Type>();
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let pairs = numbers.iter().zip(intervals);
        let result: IntervalMonthDayNanoArray = pairs
            .map(|pair| match pair {
                (Some(number), Some(interval)) => times(number, interval).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(result)))
    }
}
