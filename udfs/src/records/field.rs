use super::Reason;
use super::number::{parse_i64, parse_user_id, user_id};
use super::timestamp::needed_timestamp;
use super::user::flag;

/// A value of a row that comes in columns, as from Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// There is none.
    Null,
    /// A whole number.
    Integer(i64),
    /// True or false.
    Flag(bool),
    /// A moment, in seconds since 1970-01-01 00:00:00 UTC.
    Time(i64),
    /// The text that writes it, as in a line of text.
    Text(&'a str),
    /// There is one that cannot be read.
    Unreadable(Reason),
}

impl Field<'_> {
    /// The id of a user.
    ///
    /// # Errors
    /// The [`Reason`] why it is none.
    pub fn user_id(self) -> Result<i32, Reason> {
        match self {
            Self::Integer(number) => user_id(number),
            Self::Text(text) => parse_user_id(text.as_bytes()),
            other => Err(other.reason()),
        }
    }

    pub(super) fn integer(self) -> Result<i64, Reason> {
        match self {
            Self::Integer(number) => Ok(number),
            Self::Text(text) => parse_i64(text.as_bytes()),
            other => Err(other.reason()),
        }
    }

    pub(super) fn time(self) -> Result<i64, Reason> {
        match self {
            Self::Time(seconds) => Ok(seconds),
            Self::Text(text) => needed_timestamp(text.as_bytes()),
            other => Err(other.reason()),
        }
    }

    /// A flag; null says no, as nothing does in a line of text.
    pub(super) fn flag(self) -> Result<bool, Reason> {
        match self {
            Self::Null | Self::Integer(0) => Ok(false),
            Self::Integer(1) => Ok(true),
            Self::Flag(value) => Ok(value),
            Self::Text(text) => flag(text.as_bytes()),
            Self::Unreadable(reason @ (Reason::NotUtf8 | Reason::NotJson)) => Err(reason),
            Self::Integer(_) | Self::Time(_) | Self::Unreadable(_) => Err(Reason::BadFlag),
        }
    }

    /// Why it is not what is needed.
    fn reason(self) -> Reason {
        match self {
            Self::Null => Reason::MissingField,
            Self::Unreadable(reason) => reason,
            _ => Reason::WrongType,
        }
    }
}

impl<'a> Field<'a> {
    pub(super) fn text(self) -> Result<&'a str, Reason> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.reason()),
        }
    }
}

/// The reason that counts of a row: what is no text at all comes before what is wrong in a field.
pub(super) fn first_reason(fields: &[Field<'_>], reason: Reason) -> Reason {
    let before = |field: &Field<'_>| match *field {
        Field::Unreadable(reason @ (Reason::NotUtf8 | Reason::NotJson)) => Some(reason),
        _ => None,
    };
    fields.iter().filter_map(before).min().unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_what_is_needed_or_why_not() {
        let all = [
            Field::Null,
            Field::Integer(7),
            Field::Flag(true),
            Field::Time(5),
            Field::Text("7"),
            Field::Text("1970-01-01 00:00:05"),
            Field::Text("true"),
            Field::Unreadable(Reason::NotANumber),
        ];
        let (missing, number) = (Err(Reason::MissingField), Err(Reason::NotANumber));
        let (kind, date) = (Err(Reason::WrongType), Err(Reason::NoSuchDate));
        assert_eq!(
            all.map(Field::user_id),
            [missing, Ok(7), kind, kind, Ok(7), number, number, number]
        );
        assert_eq!(
            all.map(|field| field.integer().map(|value| value as i32)),
            all.map(Field::user_id)
        );
        let (missing, number) = (Err(Reason::MissingField), Err(Reason::NotANumber));
        let kind = Err(Reason::WrongType);
        assert_eq!(
            all.map(Field::time),
            [missing, kind, kind, Ok(5), date, Ok(5), date, number]
        );
        let bad = Err(Reason::BadFlag);
        assert_eq!(
            all.map(Field::flag),
            [Ok(false), bad, Ok(true), bad, bad, bad, Ok(true), bad]
        );
        assert_eq!(Field::Integer(1).flag(), Ok(true));
        assert_eq!(Field::Integer(0).flag(), Ok(false));
        assert_eq!(Field::Text("a").text(), Ok("a"));
        assert_eq!(Field::Null.text(), Err(Reason::MissingField));
        assert_eq!(Field::Integer(-7).user_id(), Err(Reason::OutOfRange));
        assert_eq!(Field::Integer(1 << 31).user_id(), Err(Reason::OutOfRange));
    }

    #[test]
    fn what_is_no_text_comes_first() {
        let fields = [
            Field::Unreadable(Reason::NoSuchDate),
            Field::Unreadable(Reason::NotJson),
            Field::Unreadable(Reason::NotUtf8),
        ];
        assert_eq!(first_reason(&fields, Reason::MissingField), Reason::NotUtf8);
        assert_eq!(
            first_reason(&fields[..2], Reason::MissingField),
            Reason::NotJson
        );
        assert_eq!(
            first_reason(&fields[..1], Reason::MissingField),
            Reason::MissingField
        );
    }
}
