//! Cuts a file's bytes, or one range of them, into records.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{Result, exec_err};
use futures::stream::{BoxStream, StreamExt};
use object_store::{ObjectMeta, ObjectStore};

use super::chunks;
use super::columns::Columns;
use super::decode::decode;
use super::format::Format;
use crate::records::{Framing, is_blank, next_record, next_record_at_end};

/// A record longer than this is unreadable; only its beginning goes to the quarantine.
const LONGEST_RECORD: usize = 64 << 20;
const SHOWN_OF_TOO_LONG: usize = 4096;

/// The records that begin in `range` (the whole file without one), in batches.
pub(crate) fn open(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    range: Option<Range<u64>>,
    format: Format,
    columns: Columns,
    batch_size: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let range = range.unwrap_or(0..file.size);
    // A record belongs to the range that holds its first byte. The byte before the range tells whether a record
    // begins with the range or reaches into it.
    let start = range.start.saturating_sub(1);
    let chunks = chunks::read(Arc::clone(&store), &file, start..range.end, file.size);
    let chunks = match format {
        Format::Text => chunks,
        _ => decode(chunks, format, columns.source(), columns.file().to_string()),
    };
    let reader = Reader {
        store,
        file,
        chunks,
        buffer: Bytes::new(),
        position: 0,
        bridged: None,
        offset: start,
        at_end: false,
        end: if format == Format::Text {
            range.end
        } else {
            u64::MAX
        },
        skip: if range.start > 0 {
            Skip::ToFirstRecord
        } else {
            Skip::Nothing
        },
        at_file_start: range.start == 0,
        line: 0,
        first_line: (range.start == 0).then_some(1),
        first_offset: 0,
        columns,
        batch_size,
        done: false,
    };
    futures::stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next_batch().await?.map(|batch| (batch, reader)))
    })
    .boxed()
}

/// As much of a chunk is copied behind the rest of the one before it, so that the record between them is in one piece.
const BRIDGE: usize = 64 << 10;

/// A chunk that is read on its own once the record that began before it is consumed.
struct Bridged {
    chunk: Bytes,
    /// How much of `buffer` comes before it.
    before: usize,
}

/// What is passed over up to the next line end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// The end of a record that began before the range.
    ToFirstRecord,
    /// The rest of a record that is too long.
    RestOfRecord,
}

struct Reader {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    chunks: BoxStream<'static, Result<Bytes>>,
    /// Bytes not yet consumed begin at `position`.
    buffer: Bytes,
    position: usize,
    /// The chunk whose beginning `buffer` holds behind the rest of the one before.
    bridged: Option<Bridged>,
    /// Offset of `buffer[0]` in the file.
    offset: u64,
    at_end: bool,
    /// Records that begin here or later belong to the next range.
    end: u64,
    skip: Skip,
    at_file_start: bool,
    /// Lines of this range read so far.
    line: u64,
    /// The number of the range's first line; counted only when an unreadable record has to tell its line.
    first_line: Option<u64>,
    /// Offset in the file of the range's first record.
    first_offset: u64,
    columns: Columns,
    batch_size: usize,
    done: bool,
}

