//! How Parquet files of the warehouse are laid out, whoever writes them.

use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};

/// Rows of a row group: what is held in memory, and the least that a reader's thread takes.
pub const ROW_GROUP_ROWS: usize = 256 * 1024;
/// The form that readers parse versions from; a change of the layout should raise it.
pub const CREATED_BY: &str = "graph-recs version 1";

/// Files of published tables.
pub fn published() -> WriterProperties {
    layout()
        // Every reader of Delta tables has zstd; at this level writing costs little more than lz4.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Page statistics are the page index.
        .set_statistics_enabled(EnabledStatistics::Page)
        // Only the sorted key repeats itself enough for a dictionary to pay.
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("user_id".into(), true)
        .build()
}

/// Files that only later steps of the same run read: written fast rather than small.
pub fn intermediate() -> WriterProperties {
    layout()
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(false)
        .build()
}

fn layout() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
}
