//! The schema of our own that a Parquet file is read by.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::parquet::basic::{ConvertedType, LogicalType};
use datafusion::parquet::errors::Result;
use datafusion::parquet::schema::types::{Type, TypePtr};

/// A column's type without what the library would make of it: of what is read (`meaning`) only that bytes are text, of all
/// else everything. `None` of a group of nothing.
pub(super) fn bare(given: &TypePtr, meaning: bool) -> Result<Option<TypePtr>> {
    let info = given.get_basic_info();
    let repetition = info.has_repetition().then(|| info.repetition());
    let stripped = match given.as_ref() {
        Type::PrimitiveType { .. } if meaning && !is_text(given) => {
            return Ok(Some(Arc::clone(given)));
        }
        Type::PrimitiveType {
            physical_type,
            type_length,
            ..
        } => {
            let bare = Type::primitive_type_builder(given.name(), *physical_type);
            let bare = bare.with_length(*type_length);
            match repetition {
                Some(repetition) => bare.with_repetition(repetition).build()?,
                None => bare.build()?,
            }
        }
        Type::GroupType { fields, .. } => {
            let mut members = Vec::new();
            for field in fields {
                members.extend(bare(field, meaning)?);
            }
            if members.is_empty() {
                return Ok(None);
            }
            let mut bare = Type::group_type_builder(given.name()).with_fields(members);
            if meaning {
                bare = bare
                    .with_converted_type(info.converted_type())
                    .with_logical_type(info.logical_type_ref().cloned());
            }
            match repetition {
                Some(repetition) => bare.with_repetition(repetition).build()?,
                None => bare.build()?,
            }
        }
    };
    Ok(Some(Arc::new(stripped)))
}

fn is_text(given: &Type) -> bool {
    let info = given.get_basic_info();
    let by_name = matches!(
        info.logical_type_ref(),
        Some(LogicalType::String | LogicalType::Json | LogicalType::Enum)
    );
    by_name
        || matches!(
            info.converted_type(),
            ConvertedType::UTF8 | ConvertedType::JSON | ConvertedType::ENUM
        )
}

/// The name of a type of bytes that are no text.
pub(super) fn strange(given: &TypePtr) -> Option<&'static str> {
    let info = given.get_basic_info();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Uuid), _) => Some("a UUID"),
        (Some(LogicalType::Bson), _) | (_, ConvertedType::BSON) => Some("BSON"),
        (Some(LogicalType::Geometry(_) | LogicalType::Geography(_)), _) => Some("a geometry"),
        (Some(LogicalType::_Unknown { .. }), _) => Some("of a type that is not known here"),
        _ => None,
    }
}

/// The type that values of this one are read as.
pub(super) fn read_as(given: &DataType, is_int96: bool) -> DataType {
    match given {
        DataType::Dictionary(_, values) => read_as(values, is_int96),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => DataType::BinaryView,
        DataType::Timestamp(..) if is_int96 => DataType::Timestamp(TimeUnit::Second, None),
        other => other.clone(),
    }
}