impl Reader {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.done && self.columns.rows() < self.batch_size {
            if !self.consume() && !self.done {
                self.fill().await?;
            }
        }
        if self.columns.rows() == 0 {
            return Ok(None);
        }
        let first_line = match self.first_line {
            Some(line) => line,
            None if self.columns.needs_lines() => self.count_lines_before().await?,
            None => 0,
        };
        self.columns.finish(first_line).map(Some)
    }

    /// Takes records from the buffer until the batch is full (true) or more bytes are needed or all is read (false).
    fn consume(&mut self) -> bool {
        if self.at_file_start {
            if self.buffer.len() < 3 && !self.at_end {
                return false;
            }
            if self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.position = 3;
            }
            self.at_file_start = false;
        }
        if self.skip != Skip::Nothing {
            match memchr::memchr(b'\n', &self.buffer[self.position..]) {
                Some(newline) => {
                    self.position += newline + 1;
                    match self.skip {
                        Skip::ToFirstRecord => {
                            self.first_offset = self.offset + self.position as u64
                        }
                        Skip::RestOfRecord | Skip::Nothing => self.line += 1,
                    }
                    self.skip = Skip::Nothing;
                }
                None => {
                    self.position = self.buffer.len();
                    self.done = self.at_end;
                    return false;
                }
            }
        }
        let framing = self.columns.framing();
        while self.columns.rows() < self.batch_size {
            let before_end = self.end.saturating_sub(self.offset + self.position as u64);
            if before_end == 0 {
                self.done = true;
                return false;
            }
            let rest = &self.buffer[self.position..];
            let most = self.batch_size - self.columns.rows();
            let before_end = usize::try_from(before_end).unwrap_or(usize::MAX);
            let (length, lines) = self.columns.push_plain(rest, before_end, most);
            if length > 0 {
                self.line += lines;
                self.position += length;
                self.cross_bridge();
                continue;
            }
            let length = match next_record(rest, framing) {
                Some(length) => length,
                None if self.at_end => match next_record_at_end(rest, framing) {
                    Some(length) => length,
                    None => {
                        self.done = true;
                        return false;
                    }
                },
                None if rest.len() > LONGEST_RECORD => {
                    let beginning = &rest[..SHOWN_OF_TOO_LONG];
                    self.columns.push_too_long(beginning, self.line);
                    self.position = self.buffer.len();
                    self.skip = Skip::RestOfRecord;
                    return false;
                }
                None => return false,
            };
            let record = &rest[..length];
            let text = record.strip_suffix(b"\n").unwrap_or(record);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if !is_blank(text) {
                self.columns.push_bytes(text, self.line);
            }
            self.line += match framing {
                Framing::Line => 1,
                Framing::QuotedCsv(_) => memchr::memchr_iter(b'\n', record).count() as u64,
            };
            self.position += length;
            self.cross_bridge();
        }
        true
    }

    /// Goes on in the chunk itself when nothing before it is left.
    fn cross_bridge(&mut self) {
        if let Some(bridged) = self
            .bridged
            .take_if(|bridged| bridged.before <= self.position)
        {
            self.buffer = bridged.chunk;
            self.position -= bridged.before;
            self.offset += bridged.before as u64;
        }
    }

    /// Has more bytes follow those that are not yet consumed.
    async fn fill(&mut self) -> Result<()> {
        let rest = self.buffer.slice(self.position..);
        self.offset += self.position as u64;
        self.position = 0;
        if let Some(Bridged { chunk, before }) = self.bridged.take() {
            // The record is longer than what was copied of the chunk: it takes the whole.
            let copied = self.buffer.len() - before;
            self.buffer = [&rest[..], &chunk[copied..]].concat().into();
            return Ok(());
        }
        self.buffer = match self.chunks.next().await {
            Some(chunk) if rest.is_empty() => chunk?,
            Some(chunk) => {
                let chunk = chunk?;
                let copied = &chunk[..chunk.len().min(BRIDGE)];
                let bridge = [&rest[..], copied].concat();
                let before = rest.len();
                self.bridged = Some(Bridged { chunk, before });
                bridge.into()
            }
            None if self.at_end => {
                return exec_err!("{} was read past its end", self.columns.file());
            }
            None => {
                self.at_end = true;
                rest
            }
        };
        Ok(())
    }

    /// Numbers the first line of this range by counting the line ends before it.
    async fn count_lines_before(&mut self) -> Result<u64> {
        let before = 0..self.first_offset;
        let mut chunks = chunks::read(
            Arc::clone(&self.store),
            &self.file,
            before,
            self.first_offset,
        );
        let mut lines = 1;
        while let Some(chunk) = chunks.next().await {
            lines += memchr::memchr_iter(b'\n', &chunk?).count() as u64;
        }
        self.first_line = Some(lines);
        Ok(lines)
    }
}
