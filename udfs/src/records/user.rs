use super::Reason;
use super::csv::{fields, first_field, plain_record};
use super::field::{Field, first_reason};
use super::number::parse_user_id;

/// What is needed of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The user's id.
    pub user_id: i32,
    /// Whether the account is suspended.
    pub suspended: bool,
}

/// A record of user.csv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The user, or why it cannot be read.
    pub user: Result<User, Reason>,
    /// The user's id, even where the rest cannot be read: whoever is suspended must not get lost with it.
    pub user_id: Option<i32>,
    /// How many columns it has; `None` where its quotes or bytes do not tell.
    pub columns: Option<usize>,
    /// Whether its flag of suspension says anything: most exports write a 0 for who is not.
    pub has_flag: bool,
}

/// A user's record that is written as nearly all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUser {
    /// The user.
    pub user: User,
    /// Bytes of the record.
    pub length: usize,
    /// Its line ends.
    pub lines: u64,
    /// Its columns.
    pub columns: usize,
    /// As [`UserRecord::has_flag`].
    pub has_flag: bool,
}

/// The fewest columns of a user.
const COLUMNS: usize = 12;

/// Reads a record of user.csv: user_id in column 0, suspended in column 11, at least 12 columns, and exactly `columns`
/// where it is known how many they should be.
///
/// Suspended is `1`, `true` or `t` in any case; `0`, `false`, `f` or nothing is not.
pub fn parse_user(record: &[u8], columns: Option<usize>) -> UserRecord {
    let (found, count) = match fields::<COLUMNS>(record) {
        Ok(found) => found,
        Err(reason) => {
            return UserRecord {
                user: Err(reason),
                user_id: first_field(record).and_then(|id| parse_user_id(id).ok()),
                columns: None,
                has_flag: false,
            };
        }
    };
    let [id, .., suspended] = found;
    let fits = count >= COLUMNS && columns.is_none_or(|columns| columns == count);
    UserRecord {
        user: match fits {
            true => user(id, suspended),
            false => Err(Reason::Ragged),
        },
        user_id: parse_user_id(id).ok(),
        columns: Some(count),
        has_flag: !suspended.is_empty(),
    }
}

/// The first user of some bytes of user.csv, if it is written as nearly all are. `None` for any other, good or bad:
/// [`next_record`](super::next_record) and [`parse_user`] read it.
pub fn next_plain_user(bytes: &[u8], columns: Option<usize>) -> Option<PlainUser> {
    let mut ends = [0; COLUMNS];
    let plain = plain_record(bytes, &mut ends)?;
    if columns.is_some_and(|columns| columns != plain.columns) {
        return None;
    }
    let [user_end, .., before, end] = ends;
    let flag = bytes.get(before + 1..end)?;
    Some(PlainUser {
        user: user(bytes.get(..user_end)?, flag).ok()?,
        length: plain.length,
        lines: plain.lines as u64,
        columns: plain.columns,
        has_flag: !flag.is_empty(),
    })
}

