//! A file's bytes as a stream of chunks.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use futures::stream::{BoxStream, StreamExt};
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore};

/// Asked for at a time: large enough to make requests cheap, small enough to keep many scans in memory.
const CHUNK: u64 = 4 << 20;
/// Read at a time of a local file: what is parsed next is in the caches still, and many scans take little memory.
const LOCAL_CHUNK: u64 = 1 << 20;
/// Read at a time past the end of a range, where only the rest of one record is wanted.
const TAIL_CHUNK: u64 = 64 << 10;
/// Requests under way at once, so that parsing does not wait for the store.
const READ_AHEAD: usize = 2;

/// The bytes of `location` from `range.start` on. They go on past `range.end`, in smaller chunks, to the end of
/// the file: whoever reads a range stops when it has the record that crosses its end. Of a file of another machine all
/// bytes are those of the version that was listed, or reading fails.
pub(crate) fn read(
    store: Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    range: Range<u64>,
    size: u64,
) -> BoxStream<'static, Result<Bytes>> {
    let location = file.location.clone();
    // A store that tells contents apart only weakly cannot be asked for the same ones.
    let version = file.e_tag.clone().filter(|tag| tag.starts_with('"'));
    let pool = Pool::default();
    futures::stream::iter(pieces(range, size))
        .map(move |piece| {
            let (store, location) = (Arc::clone(&store), location.clone());
            let options = GetOptions {
                range: Some(piece.into()),
                if_match: version.clone(),
                ..GetOptions::default()
            };
            async move { parts(store.get_opts(&location, options).await?).await }
        })
        .buffered(READ_AHEAD)
        .flat_map(|parts| match parts {
            Ok(parts) => futures::stream::iter(parts).map(Ok).boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        })
        .map(move |part| {
            let pool = pool.clone();
            async move { part?.bytes(pool).await }
        })
        .buffered(READ_AHEAD)
        .boxed()
}

/// A part of a store's answer.
enum Part {
    Here(Bytes),
    /// A range of a local file.
    Local(Arc<File>, Range<u64>, Arc<PathBuf>),
}

/// The parts of a store's answer.
async fn parts(found: GetResult) -> Result<Vec<Part>> {
    match found.payload {
        GetResultPayload::File(file, path) => {
            let (file, path) = (Arc::new(file), Arc::new(path));
            let end = found.range.end;
            let starts = found.range.step_by(LOCAL_CHUNK as usize);
            let part = |start: u64| {
                let range = start..end.min(start + LOCAL_CHUNK);
                Part::Local(Arc::clone(&file), range, Arc::clone(&path))
            };
            Ok(starts.map(part).collect())
        }
        payload => {
            let found = GetResult { payload, ..found };
            Ok(vec![Part::Here(found.bytes().await?)])
        }
    }
}

impl Part {
    /// Its bytes; those of a local file in memory of the pool.
    async fn bytes(self, pool: Pool) -> Result<Bytes> {
        let (file, range, path) = match self {
            Part::Here(bytes) => return Ok(bytes),
            Part::Local(file, range, path) => (file, range, path),
        };
        let read = move || {
            pool.read(&file, range).map_err(|error| {
                DataFusionError::External(format!("{}: {error}", path.display()).into())
            })
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
    }
}

/// Memory for what is read, used again and again: fresh memory costs more than what it is filled with.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn read(self, file: &File, range: Range<u64>) -> std::io::Result<Bytes> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = free.unwrap_or_default();
        let length = (range.end - range.start) as usize;
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        let read = file.read_exact_at(&mut bytes[..length], range.start);
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                std::io::Error::new(error.kind(), "the file became shorter while it was read")
            }
            _ => error,
        })?;
        Ok(Bytes::from_owner(Lent {
            bytes,
            length,
            pool: self,
        }))
    }
}

/// Memory that goes back to its pool.
struct Lent {
    bytes: Vec<u8>,
    /// How much of it was read.
    length: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let pool = &self.pool.0;
        pool.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

/// Consecutive byte ranges from `range.start` to `size`.
fn pieces(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        if next >= size {
            return None;
        }
        let start = next;
        next = if start < range.end {
            (start + CHUNK).min(range.end)
        } else {
            start + TAIL_CHUNK
        }
        .min(size);
        Some(start..next)
    })
}
