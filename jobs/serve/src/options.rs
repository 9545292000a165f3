//! Options of the service for analysts, and of its users.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::values::{moment, parse_any_size, parse_date, parse_size, parse_time};

/// What a catalog is made of: for `serve` and `sql`.
#[derive(Debug, Args)]
pub struct CatalogOptions {
    /// Folder of the warehouse: makes schemas graph_recs, graph_recs_history and ops
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: Option<String>,
    /// Folder of raw exports, or the folder above the dated ones (see --date): makes schema raw
    #[arg(long, value_name = "DIR")]
    pub input: Option<String>,
    /// The day: names the input folder <input>/<YYYYMMDD>, and the default of --as-of
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub date: Option<NaiveDate>,
    /// The moment as of which the input is known, UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub as_of: Option<DateTime<Utc>>,
    /// Model folder for reputation(), or its object-store URL [default: the model that is built in]
    #[arg(long, env = "GRAPH_RECS_MODEL", value_name = "DIR")]
    pub model: Option<String>,
}

impl CatalogOptions {
    /// The moment as of which the input is known.
    ///
    /// # Errors
    /// When no option says it.
    pub fn moment(&self) -> Result<DateTime<Utc>> {
        moment(self.as_of, self.date)
    }
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// What there is to ask
    #[command(flatten)]
    pub catalog: CatalogOptions,
    /// Address for PostgreSQL's protocol; other than loopback needs --users
    #[arg(
        long,
        env = "GRAPH_RECS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:5433"
    )]
    pub listen: SocketAddr,
    /// Address for Arrow Flight SQL; other than loopback needs --users and --tls-cert
    #[arg(long, env = "GRAPH_RECS_FLIGHT_LISTEN", value_name = "ADDRESS:PORT")]
    pub flight_listen: Option<SocketAddr>,
    /// Users file, by `graph-recs user`; without one everybody on this machine may ask everything
    #[arg(long, env = "GRAPH_RECS_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// Certificates of the service, PEM; with them whoever comes from another machine must use TLS
    #[arg(
        long,
        env = "GRAPH_RECS_SERVE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(
        long,
        env = "GRAPH_RECS_SERVE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// File to which a line is added for every statement: user, time, rows, bytes, … [default: the log]
    #[arg(long, env = "GRAPH_RECS_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// Seconds between looks for a new publication
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub refresh: u64,
    /// Limits
    #[command(flatten)]
    pub limits: LimitOptions,
}

/// Limits of statements; the users file may have others for a user.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of statements")]
pub struct LimitOptions {
    /// Seconds from a statement's arrival to its last row
    #[arg(long, value_name = "S", default_value_t = 300)]
    pub statement_timeout: u64,
    /// Rows that a statement may return
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    pub max_rows: u64,
    /// Bytes that a statement may return
    #[arg(long, value_name = "SIZE", default_value = "4GB", value_parser = parse_any_size)]
    pub max_bytes: u64,
    /// Bytes of files that a statement may read
    #[arg(long, value_name = "SIZE", default_value = "100GB", value_parser = parse_any_size)]
    pub max_scan: u64,
    /// Memory that the operators of one statement may hold [default: half of --memory-limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_any_size)]
    pub max_memory: Option<u64>,
    /// Statements of one user at once; more wait
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub max_user_statements: u64,
    /// Bytes of a statement's text
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = parse_any_size)]
    pub max_statement_size: u64,
    /// Memory that the operators of all statements may hold together; beyond it they spill to disk, or are refused
    #[arg(long, env = "GRAPH_RECS_SERVE_MEMORY_LIMIT", value_name = "SIZE", default_value = "2GB", value_parser = parse_size)]
    pub memory_limit: u64,
    /// Disk that all statements together may spill to
    #[arg(long, value_name = "SIZE", default_value = "10GB", value_parser = parse_any_size)]
    pub spill_limit: u64,
    /// Statements at once; look-ups of single users are not counted
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_statements: u32,
    /// Statements that wait for their turn; more are refused
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_waiting: u32,
    /// Seconds that a statement waits for its turn
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub wait: u64,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,
    /// Threads that work on statements, at a lower priority than other programs' [default: one a core]
    #[arg(long, env = "GRAPH_RECS_THREADS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// Options of `user`.
#[derive(Debug, Args)]
pub struct UserOptions {
    /// What to do
    #[command(subcommand)]
    pub action: UserAction,
}

/// What `user` can do.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Add a user; the password is asked for, or read from standard input
    Add {
        /// The user's name
        name: String,
        /// A role: analyst (graph_recs, graph_recs_history, ops), raw (these, and the raw exports), or one of the file's own
        #[arg(long, value_name = "ROLE", default_value = "analyst")]
        role: Vec<String>,
        /// Give an existing user this password and these roles
        #[arg(long)]
        replace: bool,
        /// The users file
        #[arg(long, env = "GRAPH_RECS_USERS", value_name = "FILE")]
        users: PathBuf,
    },
    /// List the users with their roles and schemas
    List {
        /// The users file
        #[arg(long, env = "GRAPH_RECS_USERS", value_name = "FILE")]
        users: PathBuf,
    },
    /// Remove a user; who is connected gets no more answers
    Remove {
        /// The user's name
        name: String,
        /// The users file
        #[arg(long, env = "GRAPH_RECS_USERS", value_name = "FILE")]
        users: PathBuf,
    },
}
