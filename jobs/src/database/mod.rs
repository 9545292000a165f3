//! PostgreSQL: where the platform's services read the current run.
//!
//! ```text
//! graph_recs.closest_connections, .recommendations, .rec_reasons   views of the current run
//! graph_recs.<table>_by_run                                       views of the runs that are still there
//! graph_recs.runs, .current_run, .quality_results                 what was published, and what was checked
//! graph_recs_store.<table>, partitions <table>_0, <table>_1        the rows: two slots of three tables
//! ```
//!
//! A run is loaded into the slot that is not current, detached meanwhile, by several connections at once, and becomes
//! current by one row in `graph_recs.runs`, committed after the checks have passed. See docs/adr/0008-postgresql.md.

mod checks;
mod connect;
mod conninfo;
mod copy;
mod error;
mod hidden;
mod load;
mod migrate;
mod probe;
mod publish;
mod slots;
mod table;
mod url;
mod waits;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

pub use checks::Checked;
pub use error::DatabaseError;
pub use hidden::{VARIABLE, hide_url};
pub use migrate::newest;
pub use probe::Probe;
pub use publish::{Loaded, Outcome};
pub use url::DatabaseUrl;
pub use waits::settle;

use connect::{ANSWER, execute, in_time, query};
use waits::Waits;

/// A PostgreSQL database. Connections are made when they are needed.
#[derive(Clone)]
pub struct Database {
    /// Where it may be, in the order in which it is looked for.
    servers: Vec<PgConnectOptions>,
    /// The longest that a connection may take to come about.
    patience: Duration,
    /// Which of the servers took the last connection.
    last: Arc<AtomicUsize>,
    /// Tells the transactions of this value from those of others.
    mark: i32,
    waits: Arc<Waits>,
}

impl Database {
    /// The database at a URL; does not connect yet.
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn new(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let servers = url.servers()?;
        let options = servers.options.into_iter();
        Ok(Self {
            servers: options
                .map(|server| server.disable_statement_logging())
                .collect(),
            patience: servers.patience,
            last: Arc::default(),
            // 31 bits by chance.
            mark: (Uuid::new_v4().as_u128() >> 97) as i32,
            waits: Arc::default(),
        })
    }
}
