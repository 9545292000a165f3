//! `score`: texts in, probabilities out, a line each.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use graph_recs_udfs::model::{CandleScorer, Documents, MILLIONTHS, Model, ModelError};
use graph_recs_udfs::text::clean_text_into;
use tracing::info;

use crate::cli::ScoreOptions;
use crate::say::Out;

/// What is read at once, and the most that waits to be scored together.
const READ_BYTES: usize = 1 << 20;
const WAITING_READS: usize = 16;

/// Scores the texts of standard input. A text is answered as soon as its line is there, many at once when there are.
pub async fn run(options: ScoreOptions) -> Result<()> {
    let threads = match options.threads {
        Some(threads) => threads as usize,
        None => graph_recs_sql::Engine::default().threads,
    };
    let model = Model::open(options.model.as_deref()).await?;
    let plain = match options.plain {
        true => Some(CandleScorer::new(model.spec(), model.weights())?),
        false => None,
    };
    let texts = Texts {
        model,
        plain,
        cleaned: options.cleaned,
    };
    tokio::task::spawn_blocking(move || score_lines(&texts, threads)).await?
}

fn score_lines(texts: &Texts, threads: usize) -> Result<()> {
    let incoming = read_in_background();
    let mut out = Out::new();
    let mut pending = Vec::new();
    let mut done = Done::default();
    let mut working = Duration::ZERO;
    let mut more = true;
    while more {
        more = match incoming.recv() {
            Ok(bytes) => {
                pending.extend_from_slice(&bytes.context("standard input cannot be read")?);
                // Whatever else is there already is scored along with it.
                for bytes in incoming.try_iter() {
                    pending.extend_from_slice(&bytes.context("standard input cannot be read")?);
                }
                true
            }
            Err(_) => false,
        };
        let complete = match (more, pending.iter().rposition(|&byte| byte == b'\n')) {
            (true, Some(end)) => end + 1,
            (true, None) => 0,
            (false, _) => pending.len(),
        };
        let started = Instant::now();
        for (scores, part) in
            score_together(texts, pending.get(..complete).unwrap_or(&[]), threads)?
        {
            out.write_all(scores.as_bytes())?;
            done.texts += part.texts;
            done.tokens += part.tokens;
        }
        out.flush()?;
        working += started.elapsed();
        pending.drain(..complete);
    }
    info!(
        "{} texts, {} tokens; cleaned, tokenized and scored in {:.2} s: {:.2} million tokens a second",
        done.texts,
        done.tokens,
        working.as_secs_f64(),
        done.tokens as f64 / working.as_secs_f64().max(1e-9) / 1e6
    );
    Ok(())
}

/// Standard input in pieces, read ahead on a thread of its own. It ends with the input or after an error.
fn read_in_background() -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(WAITING_READS);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut bytes = vec![0; READ_BYTES];
            let read = input.read(&mut bytes).map(|count| {
                bytes.truncate(count);
                bytes
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            if sender.send(read).is_err() || last {
                break;
            }
        }
    });
    receiver
}

#[derive(Default)]
struct Done {
    texts: usize,
    tokens: usize,
}

/// Scores whole lines on several threads; the results are in the lines' order.
fn score_together(texts: &Texts, lines: &[u8], threads: usize) -> Result<Vec<(String, Done)>> {
    let mut parts = Vec::with_capacity(threads);
    let mut rest = lines;
    for left in (1..=threads).rev() {
        let end = match rest.get(rest.len() / left..) {
            Some(tail) if left > 1 => match memchr::memchr(b'\n', tail) {
                Some(at) => rest.len() - tail.len() + at + 1,
                None => rest.len(),
            },
            _ => rest.len(),
        };
        let (part, tail) = rest.split_at(end);
        parts.push(part);
        rest = tail;
    }
    std::thread::scope(|scope| {
        let scored: Vec<_> = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| scope.spawn(|| texts.score(part)))
            .collect();
        let joined = scored.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a scoring thread ended early")))
        });
        joined.collect()
    })
}

/// How texts become probabilities.
struct Texts {
    model: Arc<Model>,
    plain: Option<CandleScorer>,
    cleaned: bool,
}

impl Texts {
    /// Scores each line: probabilities with six decimals, a line each.
    fn score(&self, lines: &[u8]) -> Result<(String, Done)> {
        let mut scores = String::with_capacity(lines.len() / 8);
        let mut done = Done::default();
        let (mut cleaned, mut documents) = (String::new(), Documents::default());
        let mut lines = lines.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.cleaned {
                documents.push(&self.model, line, b"");
            } else {
                cleaned.clear();
                clean_text_into(&String::from_utf8_lossy(line), &mut cleaned);
                documents.push(&self.model, cleaned.as_bytes(), b"");
            }
            done.texts += 1;
            if documents.is_full() || lines.peek().is_none() {
                for score in self.millionths(&documents.as_slices())? {
                    let (whole, part) = (score / MILLIONTHS, score % MILLIONTHS);
                    writeln!(scores, "{whole}.{part:06}")?;
                }
                done.tokens += documents.tokens();
                documents.clear();
            }
        }
        Ok((scores, done))
    }

    fn millionths(&self, documents: &[&[u32]]) -> Result<Vec<i32>, ModelError> {
        match &self.plain {
            Some(plain) => self.model.millionths_by(plain, documents),
            None => self.model.millionths(documents),
        }
    }
}
