//! How Parquet files of the warehouse are laid out, whoever writes them.

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::parquet::arrow::ArrowSchemaConverter;
use datafusion::parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use datafusion::parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use datafusion::parquet::schema::types::ColumnPath;

/// Rows of a row group: what is held in memory, and the least that a reader's thread takes.
pub const ROW_GROUP_ROWS: usize = 256 * 1024;
/// The form that readers parse versions from; a change of the layout should raise it.
pub const CREATED_BY: &str = "graph-recs version 2";

/// Files of published tables, and of other tables for anybody to read.
///
/// # Errors
/// A schema that Parquet has no types for.
pub fn published(schema: &Schema) -> Result<WriterProperties> {
    let mut properties = layout()
        // Every reader of Delta tables has zstd; at this level writing costs little more than lz4.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None);
    // Page statistics are the page index. Rows are sorted by the first column; of the others every page has the same.
    if let Some(key) = schema.fields().first() {
        let key = ColumnPath::from(key.name().as_str());
        properties = properties.set_column_statistics_enabled(key, EnabledStatistics::Page);
    }
    Ok(packed(properties, schema)?.build())
}

/// Files that only later steps of the same run read: written fast rather than small.
///
/// # Errors
/// A schema that Parquet has no types for.
pub fn intermediate(schema: &Schema) -> Result<WriterProperties> {
    let properties = layout()
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None);
    Ok(packed(properties, schema)?.build())
}

/// Whole numbers, and what Parquet keeps as such (dates, times, decimals of up to 18 digits), as differences of few bits:
/// nearly as small as by zstd, and written and read in a fraction of the time.
fn packed(properties: WriterPropertiesBuilder, schema: &Schema) -> Result<WriterPropertiesBuilder> {
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let numbers = columns.columns().iter().filter(|column| {
        matches!(
            column.physical_type(),
            PhysicalType::INT32 | PhysicalType::INT64
        )
    });
    Ok(numbers.fold(properties, |properties, column| {
        properties
            .set_column_encoding(column.path().clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column.path().clone(), Compression::UNCOMPRESSED)
    }))
}

fn layout() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
}
