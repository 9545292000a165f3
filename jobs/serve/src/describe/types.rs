//! Arrow's types as PostgreSQL's.

use datafusion::arrow::datatypes::{DataType, Field};
use pgwire::api::Type;

/// Key of a field's metadata that names its PostgreSQL type, where Arrow's does not say enough.
pub const PG_TYPE: &str = "pg_type";

/// A type as clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgType {
    /// The type on the wire.
    pub wire: Type,
    /// Precision and scale of decimals, -1 for others.
    pub modifier: i32,
}

/// The type of a column.
pub fn type_of(field: &Field) -> PgType {
    let named = field.metadata().get(PG_TYPE).map(String::as_str);
    let wire = match named {
        Some("oid") => Type::OID,
        Some("name") => Type::NAME,
        Some("char") => Type::CHAR,
        _ => return of_arrow(field.data_type()),
    };
    PgType { wire, modifier: -1 }
}

/// The type of values; lists of lists and maps are JSON.
pub fn of_arrow(data_type: &DataType) -> PgType {
    let modifier = match data_type {
        // As in pg_attribute.atttypmod: precision and scale beside each other, and four.
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            (i32::from(*precision) << 16 | (i32::from(*scale) & 0x7ff)) + 4
        }
        _ => -1,
    };
    PgType {
        wire: wire(data_type),
        modifier,
    }
}

fn wire(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Dictionary(_, value) => wire(value),
        DataType::RunEndEncoded(_, values) => wire(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => match array_of(&wire(item.data_type())) {
            Some(array) if !is_list(item.data_type()) => array,
            _ => Type::JSON,
        },
        DataType::Struct(_) => Type::RECORD,
        DataType::Map(..) | DataType::Union(..) => Type::JSON,
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::TEXT,
    }
}

/// Whether values are lists.
pub fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..)
    )
}

fn array_of(item: &Type) -> Option<Type> {
    TYPES
        .iter()
        .find(|(wire, ..)| wire == item)
        .map(|(_, array, ..)| array.clone())
}

/// Each type: its array type, PostgreSQL's name of it in SQL, its length in bytes, and its category.
pub const TYPES: [(Type, Type, &str, i16, &str); 21] = [
    (Type::BOOL, Type::BOOL_ARRAY, "boolean", 1, "B"),
    (Type::BYTEA, Type::BYTEA_ARRAY, "bytea", -1, "U"),
    (Type::CHAR, Type::CHAR_ARRAY, "\"char\"", 1, "Z"),
    (Type::NAME, Type::NAME_ARRAY, "name", 64, "S"),
    (Type::INT8, Type::INT8_ARRAY, "bigint", 8, "N"),
    (Type::INT2, Type::INT2_ARRAY, "smallint", 2, "N"),
    (Type::INT4, Type::INT4_ARRAY, "integer", 4, "N"),
    (Type::TEXT, Type::TEXT_ARRAY, "text", -1, "S"),
    (Type::OID, Type::OID_ARRAY, "oid", 4, "N"),
    (Type::JSON, Type::JSON_ARRAY, "json", -1, "U"),
    (Type::FLOAT4, Type::FLOAT4_ARRAY, "real", 4, "N"),
    (Type::FLOAT8, Type::FLOAT8_ARRAY, "double precision", 8, "N"),
    (
        Type::VARCHAR,
        Type::VARCHAR_ARRAY,
        "character varying",
        -1,
        "S",
    ),
    (Type::DATE, Type::DATE_ARRAY, "date", 4, "D"),
    (
        Type::TIME,
        Type::TIME_ARRAY,
        "time without time zone",
        8,
        "D",
    ),
    (
        Type::TIMESTAMP,
        Type::TIMESTAMP_ARRAY,
        "timestamp without time zone",
        8,
        "D",
    ),
    (
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ_ARRAY,
        "timestamp with time zone",
        8,
        "D",
    ),
    (Type::INTERVAL, Type::INTERVAL_ARRAY, "interval", 16, "T"),
    (Type::NUMERIC, Type::NUMERIC_ARRAY, "numeric", -1, "N"),
    (Type::UUID, Type::UUID_ARRAY, "uuid", 16, "U"),
    (Type::RECORD, Type::RECORD_ARRAY, "record", -1, "P"),
];

/// Length of a type's values, as in pg_type.typlen.
pub fn length(wire: &Type) -> i16 {
    let known = TYPES.iter().find(|(known, ..)| known == wire);
    known.map_or(-1, |(_, _, _, length, _)| *length)
}

/// PostgreSQL's name of a type, as `format_type` gives it.
pub fn type_name(oid: i64, modifier: i64) -> Option<String> {
    let has_oid = |wire: &Type| i64::from(wire.oid()) == oid;
    for (wire, array, name, ..) in &TYPES {
        if has_oid(array) {
            return Some(format!("{name}[]"));
        }
        if has_oid(wire) {
            let digits = modifier - 4;
            return Some(match *wire == Type::NUMERIC && digits >= 0 {
                true => format!("numeric({},{})", digits >> 16, digits & 0x7ff),
                false => (*name).to_string(),
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let weight = of_arrow(&DataType::Decimal128(18, 8));
        assert_eq!(weight.wire, Type::NUMERIC);
        assert_eq!(
            type_name(1700, weight.modifier.into()).as_deref(),
            Some("numeric(18,8)")
        );
        assert_eq!(type_name(1700, -1).as_deref(), Some("numeric"));
        assert_eq!(type_name(1016, -1).as_deref(), Some("bigint[]"));
        assert_eq!(type_name(4711, -1), None);
    }
}
