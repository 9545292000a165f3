//! Integers as records write them.

use super::Reason;
use super::quotes::BLOCK;

/// A user id: the digits 0-9 alone, 1 to 2147483647. Leading zeros are allowed.
pub(super) fn parse_user_id(text: &[u8]) -> Result<i32, Reason> {
    user_id(digits(text)?)
}

/// A user id of the right size.
pub(super) fn user_id(value: impl TryInto<i32>) -> Result<i32, Reason> {
    value
        .try_into()
        .ok()
        .filter(|id| *id > 0)
        .ok_or(Reason::OutOfRange)
}

/// A 64-bit integer: the digits 0-9, after a `-` if negative.
pub(super) fn parse_i64(text: &[u8]) -> Result<i64, Reason> {
    match text.strip_prefix(b"-") {
        None => i64::try_from(digits(text)?).map_err(|_| Reason::OutOfRange),
        // An empty number is missing, a lone sign is none.
        Some([]) => Err(Reason::NotANumber),
        Some(rest) => 0_i64
            .checked_sub_unsigned(digits(rest)?)
            .ok_or(Reason::OutOfRange),
    }
}

/// The 64-bit integer that the bytes of a text from `start` on and before `end` write.
#[inline(always)]
pub(super) fn i64_in(text: &[u8], start: usize, end: usize) -> Result<i64, Reason> {
    // Without a loop, whose end is hard to foresee: the bytes before a short number are read along and cleared.
    if let length @ 1..=8 = end.wrapping_sub(start)
        && let Some(bytes) = text.get(..end).and_then(|text| text.last_chunk())
        && let before = 64 - 8 * length
        && let Some(value) = all_digits((u64::from_le_bytes(*bytes) ^ ZEROS) >> before << before)
    {
        return Ok(value as i64);
    }
    parse_i64(text.get(start..end).unwrap_or_default())
}

/// The number that the bytes of a block from `start` on and before `end` write: 1 to 16 digits alone.
#[inline(always)]
pub(super) fn number_in(block: &[u8; BLOCK], start: usize, end: usize) -> Option<u64> {
    match end.wrapping_sub(start) {
        length @ 1..=8 => up_to_8_digits(block, start, length),
        length @ 9..=16 => {
            let high = up_to_8_digits(block, start, length - 8)?;
            Some(high * 100_000_000 + up_to_8_digits(block, end - 8, 8)?)
        }
        _ => None,
    }
}

#[inline(always)]
fn up_to_8_digits(block: &[u8; BLOCK], start: usize, length: usize) -> Option<u64> {
    let bytes = block.get(start..)?.first_chunk()?;
    // What follows the digits is shifted out, zeros come before them.
    all_digits((u64::from_le_bytes(*bytes) ^ ZEROS) << (64 - 8 * length))
}

const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// The bytes' highest bits, where bytes less [`ZEROS`] are no digits. What follows the first such byte may be wrong.
#[inline(always)]
fn no_digits(bytes: u64) -> u64 {
    // Carries what is above 9 to the byte's highest bit.
    const CARRY: u64 = u64::from_le_bytes([0x7F - 9; 8]);
    (bytes | bytes.wrapping_add(CARRY)) & u64::from_le_bytes([0x80; 8])
}

