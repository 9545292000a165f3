//! What a client can say that is not a query: settings, transactions, COPY … TO STDOUT.

use std::sync::Arc;
use std::time::Duration;

use datafusion::sql::sqlparser::ast::{
    CopyLegacyOption, CopyOption, CopySource, CopyTarget, Expr, Ident, ObjectName, Query, Select,
    SelectFlavor, SelectItem, Set, SetExpr, SetSessionAuthorizationParam,
    SetSessionAuthorizationParamKind, Statement, TableFactor, TableWithJoins,
    TransactionIsolationLevel, TransactionMode, Value,
};

use super::copy::CopyFormat;
use super::cursor;
use crate::describe;
use crate::refusal::{Kind, Refusal};
use crate::service::Prepared;

/// Something to do.
#[derive(Debug)]
pub enum Command {
    /// Give rows.
    Query(Arc<Prepared>),
    /// Give rows as a file.
    Copy(Arc<Prepared>, CopyFormat),
    /// Open a cursor.
    Declare {
        /// Its name.
        name: String,
        /// Whether it outlives its transaction.
        hold: bool,
        /// Its query.
        query: Arc<Prepared>,
    },
    /// Give so many rows of the cursor of this name.
    Fetch(String, usize),
    /// Close a cursor; all when none is named.
    Close(Option<String>),
    /// Forget what the session was told, and its cursors.
    Discard,
    /// Say the tag, nothing else.
    Say(&'static str),
    /// Take this time for statements; nothing means as long as the user may.
    Timeout(Option<Duration>),
    /// Say what a setting is.
    Show(String, String),
    /// Begin a transaction; all of its statements see one run when it is repeatable.
    Begin {
        /// REPEATABLE READ or SERIALIZABLE.
        repeatable: bool,
    },
    /// End it.
    End(&'static str),
}

/// What a statement is, before it is planned.
pub enum Said {
    /// To be planned.
    Query(Statement),
    /// To be planned, its rows given as a file.
    Copy(Statement, CopyFormat),
    /// Done without a plan.
    Command(Command),
    /// To do with cursors.
    Cursor(cursor::Said),
}

/// Settings that clients make when they begin, and that change nothing here.
const HARMLESS: [&str; 22] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "synchronize_seqscans",
    "timezone",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
];

/// Tells what a statement is.
///
/// # Errors
/// For settings that are not to be made, and kinds of COPY that are not offered.
pub fn said(statement: Statement) -> Result<Said, Refusal> {
    let say = |tag| Ok(Said::Command(Command::Say(tag)));
    let statement = match cursor::said(statement)? {
        Ok(said) => return Ok(Said::Cursor(said)),
        Err(other) => other,
    };
    match statement {
        Statement::Set(set) => set_command(set).map(Said::Command),
        Statement::Reset(_) => say("RESET"),
        Statement::Discard { .. } => Ok(Said::Command(Command::Discard)),
        Statement::Deallocate { .. } => say("DEALLOCATE"),
        Statement::Savepoint { .. } => say("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => say("RELEASE"),
        Statement::UNLISTEN { .. } => say("UNLISTEN"),
        Statement::StartTransaction { modes, .. } => Ok(Said::Command(Command::Begin {
            repeatable: is_repeatable(&modes),
        })),
        Statement::Commit { .. } => Ok(Said::Command(Command::End("COMMIT"))),
        Statement::Rollback {
            savepoint: None, ..
        } => Ok(Said::Command(Command::End("ROLLBACK"))),
        Statement::Rollback { .. } => say("ROLLBACK"),
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable
                .iter()
                .map(|word| word.value.to_lowercase())
                .collect();
            show(&words.join(" ")).map(Said::Command)
        }
        Statement::Copy {
            source,
            to,
            target,
            options,
            legacy_options,
            ..
        } => copy(source, to, &target, &options, &legacy_options),
        other => Ok(Said::Query(other)),
    }
}

fn is_repeatable(modes: &[TransactionMode]) -> bool {
    modes.iter().any(|mode| {
        matches!(
            mode,
            TransactionMode::IsolationLevel(
                TransactionIsolationLevel::RepeatableRead
                    | TransactionIsolationLevel::Serializable
                    | TransactionIsolationLevel::Snapshot
            )
        )
    })
}

fn word(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    }
}

