//! Integers as records write them.

use super::Reason;

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
    fn integers() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("-12", Ok(-12)),
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
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        }
    }
}
