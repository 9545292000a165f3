//! The values of Parquet columns as the fields of records.

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::records::{Field, Reason};
use crate::scan::columns::escaped;

const SECONDS_PER_DAY: i64 = 86_400;
/// The seconds of 0001-01-01 00:00:00 to 9999-12-31 23:59:59, as a text can write them.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// What a column must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Number,
    Time,
    Flag,
    Text,
}

impl Wanted {
    /// Whether values of this type can say it. Text can say anything.
    pub(super) fn is_said_by(self, given: &DataType) -> bool {
        use DataType::*;
        let number = given.is_numeric();
        match given {
            Null | Utf8 | LargeUtf8 | Utf8View => true,
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
            Dictionary(_, values) => self.is_said_by(values),
            Boolean => self == Self::Flag,
            Timestamp(..) | Date32 | Date64 => self == Self::Time,
            _ => number && matches!(self, Self::Number | Self::Flag),
        }
    }

    /// The types that can.
    pub(super) fn types(self) -> &'static str {
        match self {
            Self::Number => "whole numbers (any INT or DECIMAL type), or text that writes them",
            Self::Time => "TIMESTAMP or DATE, or text like 2019-10-01 12:34:56",
            Self::Flag => "BOOLEAN, or 0 and 1 as number or text",
            Self::Text => "text (STRING or BINARY)",
        }
    }
}

/// The values of one field of the records of a batch.
pub(super) enum Values {
    /// Of a column that is not there: nulls.
    Absent,
    /// Of a column.
    Column(ArrayRef),
    /// Of a column with the same rows' unreadable values.
    Faulty(ArrayRef, BooleanBuffer, Reason),
    /// Of a column, and where that has nulls, of another.
    Either(Box<Values>, Box<Values>),
}

impl Values {
    /// Values as fields; of an absent column none.
    pub(super) fn fields(&self) -> Vec<Field<'_>> {
        match self {
            Self::Absent => Vec::new(),
            Self::Column(column) => fields(column),
            Self::Faulty(column, faulty, reason) => {
                let mut fields = fields(column);
                for (field, faulty) in fields.iter_mut().zip(faulty) {
                    if faulty {
                        *field = Field::Unreadable(*reason);
                    }
                }
                fields
            }
            Self::Either(first, second) => {
                let (mut fields, others) = (first.fields(), second.fields());
                for (field, other) in fields.iter_mut().zip(others) {
                    if *field == Field::Null {
                        *field = other;
                    }
                }
                fields
            }
        }
    }

    /// The text that writes a row's value; a null is nothing.
    pub(super) fn shown(&self, row: usize) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Column(column) | Self::Faulty(column, ..) => shown(column, row),
            Self::Either(first, second) => match first.shown(row) {
                nothing if nothing.is_empty() => second.shown(row),
                text => text,
            },
        }
    }
}

fn fields(column: &ArrayRef) -> Vec<Field<'_>> {
    use DataType::*;
    match column.data_type() {
        Int8 => numbers::<Int8Type>(column, |value| Some(value.into())),
        Int16 => numbers::<Int16Type>(column, |value| Some(value.into())),
        Int32 => numbers::<Int32Type>(column, |value| Some(value.into())),
        Int64 => numbers::<Int64Type>(column, Some),
        UInt8 => numbers::<UInt8Type>(column, |value| Some(value.into())),
        UInt16 => numbers::<UInt16Type>(column, |value| Some(value.into())),
        UInt32 => numbers::<UInt32Type>(column, |value| Some(value.into())),
        UInt64 => numbers::<UInt64Type>(column, |value| value.try_into().ok()),
        // So many bits of a whole number are kept.
        Float16 => values::<Float16Type>(column, |value| whole(value.to_f64(), 11)),
        Float32 => values::<Float32Type>(column, |value| whole(value.into(), 24)),
        Float64 => values::<Float64Type>(column, |value| whole(value, 53)),
        Decimal32(_, scale) => decimals::<Decimal32Type>(column, *scale, |value| value.into()),
        Decimal64(_, scale) => decimals::<Decimal64Type>(column, *scale, |value| value.into()),
        Decimal128(_, scale) => decimals::<Decimal128Type>(column, *scale, i256::from_i128),
        Decimal256(_, scale) => decimals::<Decimal256Type>(column, *scale, |value| value),
        Boolean => {
            let values = column.as_boolean().iter();
            values
                .map(|value| value.map_or(Field::Null, Field::Flag))
                .collect()
        }
        Date32 => times::<Date32Type>(column, |days| i64::from(days) * SECONDS_PER_DAY),
        Date64 => times::<Date64Type>(column, |millis| millis.div_euclid(1_000)),
        Timestamp(TimeUnit::Second, _) => times::<TimestampSecondType>(column, |value| value),
        Timestamp(TimeUnit::Millisecond, _) => {
            times::<TimestampMillisecondType>(column, |value| value.div_euclid(1_000))
        }
        Timestamp(TimeUnit::Microsecond, _) => {
            times::<TimestampMicrosecondType>(column, |value| value.div_euclid(1_000_000))
        }
        Timestamp(TimeUnit::Nanosecond, _) => {
            times::<TimestampNanosecondType>(column, |value| value.div_euclid(1_000_000_000))
        }
        Binary => texts(column.as_binary::<i32>().iter()),
        BinaryView => texts(column.as_binary_view().iter()),
        FixedSizeBinary(_) => texts(column.as_fixed_size_binary().iter()),
        // Only the types above are mapped, and nulls.
        _ => vec![Field::Null; column.len()],
    }
}

