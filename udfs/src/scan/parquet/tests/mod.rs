//! Files as Parquet's and Arrow's libraries write them, and such as other engines do.

mod files;
mod names;
mod values;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampSecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::data_type::DataType as ParquetType;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;

const NAME: &str = "like/part-0.parquet";

/// A column of a file.
type Column<'a> = (&'a str, ArrayRef);

fn numbers(numbers: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(numbers.to_vec()))
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

/// As many times as there are rows, from 1970-01-01 00:00:05 on.
fn times(rows: usize) -> ArrayRef {
    let seconds = TimestampSecondArray::from_iter_values((0..rows as i64).map(|row| row + 5));
    cast(&seconds, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap()
}

/// The bytes of a file with these columns.
fn file(columns: &[Column<'_>]) -> Vec<u8> {
    file_with(columns, WriterProperties::default())
}

fn file_with(columns: &[Column<'_>], properties: WriterProperties) -> Vec<u8> {
    let fields = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true));
    let arrays = columns
        .iter()
        .map(|(_, values)| Arc::clone(values))
        .collect();
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let batch = RecordBatch::try_new(Arc::new(schema), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// A file of one column that Arrow's library does not write, and of a needed rest.
fn raw_file<T: ParquetType>(
    column: &str,
    name: &str,
    values: &[T::T],
    rest: &[(&str, i64)],
) -> Vec<u8> {
    let rest_types: String = rest
        .iter()
        .map(|(name, _)| format!("required int64 {name};"))
        .collect();
    let schema = format!("message schema {{ required {column} {name}; {rest_types} }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut first = group.next_column().unwrap().unwrap();
    first.typed::<T>().write_batch(values, None, None).unwrap();
    first.close().unwrap();
    for (_, value) in rest {
        let mut column = group.next_column().unwrap().unwrap();
        let values = vec![*value; values.len()];
        let typed = column.typed::<datafusion::parquet::data_type::Int64Type>();
        typed.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// What a scan of the file gives in batches of so many rows.
fn batches(source: Source, bytes: Vec<u8>, batch_size: usize) -> Result<Vec<RecordBatch>, String> {
    let store = Arc::new(InMemory::new());
    let columns = Columns::new(source, source.schema(), NAME.to_string(), None);
    let read = async {
        let location = Path::from("file");
        store
            .put(&location, Bytes::from(bytes).into())
            .await
            .unwrap();
        let file = store.head(&location).await.unwrap();
        let store: Arc<dyn ObjectStore> = store;
        open(store, file, columns, batch_size)
            .await?
            .try_collect::<Vec<_>>()
            .await
    };
    futures::executor::block_on(read).map_err(|error: DataFusionError| error.to_string())
}

/// Each row as its values, or `line reason raw`.
fn rows(source: Source, bytes: Vec<u8>) -> Vec<String> {
    let batches = batches(source, bytes, 1000).unwrap_or_else(|error| panic!("{error}"));
    batches.iter().flat_map(shown_rows).collect()
}

fn shown_rows(batch: &RecordBatch) -> Vec<String> {
    let value =
        |name: &str, row| array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap();
    let row = |row: usize| match value("reason", row) {
        none if none.is_empty() => {
            let typed = batch.num_columns() - 4;
            let values = batch.columns()[..typed].iter();
            let values = values.map(|column| array_value_to_string(column, row).unwrap());
            values.collect::<Vec<_>>().join("|")
        }
        reason => {
            assert_eq!(value("file", row), NAME);
            // A user's id is known even where the rest is not.
            let known = usize::from(batch.column_by_name("suspended").is_some());
            let mut others = known..batch.num_columns() - 4;
            assert!(others.all(|column| batch.column(column).is_null(row)));
            format!("{} {reason} {}", value("line", row), value("raw", row))
        }
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Fails the test unless the file is refused with a message that has all these words and the file's name.
#[track_caller]
fn refused(source: Source, bytes: Vec<u8>, words: &[&str]) {
    let error = batches(source, bytes, 1000).expect_err("it is read");
    for word in words.iter().chain([&NAME]) {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

/// The needed columns of messages from 1 on.
fn messages(rows: usize) -> Vec<Column<'static>> {
    let ids: Vec<_> = (1..=rows as i64).collect();
    vec![
        ("id", numbers(&ids)),
        ("body", texts(&vec![Some("Hi"); rows])),
        ("created_at", times(rows)),
        ("user_id", numbers(&vec![7; rows])),
    ]
}

fn structs(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let (names, arrays): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let types = names.iter().zip(&arrays);
    let types = types
        .map(|(name, values): (_, &ArrayRef)| Field::new(*name, values.data_type().clone(), true));
    let types: Fields = types.collect();
    Arc::new(datafusion::arrow::array::StructArray::new(
        types, arrays, None,
    ))
}
