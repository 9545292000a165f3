//! Where records end, and the fields of a CSV record (RFC 4180, no header).
//!
//! A quote opens a quoted field only as the field's first byte; inside, `""` is a quote. Anything else is
//! [`Reason::BadQuoting`], and nothing is guessed: text behind the closing quote, a quote that never closes, and a
//! backslash before a quote, by which other dialects mean a quote that does not close. The first line of such a record
//! is all of it, so that it swallows no other.

use std::ops::ControlFlow;

use memchr::{memchr, memchr2};

use super::Reason;
#[cfg(not(target_arch = "x86_64"))]
use super::quotes::masks_by_byte;
use super::quotes::{BLOCK, Masks};
#[cfg(target_arch = "x86_64")]
use super::quotes::{masks_avx512, masks_by_vector};

/// How a source is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Every line is a record.
    Line,
    /// CSV whose quoted fields may hold line breaks. With a number of columns, only records of so many may: one of more
    /// lines and another number of columns has a quote that was never closed.
    QuotedCsv(Option<usize>),
}

/// A record of [`Framing::QuotedCsv`] ends within this many bytes; if it does not, its first line alone is the record.
///
/// So a quote that is never closed costs one record and not the rest of the file.
pub const MAX_QUOTED_RECORD: usize = 1 << 20;

/// The length of the first record, its line end included; `None` when more bytes are needed to tell.
///
/// With [`Framing::QuotedCsv`], `None` never comes back for a buffer longer than [`MAX_QUOTED_RECORD`] whose first
/// line is complete. The answer depends on the bytes of the file alone, not on how much of it the buffer holds.
pub fn next_record(bytes: &[u8], framing: Framing) -> Option<usize> {
    match framing {
        Framing::Line => line_length(bytes),
        Framing::QuotedCsv(columns) => match quoted_record(bytes, columns) {
            End::At(length) => Some(length),
            End::Nowhere => line_length(bytes),
            _ if bytes.len() > MAX_QUOTED_RECORD => line_length(bytes),
            End::InQuotes | End::InField(_) => None,
        },
    }
}

/// Like [`next_record`] where no bytes follow: the end of the data ends a record too. `None` when there is no byte.
///
/// A quote that is still open at the end of the data makes the first line alone the record, an unreadable one.
pub fn next_record_at_end(bytes: &[u8], framing: Framing) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    if let Framing::QuotedCsv(columns) = framing {
        match quoted_record(bytes, columns) {
            End::At(length) => return Some(length),
            End::InField(count)
                if bytes.len() <= MAX_QUOTED_RECORD && fits(bytes, bytes.len(), count, columns) =>
            {
                return Some(bytes.len());
            }
            End::InField(_) | End::InQuotes | End::Nowhere => {}
        }
    }
    Some(line_length(bytes).unwrap_or(bytes.len()))
}

/// Whether a record is nothing but ASCII white space: no record at all, not a bad one.
pub fn is_blank(record: &[u8]) -> bool {
    record.trim_ascii().is_empty()
}

/// The record without the `\n` or `\r\n` at its end.
pub(super) fn without_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// The first `N` fields of a CSV record, and how many it has.
///
/// # Errors
/// [`Reason::NotUtf8`], or [`Reason::BadQuoting`] in whichever field.
pub(super) fn fields<const N: usize>(record: &[u8]) -> Result<([&[u8]; N], usize), Reason> {
    let record = without_line_end(record);
    if std::str::from_utf8(record).is_err() {
        return Err(Reason::NotUtf8);
    }
    let mut fields = [&[][..]; N];
    let mut count = 0;
    let mut rest = Some(record);
    while let Some(bytes) = rest {
        let (field, after) = split_field(bytes)?;
        if let Some(slot) = fields.get_mut(count) {
            *slot = field;
        }
        count += 1;
        rest = after;
    }
    Ok((fields, count))
}

/// The first field of a record whose later ones may not be readable.
pub(super) fn first_field(record: &[u8]) -> Option<&[u8]> {
    split_field(without_line_end(record))
        .ok()
        .map(|(field, _)| field)
}

/// How many fields a CSV record has; `None` where its bytes or quotes do not tell.
pub fn count_columns(record: &[u8]) -> Option<usize> {
    fields::<1>(record).ok().map(|(_, count)| count)
}

