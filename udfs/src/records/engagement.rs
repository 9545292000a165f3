use super::Reason;
use super::csv::fields;
use super::number::{parse_i64, parse_user_id, user_id};
use super::timestamp::{needed_timestamp, parse_timestamp};

/// One user's reply to, mention of, like of or follow of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Engagement {
    /// Who acted.
    pub user_id: i32,
    /// Towards whom.
    pub engaged_with_user_id: i32,
    /// By or on which message; 0 for a follow, which has none.
    pub message_id: i64,
    /// When, in seconds since 1970-01-01 00:00:00 UTC.
    pub timestamp: i64,
}

/// Reads a line of follow.csv: user_id, engaged_with_user_id, timestamp; more columns are tolerated.
///
/// # Errors
/// The [`Reason`] why it cannot be read.
pub fn parse_follow(line: &[u8]) -> Result<Engagement, Reason> {
    if let Some(engagement) = plain::<true>(line) {
        return Ok(engagement);
    }
    let ([user, other, timestamp], count) = fields::<3>(line)?;
    if count < 3 {
        return Err(Reason::Ragged);
    }
    engagement(user, other, None, timestamp)
}

/// Reads a line of reply.csv, mention.csv or like.csv: user_id, engaged_with_user_id, message_id, timestamp, rel_type.
///
/// What rel_type says is not looked at: the file says the kind.
///
/// # Errors
/// The [`Reason`] why it cannot be read.
pub fn parse_engagement(line: &[u8]) -> Result<Engagement, Reason> {
    if let Some(engagement) = plain::<false>(line) {
        return Ok(engagement);
    }
    let ([user, other, message, timestamp, _], count) = fields::<5>(line)?;
    if count != 5 {
        return Err(Reason::Ragged);
    }
    engagement(user, other, Some(message), timestamp)
}

/// An engagement from the values of the first columns that [`parse_follow`] (`kind_is_follow`) or
/// [`parse_engagement`] reads, rel_type not needed. Values of other types come as the text that writes them.
///
/// # Errors
/// The [`Reason`] why they are none; a null is a [`Reason::MissingField`].
pub fn engagement_from_fields(
    kind_is_follow: bool,
    fields: &[Option<&str>],
) -> Result<Engagement, Reason> {
    match (kind_is_follow, fields) {
        (true, [user, other, timestamp, ..]) => {
            engagement(text(user), text(other), None, text(timestamp))
        }
        (false, [user, other, message, timestamp, ..]) => engagement(
            text(user),
            text(other),
            Some(text(message)),
            text(timestamp),
        ),
        _ => Err(Reason::Ragged),
    }
}

/// A line as exports write nearly all of them, in one pass: bare numbers, a time without a fraction, and at its end a
/// column of letters for other kinds than follows. `None` for any other line, good or bad.
fn plain<const FOLLOW: bool>(line: &[u8]) -> Option<Engagement> {
    let (user, rest) = bare_number(line)?;
    let (other, rest) = bare_number(rest)?;
    let (message, rest) = match FOLLOW {
        true => (0, rest),
        false => bare_number(rest)?,
    };
    let (time, rest) = rest.split_at_checked(19)?;
    match (FOLLOW, rest) {
        (true, []) => {}
        (false, [b',', kind @ ..]) if kind.iter().all(u8::is_ascii_lowercase) => {}
        _ => return None,
    }
    Some(Engagement {
        user_id: user_id(user).ok()?,
        engaged_with_user_id: user_id(other).ok()?,
        message_id: i64::try_from(message).ok()?,
        timestamp: parse_timestamp(time)?,
    })
}

/// The number of up to 18 digits before the next comma, and what follows that.
fn bare_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in text.iter().enumerate().take(19) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let ends = *byte == b',' && at > 0;
            return ends.then(|| (value, text.get(at + 1..).unwrap_or_default()));
        }
        value = value * 10 + u64::from(digit);
    }
    None
}

/// The bytes of a column's value; a null is as good as an empty field.
fn text<'a>(field: &Option<&'a str>) -> &'a [u8] {
    field.unwrap_or_default().as_bytes()
}

