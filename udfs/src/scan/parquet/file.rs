//! A Parquet file in an object store, and what its footer says.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataOptions,
    ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{GetOptions, ObjectMeta, ObjectStore};

use super::mapping::Mapping;

/// Read at once of a file's end: most footers are shorter.
const TAIL: u64 = 64 << 10;
/// How the shortest file ends: the footer's length and the magic bytes.
const END: u64 = 8;

/// A file of an object store as the Parquet reader asks for it.
pub(super) struct StoredFile {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    /// As errors call it.
    name: Arc<str>,
}

/// What a file's footer says, and its bytes.
pub(super) struct Footer {
    bytes: Bytes,
    pub(super) metadata: ParquetMetaData,
}

impl StoredFile {
    pub(super) fn new(store: Arc<dyn ObjectStore>, file: ObjectMeta, name: Arc<str>) -> Self {
        Self { store, file, name }
    }

    pub(super) async fn footer(&self) -> Result<Footer> {
        let size = self.file.size;
        let too_short = || damage(&self.name, "it has no footer");
        let mut footer = self.read(size.saturating_sub(TAIL)..size).await?;
        let end = footer.split_off(footer.len().saturating_sub(END as usize));
        let tail = FooterTail::try_from(&end[..]).map_err(|_| too_short())?;
        if tail.is_encrypted_footer() {
            return Err(refusal(
                &self.name,
                "it is encrypted, and keys are not known here; export it without encryption",
            ));
        }
        let length = tail.metadata_length();
        if length > footer.len() {
            let end = size - END;
            let start = end.checked_sub(length as u64).ok_or_else(too_short)?;
            footer = self.read(start..end).await?;
        }
        let bytes = footer.split_off(footer.len() - length);
        let metadata = decode(&bytes, ParquetMetaDataOptions::new())
            .map_err(|error| damage(&self.name, error))?;
        Ok(Footer { bytes, metadata })
    }

    /// The bytes of a range, all of the version that was listed.
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        // A store that tells contents apart only weakly cannot be asked for the same ones.
        let version = self.file.e_tag.clone().filter(|tag| tag.starts_with('"'));
        let options = GetOptions {
            range: Some(range.into()),
            if_match: version,
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.file.location, options).await?;
        Ok(found.bytes().await?)
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = async move {
            let read = self.read(range).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        };
        read.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let metadata = async move {
            let footer = self.footer().await;
            footer
                .map(|footer| Arc::new(footer.metadata))
                .map_err(|error| ParquetError::External(Box::new(error)))
        };
        metadata.boxed()
    }
}

impl Footer {
    /// How many rows the file has.
    pub(super) fn rows(&self, name: &str) -> Result<u64> {
        let groups = self.metadata.row_groups().iter();
        let mut counts = groups.map(|group| u64::try_from(group.num_rows()).ok());
        let rows = counts.try_fold(0_u64, |sum, count| sum.checked_add(count?));
        let said = u64::try_from(self.metadata.file_metadata().num_rows()).ok();
        rows.filter(|_| rows == said)
            .ok_or_else(|| damage(name, "its numbers of rows contradict each other"))
    }

    /// What is to be known of the file to read what is mapped, and that it can be.
    pub(super) fn only(self, mapping: &Mapping, file: &StoredFile) -> Result<ArrowReaderMetadata> {
        let broken = |error: ParquetError| damage(&file.name, error);
        let options = ParquetMetaDataOptions::new().with_schema(Arc::clone(mapping.parquet()));
        let metadata = decode(&self.bytes, options).map_err(broken)?;
        for group in metadata.row_groups() {
            for leaf in mapping.leaves() {
                match group.columns().get(leaf) {
                    Some(chunk) => can_be_read(chunk, file)?,
                    None => return Err(damage(&file.name, "a row group misses a column")),
                }
            }
        }
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(mapping.arrow()));
        ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(broken)
    }
}

/// The metadata in a footer's bytes. Statistics, which nothing here looks at, are passed over.
fn decode(bytes: &[u8], options: ParquetMetaDataOptions) -> ParquetResult<ParquetMetaData> {
    let options = options
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    ParquetMetaDataReader::decode_metadata_with_options(bytes, Some(&options))
}

/// Checks what the library takes for granted of a column's part.
fn can_be_read(chunk: &ColumnChunkMetaData, file: &StoredFile) -> Result<()> {
    let name = &file.name;
    if chunk.file_path().is_some() {
        return Err(refusal(
            name,
            "it only tells of rows in other files; take it away, those are enough",
        ));
    }
    if chunk.compression() == Compression::LZO {
        return Err(refusal(
            name,
            "it is compressed with LZO, which is not read here; export it with snappy, zstd, gzip, lz4 or brotli",
        ));
    }
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let end = start.checked_add(chunk.compressed_size());
    let inside = end.is_some_and(|end| start >= 0 && start <= end && end as u64 <= file.file.size);
    match inside {
        true => Ok(()),
        false => Err(damage(name, "a column lies outside of the file")),
    }
}

/// Tells the error of a file that the library cannot read.
pub(super) fn damaged(name: &Arc<str>) -> impl Fn(ParquetError) -> DataFusionError + Clone + use<> {
    let name = Arc::clone(name);
    move |error| match error {
        // Of the store, not of the file.
        ParquetError::External(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => *error,
            Err(error) => DataFusionError::External(error),
        },
        error => damage(&name, error),
    }
}

/// The error of a damaged file.
pub(super) fn damage(name: &str, why: impl Display) -> DataFusionError {
    DataFusionError::Execution(format!(
        "{name} cannot be read as Parquet ({why}): it is cut off, damaged or encrypted; export it again"
    ))
}

/// The error of a file with fewer or more rows than it says.
pub(super) fn cut_off(name: &str, said: u64, found: u64) -> DataFusionError {
    damage(
        name,
        format_args!("it says that it has {said} rows and has {found}"),
    )
}

/// The error of a file that is not read.
pub(super) fn refusal(name: &str, why: impl Display) -> DataFusionError {
    DataFusionError::Execution(format!("{name}: {why}"))
}
