use super::Reason;
use super::csv::fields;
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