fn engagement(
    user: &[u8],
    other: &[u8],
    message: Option<&[u8]>,
    timestamp: &[u8],
) -> Result<Engagement, Reason> {
    Ok(Engagement {
        user_id: parse_user_id(user)?,
        engaged_with_user_id: parse_user_id(other)?,
        message_id: message.map_or(Ok(0), parse_i64)?,
        timestamp: needed_timestamp(timestamp)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKE: Engagement = Engagement {
        user_id: 2390,
        engaged_with_user_id: 5164,
        message_id: -7,
        timestamp: 5,
    };
    const FOLLOW: Engagement = Engagement {
        message_id: 0,
        ..LIKE
    };

    /// The way that reads any line must find in a plain one what the fast way finds.
    #[test]
    fn plain_lines_are_read_as_all_others() {
        let numbers = [
            "1",
            "007",
            "2147483647",
            "2147483648",
            "0",
            "999999999999999999",
            "1234567890123456789",
            "",
            "-5",
            "+5",
            "5 ",
        ];
        let times = [
            "2019-10-02 00:00:00",
            "2019-10-02T23:59:59",
            "2019-02-29 00:00:00",
            "2019-10-02 00:00:0",
            "2019-10-02 00:00:00.5",
            "",
        ];
        let tails = [
            "",
            ",",
            ",like",
            ",Like",
            ",\"like\"",
            ",li\u{e9}",
            ",a,b",
            ",a\r",
        ];
        let mut read_fast = 0;
        for user in numbers {
            for message in numbers {
                for time in times {
                    for tail in tails {
                        let line = format!("{user},{message},{time}{tail}");
                        if let Some(found) = plain::<true>(line.as_bytes()) {
                            read_fast += 1;
                            let ([user, other, time], _) = fields::<3>(line.as_bytes()).unwrap();
                            assert_eq!(engagement(user, other, None, time), Ok(found), "{line}");
                        }
                        let line = format!("7,{user},{message},{time}{tail}");
                        if let Some(found) = plain::<false>(line.as_bytes()) {
                            read_fast += 1;
                            let (all, count) = fields::<5>(line.as_bytes()).unwrap();
                            let [user, other, message, time, _] = all;
                            assert_eq!(count, 5, "{line}");
                            let slow = engagement(user, other, Some(message), time);
                            assert_eq!(slow, Ok(found), "{line}");
                        }
                    }
                }
            }
        }
        assert!(read_fast > 50, "{read_fast}");
    }

    #[test]
    fn reads_engagements() {
        for line in [
            "2390,5164,-7,1970-01-01 00:00:05,like",
            "2390,5164,-7,1970-01-01T00:00:05.25Z,\r\n",
            "\"2390\",\"05164\",\"-7\",\"1970-01-01 00:00:05\",\"a,\"\"b\"\"\"\n",
        ] {
            assert_eq!(parse_engagement(line.as_bytes()), Ok(LIKE), "{line}");
        }
    }

    #[test]
    fn reads_follows() {
        for line in [
            "2390,5164,1970-01-01 00:00:05",
            "2390,5164,1970-01-01 00:00:05Z,,x,\"y\"\n",
        ] {
            assert_eq!(parse_follow(line.as_bytes()), Ok(FOLLOW), "{line}");
        }
    }

    #[test]
    fn gives_the_first_reason() {
        for (line, reason) in [
            ("", Reason::Ragged),
            ("12", Reason::Ragged),
            ("1,2,3,2019-09-30 00:00:00", Reason::Ragged),
            ("1,2,3,2019-09-30 00:00:00,like,", Reason::Ragged),
            ("x,2,3,2019-09-30 00:00:00", Reason::Ragged),
            (",,,,", Reason::MissingField),
            ("1,2,,2019-09-30 00:00:00,", Reason::MissingField),
            ("1,2,3,,like", Reason::MissingField),
            ("abc,3,9,2019-09-30 00:00:00,x", Reason::NotANumber),
            ("1,-3,9,2019-09-30 00:00:00,x", Reason::NotANumber),
            ("1,3,9.5,2019-09-30 00:00:00,x", Reason::NotANumber),
            ("\"1\"\"\",3,9,2019-09-30 00:00:00,x", Reason::NotANumber),
            ("99999999999,5,2019-09-30 00:00:00,1,x", Reason::OutOfRange),
            ("1,0,x,2019-09-30 00:00:00,x", Reason::OutOfRange),
            ("8,10,9,not-a-date,x", Reason::NoSuchDate),
            ("8,10,9,2019-02-30 00:00:00,x", Reason::NoSuchDate),
            ("x,10,9,2019-02-30 00:00:00,\"", Reason::UnclosedQuote),
        ] {
            assert_eq!(parse_engagement(line.as_bytes()), Err(reason), "{line}");
        }
        assert_eq!(parse_engagement(b"x,\"\xff"), Err(Reason::NotUtf8));
        assert_eq!(parse_follow(b"1,2"), Err(Reason::Ragged));
        assert_eq!(parse_follow(b",,"), Err(Reason::MissingField));
        assert_eq!(
            parse_follow(b"1,2,3,2019-09-30 00:00:00,x"),
            Err(Reason::NoSuchDate)
        );
    }

    #[test]
    fn columns_read_like_lines() {
        let (user, other, at) = (Some("2390"), Some("5164"), Some("1970-01-01T00:00:05"));
        assert_eq!(engagement_from_fields(true, &[user, other, at]), Ok(FOLLOW));
        assert_eq!(
            engagement_from_fields(false, &[user, other, Some("-7"), at, None]),
            Ok(LIKE)
        );
        assert_eq!(
            engagement_from_fields(false, &[user, other, Some("-7"), at]),
            Ok(LIKE)
        );
        assert_eq!(
            engagement_from_fields(false, &[user, other, None, at]),
            Err(Reason::MissingField)
        );
        assert_eq!(
            engagement_from_fields(false, &[user, other, at]),
            Err(Reason::Ragged)
        );
        assert_eq!(engagement_from_fields(true, &[]), Err(Reason::Ragged));
        assert_eq!(
            engagement_from_fields(true, &[user, Some("5.0"), at]),
            Err(Reason::NotANumber)
        );
    }
}
