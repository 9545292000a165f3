use super::Reason;
use super::csv::{fields, plain_record};
use super::number::parse_user_id;

/// What is needed of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The user's id.
    pub user_id: i32,
    /// Whether the account is suspended.
    pub suspended: bool,
}

const COLUMNS: usize = 12;

/// Reads a record of user.csv: user_id in column 0, suspended in column 11, at least 12 columns.
///
/// Suspended is `1`, `true` or `t`; `0`, `false`, `f` or nothing is not.
///
/// # Errors
/// The [`Reason`] why it cannot be read.
pub fn parse_user(record: &[u8]) -> Result<User, Reason> {
    let ([user_id, .., suspended], count) = fields::<COLUMNS>(record)?;
    if count < COLUMNS {
        return Err(Reason::Ragged);
    }
    user(user_id, suspended)
}

/// The first user of some bytes of user.csv, the length of its record and the number of its lines, if it is written as
/// nearly all are. `None` for any other, good or bad: [`next_record`](super::next_record) and [`parse_user`] read it.
pub fn next_plain_user(bytes: &[u8]) -> Option<(User, usize, u64)> {
    let mut ends = [0; COLUMNS];
    let (length, lines) = plain_record(bytes, &mut ends)?;
    let [user_end, .., before, end] = ends;
    let user = user(bytes.get(..user_end)?, bytes.get(before + 1..end)?).ok()?;
    Some((user, length, lines as u64))
}

/// A user from the columns user_id and suspended; what follows them is not looked at. A null in suspended says no.
///
/// # Errors
/// The [`Reason`] why they are none.
pub fn user_from_fields(fields: &[Option<&str>]) -> Result<User, Reason> {
    let [user_id, suspended, ..] = fields else {
        return Err(Reason::Ragged);
    };
    user(
        user_id.unwrap_or_default().as_bytes(),
        suspended.unwrap_or_default().as_bytes(),
    )
}

fn user(user_id: &[u8], suspended: &[u8]) -> Result<User, Reason> {
    let user_id = parse_user_id(user_id)?;
    let suspended = match suspended {
        b"1" | b"true" | b"t" => true,
        b"0" | b"false" | b"f" | b"" => false,
        _ => return Err(Reason::BadFlag),
    };
    Ok(User { user_id, suspended })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_users() {
        for (flag, suspended) in [
            ("1", true),
            ("true", true),
            ("t", true),
            ("\"1\"", true),
            ("0", false),
            ("false", false),
            ("f", false),
            ("", false),
            ("\"\"", false),
        ] {
            for rest in ["", "\r\n", ",2015-01-01\n"] {
                let record =
                    format!("8,user8,\"Name, \"\"8\"\"\nof two lines\",,,,,,,,,{flag}{rest}");
                assert_eq!(
                    parse_user(record.as_bytes()),
                    Ok(User {
                        user_id: 8,
                        suspended
                    }),
                    "{record}"
                );
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
                            if let Some((user, length, lines)) = next_plain_user(bytes.as_bytes()) {
                                read_fast += 1;
                                assert_eq!(length, record.len(), "{record}");
                                assert_eq!(lines, record.matches('\n').count() as u64, "{record}");
                                assert_eq!(parse_user(record.as_bytes()), Ok(user), "{record}");
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
            ("8,\"a,,,,,,,,,,0", Reason::UnclosedQuote),
            (",,,,,,,,,,,0", Reason::MissingField),
            ("x,,,,,,,,,,,2", Reason::NotANumber),
            ("0,,,,,,,,,,,0", Reason::OutOfRange),
            ("8,,,,,,,,,,,2", Reason::BadFlag),
            ("8,,,,,,,,,,,T", Reason::BadFlag),
            ("8,,,,,,,,,,,True", Reason::BadFlag),
            ("8,,,,,,,,,,, 1", Reason::BadFlag),
            ("8,,,,,,,,,,,\"1\"\"\"", Reason::BadFlag),
        ] {
            assert_eq!(parse_user(record.as_bytes()), Err(reason), "{record}");
        }
        assert_eq!(parse_user(b"8,\xc3,,,,,,,,,,0"), Err(Reason::NotUtf8));
    }

    #[test]
    fn columns_read_like_records() {
        assert_eq!(
            user_from_fields(&[Some("8"), Some("true")]),
            Ok(User {
                user_id: 8,
                suspended: true
            })
        );
        assert_eq!(
            user_from_fields(&[Some("8"), None]),
            Ok(User {
                user_id: 8,
                suspended: false
            })
        );
        assert_eq!(
            user_from_fields(&[None, Some("1")]),
            Err(Reason::MissingField)
        );
        assert_eq!(
            user_from_fields(&[Some("8"), Some("yes")]),
            Err(Reason::BadFlag)
        );
        assert_eq!(user_from_fields(&[Some("8")]), Err(Reason::Ragged));
    }
}