/// A plain record longer than so many blocks is left to the way that reads any.
const PLAIN_BLOCKS: usize = 64;

/// What [`plain_record`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes, the line end included.
    pub(super) length: usize,
    /// Line ends.
    pub(super) lines: usize,
    /// Fields.
    pub(super) columns: usize,
}

/// Cuts out and splits the first record in one pass; in `ends` is where its first fields end.
///
/// `None` unless it has these fields and is plain, that is: all its quotes enclose whole fields or are doubled in them,
/// none follows a backslash, it is UTF-8, and it ends well before the bytes do.
pub(super) fn plain_record<const N: usize>(bytes: &[u8], ends: &mut [usize; N]) -> Option<Plain> {
    #[cfg(target_arch = "x86_64")]
    match is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has these instructions.
        true => unsafe { plain_record_avx512(bytes, ends) },
        // SAFETY: every machine of this architecture has these vectors.
        false => plain_record_with(bytes, ends, |block| unsafe { masks_by_vector(block) }),
    }
    #[cfg(not(target_arch = "x86_64"))]
    plain_record_with(bytes, ends, masks_by_byte)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
fn plain_record_avx512<const N: usize>(bytes: &[u8], ends: &mut [usize; N]) -> Option<Plain> {
    plain_record_with(bytes, ends, |block| masks_avx512(block))
}

#[inline(always)]
fn plain_record_with<const N: usize>(
    bytes: &[u8],
    ends: &mut [usize; N],
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
) -> Option<Plain> {
    let mut ends = ends.iter_mut();
    let (mut lines, mut columns, mut high) = (0, 0, 0);
    // What the block before says of this one: whether it begins inside quotes (all bits), whether its first byte may be
    // an opening quote, whether a quote ended it that must close a field, and whether it ended with a backslash.
    let (mut quoted, mut may_open, mut closes, mut escapes) = (0, 1, 0, 0);
    let blocks = bytes.as_chunks::<BLOCK>().0.iter().take(PLAIN_BLOCKS);
    for (start, block) in (0..).step_by(BLOCK).zip(blocks) {
        let found = masks(block);
        let inside = odd_up_to(found.quotes) ^ quoted;
        let end = found.newlines & !inside;
        // The bits up to the first of `end`; all if it has none.
        let record = end ^ end.wrapping_sub(1);
        // Opening quotes follow a comma, or a quote: a doubled one closes and opens again.
        let before_opening = found.commas | found.quotes;
        if found.quotes & inside & record & !(before_opening << 1 | may_open) != 0 {
            return None;
        }
        // Closing quotes are followed by a comma, a line end or a quote.
        let closing = found.quotes & !inside;
        let after_closing = found.commas | found.quotes | found.newlines;
        let mut behind = (closing << 1 | closes) & record & !after_closing;
        if behind == (end & end.wrapping_neg()) >> 1
            && block.get(behind.trailing_zeros() as usize) == Some(&b'\r')
        {
            behind = 0;
        }
        if behind != 0 || (found.backslashes << 1 | escapes) & found.quotes & record != 0 {
            return None;
        }
        let mut field_ends = (found.commas & !inside | end) & record;
        columns += field_ends.count_ones() as usize;
        while field_ends != 0
            && let Some(slot) = ends.next()
        {
            *slot = start + field_ends.trailing_zeros() as usize;
            field_ends &= field_ends - 1;
        }
        lines += (found.newlines & record).count_ones() as usize;
        high |= found.high & record;
        if end != 0 {
            let length = start + end.trailing_zeros() as usize + 1;
            let valid = high == 0 || std::str::from_utf8(bytes.get(..length)?).is_ok();
            let plain = Plain {
                length,
                lines,
                columns,
            };
            return (valid && ends.len() == 0).then_some(plain);
        }
        quoted = (inside as i64 >> 63) as u64;
        may_open = before_opening >> 63;
        closes = closing >> 63;
        escapes = found.backslashes >> 63;
    }
    None
}

