//! Values that clients bind to parameters.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::binary::{DAYS, MICROS};
use crate::refusal::{Kind, Refusal};

/// A parameter's value; `wire` is the type that the client says, or that it was told.
///
/// # Errors
/// [`Kind::Data`] when the bytes are not of the type, [`Kind::Unsupported`] for types not known.
pub fn value(bytes: Option<&Bytes>, wire: &Type, binary: bool) -> Result<ScalarValue, Refusal> {
    let Some(bytes) = bytes else {
        return Ok(ScalarValue::Null);
    };
    if binary {
        from_binary(bytes, wire)
    } else {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::new(Kind::Data, "a parameter is not UTF-8"))?;
        from_text(text, wire)
    }
}

fn data_type(wire: &Type) -> Option<DataType> {
    use datafusion::arrow::datatypes::TimeUnit::Microsecond;
    Some(match *wire {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(Microsecond, Some("UTC".into())),
        _ => return None,
    })
}

fn from_text(text: &str, wire: &Type) -> Result<ScalarValue, Refusal> {
    let wrong = || Refusal::new(Kind::Data, format!("{text:?} is no {}", wire.name()));
    if *wire == Type::NUMERIC {
        return decimal(text).ok_or_else(wrong);
    }
    if let Some(item) = item_of(wire) {
        let items = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let items = items.ok_or_else(wrong)?;
        let items = items.split(',').filter(|_| !items.is_empty());
        let items: Vec<ScalarValue> = items
            .map(|text| match text.trim() {
                "NULL" => ScalarValue::try_from(&list_item(&item)).map_err(Refusal::from),
                text => from_text(text.trim_matches('"'), &item),
            })
            .collect::<Result<_, _>>()?;
        return Ok(list(&items, &item));
    }
    let value = ScalarValue::from(text);
    match data_type(wire) {
        Some(to) => value.cast_to(&to).map_err(|_| wrong()).and_then(|value| {
            // A text that cannot be read becomes null.
            if value.is_null() {
                Err(wrong())
            } else {
                Ok(value)
            }
        }),
        None => Ok(value),
    }
}

fn decimal(text: &str) -> Option<ScalarValue> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let scale = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let sign = if text.trim_start().starts_with('-') {
        -1
    } else {
        1
    };
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    if !text.trim().chars().all(plain) || digits.len() > 38 {
        return ScalarValue::from(text)
            .cast_to(&DataType::Float64)
            .ok()
            .filter(|v| !v.is_null());
    }
    let value: i128 = digits.parse().ok()?;
    Some(ScalarValue::Decimal128(
        Some(sign * value),
        38,
        i8::try_from(scale).ok()?,
    ))
}

fn item_of(wire: &Type) -> Option<Type> {
    Some(match *wire {
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => Type::TEXT,
        _ => return None,
    })
}

fn list_item(item: &Type) -> DataType {
    data_type(item).unwrap_or(DataType::Utf8)
}

fn list(items: &[ScalarValue], item: &Type) -> ScalarValue {
    let list = ScalarValue::new_list_nullable(items, &list_item(item));
    ScalarValue::List(Arc::clone(&list))
}

