//! A look at the database before anything is asked of it.

use chrono::{DateTime, Utc};
use sqlx::{Connection, Row};

use super::error::DatabaseError;
use super::publish::current;
use super::{ANSWER, Database, in_time, query};

/// What a database says of itself.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its version, as `17.2`.
    pub server: String,
    /// Its clock.
    pub clock: DateTime<Utc>,
    /// The run that its readers see.
    pub current: Option<String>,
}

impl Database {
    /// Connects, and asks what is needed to publish there.
    ///
    /// # Errors
    /// When it cannot be reached, or its tables are of another version.
    pub async fn probe(&self) -> Result<Probe, DatabaseError> {
        let mut connection = self.connect().await?;
        let asked = query("SELECT current_setting('server_version'), clock_timestamp()");
        let row = in_time(ANSWER, asked.fetch_one(&mut connection)).await?;
        self.require_version(&mut connection).await?;
        let run = current(&mut connection).await?;
        in_time(ANSWER, connection.close()).await?;
        Ok(Probe {
            server: row.try_get(0)?,
            clock: row.try_get(1)?,
            current: run.map(|run| run.run_id),
        })
    }
}
