//! The binary format of PostgreSQL's COPY: rows to send, and what is read back of the run that is there.

use chrono::{DateTime, Utc};

/// What a stream begins with: the signature, no flags, no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: i16 = -1;
/// 2000-01-01 in microseconds since 1970: PostgreSQL counts from there.
const EPOCH: i64 = 946_684_800_000_000;
/// Digits after the decimal point of every number in the tables.
pub(super) const SCALE: u32 = 8;
const ONE: u64 = 10u64.pow(SCALE);

/// A time in microseconds since 2000-01-01.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros() - EPOCH
}

/// Room for any row of the tables.
const ROW: usize = 256;

/// Rows as COPY reads them.
pub(super) struct Encoder {
    bytes: Vec<u8>,
    /// The row under way: put together here, it goes to the others in one piece.
    row: [u8; ROW],
    length: usize,
}

impl Encoder {
    /// The beginning of a stream.
    pub(super) fn new() -> Self {
        Self {
            bytes: HEADER.to_vec(),
            row: [0; ROW],
            length: 0,
        }
    }

    /// A row of so many fields follows.
    pub(super) fn row(&mut self, fields: i16) {
        self.length = 0;
        self.put(fields.to_be_bytes());
    }

    /// The row is whole.
    pub(super) fn end_row(&mut self) {
        self.bytes.extend_from_slice(&self.row[..self.length]);
    }

    /// An integer.
    pub(super) fn integer(&mut self, value: i32) {
        self.put(4i32.to_be_bytes());
        self.put(value.to_be_bytes());
    }

    /// A timestamptz, see [`micros`].
    pub(super) fn timestamp(&mut self, micros: i64) {
        self.put(8i32.to_be_bytes());
        self.put(micros.to_be_bytes());
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.row[self.length..self.length + N].copy_from_slice(&bytes);
        self.length += N;
    }

    /// A numeric of [`SCALE`] decimals, given in its last decimal's unit. It is written in digits of base 10,000, the
    /// first of which has the weight 10,000 to the power of `weight`; zeros at both ends are left out.
    pub(super) fn numeric(&mut self, value: i128) {
        let mut digits = [0u16; 12];
        // Two digits of each part: 64 bits divide many times faster than 128.
        let mut rest = value.unsigned_abs();
        let mut place = digits.len();
        while rest > 0 {
            let part = match u64::try_from(rest) {
                Ok(small) => {
                    rest = u128::from(small / ONE);
                    small % ONE
                }
                Err(_) => {
                    let part = rest % u128::from(ONE);
                    rest /= u128::from(ONE);
                    part as u64
                }
            };
            for digit in [part % 10_000, part / 10_000] {
                place = place.saturating_sub(1);
                digits[place] = digit as u16;
            }
        }
        let first = digits.iter().position(|digit| *digit != 0);
        let last = digits.iter().rposition(|digit| *digit != 0);
        let (kept, weight) = match (first, last) {
            (Some(first), Some(last)) => (&digits[first..=last], 9 - first as i16),
            _ => (&digits[..0], 0),
        };
        let sign: u16 = if value < 0 { 0x4000 } else { 0 };
        self.put((8 + 2 * kept.len() as i32).to_be_bytes());
        for word in [kept.len() as u16, weight as u16, sign, SCALE as u16] {
            self.put(word.to_be_bytes());
        }
        for word in kept {
            self.put(word.to_be_bytes());
        }
    }

    /// The end of the stream.
    pub(super) fn end(&mut self) {
        self.bytes.extend_from_slice(&TRAILER.to_be_bytes());
    }

    /// Bytes not taken yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes so far; the next ones follow them.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let room = Vec::with_capacity(self.bytes.capacity());
        std::mem::replace(&mut self.bytes, room)
    }
}

/// Rows as COPY writes them; `None` from each method when the bytes are not of that form.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// What one message of the server holds: whole rows, the first one after the header.
    pub(super) fn new(message: &'a [u8]) -> Self {
        let bytes = message.strip_prefix(HEADER).unwrap_or(message);
        Self { bytes }
    }

    /// The number of fields of the next row; 0 when there is none in this message.
    pub(super) fn row(&mut self) -> Option<usize> {
        if self.bytes.is_empty() {
            return Some(0);
        }
        let fields = i16::from_be_bytes(self.array()?);
        Some(usize::try_from(fields).unwrap_or(0))
    }

    /// An integer.
    pub(super) fn integer(&mut self) -> Option<i32> {
        (self.length()? == 4).then_some(())?;
        self.array().map(i32::from_be_bytes)
    }

    /// Bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.i32()?).ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(value: i128) -> Vec<u16> {
        let mut encoder = Encoder::new();
        encoder.numeric(value);
        let field = &encoder.row[..encoder.length];
        let words: Vec<u16> = field[4..]
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(field[..4], (field.len() as i32 - 4).to_be_bytes());
        words
    }

    #[test]
    fn numbers_are_digits_of_base_10000() {
        // 12345.6789 = 1 * 10^4 + 2345 + 6789 / 10^4
        assert_eq!(numeric(1_234_567_890_000), [3, 1, 0, 8, 1, 2345, 6789]);
        assert_eq!(numeric(100_000_000), [1, 0, 0, 8, 1]);
        assert_eq!(numeric(1), [1, -2i16 as u16, 0, 8, 1]);
        assert_eq!(numeric(-15_000), [2, -1i16 as u16, 0x4000, 8, 1, 5000]);
        assert_eq!(numeric(0), [0, 0, 0, 8]);
        assert_eq!(numeric(i128::from(i64::MAX)).len(), 4 + 5);
        assert_eq!(numeric(10i128.pow(37)).len(), 4 + 1);
    }

    #[test]
    fn half_a_row_is_no_row() {
        let mut decoder = Decoder::new(&[0, 2, 0, 0, 0, 4, 0, 0]);
        assert_eq!(decoder.row(), Some(2));
        assert_eq!(decoder.integer(), None);
        assert_eq!(Decoder::new(HEADER).row(), Some(0));
        assert_eq!(Decoder::new(&[0xff, 0xff]).row(), Some(0));
    }
}
