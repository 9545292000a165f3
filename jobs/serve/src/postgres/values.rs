//! Arrow's values as PostgreSQL writes them, in text and in binary.

use std::fmt::Write;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, NaiveDate, NaiveTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use pgwire::api::Type;

use super::binary;
use crate::describe::{is_list, of_arrow, type_of};

/// Columns of a batch, ready to be written value by value.
pub struct Columns(Vec<Column>);

/// A column and how it is written.
pub struct Column {
    pub(super) array: ArrayRef,
    pub(super) wire: Type,
    pub(super) binary: bool,
}

impl Columns {
    /// Of a batch; `binary` says for each column whether it is written in binary.
    ///
    /// # Errors
    /// When a value does not fit its type.
    pub fn new(batch: &RecordBatch, binary: impl Fn(usize) -> bool) -> Result<Self, ArrowError> {
        let fields = batch.schema();
        let columns = batch.columns().iter().zip(fields.fields()).enumerate();
        columns
            .map(|(place, (array, field))| {
                Ok(Column {
                    array: plain(array, field)?,
                    wire: type_of(field).wire,
                    binary: binary(place),
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The columns.
    pub fn iter(&self) -> impl Iterator<Item = &Column> {
        self.0.iter()
    }

    /// Writes a row: each value behind its length, nulls as length -1.
    pub fn write_row(&self, row: usize, out: &mut BytesMut) {
        for column in &self.0 {
            column.write(row, out);
        }
    }
}

impl Column {
    /// Writes a value behind its length.
    pub fn write(&self, row: usize, out: &mut BytesMut) {
        if self.array.is_null(row) {
            out.put_i32(-1);
            return;
        }
        let start = out.len();
        out.put_i32(0);
        if self.binary {
            binary::write(&self.array, row, &self.wire, out);
        } else {
            text(&self.array, row, out);
        }
        let length = (out.len() - start - 4) as i32;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Writes a value as text; whether there is one.
    pub fn write_text(&self, row: usize, out: &mut BytesMut) -> bool {
        if self.array.is_null(row) {
            return false;
        }
        text(&self.array, row, out);
        true
    }
}

/// The same values in one of few types.
fn plain(array: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let data_type = field.data_type();
    // A list of lists, or a map.
    if of_arrow(data_type).wire == Type::JSON {
        return json_texts(array);
    }
    match plain_type(array.data_type()) {
        Some(to) => cast(array, &to),
        None => Ok(Arc::clone(array)),
    }
}

/// The type that values are written from, when it is another than theirs.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let item = |item: &Arc<Field>| {
        let inner = plain_type(item.data_type()).unwrap_or_else(|| item.data_type().clone());
        Arc::new(Field::new_list_field(inner, true))
    };
    let to = match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Interval(unit) if *unit != IntervalUnit::MonthDayNano => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, value) => plain_type(value).unwrap_or_else(|| (**value).clone()),
        DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _) => DataType::List(item(inner)),
        DataType::List(inner) => {
            plain_type(inner.data_type())?;
            DataType::List(item(inner))
        }
        DataType::Struct(fields) => {
            if fields
                .iter()
                .all(|field| plain_type(field.data_type()).is_none())
            {
                return None;
            }
            let fields = fields.iter().map(|field| {
                let inner = plain_type(field.data_type());
                let inner = inner.unwrap_or_else(|| field.data_type().clone());
                Field::new(field.name(), inner, true)
            });
            DataType::Struct(fields.collect())
        }
        _ => return None,
    };
    Some(to)
}

fn json_texts(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    use datafusion::arrow::array::StringArray;
    let field = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = datafusion::arrow::json::writer::EncoderOptions::default();
    let mut encoder =
        datafusion::arrow::json::writer::make_encoder(&field, array.as_ref(), &options)?;
    let texts: StringArray = (0..array.len())
        .map(|row| {
            array.is_valid(row).then(|| {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        })
        .collect();
    Ok(Arc::new(texts))
}

/// Writing to a buffer cannot fail.
macro_rules! put {
    ($out:expr, $($arguments:tt)*) => {
        let _ = write!($out, $($arguments)*);
    };
}

/// Writes a value as text, without its length.
pub(super) fn text(array: &ArrayRef, row: usize, out: &mut BytesMut) {
    match array.data_type() {
        DataType::Boolean => out.put_u8(if array.as_boolean().value(row) {
            b't'
        } else {
            b'f'
        }),
        DataType::Int16 => {
            put!(out, "{}", array.as_primitive::<Int16Type>().value(row));
        }
        DataType::Int32 => {
            put!(out, "{}", array.as_primitive::<Int32Type>().value(row));
        }
        DataType::Int64 => {
            put!(out, "{}", array.as_primitive::<Int64Type>().value(row));
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            float(f64::from(value), &format!("{value:e}"), 1e6, out);
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            float(value, &format!("{value:e}"), 1e15, out);
        }
        DataType::Decimal128(..) => {
            out.put_slice(
                array
                    .as_primitive::<Decimal128Type>()
                    .value_as_string(row)
                    .as_bytes(),
            );
        }
        DataType::Decimal256(..) => {
            out.put_slice(
                array
                    .as_primitive::<Decimal256Type>()
                    .value_as_string(row)
                    .as_bytes(),
            );
        }
        DataType::Utf8 => out.put_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => {
            out.put_slice(b"\\x");
            for byte in array.as_binary::<i32>().value(row) {
                put!(out, "{byte:02x}");
            }
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            match NaiveDate::from_epoch_days(days) {
                Some(date) => {
                    put!(out, "{}", date.format("%Y-%m-%d"));
                }
                None => out.put_slice(if days < 0 { b"-infinity" } else { b"infinity" }),
            }
        }
        DataType::Time64(_) => {
            let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
            clock(micros, out);
        }
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match DateTime::from_timestamp_micros(micros) {
                Some(at) => {
                    put!(out, "{} ", at.format("%Y-%m-%d"));
                    clock(micros.rem_euclid(86_400_000_000), out);
                    if zone.is_some() {
                        out.put_slice(b"+00");
                    }
                }
                None => out.put_slice(if micros < 0 {
                    b"-infinity"
                } else {
                    b"infinity"
                }),
            }
        }
        DataType::Interval(_) => interval(array, row, out),
        data_type if is_list(data_type) => {
            let items = array.as_list::<i32>().value(row);
            items_text(
                out,
                (0..items.len()).map(|item| (&items, item)),
                [b'{', b'}'],
                "NULL",
            );
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            items_text(
                out,
                columns.iter().map(|column| (column, row)),
                [b'(', b')'],
                "",
            );
        }
        _ => {}
    }
}

/// The shortest digits that give the value back, with an exponent as PostgreSQL has it.
fn float(value: f64, scientific: &str, high: f64, out: &mut BytesMut) {
    if value.is_nan() {
        out.put_slice(b"NaN");
    } else if value.is_infinite() {
        out.put_slice(if value > 0.0 {
            b"Infinity"
        } else {
            b"-Infinity"
        });
    } else if value != 0.0 && (value.abs() >= high || value.abs() < 1e-4) {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        put!(out, "{digits}e{sign}{exponent:0>2}");
    } else if high < 1e7 {
        put!(out, "{}", value as f32);
    } else {
        put!(out, "{value}");
    }
}

fn clock(micros: i64, out: &mut BytesMut) {
    let seconds = u32::try_from(micros / 1_000_000).unwrap_or_default();
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap_or_default();
    put!(out, "{}", time.format("%H:%M:%S"));
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        put!(out, ".{}", digits.trim_end_matches('0'));
    }
}

fn interval(array: &ArrayRef, row: usize, out: &mut BytesMut) {
    let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
    let mut parts = Vec::new();
    let mut part = |number: i32, one: &str| {
        if number != 0 {
            let s = if number.abs() == 1 { "" } else { "s" };
            parts.push(format!("{number} {one}{s}"));
        }
    };
    part(value.months / 12, "year");
    part(value.months % 12, "mon");
    part(value.days, "day");
    let micros = value.nanoseconds / 1000;
    if micros != 0 || parts.is_empty() {
        let mut time = BytesMut::new();
        let hours = micros.abs() / 3_600_000_000;
        clock(micros.abs() % 3_600_000_000, &mut time);
        let time = String::from_utf8_lossy(&time);
        let sign = if micros < 0 { "-" } else { "" };
        parts.push(format!(
            "{sign}{hours:02}{}",
            time.get(2..).unwrap_or_default()
        ));
    }
    out.put_slice(parts.join(" ").as_bytes());
}

/// Items between brackets, quoted where they need it.
fn items_text<'a>(
    out: &mut BytesMut,
    items: impl Iterator<Item = (&'a ArrayRef, usize)>,
    brackets: [u8; 2],
    null: &str,
) {
    out.put_u8(brackets[0]);
    let mut value = BytesMut::new();
    for (place, (array, row)) in items.enumerate() {
        if place > 0 {
            out.put_u8(b',');
        }
        if array.is_null(row) {
            out.put_slice(null.as_bytes());
            continue;
        }
        value.clear();
        text(array, row, &mut value);
        let special = |byte: &u8| b"{}(),\"\\".contains(byte) || byte.is_ascii_whitespace();
        if value.is_empty() || value.iter().any(special) || value.eq_ignore_ascii_case(b"null") {
            out.put_u8(b'"');
            for byte in value.iter() {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        } else {
            out.put_slice(&value);
        }
    }
    out.put_u8(brackets[1]);
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        Decimal128Array, Float64Array, Int32Array, ListArray, StringArray, StructArray,
        TimestampNanosecondArray,
    };

    use super::*;

    fn texts(array: ArrayRef) -> Vec<Option<String>> {
        let batch = RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap();
        let columns = Columns::new(&batch, |_| false).unwrap();
        (0..batch.num_rows())
            .map(|row| {
                let mut out = BytesMut::new();
                columns.0[0]
                    .write_text(row, &mut out)
                    .then(|| String::from_utf8(out.to_vec()).unwrap())
            })
            .collect()
    }

    fn text_of(array: impl Array + 'static) -> String {
        texts(Arc::new(array))[0].clone().unwrap()
    }

    #[test]
    fn texts_are_as_postgresql_writes_them() {
        let weight = Decimal128Array::from(vec![-1_234_500_000_000])
            .with_precision_and_scale(18, 8)
            .unwrap();
        assert_eq!(text_of(weight), "-12345.00000000");
        let at = TimestampNanosecondArray::from(vec![1_569_888_000_120_000_999]);
        assert_eq!(text_of(at.clone()), "2019-10-01 00:00:00.12");
        assert_eq!(
            text_of(at.with_timezone("UTC")),
            "2019-10-01 00:00:00.12+00"
        );
        for (value, text) in [
            (0.1, "0.1"),
            (1e15, "1e+15"),
            (123_456_789.5, "123456789.5"),
            (1.5e-7, "1.5e-07"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (0.0, "0"),
        ] {
            assert_eq!(text_of(Float64Array::from(vec![value])), text);
        }
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None, Some(3)]),
            None,
            Some(vec![]),
        ]);
        assert_eq!(
            texts(Arc::new(list)),
            [Some("{1,NULL,3}".into()), None, Some("{}".into())]
        );
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a \"b\""]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None]));
        let record = StructArray::try_from(vec![("w", words), ("n", numbers)]).unwrap();
        assert_eq!(text_of(record), "(\"a \\\"b\\\"\",)");
    }
}