/// All digits at once: neighbours make pairs, pairs make fours, fours the number.
#[inline(always)]
fn all_digits(digits: u64) -> Option<u64> {
    if no_digits(digits) != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

/// How many digits the bytes begin with.
#[inline(always)]
pub(super) fn leading_digits(bytes: [u8; 8]) -> usize {
    no_digits(u64::from_le_bytes(bytes) ^ ZEROS).trailing_zeros() as usize / 8
}

/// The value of some digits; saturates, which is out of range for every caller.
#[inline]
fn digits(text: &[u8]) -> Result<u64, Reason> {
    // Up to 19 digits cannot exceed 64 bits, and need not look whether they do.
    match text.len() {
        0 => Err(Reason::MissingField),
        1..=19 => fold(text, |value, digit| value * 10 + digit),
        _ => fold(text, |value, digit| {
            value.saturating_mul(10).saturating_add(digit)
        }),
    }
}

/// Appends digit by digit to a value.
#[inline(always)]
fn fold(text: &[u8], append: impl Fn(u64, u64) -> u64) -> Result<u64, Reason> {
    let mut value = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Reason::NotANumber);
        }
        value = append(value, u64::from(digit));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids() {
        for (text, expected) in [
            ("1", Ok(1)),
            ("007", Ok(7)),
            ("2147483647", Ok(i32::MAX)),
            ("00000000000000000000000000000000001", Ok(1)),
            ("2147483648", Err(Reason::OutOfRange)),
            ("4294967297", Err(Reason::OutOfRange)),
            ("18446744073709551617", Err(Reason::OutOfRange)),
            ("0", Err(Reason::OutOfRange)),
            ("", Err(Reason::MissingField)),
            ("-5", Err(Reason::NotANumber)),
            ("+5", Err(Reason::NotANumber)),
            (" 5", Err(Reason::NotANumber)),
            ("5 ", Err(Reason::NotANumber)),
            ("5.0", Err(Reason::NotANumber)),
            ("1e3", Err(Reason::NotANumber)),
            ("99999999999999999999999x", Err(Reason::NotANumber)),
            ("\u{664}", Err(Reason::NotANumber)),
        ] {
            assert_eq!(parse_user_id(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_in_blocks_are_as_others() {
        let texts = [
            "0",
            "7",
            "42",
            "0012",
            "1234567",
            "87654321",
            "99999999",
            "123456789",
            "9999999999999999",
            "12345678901234567",
            "",
            "-1",
            "12/4",
            "12:4",
            "1234\u{e9}",
            "1234567890x23456",
        ];
        for text in texts {
            let expected = digits(text.as_bytes()).ok().filter(|_| text.len() <= 16);
            for start in [0, 1, 20] {
                for around in [b',', b'9', 0xFF] {
                    let mut block = [around; BLOCK];
                    let end = start + text.len();
                    block[start..end].copy_from_slice(text.as_bytes());
                    assert_eq!(number_in(&block, start, end), expected, "{text:?}");
                }
            }
        }
        // Digits that end with the block are left to others.
        assert_eq!(number_in(&[b'1'; BLOCK], 60, 64), None);
        assert_eq!(number_in(&[b'1'; BLOCK], 64, 64), None);
    }

    #[test]
    fn leading_digits_are_counted() {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for count in 0..8 {
                for after in [b'0', b'9', byte] {
                    let mut bytes = *b"90817263";
                    bytes[count..].fill(after);
                    bytes[count] = byte;
                    assert_eq!(leading_digits(bytes), count, "{bytes:?}");
                }
            }
        }
        assert_eq!(leading_digits(*b"12345678"), 8);
    }

    #[test]
    fn integers() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("-12", Ok(-12)),
            ("907", Ok(907)),
            ("00012345", Ok(12_345)),
            ("87654321", Ok(87_654_321)),
            ("123456789", Ok(123_456_789)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(Reason::OutOfRange)),
            ("-9223372036854775809", Err(Reason::OutOfRange)),
            ("18446744073709551616", Err(Reason::OutOfRange)),
            ("-18446744073709551616", Err(Reason::OutOfRange)),
            ("", Err(Reason::MissingField)),
            ("-", Err(Reason::NotANumber)),
            ("--1", Err(Reason::NotANumber)),
            ("+1", Err(Reason::NotANumber)),
            ("1-", Err(Reason::NotANumber)),
            ("1/2", Err(Reason::NotANumber)),
            ("1:2", Err(Reason::NotANumber)),
            ("\u{e9}", Err(Reason::NotANumber)),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
            for before in ["", "1", "\"id\":", "123456789"] {
                let line = format!("{before}{text}9");
                let (start, end) = (before.len(), line.len() - 1);
                assert_eq!(i64_in(line.as_bytes(), start, end), expected, "{line:?}");
            }
        }
    }
}
