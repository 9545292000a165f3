//! Every statement leaves a line: who, from where, when, what, how it ended, and what it took.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// So much of a statement's text is kept.
const MAX_TEXT: usize = 10_000;
/// How late a line may be on disk.
const DELAY: Duration = Duration::from_millis(200);

/// What became of a statement.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// When it came.
    pub at: DateTime<Utc>,
    /// Whose it is.
    pub user: String,
    /// Where they are.
    pub peer: String,
    /// How it came: postgresql or flight.
    pub protocol: &'static str,
    /// The run that it saw.
    pub run: Option<String>,
    /// Its text.
    pub statement: String,
    /// `ok`, or the SQLSTATE of the refusal.
    pub outcome: &'static str,
    /// The refusal in words.
    pub error: Option<String>,
    /// Rows returned.
    pub rows: u64,
    /// Bytes returned, as Arrow holds them.
    pub bytes: u64,
    /// Bytes read from files.
    pub scanned: u64,
    /// From its arrival to its end.
    pub milliseconds: f64,
}

/// Where the lines go: a file, by a thread of its own, or the log.
#[derive(Clone, Debug)]
pub struct Audit {
    lines: Option<Sender<Entry>>,
}

impl Audit {
    /// To a file, at its end; without one to the log.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else {
            return Ok(Self { lines: None });
        };
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("audit log {} cannot be opened", path.display()))?;
        let (lines, entries) = channel();
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write(&entries, file))?;
        Ok(Self { lines: Some(lines) })
    }

    /// Notes a statement that has ended.
    pub fn note(&self, mut entry: Entry) {
        if let Some((end, _)) = entry.statement.char_indices().nth(MAX_TEXT) {
            entry.statement.truncate(end);
        }
        match &self.lines {
            Some(lines) => drop(lines.send(entry)),
            None => tracing::info!(
                user = entry.user,
                peer = entry.peer,
                protocol = entry.protocol,
                outcome = entry.outcome,
                rows = entry.rows,
                bytes = entry.bytes,
                scanned = entry.scanned,
                milliseconds = entry.milliseconds,
                statement = entry.statement,
                error = entry.error,
                "statement"
            ),
        }
    }
}

fn write(entries: &Receiver<Entry>, file: File) {
    let mut file = BufWriter::new(file);
    loop {
        let written = match entries.recv_timeout(DELAY) {
            Ok(entry) => serde_json::to_writer(&mut file, &entry)
                .map_err(std::io::Error::from)
                .and_then(|()| file.write_all(b"\n")),
            Err(RecvTimeoutError::Timeout) => file.flush(),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = file.flush();
                return;
            }
        };
        if let Err(error) = written {
            tracing::error!("the audit log cannot be written: {error}");
        }
    }
}
