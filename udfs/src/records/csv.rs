//! Where records end, and the fields of a CSV record (RFC 4180, no header).
//!
//! A quote opens a quoted field only as the field's first byte; inside, `""` is a quote. What follows the closing
//! quote up to the next comma belongs to the field, as the common readers have it; no number is written so.

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
    /// CSV whose quoted fields may hold line breaks.
    QuotedCsv,
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
        Framing::QuotedCsv => match quoted_record(bytes) {
            End::At(length) => Some(length),
            _ if bytes.len() > MAX_QUOTED_RECORD => line_length(bytes),
            End::InQuotes | End::InField => None,
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
    if framing == Framing::QuotedCsv {
        match quoted_record(bytes) {
            End::At(length) => return Some(length),
            End::InField if bytes.len() <= MAX_QUOTED_RECORD => return Some(bytes.len()),
            End::InField | End::InQuotes => {}
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
/// [`Reason::NotUtf8`], or [`Reason::UnclosedQuote`] in whichever field.
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

/// A plain record longer than so many blocks is left to the way that reads any.
const PLAIN_BLOCKS: usize = 64;

/// Cuts out and splits the first record in one pass: its length and how many line ends it has, and in `ends` where its
/// first fields end.
///
/// `None` unless it has these fields and is plain, that is: all its quotes enclose whole fields or are doubled in them,
/// it is UTF-8, and it ends well before the bytes do.
pub(super) fn plain_record<const N: usize>(
    bytes: &[u8],
    ends: &mut [usize; N],
) -> Option<(usize, usize)> {
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
fn plain_record_avx512<const N: usize>(
    bytes: &[u8],
    ends: &mut [usize; N],
) -> Option<(usize, usize)> {
    plain_record_with(bytes, ends, |block| masks_avx512(block))
}

#[inline(always)]
fn plain_record_with<const N: usize>(
    bytes: &[u8],
    ends: &mut [usize; N],
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
) -> Option<(usize, usize)> {
    let mut ends = ends.iter_mut();
    let (mut lines, mut high) = (0, 0);
    // What the block before says of this one: whether it begins inside quotes (all bits), and whether its first byte
    // may be an opening quote (one bit).
    let (mut quoted, mut may_open) = (0, 1);
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
        let mut field_ends = (found.commas & !inside | end) & record;
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
            return (valid && ends.len() == 0).then_some((length, lines));
        }
        quoted = (inside as i64 >> 63) as u64;
        may_open = before_opening >> 63;
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
        let length = quoted_length(quoted).ok_or(Reason::UnclosedQuote)?;
        if let Some((content, [b'"', after @ ..])) = quoted.split_at_checked(length) {
            match after {
                [] => return Ok((content, None)),
                [b',', rest @ ..] => return Ok((content, Some(rest))),
                _ => {
                    let tail = after.iter().position(|&b| b == b',').unwrap_or(after.len());
                    return Ok(split_at_comma(bytes, length + 2 + tail));
                }
            }
        }
    }
    // Fields are short: a plain loop beats a call into a vectorised search.
    let comma = bytes.iter().position(|&b| b == b',').unwrap_or(bytes.len());
    Ok(split_at_comma(bytes, comma))
}

fn split_at_comma(bytes: &[u8], comma: usize) -> (&[u8], Option<&[u8]>) {
    match bytes.split_at_checked(comma) {
        Some((field, [_, rest @ ..])) => (field, Some(rest)),
        _ => (bytes, None),
    }
}

/// How far it is to the closing quote, for bytes that follow an opening one.
fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'"', bytes.get(at..)?)?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some(at);
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
    /// They end elsewhere in the record.
    InField,
}

/// Looks for the end of a CSV record within [`MAX_QUOTED_RECORD`] bytes.
fn quoted_record(bytes: &[u8]) -> End {
    let bytes = bytes.get(..MAX_QUOTED_RECORD).unwrap_or(bytes);
    // Most records are lines without a quote.
    if let Some(length) = line_length(bytes)
        && memchr(b'"', bytes.get(..length).unwrap_or(bytes)).is_none()
    {
        return End::At(length);
    }
    let mut at = 0;
    loop {
        match field_end(bytes, at) {
            ControlFlow::Continue(next) => at = next,
            ControlFlow::Break(end) => return end,
        }
    }
}

/// Goes on to the field after the one that begins at `at`, or tells how the record ends.
fn field_end(bytes: &[u8], mut at: usize) -> ControlFlow<End, usize> {
    let mut rest = bytes.get(at..).unwrap_or_default();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let Some(length) = quoted_length(quoted) else {
            return ControlFlow::Break(End::InQuotes);
        };
        at += length + 2;
        rest = bytes.get(at..).unwrap_or_default();
    }
    match memchr2(b',', b'\n', rest).map(|i| (i, rest.get(i))) {
        None => ControlFlow::Break(End::InField),
        Some((i, Some(b','))) => ControlFlow::Continue(at + i + 1),
        Some((i, _)) => ControlFlow::Break(End::At(at + i + 1)),
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
