//! Writing what a plan gives: one file of sorted rows, or one file with a run of row groups a bucket of users.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use datafusion::arrow::compute::kernels::interleave::interleave_record_batch;
use datafusion::arrow::compute::{BatchCoalescer, cast, filter_record_batch, is_not_null, is_null};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use futures::StreamExt;
use graph_recs_udfs::text::shown;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::table::PieceFile;
use super::{Form, bucket_of};
use crate::parquet;

/// Rows handed to the Parquet writer at once.
const CHUNK_ROWS: usize = 8192;
/// Bytes of rows that are collected before they are written bucket by bucket.
const ROUND_BYTES: usize = 192 << 20;

/// What a job wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The file's path in its store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of all its rows.
    pub digest: Digest,
    /// By bucket, when it is divided among buckets; buckets without rows are left out.
    pub segments: Vec<Segment>,
    /// The records that could not be read, when it is made of raw records.
    pub unreadable: Option<Unreadable>,
}

/// One bucket's rows in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The bucket.
    pub bucket: u32,
    /// The byte ranges in which its row groups begin.
    pub ranges: Vec<(u64, u64)>,
    /// Of its rows.
    pub digest: Digest,
}

/// Records that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The file with source, file, line, reason, raw, and the user_id where it could be read.
    pub file: PieceFile,
    /// How many, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first of them, for a message.
    pub first: String,
}

impl Written {
    /// The piece's file for a scan of all of it.
    pub fn file(&self) -> PieceFile {
        PieceFile {
            path: self.path.clone(),
            size: self.size,
            range: None,
        }
    }

    /// The ranges of one bucket.
    pub fn bucket(&self, bucket: u32) -> impl Iterator<Item = PieceFile> {
        let segments = self.segments.iter();
        segments
            .filter(move |segment| segment.bucket == bucket)
            .flat_map(|segment| &segment.ranges)
            .map(|range| PieceFile {
                range: Some(*range),
                ..self.file()
            })
    }
}

/// Writes rows, which must come in the order of their first column user_id, as one file.
pub(super) async fn write_file(
    store: Arc<dyn ObjectStore>,
    path: &Path,
    form: Form,
    mut rows: SendableRecordBatchStream,
) -> Result<Written> {
    let schema = match form {
        // A published column is never null: the writer refuses a null.
        Form::Published => without_nulls(&rows.schema()),
        Form::Intermediate | Form::Unordered | Form::Scores => rows.schema(),
    };
    let mut digest = Digest::default();
    let mut last_user = i32::MIN;
    let mut sink = Sink::open(Arc::clone(&store), path, form, &schema)?;
    let mut chunks = BatchCoalescer::new(Arc::clone(&schema), CHUNK_ROWS);
    while let Some(batch) = rows.next().await {
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?;
        digest.add(&batch)?;
        if form != Form::Unordered {
            last_user = in_order(last_user, &batch)?;
        }
        chunks.push_batch(batch)?;
        while let Some(chunk) = chunks.next_completed_batch() {
            sink.write(&chunk).await?;
        }
    }
    chunks.finish_buffered_batch()?;
    while let Some(chunk) = chunks.next_completed_batch() {
        sink.write(&chunk).await?;
    }
    let size = sink.finish().await?;
    Ok(Written {
        path: path.to_string(),
        size,
        digest,
        segments: Vec::new(),
        unreadable: None,
    })
}

/// A file being written.
enum Sink {
    Parquet(Box<AsyncArrowWriter<BufWriter>>),
    /// `user_id,pred` with six decimals, kept until the end: a few bytes a user.
    Scores(Arc<dyn ObjectStore>, Path, String),
}

