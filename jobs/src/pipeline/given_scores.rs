//! Reputation scores from a file, given instead of those of the model.

mod rows;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::prelude::SessionContext;
use flate2::write::MultiGzDecoder;
use futures::TryStreamExt;
use graph_recs_udfs::stores::{self, StoreError};
use graph_recs_udfs::text::shown;
use object_store::ObjectStoreExt;
use url::Url;

use rows::Rows;

/// Bytes that tell what a file is.
const FIRST: usize = 8;
/// Bytes read at once.
const READ: usize = 1 << 20;
/// What the first bytes of files say that are neither text nor unpacked here.
const FOREIGN: [(&[u8], &str); 7] = [
    (b"PAR1", "Parquet"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// A CSV file with the header `user_id,pred` and a row a user, plain, gzip or zstd, on disk, from a pipe, or in an object
/// store. It is read once, whole.
#[derive(Clone, Debug)]
pub(super) struct GivenScores {
    scores: RecordBatch,
    hash: String,
}

impl GivenScores {
    /// Reads the file.
    ///
    /// # Errors
    /// Naming the file, and of what is not as it should be the line and what stands there.
    pub(super) async fn open(location: &str) -> Result<Self> {
        let read = match stores::is_remote(location) {
            true => of_store(location).await,
            false => of_disk(location).await,
        };
        read.with_context(|| format!("--reputation-scores {}", shown(location)))
    }

    /// Of the file's bytes, unpacked: packed otherwise, the scores are the same.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Makes them table `given_scores`: user_id, pred; one row a user.
    pub(super) async fn register(&self, context: &SessionContext) -> Result<()> {
        let rows = vec![vec![self.scores.clone()]];
        let table = MemTable::try_new(self.scores.schema(), rows)?;
        context.register_table("given_scores", Arc::new(table))?;
        Ok(())
    }
}

/// Reads from an object store.
async fn of_store(location: &str) -> Result<GivenScores> {
    let (store, path) = stores::open(&Url::parse(location)?)?;
    let mut bytes = store.get(&path).await?.into_stream();
    let mut reading = Reading::default();
    while let Some(chunk) = bytes.try_next().await? {
        reading.write_all(&chunk)?;
    }
    reading.end()
}

/// Reads a file, or a pipe: that only once a process, whoever asks again.
async fn of_disk(location: &str) -> Result<GivenScores> {
    static PIPES: Mutex<Vec<(String, GivenScores)>> = Mutex::new(Vec::new());
    let pipes = || PIPES.lock().unwrap_or_else(PoisonError::into_inner);
    let path = stores::local_path(location)?;
    let is_pipe = stores::is_pipe(&path);
    if is_pipe && let Some((_, read)) = pipes().iter().find(|(known, _)| known == location) {
        return Ok(read.clone());
    }
    let scores = tokio::task::spawn_blocking(move || read_file(&path)).await??;
    if is_pipe {
        pipes().push((location.to_owned(), scores.clone()));
    }
    Ok(scores)
}

fn read_file(path: &Path) -> Result<GivenScores> {
    let cannot = |source| StoreError::Local {
        path: path.display().to_string(),
        source,
    };
    let mut file = File::open(path).map_err(cannot)?;
    let before = file.metadata().map_err(cannot)?;
    if before.is_dir() {
        bail!("it is a folder; give a file");
    }
    let mut reading = Reading::default();
    let mut buffer = vec![0; READ];
    loop {
        let length = file.read(&mut buffer).map_err(cannot)?;
        let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        reading.write_all(chunk)?;
    }
    let after = file.metadata().map_err(cannot)?;
    let times = (before.modified().ok(), after.modified().ok());
    if before.is_file() && (before.len() != after.len() || times.0 != times.1) {
        bail!("it was changed while it was read; start again when its writer is done");
    }
    reading.end()
}

/// A file on its way in: what its first bytes say it is, and the scores that it held so far.
#[derive(Default)]
struct Reading {
    first: Vec<u8>,
    form: Option<Form>,
}

impl Reading {
    fn form(&mut self) -> io::Result<&mut Form> {
        match &mut self.form {
            Some(form) => Ok(form),
            empty => {
                let form = empty.insert(Form::of(&self.first)?);
                form.out().write_all(&self.first)?;
                Ok(form)
            }
        }
    }

    fn end(mut self) -> Result<GivenScores> {
        self.form()?;
        let Some(form) = self.form else {
            bail!("nothing was read");
        };
        let (scores, hash) = form.end()?.end()?;
        Ok(GivenScores { scores, hash })
    }
}

impl Write for Reading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.form.is_none() {
            self.first.extend_from_slice(bytes);
            if self.first.len() >= FIRST {
                self.form()?;
            }
            return Ok(bytes.len());
        }
        self.form()?.out().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a file turned out to be.
enum Form {
    Plain(Rows),
    Gzip(Box<MultiGzDecoder<Rows>>),
    Zstd(zstd::stream::write::Decoder<'static, Rows>),
}

impl Form {
    fn of(first: &[u8]) -> io::Result<Self> {
        if let Some((_, name)) = FOREIGN.iter().find(|(magic, _)| first.starts_with(magic)) {
            return Err(refused(format!(
                "it is {name}, which is not read here: give it as CSV, plain, gzip or zstd"
            )));
        }
        let rows = Rows::default();
        Ok(match first {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(rows))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd(zstd::stream::write::Decoder::new(rows)?),
            _ => Self::Plain(rows),
        })
    }

    fn out(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(rows) => rows,
            Self::Gzip(packed) => packed,
            Self::Zstd(packed) => packed,
        }
    }

    /// What was read, when the file ends here; an error when it is cut off.
    fn end(self) -> io::Result<Rows> {
        match self {
            Self::Plain(rows) => Ok(rows),
            Self::Gzip(packed) => packed.finish(),
            Self::Zstd(packed) => packed.finish(),
        }
    }
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