fn set_command(set: Set) -> Result<Command, Refusal> {
    let (name, value) = match set {
        Set::SetTransaction { modes, .. } => {
            if modes.contains(&TransactionMode::AccessMode(
                datafusion::sql::sqlparser::ast::TransactionAccessMode::ReadWrite,
            )) {
                // Clients say so as a matter of course; what writes is refused when it comes.
                tracing::debug!("a client asks for a transaction that writes");
            }
            return Ok(Command::Say("SET"));
        }
        Set::SetTimeZone { .. } | Set::SetNames { .. } | Set::SetNamesDefault {} => {
            return Ok(Command::Say("SET"));
        }
        Set::SetSessionParam(_) => return Ok(Command::Say("SET")),
        // Back to who one is anyway.
        Set::SetRole {
            role_name: None, ..
        } => return Ok(Command::Say("SET")),
        Set::SetSessionAuthorization(SetSessionAuthorizationParam {
            kind: SetSessionAuthorizationParamKind::Default,
            ..
        }) => return Ok(Command::Say("SET")),
        Set::SingleAssignment {
            variable, values, ..
        } => {
            let value = values.first().map(word).unwrap_or_default();
            (variable.to_string().to_lowercase(), value)
        }
        other => {
            let text = format!("{other}: not to be set here");
            return Err(Refusal::new(Kind::Permission, text));
        }
    };
    let lower = value.to_lowercase();
    match name.as_str() {
        "statement_timeout" => Ok(Command::Timeout(time(&lower)?)),
        "client_encoding" if !["utf8", "utf-8", "unicode", "default"].contains(&lower.as_str()) => {
            let text = format!("client_encoding {value}: only UTF8 is spoken here");
            Err(Refusal::new(Kind::Unsupported, text))
        }
        "search_path"
            if !value.is_empty()
                && !["graph_recs", "public", "$user", "default"]
                    .iter()
                    .any(|path| lower.contains(path)) =>
        {
            let text = format!(
                "search_path is always graph_recs: write {value}.<table> instead of setting it"
            );
            Err(Refusal::new(Kind::Unsupported, text))
        }
        known if HARMLESS.contains(&known) => Ok(Command::Say("SET")),
        other => Err(Refusal::new(
            Kind::Permission,
            format!("parameter \"{other}\" cannot be set here"),
        )),
    }
}

/// A time as PostgreSQL writes them, `0` for none; plain numbers are milliseconds.
fn time(text: &str) -> Result<Option<Duration>, Refusal> {
    if text == "default" {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" | "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number: Option<u64> = digits.trim().parse().ok();
    match (number, unit) {
        (Some(0), Some(_)) => Ok(None),
        (Some(number), Some(unit)) => Ok(Some(Duration::from_millis(number.saturating_mul(unit)))),
        _ => Err(Refusal::new(
            Kind::Data,
            format!("statement_timeout {text:?}: a time like 30s, 5min, or 500 for milliseconds"),
        )),
    }
}

fn show(name: &str) -> Result<Command, Refusal> {
    let (name, setting) = match name {
        "time zone" => ("TimeZone", "timezone"),
        "transaction isolation level" => ("transaction_isolation", "transaction_isolation"),
        "session authorization" => ("session_authorization", "is_superuser"),
        other => (other, other),
    };
    match describe::setting(setting) {
        Some(value) => Ok(Command::Show(name.to_string(), value.to_string())),
        None => Err(Refusal::new(
            Kind::Unsupported,
            format!("unrecognized configuration parameter \"{name}\""),
        )),
    }
}

fn copy(
    source: CopySource,
    to: bool,
    target: &CopyTarget,
    options: &[CopyOption],
    legacy: &[CopyLegacyOption],
) -> Result<Said, Refusal> {
    if !to {
        let text = "cannot execute COPY FROM: statements only read here";
        return Err(Refusal::new(Kind::ReadOnly, text));
    }
    if !matches!(target, CopyTarget::Stdout) {
        let text = "COPY writes no files here: COPY … TO STDOUT, or \\copy … TO … in psql";
        return Err(Refusal::new(Kind::Permission, text));
    }
    let query = match source {
        CopySource::Query(query) => *query,
        CopySource::Table {
            table_name,
            columns,
        } => select(table_name, columns),
    };
    let format = CopyFormat::new(options, legacy)?;
    Ok(Said::Copy(Statement::Query(Box::new(query)), format))
}

/// `SELECT columns FROM table`.
fn select(table: ObjectName, columns: Vec<Ident>) -> Query {
    use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
    use datafusion::sql::sqlparser::ast::{GroupByExpr, WildcardAdditionalOptions};
    let projection = match columns.is_empty() {
        true => vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        false => columns
            .into_iter()
            .map(|column| SelectItem::UnnamedExpr(Expr::Identifier(column)))
            .collect(),
    };
    let from = TableWithJoins {
        relation: TableFactor::Table {
            name: table,
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    };
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![from],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn told(text: &str) -> Result<Said, Kind> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap();
        said(statements.remove(0)).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn harmless_settings_pass_and_others_do_not() {
        for text in [
            "SET application_name = 'x'",
            "SET client_encoding TO 'UTF8'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET TIME ZONE 'Europe/Berlin'",
            "SET search_path TO public",
        ] {
            assert!(matches!(told(text), Ok(Said::Command(_))), "{text}");
        }
        for text in [
            "SET datafusion.execution.batch_size = 1",
            "SET work_mem = '10GB'",
            "SET ROLE postgres",
            "SET SESSION AUTHORIZATION postgres",
            "COPY recommendations TO '/tmp/x'",
            "COPY recommendations TO PROGRAM 'cat'",
        ] {
            assert_eq!(told(text).err(), Some(Kind::Permission), "{text}");
        }
        assert_eq!(
            told("COPY recommendations FROM STDIN").err(),
            Some(Kind::ReadOnly)
        );
    }

    #[test]
    fn times_are_read_as_postgresql_writes_them() {
        assert_eq!(time("500"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time("30s"), Ok(Some(Duration::from_secs(30))));
        assert_eq!(time("5min"), Ok(Some(Duration::from_secs(300))));
        assert_eq!(time("0"), Ok(None));
        assert!(time("soon").is_err());
    }

    #[test]
    fn a_table_is_copied_as_a_select() {
        let Ok(Said::Copy(statement, _)) = told("COPY ops.runs (run_id) TO STDOUT CSV HEADER")
        else {
            panic!("no COPY");
        };
        assert_eq!(statement.to_string(), "SELECT run_id FROM ops.runs");
    }
}
