use super::Reason;
use super::csv::fields;
use super::field::{Field, first_reason};
use super::number::{number_in, parse_i64, parse_user_id};
use super::quotes::BLOCK;
#[cfg(not(target_arch = "x86_64"))]
use super::quotes::masks_by_byte;
#[cfg(target_arch = "x86_64")]
use super::quotes::masks_by_vector;
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
    let ([user, other, message, timestamp, _], count) = fields::<5>(line)?;
    if count != 5 {
        return Err(Reason::Ragged);
    }
    engagement(user, other, Some(message), timestamp)
}

/// The first engagement of some bytes of follow.csv (`FOLLOW`) or of another kind's file and the length of its line, if
/// it is written as nearly all are. `None` for any other, good or bad: [`next_record`](super::next_record) and
/// [`parse_follow`] or [`parse_engagement`] read it.
#[inline]
pub fn next_plain_engagement<const FOLLOW: bool>(bytes: &[u8]) -> Option<(Engagement, usize)> {
    let block = bytes.first_chunk::<BLOCK>()?;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every machine of this architecture has these vectors.
    let found = unsafe { masks_by_vector(block) };
    #[cfg(not(target_arch = "x86_64"))]
    let found = masks_by_byte(block);
    let newline = found.newlines.trailing_zeros();
    let line = 1_u64.checked_shl(newline)? - 1;
    if (found.quotes | found.high) & line != 0 {
        return None;
    }
    let newline = newline as usize;
    let end = match block.get(newline.wrapping_sub(1)) {
        Some(b'\r') => newline - 1,
        _ => newline,
    };
    let mut ends = found.commas & line | 1 << end;
    let mut next_end = || {
        let end = ends.trailing_zeros() as usize;
        ends &= ends.wrapping_sub(1);
        end
    };
    let (user_end, other_end) = (next_end(), next_end());
    let message_end = if FOLLOW { other_end } else { next_end() };
    let time_end = next_end();
    let complete = match FOLLOW {
        true => time_end <= end,
        // One more column, and no other.
        false => ends == 1 << end,
    };
    if !complete {
        return None;
    }
    let user_id = number_in(block, 0, user_end)?;
    let engaged_with_user_id = number_in(block, user_end + 1, other_end)?;
    let ids = 1..=i32::MAX as u64;
    if !ids.contains(&user_id) || !ids.contains(&engaged_with_user_id) {
        return None;
    }
    let engagement = Engagement {
        user_id: user_id as i32,
        engaged_with_user_id: engaged_with_user_id as i32,
        message_id: match FOLLOW {
            true => 0,
            false => number_in(block, other_end + 1, message_end)? as i64,
        },
        timestamp: parse_timestamp(block.get(message_end + 1..time_end)?)?,
    };
    Some((engagement, newline + 1))
}

/// An engagement from the values of the columns that [`parse_follow`] (`kind_is_follow`) or [`parse_engagement`] reads,
/// rel_type not needed.
///
/// # Errors
/// The [`Reason`] why they are none; a null is a [`Reason::MissingField`].
pub fn engagement_from_fields(
    kind_is_follow: bool,
    fields: &[Field<'_>],
) -> Result<Engagement, Reason> {
    let read = || {
        let (user, other, message, timestamp) = match (kind_is_follow, fields) {
            (true, [user, other, timestamp, ..]) => (user, other, None, timestamp),
            (false, [user, other, message, timestamp, ..]) => {
                (user, other, Some(message), timestamp)
            }
            _ => return Err(Reason::Ragged),
        };
        Ok(Engagement {
            user_id: user.user_id()?,
            engaged_with_user_id: other.user_id()?,
            message_id: message.map_or(Ok(0), |message| message.integer())?,
            timestamp: timestamp.time()?,
        })
    };
    read().map_err(|reason| first_reason(fields, reason))
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
            "12345678",
            "123456789",
            "2147483647",
            "2147483648",
            "0",
            "1234567890123456",
            "12345678901234567",
            "",
            "-5",
            "+5",
            "5 ",
            "1234567:9",
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
        // What follows a line could be more of it.
        let following = [
            ",6,2019-10-02 00:00:00,like\n",
            "2019-10-02 00:00:00.5",
            "5",
        ];
        let mut read_fast = 0;
        for user in numbers {
            for message in numbers {
                for time in times {
                    for tail in tails {
                        for end in ["\n", "\r\n", "\r\r\n"] {
                            for after in following {
                                let line = format!("{user},{message},{time}{tail}{end}");
                                read_fast += usize::from(is_read_alike(&line, after));
                                let line = format!("7,{user},{message},{time}{tail}{end}");
                                read_fast += usize::from(is_read_alike(&line, after));
                            }
                        }
                    }
                }
            }
        }
        assert!(read_fast > 3000, "{read_fast}");
        for line in [
            "1,22,2019-10-02 00:00:00\n",
            "7654321,2147483647,2019-10-02T00:00:00Z\r\n",
            "1,22,333,2019-10-02 00:00:00,\n",
            "7654321,1234567890,123456789,2019-10-02 00:00:00,mention\r\n",
        ] {
            assert!(is_read_alike(line, "1"), "{line} is plain");
        }
        for line in ["1\n", "1,2\n", "1,2,3,4\n", "\n", "\r\n", ",\n"] {
            for after in following {
                assert!(!is_read_alike(line, after), "{line} is no engagement");
            }
        }
    }

    /// Whether the fast way reads the line.
    fn is_read_alike(line: &str, after: &str) -> bool {
        let bytes = line.to_string() + after + &"5".repeat(BLOCK);
        let follow = next_plain_engagement::<true>(bytes.as_bytes());
        if let Some((found, length)) = follow {
            assert_eq!(length, line.len(), "{line}");
            assert_eq!(parse_follow(line.as_bytes()), Ok(found), "{line}");
        }
        let other = next_plain_engagement::<false>(bytes.as_bytes());
        if let Some((found, length)) = other {
            assert_eq!(length, line.len(), "{line}");
            assert_eq!(parse_engagement(line.as_bytes()), Ok(found), "{line}");
        }
        follow.or(other).is_some()
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
            ("x,10,9,2019-02-30 00:00:00,\"", Reason::BadQuoting),
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
        let (user, other) = (Field::Integer(2390), Field::Text("5164"));
        let times = [Field::Time(5), Field::Text("1970-01-01T00:00:05")];
        for at in times {
            assert_eq!(engagement_from_fields(true, &[user, other, at]), Ok(FOLLOW));
            for message in [Field::Integer(-7), Field::Text("-7")] {
                assert_eq!(
                    engagement_from_fields(false, &[user, other, message, at]),
                    Ok(LIKE)
                );
            }
            for (fields, reason) in [
                ([user, other, Field::Null, at], Reason::MissingField),
                ([user, Field::Text(""), other, at], Reason::MissingField),
                ([user, Field::Text("5.0"), other, at], Reason::NotANumber),
                ([user, Field::Integer(0), other, at], Reason::OutOfRange),
                (
                    [
                        Field::Null,
                        other,
                        other,
                        Field::Unreadable(Reason::NotUtf8),
                    ],
                    Reason::NotUtf8,
                ),
                (
                    [user, other, other, Field::Unreadable(Reason::NoSuchDate)],
                    Reason::NoSuchDate,
                ),
            ] {
                assert_eq!(engagement_from_fields(false, &fields), Err(reason));
            }
            assert_eq!(
                engagement_from_fields(false, &[user, other, at]),
                Err(Reason::Ragged)
            );
        }
        assert_eq!(engagement_from_fields(true, &[]), Err(Reason::Ragged));
    }
}