impl Sink {
    fn open(
        store: Arc<dyn ObjectStore>,
        path: &Path,
        form: Form,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let properties = match form {
            Form::Scores => {
                return Ok(Sink::Scores(store, path.clone(), "user_id,pred\n".into()));
            }
            Form::Published => parquet::published(schema)?,
            Form::Intermediate | Form::Unordered => parquet::intermediate(schema)?,
        };
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(form == Form::Published);
        let upload = BufWriter::new(store, path.clone());
        let writer = AsyncArrowWriter::try_new_with_options(upload, Arc::clone(schema), options)?;
        Ok(Sink::Parquet(Box::new(writer)))
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Sink::Parquet(writer) => Ok(writer.write(batch).await?),
            Sink::Scores(_, _, text) => {
                use std::fmt::Write;
                let (users, preds) = (batch.column(0), batch.column(1));
                let (Some(users), Some(preds)) = (
                    users.as_primitive_opt::<Int32Type>(),
                    preds.as_primitive_opt::<Int32Type>(),
                ) else {
                    return exec_err!("scores need user_id and pred as integers");
                };
                for (user, pred) in users.values().iter().zip(preds.values()) {
                    writeln!(text, "{user},{}.{:06}", pred / 1_000_000, pred % 1_000_000)
                        .map_err(|error| DataFusionError::External(Box::new(error)))?;
                }
                Ok(())
            }
        }
    }

    async fn finish(self) -> Result<u64> {
        match self {
            Sink::Parquet(mut writer) => {
                writer.finish().await?;
                Ok(writer.bytes_written() as u64)
            }
            Sink::Scores(store, path, text) => {
                let size = text.len() as u64;
                store
                    .put(&path, PutPayload::from(text.into_bytes()))
                    .await?;
                Ok(size)
            }
        }
    }
}

/// Writes raw records by bucket of their user: the readable ones' typed columns to `path`, the others, if there are
/// any, to `quarantine`.
pub(super) async fn write_buckets(
    store: Arc<dyn ObjectStore>,
    path: &Path,
    quarantine: &Path,
    source: &str,
    buckets: u32,
    mut rows: SendableRecordBatchStream,
) -> Result<Written> {
    let all = rows.schema();
    let typed: Vec<usize> = (0..all.fields().len())
        .filter(|column| {
            !["reason", "file", "line", "raw"].contains(&all.field(*column).name().as_str())
        })
        .collect();
    let schema: SchemaRef = Arc::new(all.project(&typed)?);
    let options = ArrowWriterOptions::new().with_properties(parquet::intermediate(&schema)?);
    let upload = BufWriter::new(Arc::clone(&store), path.clone());
    let mut writer = AsyncArrowWriter::try_new_with_options(upload, Arc::clone(&schema), options)?;
    let mut written = Buckets::new(buckets);
    let mut refused = Refused::default();
    let (mut held, mut held_bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let reasons = batch
            .column_by_name("reason")
            .ok_or_else(|| exec_datafusion_err!("raw records without a reason"))?;
        let readable = if reasons.null_count() == reasons.len() {
            batch
        } else {
            refused.push(
                source,
                &filter_record_batch(&batch, &is_not_null(reasons)?)?,
            )?;
            filter_record_batch(&batch, &is_null(reasons)?)?
        };
        let readable = readable.project(&typed)?;
        held_bytes += readable.get_array_memory_size();
        held.push(readable);
        if held_bytes >= ROUND_BYTES {
            written.round(&mut writer, &held).await?;
            held.clear();
            held_bytes = 0;
        }
    }
    written.round(&mut writer, &held).await?;
    let metadata = writer.finish().await?;
    let starts = metadata.row_groups().iter().map(|group| {
        let first = group.column(0);
        let start = first
            .dictionary_page_offset()
            .unwrap_or(first.data_page_offset());
        start as u64
    });
    let size = writer.bytes_written() as u64;
    let segments = written.segments(starts.collect(), size)?;
    let mut digest = Digest::default();
    for segment in &segments {
        digest.merge(&segment.digest);
    }
    Ok(Written {
        path: path.to_string(),
        size,
        digest,
        segments,
        unreadable: refused.write(store, quarantine).await?,
    })
}

/// Which row groups of a file belong to which bucket.
struct Buckets {
    buckets: u32,
    /// The bucket of each row group, in the file's order.
    groups: Vec<u32>,
    digests: BTreeMap<u32, Digest>,
}

impl Buckets {
    fn new(buckets: u32) -> Self {
        Self {
            buckets,
            groups: Vec::new(),
            digests: BTreeMap::new(),
        }
    }