/// The fields that a function makes of a column's values.
fn values<'a, T: ArrowPrimitiveType>(
    column: &'a ArrayRef,
    field: impl Fn(T::Native) -> Field<'a>,
) -> Vec<Field<'a>> {
    let column: &PrimitiveArray<T> = column.as_primitive();
    match column.null_count() {
        0 => column.values().iter().map(|value| field(*value)).collect(),
        _ => column
            .iter()
            .map(|value| value.map_or(Field::Null, &field))
            .collect(),
    }
}

fn numbers<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    number: impl Fn(T::Native) -> Option<i64>,
) -> Vec<Field<'_>> {
    values::<T>(column, |value| {
        number(value).map_or(Field::Unreadable(Reason::OutOfRange), Field::Integer)
    })
}

/// A floating-point number that has so many bits, as number: whole ones that are certain to be the one that was written.
fn whole(value: f64, bits: u32) -> Field<'static> {
    let certain = (1_u64 << bits) as f64;
    if value.is_nan() || value.trunc() != value {
        Field::Unreadable(Reason::NotANumber)
    } else if value.abs() > certain {
        Field::Unreadable(Reason::OutOfRange)
    } else {
        Field::Integer(value as i64)
    }
}

fn decimals<T: DecimalType>(
    column: &ArrayRef,
    scale: i8,
    wide: impl Fn(T::Native) -> i256,
) -> Vec<Field<'_>> {
    let scale = u32::from(scale.unsigned_abs());
    let unit = i256::from_i128(10).checked_pow(scale).unwrap_or(i256::MAX);
    values::<T>(column, |value| {
        let value = wide(value);
        if value.wrapping_rem(unit) != i256::ZERO {
            return Field::Unreadable(Reason::NotANumber);
        }
        let number = value.wrapping_div(unit).to_i128();
        number
            .and_then(|number| i64::try_from(number).ok())
            .map_or(Field::Unreadable(Reason::OutOfRange), Field::Integer)
    })
}

fn times<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    seconds: impl Fn(T::Native) -> i64,
) -> Vec<Field<'_>> {
    values::<T>(column, |value| {
        let seconds = seconds(value);
        match WRITABLE.contains(&seconds) {
            true => Field::Time(seconds),
            false => Field::Unreadable(Reason::NoSuchDate),
        }
    })
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<Field<'a>> {
    let field = |bytes: &'a [u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Field::Text(text),
        Err(_) => Field::Unreadable(Reason::NotUtf8),
    };
    values
        .map(|value| value.map_or(Field::Null, field))
        .collect()
}

/// A value of a column of text; `None` of a null, and of a column of another type.
pub(super) fn bytes(column: &ArrayRef, row: usize) -> Option<&[u8]> {
    if row >= column.len() || column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Binary => Some(column.as_binary::<i32>().value(row)),
        DataType::BinaryView => Some(column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Some(column.as_fixed_size_binary().value(row)),
        _ => None,
    }
}

/// The text that writes a value. One that no text can is written as the number that the file has.
fn shown(column: &ArrayRef, row: usize) -> String {
    if row >= column.len() || column.is_null(row) {
        return String::new();
    }
    if let Some(bytes) = bytes(column, row) {
        return escaped(bytes);
    }
    let mut value = column.slice(row, 1);
    // Times are UTC and lose their zone's name, as the text exports have none.
    if let DataType::Timestamp(unit, Some(_)) = value.data_type()
        && let Ok(plain) = cast(&value, &DataType::Timestamp(*unit, None))
    {
        value = plain;
    }
    let text = |value: &ArrayRef| {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(value, &options).ok()?;
        formatter.value(0).try_to_string().ok()
    };
    text(&value)
        .or_else(|| text(&cast(&value, &DataType::Int64).ok()?))
        .or_else(|| text(&cast(&value, &DataType::Int32).ok()?))
        .unwrap_or_default()
}
