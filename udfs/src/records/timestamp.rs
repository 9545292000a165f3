use super::Reason;

const SECONDS_PER_DAY: i64 = 86_400;

/// Seconds since 1970-01-01 00:00:00 UTC of `YYYY-MM-DD HH:MM:SS`.
///
/// A `T` may stand for the blank, fractions of a second are dropped, a `Z` may follow. Only days and times that exist
/// in the (proleptic) Gregorian calendar, from year 1 on, without leap seconds; `None` for anything else.
pub fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let (
        &[
            y0,
            y1,
            y2,
            y3,
            b'-',
            m0,
            m1,
            b'-',
            d0,
            d1,
            b' ' | b'T',
            h0,
            h1,
            b':',
            n0,
            n1,
            b':',
            s0,
            s1,
        ],
        tail,
    ) = text.split_first_chunk::<19>()?
    else {
        return None;
    };
    let year = two(y0, y1)? * 100 + two(y2, y3)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(n0, n1)?, two(s0, s1)?);

    let exists = year >= 1
        && day >= 1
        && day <= days_in_month(year, month)?
        && hour < 24
        && minute < 60
        && second < 60;
    if !exists || !is_tail(tail) {
        return None;
    }
    Some(days_since_epoch(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
}

/// The timestamp of a needed field.
pub(super) fn needed_timestamp(text: &[u8]) -> Result<i64, Reason> {
    if text.is_empty() {
        return Err(Reason::MissingField);
    }
    parse_timestamp(text).ok_or(Reason::NoSuchDate)
}

/// The number that two digits write.
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
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

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, for years from 0 on.
///
/// Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
