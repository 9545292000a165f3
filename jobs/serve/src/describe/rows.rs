//! Small tables of mixed columns, row by row.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder,
    ListBuilder, RecordBatch, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{Result, internal_datafusion_err};

use super::types::PG_TYPE;

/// A value.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// A list of numbers.
    Ints(Vec<i64>),
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// A row: what is not named is null.
pub type Row = Vec<(&'static str, Cell)>;

/// Makes a table of `columns`, given as `name type, name type …`; types are PostgreSQL's.
pub fn table(columns: &str, rows: &[Row]) -> Result<Arc<dyn TableProvider>> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for column in columns.split(',') {
        let column = column.trim();
        let (name, kind) = column
            .split_once(' ')
            .ok_or_else(|| internal_datafusion_err!("no type: {column}"))?;
        fields.push(field(name, kind)?);
        arrays.push(array(name, kind, rows)?);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn field(name: &str, kind: &str) -> Result<Field> {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let data_type = match kind {
        "oid" | "int4" => DataType::Int32,
        "int2" => DataType::Int16,
        "int8" => DataType::Int64,
        "bool" => DataType::Boolean,
        "float4" => DataType::Float32,
        "text" | "name" | "char" => DataType::Utf8,
        "int2[]" => list(DataType::Int16),
        "oid[]" => list(DataType::Int32),
        "text[]" => list(DataType::Utf8),
        _ => return Err(internal_datafusion_err!("no such type: {kind}")),
    };
    let metadata = match kind {
        "oid" | "name" | "char" => HashMap::from([(PG_TYPE.to_string(), kind.to_string())]),
        _ => HashMap::new(),
    };
    Ok(Field::new(name, data_type, true).with_metadata(metadata))
}

macro_rules! build {
    ($rows:expr, $name:expr, $builder:expr, $cell:pat => $value:expr) => {{
        let mut builder = $builder;
        for row in $rows {
            match row.iter().find(|(column, _)| *column == $name) {
                Some((_, $cell)) => builder.append_value($value),
                _ => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()) as ArrayRef)
    }};
}

fn array(name: &str, kind: &str, rows: &[Row]) -> Result<ArrayRef> {
    match kind {
        "oid" | "int4" => {
            build!(rows, name, Int32Builder::new(), Cell::Int(value) => *value as i32)
        }
        "int2" => build!(rows, name, Int16Builder::new(), Cell::Int(value) => *value as i16),
        "int8" => build!(rows, name, Int64Builder::new(), Cell::Int(value) => *value),
        "bool" => build!(rows, name, BooleanBuilder::new(), Cell::Bool(value) => *value),
        "float4" => build!(rows, name, Float32Builder::new(), Cell::Int(value) => *value as f32),
        "int2[]" => build!(rows, name, ListBuilder::new(Int16Builder::new()), Cell::Ints(value) =>
            value.iter().map(|item| Some(*item as i16)).collect::<Vec<_>>()),
        "oid[]" => build!(rows, name, ListBuilder::new(Int32Builder::new()), Cell::Ints(value) =>
            value.iter().map(|item| Some(*item as i32)).collect::<Vec<_>>()),
        "text[]" => {
            let mut builder = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|_| builder.append_null());
            Ok(Arc::new(builder.finish()))
        }
        _ => build!(rows, name, StringBuilder::new(), Cell::Text(value) => value),
    }
}