    /// Writes the rows of `held`, bucket by bucket, each bucket beginning a row group of its own.
    async fn round(
        &mut self,
        writer: &mut AsyncArrowWriter<BufWriter>,
        held: &[RecordBatch],
    ) -> Result<()> {
        let mut rows: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.buckets as usize];
        for (index, batch) in held.iter().enumerate() {
            let users = users_of(batch)?;
            for (row, user) in users.values().iter().enumerate() {
                if let Some(rows) = rows.get_mut(bucket_of(*user, self.buckets) as usize) {
                    rows.push((index, row));
                }
            }
        }
        let held: Vec<&RecordBatch> = held.iter().collect();
        for (bucket, rows) in rows.iter().enumerate() {
            let bucket = bucket as u32;
            // One row group at a time, closed here: it must not mix buckets.
            for group in rows.chunks(parquet::ROW_GROUP_ROWS) {
                for chunk in group.chunks(CHUNK_ROWS) {
                    let batch = interleave_record_batch(&held, chunk)?;
                    self.digests.entry(bucket).or_default().add(&batch)?;
                    writer.write(&batch).await?;
                }
                writer.flush().await?;
                self.groups.push(bucket);
            }
        }
        Ok(())
    }

    /// The segments, given where each row group begins.
    fn segments(self, starts: Vec<u64>, size: u64) -> Result<Vec<Segment>> {
        if starts.len() != self.groups.len() {
            return exec_err!(
                "{} row groups instead of {}",
                starts.len(),
                self.groups.len()
            );
        }
        let ends = starts.iter().skip(1).copied().chain([size]);
        let mut ranges: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for ((bucket, start), end) in self.groups.iter().zip(&starts).zip(ends) {
            let ranges = ranges.entry(*bucket).or_default();
            match ranges.last_mut() {
                Some(last) if last.1 == *start => last.1 = end,
                _ => ranges.push((*start, end)),
            }
        }
        let mut digests = self.digests;
        let segments = ranges.into_iter().map(|(bucket, ranges)| Segment {
            bucket,
            ranges,
            digest: digests.remove(&bucket).unwrap_or_default(),
        });
        Ok(segments.collect())
    }
}

/// Unreadable records on their way to the quarantine.
#[derive(Default)]
struct Refused {
    batches: Vec<RecordBatch>,
    reasons: BTreeMap<String, u64>,
    first: Option<String>,
}

impl Refused {
    fn push(&mut self, source: &str, records: &RecordBatch) -> Result<()> {
        let text = |name: &str| -> Result<StringArray> {
            let column = records
                .column_by_name(name)
                .ok_or_else(|| exec_datafusion_err!("raw records without {name}"))?;
            Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let (reasons, files, raws) = (text("reason")?, text("file")?, text("raw")?);
        let lines = records
            .column_by_name("line")
            .ok_or_else(|| exec_datafusion_err!("raw records without line"))?;
        // A user's id that can be read: whoever it is counts as suspended.
        let users = match records.column_by_name("user_id") {
            Some(users) => Arc::clone(users),
            None => new_null_array(&DataType::Int32, records.num_rows()),
        };
        for reason in reasons.iter().flatten() {
            *self.reasons.entry(reason.to_string()).or_default() += 1;
        }
        if self.first.is_none() && !reasons.is_empty() {
            let line = lines.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
            self.first = Some(format!(
                "{} line {}: {}: {:.200}",
                shown(files.value(0)),
                line.value(0),
                reasons.value(0),
                shown(raws.value(0))
            ));
        }
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let schema = Schema::new(vec![
            text("source"),
            text("file"),
            Field::new("line", DataType::Int64, false),
            text("reason"),
            text("raw"),
            Field::new("user_id", DataType::Int32, true),
        ]);
        let sources =
            StringArray::from_iter_values(std::iter::repeat_n(source, records.num_rows()));
        self.batches.push(RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(sources),
                Arc::new(files),
                Arc::clone(lines),
                Arc::new(reasons),
                Arc::new(raws),
                users,
            ],
        )?);
        Ok(())
    }

    async fn write(self, store: Arc<dyn ObjectStore>, path: &Path) -> Result<Option<Unreadable>> {
        let Some(first) = self.batches.first() else {
            return Ok(None);
        };
        let mut sink = Sink::open(store, path, Form::Unordered, &first.schema())?;
        for batch in &self.batches {
            sink.write(batch).await?;
        }
        Ok(Some(Unreadable {
            file: PieceFile {
                path: path.to_string(),
                size: sink.finish().await?,
                range: None,
            },
            reasons: self.reasons,
            first: self.first.unwrap_or_default(),
        }))
    }
}

fn users_of(batch: &RecordBatch) -> Result<&Int32Array> {
    batch
        .column_by_name("user_id")
        .and_then(|users| users.as_primitive_opt::<Int32Type>())
        .ok_or_else(|| exec_datafusion_err!("rows without an integer user_id"))
}

/// Refuses rows that do not come by user: the readers of the file count on it.
fn in_order(mut last: i32, batch: &RecordBatch) -> Result<i32> {
    for user in users_of(batch)?.values() {
        if *user < last {
            return exec_err!("rows out of order: user {user} after {last}");
        }
        last = *user;
    }
    Ok(last)
}

fn without_nulls(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
