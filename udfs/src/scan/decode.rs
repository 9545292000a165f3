//! Decompression, in pieces of bounded size: what a file takes in memory does not depend on how well it is compressed.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use datafusion::common::{DataFusionError, Result};
use flate2::bufread::GzDecoder;
use futures::stream::{BoxStream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Source;
use super::format::Format;

/// Decompressed at a time.
const PIECE: usize = 512 << 10;
/// Pieces that wait to be parsed while the next one is made.
const AHEAD: usize = 1;
/// The most that an xz decoder may take; `xz -9` needs 65 MiB. zstd's own limit is a window of 128 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Decompresses a whole file's chunks, in a thread of its own; members and frames that follow one another are all
/// read. `file` is the name for errors.
pub(crate) fn decode(
    chunks: BoxStream<'static, Result<Bytes>>,
    format: Format,
    source: Source,
    file: String,
) -> BoxStream<'static, Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(AHEAD);
    let chunks = Chunks {
        runtime: Handle::current(),
        chunks,
        left: Bytes::new(),
    };
    let work = tokio::task::spawn_blocking(move || {
        if let Err(error) = decode_to(&sender, chunks, format, source) {
            // Nobody listens when the scan was given up.
            let _ = sender.blocking_send(Err(explained(error, format, &file)));
        }
    });
    let state = (pieces, Some(work));
    futures::stream::unfold(state, |(mut pieces, work)| async move {
        match (pieces.recv().await, work) {
            (Some(piece), work) => Some((piece, (pieces, work))),
            // A decoder that broke down has not read all.
            (None, Some(work)) => match finished(work).await {
                Ok(()) => None,
                Err(error) => Some((Err(error), (pieces, None))),
            },
            (None, None) => None,
        }
    })
    .boxed()
}

async fn finished(work: JoinHandle<()>) -> Result<()> {
    work.await
        .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))
}

/// Sends the pieces, or gives up when nobody wants them.
fn decode_to(
    sender: &mpsc::Sender<Result<Bytes>>,
    chunks: Chunks,
    format: Format,
    source: Source,
) -> io::Result<()> {
    let mut decoder: Box<dyn Read> = match format {
        Format::Gzip => Box::new(Members(State::In(Box::new(GzDecoder::new(chunks))))),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(chunks)?),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(chunks)),
        Format::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(chunks, stream))
        }
        Format::Empty | Format::Text | Format::Parquet => Box::new(chunks),
    };
    let mut first = true;
    loop {
        let mut piece = vec![0; PIECE];
        let length = fill(&mut *decoder, &mut piece)?;
        piece.truncate(length);
        if std::mem::take(&mut first) {
            require_text(&piece, source)?;
        }
        let last = length < PIECE;
        if length > 0 && sender.blocking_send(Ok(piece.into())).is_err() || last {
            return Ok(());
        }
    }
}

/// Reads until the piece is full or all is read.
fn fill(decoder: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match decoder.read(piece.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Fails when what was compressed is itself compressed, an archive, or something else that holds no lines.
fn require_text(piece: &[u8], source: Source) -> io::Result<()> {
    let head = piece.get(..4096).unwrap_or(piece);
    let wrong = match Format::of(head, source) {
        Ok(Format::Empty | Format::Text) => return Ok(()),
        Ok(Format::Parquet) => {
            "is Parquet once decompressed: Parquet compresses itself, so store it as it is"
                .to_owned()
        }
        Ok(_) => "is compressed twice: decompress it once".to_owned(),
        Err(error) => format!("{error} (once decompressed)"),
    };
    Err(io::Error::other(Wrong(wrong)))
}

/// What was decompressed is not what it should be, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// An error with the file's name and what to do.
fn explained(error: io::Error, format: Format, file: &str) -> DataFusionError {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<DataFusionError>()) {
        return match error.into_inner().map(|inner| inner.downcast()) {
            Some(Ok(error)) => *error,
            Some(Err(error)) => DataFusionError::External(error),
            None => DataFusionError::Internal("an error without its cause".into()),
        };
    }
    if inner.is_some_and(|inner| inner.is::<Wrong>()) {
        return DataFusionError::Execution(format!("{file} {error}"));
    }
    let needs_memory = error.to_string().contains("too much memory")
        || inner
            .and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>())
            .is_some_and(|error| matches!(error, liblzma::stream::Error::MemLimit));
    let advice = match error.kind() {
        _ if needs_memory && format == Format::Zstd => {
            "it needs a window of more than 128 MiB; compress it without --long=28 and more, and without --ultra"
        }
        _ if needs_memory => "it needs more than 256 MiB; compress it with at most -9",
        io::ErrorKind::UnexpectedEof => "it is cut off; export it again",
        _ => "it is damaged; copy it again, or export it again",
    };
    DataFusionError::Execution(format!("{file} cannot be decompressed ({error}): {advice}"))
}

/// A file's chunks, read by a thread that may wait.
struct Chunks {
    runtime: Handle,
    chunks: BoxStream<'static, Result<Bytes>>,
    left: Bytes,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.left.is_empty() {
            match self.runtime.block_on(self.chunks.next()) {
                Some(chunk) => self.left = chunk.map_err(io::Error::other)?,
                None => break,
            }
        }
        Ok(&self.left)
    }

    fn consume(&mut self, amount: usize) {
        self.left.advance(amount);
    }
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

/// The members of a gzip file, one after the other. Zeros behind the last one are padding, as gzip itself has it.
struct Members(State);

enum State {
    /// In a member.
    In(Box<GzDecoder<Chunks>>),
    /// Behind all of them.
    Behind,
}

impl Read for Members {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let State::In(decoder) = &mut self.0 else {
                return Ok(0);
            };
            let read = decoder.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let State::In(decoder) = std::mem::replace(&mut self.0, State::Behind) else {
                return Ok(0);
            };
            let mut rest = decoder.into_inner();
            match first_of_next(&mut rest)? {
                None => return Ok(0),
                Some(0x1f) => self.0 = State::In(Box::new(GzDecoder::new(rest))),
                Some(_) => {
                    return Err(io::Error::other(Wrong(
                        "has something behind its gzip data that is not gzip: remove it, or export the file again"
                            .to_owned(),
                    )));
                }
            }
        }
    }
}

/// The first byte behind a member and its padding.
fn first_of_next(rest: &mut Chunks) -> io::Result<Option<u8>> {
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let next = bytes.get(zeros).copied();
        rest.consume(zeros);
        if next.is_some() {
            return Ok(next);
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
