use std::fmt;

/// Why a record cannot be read.
///
/// A record may have several faults; the one that counts is the first of: not UTF-8, not JSON or bad quoting,
/// ragged, then the needed fields in the order in which the record's type lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// Not one JSON text by RFC 8259, or nested deeper than 128 levels.
    NotJson,
    /// Text follows the closing quote of a CSV field, or there is no closing quote, or a backslash before a quote.
    BadQuoting,
    /// Too few columns, or too many where their number is fixed.
    Ragged,
    /// A needed field is absent, empty or null.
    MissingField,
    /// A JSON value of another type than needed, or a JSON text that is no object.
    WrongType,
    /// A field that should be a number is not written in the digits 0-9.
    NotANumber,
    /// A number that its column does not allow, as a user id of 0.
    OutOfRange,
    /// Not a timestamp, or one of a day or a time of day that does not exist.
    NoSuchDate,
    /// Neither true nor false.
    BadFlag,
    /// Longer than any record is read.
    TooLong,
}

impl Reason {
    /// Every reason, in the order of the enumeration.
    pub const ALL: [Self; 11] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::BadQuoting,
        Self::Ragged,
        Self::MissingField,
        Self::WrongType,
        Self::NotANumber,
        Self::OutOfRange,
        Self::NoSuchDate,
        Self::BadFlag,
        Self::TooLong,
    ];

    /// The name used in the quarantine and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::BadQuoting => "bad_quoting",
            Self::Ragged => "ragged",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::NoSuchDate => "no_such_date",
            Self::BadFlag => "bad_flag",
            Self::TooLong => "too_long",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_in_order() {
        assert!(Reason::ALL.is_sorted());
        let mut names = Reason::ALL.map(Reason::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
