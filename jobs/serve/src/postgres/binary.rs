//! Arrow's values in PostgreSQL's binary forms.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use pgwire::api::Type;

use super::values::{Column, text};
use crate::describe::{is_list, of_arrow};

/// Days and microseconds from 1970 to 2000, where PostgreSQL's clock begins.
pub const DAYS: i32 = 10_957;
/// The same in microseconds.
pub const MICROS: i64 = DAYS as i64 * 86_400_000_000;

/// Writes a value in binary, without its length.
pub fn write(array: &ArrayRef, row: usize, wire: &Type, out: &mut BytesMut) {
    match array.data_type() {
        DataType::Boolean => out.put_u8(array.as_boolean().value(row).into()),
        DataType::Int16 => out.put_i16(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => out.put_i32(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => out.put_i64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => out.put_f32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let text = Decimal128Type::format_decimal(
                array.as_primitive::<Decimal128Type>().value(row),
                38,
                *scale,
            );
            numeric(&text, out);
        }
        DataType::Decimal256(_, scale) => {
            let text = Decimal256Type::format_decimal(
                array.as_primitive::<Decimal256Type>().value(row),
                76,
                *scale,
            );
            numeric(&text, out);
        }
        DataType::Binary => out.put_slice(array.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            out.put_i32(days.saturating_sub(DAYS));
        }
        DataType::Time64(_) => {
            out.put_i64(array.as_primitive::<Time64MicrosecondType>().value(row));
        }
        DataType::Timestamp(..) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            out.put_i64(micros.saturating_sub(MICROS));
        }
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            out.put_i64(value.nanoseconds / 1000);
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        data_type if is_list(data_type) => {
            let items = array.as_list::<i32>().value(row);
            let item = of_arrow(items.data_type()).wire;
            out.put_i32(i32::from(!items.is_empty()));
            out.put_i32(i32::from(items.null_count() > 0));
            out.put_u32(item.oid());
            if !items.is_empty() {
                out.put_i32(items.len() as i32);
                out.put_i32(1);
            }
            let column = Column {
                array: items,
                wire: item,
                binary: true,
            };
            (0..column.array.len()).for_each(|row| column.write(row, out));
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            out.put_i32(columns.len() as i32);
            for column in columns {
                let wire = of_arrow(column.data_type()).wire;
                out.put_u32(wire.oid());
                let column = Column {
                    array: Arc::clone(column),
                    wire,
                    binary: true,
                };
                column.write(row, out);
            }
        }
        _ if *wire == Type::CHAR => {
            let text = array.as_string::<i32>().value(row);
            out.put_u8(text.bytes().next().unwrap_or_default());
        }
        _ => text(array, row, out),
    }
}

/// A decimal's text in PostgreSQL's digits of base 10,000.
fn numeric(text: &str, out: &mut BytesMut) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let width = whole.len().div_ceil(4) * 4;
    let digits = format!("{whole:0>width$}{fraction}");
    let padded = digits.len().div_ceil(4) * 4;
    let digits = format!("{digits:0<padded$}");
    let mut groups: Vec<u16> = digits
        .as_bytes()
        .chunks(4)
        .map(|group| {
            group
                .iter()
                .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
        })
        .collect();
    let mut weight = (width / 4) as i16 - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_u16(fraction.len() as u16);
    groups.into_iter().for_each(|group| out.put_u16(group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_cut_into_digits_of_four() {
        let written = |text: &str| {
            let mut out = BytesMut::new();
            numeric(text, &mut out);
            out.chunks(2)
                .map(|two| i16::from_be_bytes([two[0], two[1]]))
                .collect::<Vec<_>>()
        };
        assert_eq!(written("0.00000000"), [0, 0, 0, 8]);
        assert_eq!(written("12345.67800000"), [3, 1, 0, 8, 1, 2345, 6780]);
        assert_eq!(written("-0.00012345"), [2, -1, 0x4000, 8, 1, 2345]);
        assert_eq!(written("10000"), [1, 1, 0, 0, 1]);
    }
}
