//! What can go wrong with the database.

use chrono::{DateTime, Utc};

use graph_recs_warehouse::WarehouseError;

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL cannot be used. It is not repeated here: it may hold a password.
    #[error(
        "the database's URL (--database-url, GRAPH_RECS_DATABASE_URL) is not like postgres://user:password@host:port/database: {0}"
    )]
    Url(String),
    /// The tables are of another version, or not there.
    #[error(
        "the database's tables are of version {found} and this graph-recs needs {needed}: run `graph-recs migrate` of \
         the newest version with the same --database-url"
    )]
    Version {
        /// That of the tables; 0 when there are none.
        found: i64,
        /// That of the program.
        needed: i64,
    },
    /// A migration failed.
    #[error("migration")]
    Migration(#[from] Box<sqlx::migrate::MigrateError>),
    /// Another process publishes to the database.
    #[error(
        "another publisher holds the lock of the database: {holder}. Try again when it is through"
    )]
    LockHeld {
        /// Who that is, as far as known.
        holder: String,
    },
    /// Nothing can be written there.
    #[error("{}", read_only(.standby))]
    ReadOnly {
        /// Because the server only repeats another one; else because of a setting.
        standby: bool,
    },
    /// The user lacks what a publisher needs.
    #[error(
        "the user of the database's URL cannot publish: {lacks}. Publish as the owner of the tables, or have somebody grant \
         its role to the user (GRANT owner TO user)"
    )]
    Rights {
        /// What, in words.
        lacks: String,
    },
    /// The user may not make the tables.
    #[error(
        "the database has no tables of graph-recs, and the user of its URL may not make them: have somebody do \
         GRANT CREATE ON DATABASE to it, then run `graph-recs migrate` with the same --database-url"
    )]
    NoCreate,
    /// A publisher needs more transactions at the same time than it is given.
    #[error(
        "the database, or the pooler before it, does not run {needed} transactions of a publisher at the same time: raise \
         max_connections, the role's CONNECTION LIMIT, or the pooler's default_pool_size"
    )]
    Crowded {
        /// How many.
        needed: usize,
    },
    /// The run is older than the one that the database has.
    #[error(
        "run {run_id} is as of {as_of}, older than the database's run {current}, as of {current_as_of}: nothing was \
         published there; `graph-recs rollback --to {run_id}` with the same --database-url makes it current all the same"
    )]
    Older {
        /// The run to publish.
        run_id: String,
        /// Its as-of.
        as_of: DateTime<Utc>,
        /// The run that is current.
        current: String,
        /// Its as-of.
        current_as_of: DateTime<Utc>,
    },
    /// Others' transactions stay in the way.
    #[error(
        "others kept this waiting for {seconds} s: {holders}. End them (pg_terminate_backend) and \
         give the command again; who reads graph_recs should not keep transactions open"
    )]
    Busy {
        /// How long it was waited.
        seconds: u64,
        /// Who they are, as far as known.
        holders: String,
    },
    /// A publisher that lost its lock found its place taken.
    #[error("another publisher took over while this one was cut off from the database")]
    Superseded,
    /// What was loaded failed a quality check.
    #[error(
        "quality checks of what PostgreSQL has failed for run {run_id}: {failed}. {consequence}"
    )]
    ChecksFailed {
        /// The run.
        run_id: String,
        /// The checks that failed.
        failed: String,
        /// What that means for readers.
        consequence: &'static str,
    },
    /// Nothing was ever published to the database.
    #[error("the database has no run yet: publish one with `graph-recs publish`")]
    NothingPublished,
    /// The server did not answer in time.
    #[error("the database did not answer for {seconds} s")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// The server sent what cannot be understood, or the warehouse holds what cannot be sent.
    #[error("{0}")]
    Rows(String),
    /// The server, or the way to it.
    #[error("PostgreSQL{}", hint(.0))]
    Server(#[from] sqlx::Error),
    /// The warehouse, from which the rows come.
    #[error("reading the run from the warehouse")]
    Warehouse(#[from] WarehouseError),
    /// Reading the warehouse's rows.
    #[error("reading the run from the warehouse")]
    Read(#[from] Box<datafusion::error::DataFusionError>),
    /// The dictionary cannot be read.
    #[error("models.yml")]
    Models(String),
    /// A task ended before its time.
    #[error("a task of the load was ended")]
    Task(#[from] tokio::task::JoinError),
}

impl From<datafusion::error::DataFusionError> for DatabaseError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl DatabaseError {
    /// Whether the same may well succeed a little later: the connection was lost or refused, the server restarts or
    /// has no connection to spare, transactions got in each other's way.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Superseded => true,
            Self::Server(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
            Self::Server(error) => code(error).is_some_and(|code| match &*code {
                // PgBouncer says this of nearly everything.
                "08P01" => !is_pooler_refusal(error),
                "40001" | "40P01" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
                    true
                }
                code => code.starts_with("08"),
            }),
            _ => false,
        }
    }

    /// Whether it may pass when it comes after the connection was cut: the server may not have noticed yet that we are
    /// gone, or another one is about to take its place.
    pub(super) fn passes_after_a_cut(&self) -> bool {
        matches!(
            self,
            Self::LockHeld { .. } | Self::ReadOnly { standby: true }
        )
    }

    /// Whether the server refuses who asks: it is the same at all servers of a database.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Server(error) if code(error).is_some_and(|code| {
            matches!(&*code, "28P01" | "28000" | "3D000") || (code == "08P01" && is_pooler_refusal(error))
        }))
    }

    /// Whether a lock was not to be had in the time that was given.
    pub(super) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Server(error) if code(error).as_deref() == Some("55P03"))
    }

    /// Whether a statement was cancelled: by its limit of time, or by somebody.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Server(error) if code(error).as_deref() == Some("57014"))
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Whether PgBouncer refuses who asks, which it tells in words only.
fn is_pooler_refusal(error: &sqlx::Error) -> bool {
    let text = error.to_string();
    [
        "authentication failed",
        "no such ",
        "does not exist",
        "not allowed",
        "unsupported startup parameter",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn read_only(standby: &bool) -> &'static str {
    match standby {
        true => {
            "the database's server is a standby, to which nothing can be published: give the URL of the primary, or all \
             servers (host1,host2)"
        }
        false => {
            "the database can only be read as this user: default_transaction_read_only is on for the server, the database \
             or the role. Publish as another user, or take it back (ALTER ROLE … RESET default_transaction_read_only); \
             services that look after databases set it when the disk is full"
        }
    }
}

/// What to do about errors whose own text does not say it.
fn hint(error: &sqlx::Error) -> &'static str {
    match (error, code(error).as_deref()) {
        (_, Some("53100")) => {
            " has no disk space left (readers still have the run they had; free some, or give it more, and give the command again)"
        }
        (_, Some("53300")) => {
            " has no connection left (a publisher takes about 8: max_connections, or the role's CONNECTION LIMIT)"
        }
        (_, Some("53400")) => " does not allow that much (temp_file_limit?)",
        (_, Some("28P01")) => " refuses the user or password of the database's URL",
        (_, Some("28000")) => {
            " does not let this user in from here (pg_hba.conf; servers that want TLS need sslmode=require in the URL)"
        }
        (_, Some("08P01")) if is_pooler_refusal(error) => {
            "'s pooler refuses the user, password, database or options of the URL"
        }
        (_, Some("3D000")) => " has no such database (make it with createdb)",
        (_, Some("42501")) => {
            " refuses the user a right (who publishes and migrates must own graph_recs and graph_recs_store)"
        }
        (_, Some("57014")) => " cancelled a statement, as somebody asked it to (pg_cancel_backend)",
        (_, Some("25006")) => " can only be read (is it a standby, or was its disk full?)",
        (sqlx::Error::Tls(_), _) => {
            " and this program do not come to terms on TLS (sslmode, sslrootcert, sslcert and sslkey of the URL)"
        }
        (sqlx::Error::Io(_), _) => {
            " cannot be reached, or the connection was cut (is it running, and are host and port right?)"
        }
        (sqlx::Error::Protocol(_), _) => {
            " did not answer as PostgreSQL does (are host and port right?)"
        }
        _ => "",
    }
}