/// A user from the columns user_id and suspended; what follows them is not looked at. A null in suspended says no.
///
/// # Errors
/// The [`Reason`] why they are none.
pub fn user_from_fields(fields: &[Field<'_>]) -> Result<User, Reason> {
    let [user_id, suspended, ..] = fields else {
        return Err(Reason::Ragged);
    };
    let read = || {
        Ok(User {
            user_id: user_id.user_id()?,
            suspended: suspended.flag()?,
        })
    };
    read().map_err(|reason| first_reason(fields, reason))
}

fn user(user_id: &[u8], suspended: &[u8]) -> Result<User, Reason> {
    Ok(User {
        user_id: parse_user_id(user_id)?,
        suspended: flag(suspended)?,
    })
}

/// What a flag says, in any case; nothing says no.
pub(super) fn flag(text: &[u8]) -> Result<bool, Reason> {
    let is_any = |of: &[&str]| {
        of.iter()
            .any(|known| text.eq_ignore_ascii_case(known.as_bytes()))
    };
    match text {
        _ if is_any(&["0", "false", "f", ""]) => Ok(false),
        _ if is_any(&["1", "true", "t"]) => Ok(true),
        _ => Err(Reason::BadFlag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Framing, next_record_at_end};

    #[test]
    fn reads_users() {
        for (flag, suspended) in [
            ("1", true),
            ("true", true),
            ("t", true),
            ("True", true),
            ("TRUE", true),
            ("T", true),
            ("\"1\"", true),
            ("0", false),
            ("false", false),
            ("f", false),
            ("False", false),
            ("", false),
            ("\"\"", false),
        ] {
            for rest in ["", "\r\n", ",2015-01-01\n"] {
                let record =
                    format!("8,user8,\"Name, \"\"8\"\"\nof two lines\",,,,,,,,,{flag}{rest}");
                let count = 12 + usize::from(rest.starts_with(','));
                for columns in [None, Some(count)] {
                    assert_eq!(
                        parse_user(record.as_bytes(), columns),
                        UserRecord {
                            user: Ok(User {
                                user_id: 8,
                                suspended
                            }),
                            user_id: Some(8),
                            columns: Some(count),
                            has_flag: !matches!(flag, "" | "\"\""),
                        },
                        "{record}"
                    );
                }
                let other = parse_user(record.as_bytes(), Some(14));
                assert_eq!(other.user, Err(Reason::Ragged), "{record}");
                assert_eq!(other.user_id, Some(8), "{record}");
            }
        }
    }

    /// The way that reads any record must find in a plain one what the fast way finds.
    #[test]
    fn plain_records_are_read_as_all_others() {
        let ids = ["8", "007", "2147483648", "0", "\"8\"", "", "x", "8 "];
        let names = [
            "",
            "a\"b",
            "\"a\"b",
            "\"Name, \"\"8\"\"\r\nof two lines\"",
            "\"\u{e9}\n\n\"",
            "\"",
        ];
        let flags = ["0", "1", "true", "f", "", "\"1\"", "2", "1\""];
        let tails = [
            "\n",
            "\r\n",
            ",\r\n",
            ",a,\"b\"\n",
            ",\"\n\"\n",
            ",\u{e9}\"\n",
            ",\"\n",
        ];
        let mut read_fast = 0;
        for id in ids {
            for name in names {
                for columns in 8..11 {
                    for flag in flags {
                        for tail in tails {
                            let commas = ",".repeat(columns);
                            let record = format!("{id},{name}{commas}{flag}{tail}");
                            let bytes = record.clone() + &"9,".repeat(64);
                            for usual in [None, Some(12), Some(13)] {
                                let found = next_plain_user(bytes.as_bytes(), usual);
                                let Some(PlainUser {
                                    user,
                                    length,
                                    lines,
                                    columns,
                                    has_flag,
                                }) = found
                                else {
                                    continue;
                                };
                                read_fast += 1;
                                let framing = Framing::QuotedCsv(usual);
                                let cut = next_record_at_end(bytes.as_bytes(), framing);
                                assert_eq!(cut, Some(length), "{record}");
                                let cut = &record[..length];
                                assert_eq!(lines, cut.matches('\n').count() as u64, "{record}");
                                let expected = UserRecord {
                                    user: Ok(user),
                                    user_id: Some(user.user_id),
                                    columns: Some(columns),
                                    has_flag,
                                };
                                assert_eq!(parse_user(cut.as_bytes(), usual), expected, "{record}");
                            }
                        }
                    }
                }
            }
        }
        assert!(read_fast > 100, "{read_fast}");
    }

    #[test]
    fn gives_the_first_reason() {
        for (record, reason) in [
            ("8,,,,,,,,,,0", Reason::Ragged),
            ("8,\"a,b\",,,,,,,,,0", Reason::Ragged),
            ("8,\"a,,,,,,,,,,0", Reason::BadQuoting),
            (",,,,,,,,,,,0", Reason::MissingField),
            ("x,,,,,,,,,,,2", Reason::NotANumber),
            ("0,,,,,,,,,,,0", Reason::OutOfRange),
            ("8,,,,,,,,,,,2", Reason::BadFlag),
            ("8,,,,,,,,,,,yes", Reason::BadFlag),
            ("8,,,,,,,,,,, 1", Reason::BadFlag),
            ("8,,,,,,,,,,,\"1\"\"\"", Reason::BadFlag),
        ] {
            let found = parse_user(record.as_bytes(), None);
            assert_eq!(found.user, Err(reason), "{record}");
            let id = record.starts_with('8').then_some(8);
            assert_eq!(found.user_id, id, "{record}");
        }
        let found = parse_user(b"8,\xc3,,,,,,,,,,0", None);
        assert_eq!((found.user, found.user_id), (Err(Reason::NotUtf8), Some(8)));
    }

    /// Each of these was once read as a user who is not suspended.
    #[test]
    fn quotes_that_do_not_fit_are_never_guessed_at() {
        for name in [
            "\"The \\\"cat\\\", 3\"",
            "\"Jo \"JJ\" Cat, 3\"",
            "\"The cat",
            "\"The cat\" ",
            "\"The cat\\\"",
            "\"a\"\"b\"c",
            "\"a\n\"b",
        ] {
            let record = format!("3,cat,{name},,,,,,,,,1,2015-01-01\n");
            let other = "4,\"dan\",\"\",,,,,,,,,0,2015-01-01\n";
            let bytes = record.clone() + other + &other.repeat(9);
            assert!(
                next_plain_user(bytes.as_bytes(), None).is_none(),
                "{record}"
            );
            for framing in [Framing::QuotedCsv(None), Framing::QuotedCsv(Some(13))] {
                let length = next_record_at_end(bytes.as_bytes(), framing).unwrap();
                assert!(record.starts_with(&bytes[..length]), "{record}");
                let found = parse_user(&bytes.as_bytes()[..length], Some(13));
                let expected = (Err(Reason::BadQuoting), Some(3));
                assert_eq!((found.user, found.user_id), expected, "{record}");
            }
        }
    }

    #[test]
    fn columns_read_like_records() {
        for (suspended, expected) in [
            (Field::Text("true"), Ok(true)),
            (Field::Text("0"), Ok(false)),
            (Field::Text(""), Ok(false)),
            (Field::Null, Ok(false)),
            (Field::Flag(true), Ok(true)),
            (Field::Integer(1), Ok(true)),
            (Field::Integer(0), Ok(false)),
            (Field::Integer(2), Err(Reason::BadFlag)),
            (Field::Text("yes"), Err(Reason::BadFlag)),
            (Field::Unreadable(Reason::NotANumber), Err(Reason::BadFlag)),
            (Field::Unreadable(Reason::NotUtf8), Err(Reason::NotUtf8)),
        ] {
            assert_eq!(
                user_from_fields(&[Field::Integer(8), suspended]),
                expected.map(|suspended| User {
                    user_id: 8,
                    suspended
                })
            );
        }
        assert_eq!(
            user_from_fields(&[Field::Null, Field::Flag(true)]),
            Err(Reason::MissingField)
        );
        assert_eq!(user_from_fields(&[Field::Text("8")]), Err(Reason::Ragged));
    }
}
