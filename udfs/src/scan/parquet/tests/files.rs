//! Whole files: their parts, and what is wrong with them.

use datafusion::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use datafusion::parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use datafusion::parquet::file::properties::WriterVersion;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Likes 1 to `rows`, the third of which has no user, beside a column that nobody needs.
fn likes(rows: i64) -> Vec<Column<'static>> {
    let ids: Vec<_> = (1..=rows).collect();
    let users = ids.iter().map(|id| (*id != 3).then_some(*id));
    vec![
        ("user_id", Arc::new(Int64Array::from_iter(users))),
        ("rel_type", texts(&vec![Some("like"); ids.len()])),
        ("engaged_with_user_id", numbers(&vec![9; ids.len()])),
        ("message_id", numbers(&ids)),
        ("timestamp", times(ids.len())),
    ]
}

/// The file with other words in its footer.
fn with_footer(
    bytes: &[u8],
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::from(bytes.to_vec()))
        .unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().cloned();
        let columns = columns.map(|column| change(column.into_builder()).build().unwrap());
        let columns = columns.collect();
        group
            .clone()
            .into_builder()
            .set_column_metadata(columns)
            .build()
            .unwrap()
    });
    let metadata: ParquetMetaData = metadata
        .clone()
        .into_builder()
        .set_row_groups(groups.collect())
        .build();
    let mut changed = bytes.to_vec();
    ParquetMetaDataWriter::new(&mut changed, &metadata)
        .finish()
        .unwrap();
    changed
}

#[test]
fn rows_are_numbered_over_row_groups_and_batches() {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .build();
    let bytes = file_with(&likes(7), properties);
    for batch_size in [1, 2, 3, 100] {
        let read = batches(Source::Like, bytes.clone(), batch_size).unwrap();
        let rows: Vec<_> = read.iter().flat_map(shown_rows).collect();
        assert_eq!(rows.len(), 7);
        assert_eq!(rows[2], "3 missing_field ,9,3,1970-01-01T00:00:07");
        assert_eq!(rows[6], "7|9|7|1970-01-01T00:00:11");
    }
}

#[test]
fn all_ways_to_write_a_file() {
    let expected = rows(Source::Like, file(&likes(2000)));
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [true, false] {
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    .set_data_page_row_count_limit(100)
                    .build();
                let bytes = file_with(&likes(2000), properties);
                assert_eq!(
                    rows(Source::Like, bytes),
                    expected,
                    "{compression} {version:?}"
                );
            }
        }
    }
}

/// A file without rows is nothing, whatever its columns.
#[test]
fn no_rows() {
    for columns in [likes(0), vec![("a", numbers(&[]))]] {
        assert_eq!(rows(Source::Like, file(&columns)), [""; 0]);
    }
}

#[test]
fn what_nobody_needs_is_not_read() {
    let mut bytes = file_with(
        &likes(10),
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .build(),
    );
    let expected = rows(Source::Like, bytes.clone());
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::from(bytes.clone()))
        .unwrap();
    let (start, length) = metadata.row_group(0).column(1).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xFF);
    assert_eq!(rows(Source::Like, bytes), expected);
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let bytes = file(&likes(10));
    let change = |change: fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder| {
        with_footer(&bytes, change)
    };
    assert_eq!(
        rows(Source::Like, change(|column| column)),
        rows(Source::Like, bytes.clone())
    );
    for (changed, words) in [
        (
            change(|column| column.set_compression(Compression::LZO)),
            ["LZO", "snappy"],
        ),
        (
            change(|column| column.set_file_path("part-1.parquet".to_string())),
            ["other files", "take it away"],
        ),
        (
            change(|column| {
                column
                    .set_data_page_offset(-5)
                    .set_dictionary_page_offset(None)
            }),
            ["outside", "export it again"],
        ),
        (
            change(|column| column.set_total_compressed_size(-1)),
            ["outside", "export it again"],
        ),
        (
            change(|column| column.set_total_compressed_size(i64::MAX)),
            ["outside", "export it again"],
        ),
    ] {
        refused(Source::Like, changed, &words);
    }
    let mut encrypted = bytes.clone();
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    refused(
        Source::Like,
        encrypted,
        &["encrypted", "without encryption"],
    );
    for length in [0, 3, 8, 12, 100, end - 1] {
        refused(
            Source::Like,
            bytes[..length].to_vec(),
            &["cut off", "export it again"],
        );
    }
    let mut long = bytes.clone();
    long[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(Source::Like, long, &["cut off"]);
}

/// Whatever bytes are wrong, the file is refused or each row that it says to have is read or has a reason.
#[test]
fn damaged_files_never_panic_and_lose_no_row() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let bytes = file(&likes(50));
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..damaged.len());
            damaged[at] = random.random();
        }
        match batches(Source::Like, damaged, 16) {
            Ok(batches) => {
                read += 1;
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(rows, 50);
            }
            Err(error) => {
                refused += 1;
                assert!(error.contains(NAME), "{error}");
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} {refused}");
}