fn from_binary(bytes: &Bytes, wire: &Type) -> Result<ScalarValue, Refusal> {
    let mut rest = bytes.clone();
    let short = || Refusal::new(Kind::Data, format!("too few bytes for {}", wire.name()));
    if let Some(item) = item_of(wire) {
        let dimensions = rest.try_get_i32().map_err(|_| short())?;
        let _has_nulls = rest.try_get_i32().map_err(|_| short())?;
        let _item = rest.try_get_u32().map_err(|_| short())?;
        if dimensions > 1 {
            return Err(Refusal::new(
                Kind::Unsupported,
                "arrays of arrays as parameters",
            ));
        }
        let mut items = Vec::new();
        if dimensions == 1 {
            let count = rest.try_get_i32().map_err(|_| short())?;
            let _first = rest.try_get_i32().map_err(|_| short())?;
            for _ in 0..count {
                let length = rest.try_get_i32().map_err(|_| short())?;
                let bytes = usize::try_from(length).ok();
                if bytes.is_some_and(|bytes| bytes > rest.len()) {
                    return Err(short());
                }
                items.push(match bytes {
                    Some(bytes) => from_binary(&rest.split_to(bytes), &item)?,
                    None => ScalarValue::try_from(&list_item(&item))?,
                });
            }
        }
        return Ok(list(&items, &item));
    }
    let read = || -> Result<Option<ScalarValue>, bytes::TryGetError> {
        let mut rest = bytes.clone();
        Ok(Some(match *wire {
            Type::BOOL => ScalarValue::from(rest.try_get_u8()? != 0),
            Type::INT2 => ScalarValue::from(rest.try_get_i16()?),
            Type::INT4 | Type::OID => ScalarValue::from(rest.try_get_i32()?),
            Type::INT8 => ScalarValue::from(rest.try_get_i64()?),
            Type::FLOAT4 => ScalarValue::from(rest.try_get_f32()?),
            Type::FLOAT8 => ScalarValue::from(rest.try_get_f64()?),
            Type::DATE => ScalarValue::Date32(Some(rest.try_get_i32()?.saturating_add(DAYS))),
            Type::TIME => ScalarValue::Time64Microsecond(Some(rest.try_get_i64()?)),
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                let zone = (*wire == Type::TIMESTAMPTZ).then(|| "UTC".into());
                let micros = rest.try_get_i64()?.saturating_add(MICROS);
                ScalarValue::TimestampMicrosecond(Some(micros), zone)
            }
            Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
            Type::NUMERIC => {
                let groups = rest.try_get_i16()?;
                let weight = rest.try_get_i16()?;
                let sign = rest.try_get_u16()?;
                let scale = rest.try_get_u16()?;
                let mut value = 0_i128;
                for _ in 0..groups {
                    let group = i128::from(rest.try_get_i16()?);
                    value = value.saturating_mul(10_000).saturating_add(group);
                }
                // The last group stands for 10,000 ^ (weight - groups + 1).
                let power = 4 * (i32::from(weight) - i32::from(groups) + 1) + i32::from(scale);
                let ten = 10_i128.saturating_pow(power.unsigned_abs().min(60));
                let value = if power >= 0 {
                    value.saturating_mul(ten)
                } else {
                    value / ten
                };
                let value = if sign == 0x4000 { -value } else { value };
                ScalarValue::Decimal128(Some(value), 38, i8::try_from(scale).unwrap_or(38))
            }
            _ => return Ok(None),
        }))
    };
    match read() {
        Err(_) => Err(short()),
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            const TEXTS: [Type; 6] = [
                Type::TEXT,
                Type::VARCHAR,
                Type::BPCHAR,
                Type::NAME,
                Type::UNKNOWN,
                Type::JSON,
            ];
            match (TEXTS.contains(wire), std::str::from_utf8(bytes)) {
                (true, Ok(text)) => Ok(ScalarValue::from(text)),
                _ => {
                    let text = format!("parameters of type {} in binary", wire.name());
                    Err(Refusal::new(Kind::Unsupported, text))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_texts_and_binaries() {
        let text = |text: &'static str, wire| value(Some(&Bytes::from(text)), &wire, false);
        assert_eq!(text("7", Type::INT4), Ok(ScalarValue::from(7)));
        assert_eq!(text("t", Type::BOOL), Ok(ScalarValue::from(true)));
        assert_eq!(text("x", Type::UNKNOWN), Ok(ScalarValue::from("x")));
        assert_eq!(
            text("-1.50", Type::NUMERIC),
            Ok(ScalarValue::Decimal128(Some(-150), 38, 2))
        );
        assert!(text("seven", Type::INT4).is_err());
        let list = text("{1,2}", Type::INT4_ARRAY).unwrap();
        assert_eq!(list.to_string(), "[1, 2]");
        let binary = |bytes: &'static [u8], wire| value(Some(&Bytes::from(bytes)), &wire, true);
        assert_eq!(binary(&[0, 0, 0, 7], Type::INT4), Ok(ScalarValue::from(7)));
        assert!(binary(&[0, 0, 7], Type::INT4).is_err());
        // 12345.678: groups 1, 2345, 6780, weight 1, scale 3.
        let numeric: &[u8] = &[0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124];
        assert_eq!(
            binary(numeric, Type::NUMERIC),
            Ok(ScalarValue::Decimal128(Some(12_345_678), 38, 3))
        );
        assert_eq!(value(None, &Type::INT4, true), Ok(ScalarValue::Null));
    }
}
