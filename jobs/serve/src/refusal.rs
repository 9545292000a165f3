//! Why a statement is not answered: the one error that analysts see, with PostgreSQL's code for it.

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text is no SQL.
    Syntax,
    /// There is no such table.
    NoTable,
    /// There is no such column.
    NoColumn,
    /// There is no such function.
    NoFunction,
    /// The types do not fit.
    Types,
    /// Anything that a value was wrong for, as in a division by zero.
    Data,
    /// The statement would change something.
    ReadOnly,
    /// The user may not.
    Permission,
    /// Not offered.
    Unsupported,
    /// A limit of size: text, rows, bytes, columns.
    Limit,
    /// More memory than there is for the statement.
    Memory,
    /// It took too long.
    Timeout,
    /// Somebody cancelled it.
    Cancelled,
    /// Too many statements at once.
    Busy,
    /// The user or password is wrong.
    Login,
    /// The transaction failed before.
    FailedTransaction,
    /// It wants a transaction.
    NoTransaction,
    /// There is no such cursor, or there is one already.
    Cursor,
    /// The fault is ours, or of a disk or store.
    Internal,
}

impl Kind {
    /// SQLSTATE.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "42601",
            Self::NoTable => "42P01",
            Self::NoColumn => "42703",
            Self::NoFunction => "42883",
            Self::Types => "42804",
            Self::Data => "22000",
            Self::ReadOnly => "25006",
            Self::Permission => "42501",
            Self::Unsupported => "0A000",
            Self::Limit => "54000",
            Self::Memory => "53200",
            Self::Timeout | Self::Cancelled => "57014",
            Self::Busy => "53300",
            Self::Login => "28P01",
            Self::FailedTransaction => "25P02",
            Self::NoTransaction => "25P01",
            Self::Cursor => "34000",
            Self::Internal => "XX000",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Its kind.
    pub kind: Kind,
    /// What is wrong, and what to do.
    pub message: String,
    /// Where in the statement: line and column, both from 1.
    pub place: Option<(u64, u64)>,
}

impl Refusal {
    /// A refusal of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            place: None,
        }
    }

    /// The place as PostgreSQL counts it: characters of `text`, from 1.
    pub fn position(&self, text: &str) -> Option<usize> {
        let (line, column) = self.place?;
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let before: usize = text
            .split_inclusive('\n')
            .take(line)
            .map(|line| line.chars().count())
            .sum();
        Some(before + usize::try_from(column).ok()?)
    }
}

impl From<ParserError> for Refusal {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::RecursionLimitExceeded => Self::new(
                Kind::Limit,
                "the statement is nested too deeply: take parts of it into WITH clauses",
            ),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
                let (message, place) = cut_place(&text);
                Self {
                    kind: Kind::Syntax,
                    message: format!("syntax error: {message}"),
                    place,
                }
            }
        }
    }
}

/// The parser says where at the end of its text: ` at Line: 1, Column: 8`.
fn cut_place(text: &str) -> (&str, Option<(u64, u64)>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let place = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some((line.parse().ok()?, column.trim().parse().ok()?)));
    match place {
        Some(place) => (message, Some(place)),
        None => (text, None),
    }
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        let place = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .map(|span| (span.start.line, span.start.column));
        let mut refusal = from_root(&error);
        refusal.place = refusal.place.or(place);
        refusal
    }
}

/// A refusal of our own, however deep it lies.
fn own(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        next = error.source();
    }
    None
}

fn from_root(error: &DataFusionError) -> Refusal {
    if let Some(refusal) = own(error) {
        return refusal;
    }
    let plain = |kind, text: &str| Refusal::new(kind, tidy(text));
    match error.find_root() {
        DataFusionError::External(cause) => match cause.downcast_ref::<object_store::Error>() {
            Some(cause) => refused_by_store(cause),
            None => {
                own(cause.as_ref()).unwrap_or_else(|| plain(Kind::Internal, &cause.to_string()))
            }
        },
        DataFusionError::ObjectStore(cause) => refused_by_store(cause),
        DataFusionError::ParquetError(cause) => plain(Kind::Internal, &cause.to_string()),
        DataFusionError::SQL(cause, _) => (**cause).clone().into(),
        DataFusionError::SchemaError(cause, _) => match cause.as_ref() {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => {
                let mut known: Vec<String> = Vec::new();
                for name in valid_fields.iter().map(Column::flat_name) {
                    // After ORDER BY they come twice.
                    if !known.contains(&name) {
                        known.push(name);
                    }
                }
                let known = match known.len() {
                    0 | 40.. => String::new(),
                    _ => format!("; there are {}", known.join(", ")),
                };
                Refusal::new(
                    Kind::NoColumn,
                    format!("column {} does not exist{known}", field.flat_name()),
                )
            }
            other => plain(Kind::NoColumn, &other.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => plain(Kind::Memory, text),
        DataFusionError::NotImplemented(text) => plain(Kind::Unsupported, text),
        DataFusionError::Plan(text) => planning(text),
        DataFusionError::ArrowError(cause, _) => plain(Kind::Data, &cause.to_string()),
        DataFusionError::Execution(text) => plain(Kind::Data, text),
        DataFusionError::Internal(text) => plain(
            // What the planner calls internal is nearly always a statement that it has no plan for.
            Kind::Unsupported,
            text,
        ),
        other => plain(Kind::Unsupported, &other.to_string()),
    }
}

fn refused_by_store(cause: &object_store::Error) -> Refusal {
    if let Some(refusal) = own(cause) {
        return refusal;
    }
    // Paths are the operator's, not the analyst's.
    tracing::error!("a file cannot be read: {cause}");
    Refusal::new(
        Kind::Internal,
        "a file of the warehouse or of the exports cannot be read: the service's log says which",
    )
}

fn planning(text: &str) -> Refusal {
    let lower = text.to_ascii_lowercase();
    if lower.contains("not found") && lower.starts_with("table") {
        let name = text.split('\'').nth(1).unwrap_or(text);
        let name = name.strip_prefix("graph_recs.").unwrap_or(name);
        return Refusal::new(
            Kind::NoTable,
            format!("relation \"{name}\" does not exist: \\d lists what there is"),
        );
    }
    let kind = if lower.contains("invalid function") || lower.contains("table function") {
        Kind::NoFunction
    } else if lower.contains("type") || lower.contains("coerc") || lower.contains("signature") {
        Kind::Types
    } else {
        Kind::Unsupported
    };
    Refusal::new(kind, tidy(text))
}

/// Libraries' texts end with advice for their own developers.
fn tidy(text: &str) -> String {
    let text = text.split("\n\nbacktrace").next().unwrap_or(text);
    let text = text
        .split("This issue was likely caused by a bug in DataFusion")
        .next()
        .unwrap_or(text);
    text.trim_end().trim_end_matches(['.', '\n']).to_string()
}

impl From<Refusal> for DataFusionError {
    fn from(refusal: Refusal) -> Self {
        Self::External(Box::new(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_points_into_the_statement() {
        let error = ParserError::ParserError("Expected: x, found: y at Line: 2, Column: 8".into());
        let refusal = Refusal::from(error);
        assert_eq!(refusal.place, Some((2, 8)));
        assert_eq!(refusal.message, "syntax error: Expected: x, found: y");
        assert_eq!(refusal.position("SELECT ä\nFROM a b c"), Some(17));
    }
}