/// For each bit whether the number of bits up to it, itself included, is odd.
#[inline(always)]
fn odd_up_to(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The first field and what follows its comma, if there is one.
///
/// A quoted field comes without its quotes. Doubled quotes stay doubled: no needed field may hold any.
fn split_field(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reason> {
    if let Some(quoted) = bytes.strip_prefix(b"\"") {
        let Close::At(length) = closing_quote(quoted) else {
            return Err(Reason::BadQuoting);
        };
        return match quoted.split_at_checked(length) {
            Some((content, [b'"'])) => Ok((content, None)),
            Some((content, [b'"', b',', rest @ ..])) => Ok((content, Some(rest))),
            _ => Err(Reason::BadQuoting),
        };
    }
    // Fields are short: a plain loop beats a call into a vectorised search.
    let comma = bytes.iter().position(|&b| b == b',').unwrap_or(bytes.len());
    match bytes.split_at_checked(comma) {
        Some((field, [_, rest @ ..])) => Ok((field, Some(rest))),
        _ => Ok((bytes, None)),
    }
}

/// Where a quoted field closes.
enum Close {
    /// It is so far to the closing quote.
    At(usize),
    /// Not in these bytes.
    Open,
    /// At a quote behind a backslash: who can tell.
    Unclear,
}

/// Looks for the closing quote in bytes that follow an opening one.
fn closing_quote(bytes: &[u8]) -> Close {
    let mut at = 0;
    loop {
        let Some(found) = memchr(b'"', bytes.get(at..).unwrap_or_default()) else {
            return Close::Open;
        };
        let before = bytes.get(at..at + found).unwrap_or_default();
        let backslashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
        if backslashes % 2 == 1 {
            return Close::Unclear;
        }
        at += found;
        if bytes.get(at + 1) != Some(&b'"') {
            return Close::At(at);
        }
        at += 2;
    }
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|at| at + 1)
}

/// What the bytes that are looked at say about the end of their first CSV record.
enum End {
    /// It is this long, its line end included.
    At(usize),
    /// They end inside quotes.
    InQuotes,
    /// They end elsewhere in the record, in its field of this number, from 1.
    InField(usize),
    /// Its quotes are malformed.
    Nowhere,
}

/// Looks for the end of a CSV record within [`MAX_QUOTED_RECORD`] bytes.
fn quoted_record(bytes: &[u8], columns: Option<usize>) -> End {
    let bytes = bytes.get(..MAX_QUOTED_RECORD).unwrap_or(bytes);
    // Most records are lines without a quote.
    if let Some(length) = line_length(bytes)
        && memchr(b'"', bytes.get(..length).unwrap_or(bytes)).is_none()
    {
        return End::At(length);
    }
    let (mut at, mut count) = (0, 1);
    loop {
        match field_end(bytes, at) {
            ControlFlow::Continue(next) => {
                at = next;
                count += 1;
            }
            ControlFlow::Break(End::InField(_)) => return End::InField(count),
            ControlFlow::Break(End::At(length)) if !fits(bytes, length - 1, count, columns) => {
                return End::Nowhere;
            }
            ControlFlow::Break(end) => return end,
        }
    }
}

/// Whether the first `length` bytes are one line, or have as many columns as a record should.
fn fits(bytes: &[u8], length: usize, count: usize, columns: Option<usize>) -> bool {
    let several_lines = || memchr(b'\n', bytes.get(..length).unwrap_or(bytes)).is_some();
    columns.is_none_or(|columns| columns == count || !several_lines())
}

/// Goes on to the field after the one that begins at `at`, or tells how the record ends.
fn field_end(bytes: &[u8], mut at: usize) -> ControlFlow<End, usize> {
    let mut rest = bytes.get(at..).unwrap_or_default();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let length = match closing_quote(quoted) {
            Close::At(length) => length,
            Close::Open => return ControlFlow::Break(End::InQuotes),
            Close::Unclear => return ControlFlow::Break(End::Nowhere),
        };
        at += length + 2;
        rest = bytes.get(at..).unwrap_or_default();
        if !matches!(rest, [] | [b'\r'] | [b',' | b'\n', ..] | [b'\r', b'\n', ..]) {
            return ControlFlow::Break(End::Nowhere);
        }
    }
    match memchr2(b',', b'\n', rest).map(|i| (i, rest.get(i))) {
        None => ControlFlow::Break(End::InField(0)),
        Some((i, Some(b','))) => ControlFlow::Continue(at + i + 1),
        Some((i, _)) => ControlFlow::Break(End::At(at + i + 1)),
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
