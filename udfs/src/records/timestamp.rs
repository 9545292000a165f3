use super::Reason;

const SECONDS_PER_DAY: i64 = 86_400;
/// Days from the beginning of year 0, were that no leap year, to 1970-01-01 with this day.
const DAYS_TO_EPOCH: i64 = 719_528;
/// For each month, from 1 on: the days of its year before it, and its own; without a leap day.
const MONTHS: [(u16, u8); 13] = [
    (0, 0),
    (0, 31),
    (31, 28),
    (59, 31),
    (90, 30),
    (120, 31),
    (151, 30),
    (181, 31),
    (212, 31),
    (243, 30),
    (273, 31),
    (304, 30),
    (334, 31),
];

/// Seconds since 1970-01-01 00:00:00 UTC of `YYYY-MM-DD HH:MM:SS`.
///
/// A `T` may stand for the blank, fractions of a second are dropped, a `Z` may follow. Only days and times that exist
/// in the (proleptic) Gregorian calendar, from year 1 on, without leap seconds; `None` for anything else.
#[inline]
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let (time, tail) = text.split_first_chunk::<19>()?;
    let seconds = seconds(time)?;
    is_tail(tail).then_some(seconds)
}

/// The same of the text without what may follow the seconds.
#[inline(always)]
fn seconds(time: &[u8; 19]) -> Option<i64> {
    // Three words: up to the month, from the day on, and the time of the day, which overlaps.
    let [_, _, _, _, _, _, _, _, _, _, between, clock @ ..] = time;
    let (date, rest) = time.split_first_chunk::<8>()?;
    let form = match between {
        b'T' => *b"00T00:00",
        _ => *b"00 00:00",
    };
    let (date, wrong_date) = pairs(*date, *b"0000-00-");
    let (day, wrong_day) = pairs(*rest.first_chunk()?, form);
    let (clock, wrong_clock) = pairs(*clock, *b"00:00:00");
    let at = |pairs: u64, byte: u32| (pairs >> (8 * byte)) & 0xFF;
    let (century, of_century, month) = (at(date, 0), at(date, 2), at(date, 5));
    let day = at(day, 0);
    let (hour, minute, second) = (at(clock, 0), at(clock, 3), at(clock, 6));

    let year = century * 100 + of_century;
    let leap = of_century % 4 == 0 && (of_century != 0 || century % 4 == 0);
    let (before, days) = *MONTHS.get(month as usize)?;
    let days = u64::from(days) + u64::from(leap && month == 2);
    // Unsigned: 0 less one is more than any.
    let exists = (year >= 1)
        & (day.wrapping_sub(1) < days)
        & (hour < 24)
        & (minute < 60)
        & (second < 60)
        & (wrong_date | wrong_day | wrong_clock == 0);
    if !exists {
        return None;
    }
    // Leap days so far; the year's own comes after January and February.
    let leap_days = year / 4 - century + century / 4 - u64::from(leap && month <= 2);
    let days = year * 365 + leap_days + u64::from(before) + day;
    Some(
        (days as i64 - DAYS_TO_EPOCH) * SECONDS_PER_DAY
            + (hour * 3600 + minute * 60 + second) as i64,
    )
}

/// The numbers that pairs of digits write, each in the byte of its first digit; and not 0 if the text has another form,
/// in which a `0` is any digit.
#[inline(always)]
fn pairs(text: [u8; 8], form: [u8; 8]) -> (u64, u64) {
    // What is more than a digit, or than nothing where none belongs, carries to the highest bit.
    let carry = form.map(|byte| if byte == b'0' { 0x76 } else { 0x7F });
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    let wrong = digits | digits.wrapping_add(u64::from_le_bytes(carry));
    (
        digits.wrapping_mul(10).wrapping_add(digits >> 8),
        wrong & 0x8080_8080_8080_8080,
    )
}

/// The timestamp of a needed field.
pub(super) fn needed_timestamp(text: &[u8]) -> Result<i64, Reason> {
    if text.is_empty() {
        return Err(Reason::MissingField);
    }
    parse_timestamp(text).ok_or(Reason::NoSuchDate)
}

/// Whether the text is what may follow the seconds: a fraction, a `Z`, both or nothing.
fn is_tail(tail: &[u8]) -> bool {
    let tail = tail.strip_suffix(b"Z").unwrap_or(tail);
    match tail {
        [] => true,
        [b'.', fraction @ ..] => !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_forms_of_the_contract() {
        for (text, expected) in [
            ("1970-01-01 00:00:00", 0),
            ("2019-10-02 00:00:00", 1_569_974_400),
            ("2019-10-02T00:00:00Z", 1_569_974_400),
            ("2019-10-02 23:59:59Z", 1_570_060_799),
            ("2019-10-02T00:00:00.999999999Z", 1_569_974_400),
            ("2019-10-02T00:00:00.0", 1_569_974_400),
            ("2000-02-29 12:00:00", 951_825_600),
            ("1969-12-31 23:59:59.9", -1),
            ("0001-01-01 00:00:00", -62_135_596_800),
            ("9999-12-31 23:59:59", 253_402_300_799),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "2019-10-02",
            "2019-10-02 00:00",
            "2019-10-02 00:00:0",
            "2019-10-02  00:00:00",
            "2019-10-02t00:00:00",
            "2019-10-02T00:00:00z",
            "2019-10-02 00:00:00.",
            "2019-10-02 00:00:00.Z",
            "2019-10-02 00:00:00,5",
            "2019-10-02 00:00:00.5x",
            "2019-10-02 00:00:00ZZ",
            "2019-10-02 00:00:00+00:00",
            "2019-10-02 00:00:00 ",
            " 2019-10-02 00:00:00",
            "2019-02-29 00:00:00",
            "1900-02-29 00:00:00",
            "2019-04-31 00:00:00",
            "2019-00-01 00:00:00",
            "2019-13-01 00:00:00",
            "2019-01-00 00:00:00",
            "2019-01-32 00:00:00",
            "0000-01-01 00:00:00",
            "2019-10-02 24:00:00",
            "2019-10-02 00:60:00",
            "2019-10-02 00:00:60",
            "2019/10/02 00:00:00",
            "20191002T000000Z",
            "-019-10-02 00:00:00",
            "2019-10-02 0\u{661}:00:00",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text:?}");
        }
    }

    fn days_in_month(year: i64, month: i64) -> Option<i64> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
            4 | 6 | 9 | 11 => Some(30),
            2 => Some(if leap { 29 } else { 28 }),
            _ => None,
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut expected = parse_timestamp(b"0001-01-01 00:00:00").unwrap();
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month).unwrap() {
                    let text = format!("{year:04}-{month:02}-{day:02} 00:00:00");
                    assert_eq!(parse_timestamp(text.as_bytes()), Some(expected), "{text}");
                    expected += SECONDS_PER_DAY;
                }
            }
        }
    }
}
