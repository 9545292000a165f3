//! What commands do with PostgreSQL.

use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::Utc;
use serde_json::{Value, json};

use crate::cli::{DatabaseOptions, MigrateOptions};
use crate::database::{Database, DatabaseError, Loaded, Outcome, newest};
use crate::pipeline::{Cost, Meter, render_checks};
use crate::progress::Progress;
use graph_recs_serve::values::missing;
use graph_recs_warehouse::{PublicationKind, Warehouse};

/// Makes or changes the tables.
pub async fn migrate(options: MigrateOptions) -> Result<()> {
    let database = open(&options.database)?.ok_or_else(|| missing("--database-url"))?;
    let target = options.to.unwrap_or_else(newest);
    let found = database.migrate(target).await?;
    if found == target {
        say_line!("the database's tables are of version {target} already");
    } else {
        say_line!("the database's tables were of version {found} and are of version {target} now");
    }
    Ok(())
}

/// The database that the options name, if any.
pub fn open(options: &DatabaseOptions) -> Result<Option<Database>, DatabaseError> {
    let url = options.database_url.as_ref().filter(|url| !url.is_empty());
    url.map(Database::new).transpose()
}

/// A run in the database, and what that took.
pub struct InDatabase {
    loaded: Loaded,
    cost: Cost,
}

/// Makes a run of the warehouse the one that the database's readers see.
pub async fn publish(
    database: &Database,
    warehouse: &Arc<Warehouse>,
    run_id: &str,
    kind: PublicationKind,
    progress: &Progress,
) -> Result<InDatabase> {
    let publications = warehouse.publications().await?;
    let publication = publications
        .iter()
        .rfind(|publication| publication.run_id == run_id)
        .with_context(|| format!("run {run_id} is not published in the warehouse"))?;
    let bar = progress.start("postgresql");
    let meter = Meter::start();
    let loaded = database
        .publish(warehouse, publication, kind, Utc::now(), &bar)
        .await
        .with_context(|| format!("publishing run {run_id} to PostgreSQL"))?;
    let cost = meter.stop();
    bar.done(&cost);
    Ok(InDatabase { loaded, cost })
}

impl InDatabase {
    /// What it took.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let (outcome, current) = match &self.loaded.outcome {
            Outcome::Now => ("published", None),
            Outcome::Already => ("already_current", None),
            Outcome::Before(current) => ("published_before", Some(current)),
        };
        json!({ "outcome": outcome, "current": current, "rows": self.loaded.rows,
                "seconds": self.cost.seconds, "checks": self.loaded.checks })
    }

    /// For people.
    pub fn print(&self, run_id: &str) {
        say!("{}", render_checks(&self.loaded.checks));
        match &self.loaded.outcome {
            Outcome::Now => say_line!(
                "\nrun {run_id} is current in PostgreSQL: {} rows in {:.2} s",
                self.loaded.rows,
                self.cost.seconds
            ),
            Outcome::Already => {
                say_line!("run {run_id} is current in PostgreSQL already: nothing changed");
            }
            Outcome::Before(current) => say_line!(
                "run {run_id} was published to PostgreSQL before, and run {current} is current there: nothing changed; \
                 `graph-recs rollback --to {run_id}` with --database-url makes it current again"
            ),
        }
    }
}

/// Checks what the database has; that it has nothing is an error only when nothing else was asked for.
pub async fn check(database: &Database, alone: bool, json: bool) -> Result<()> {
    let checked = match database.check(Utc::now()).await {
        Err(DatabaseError::NothingPublished) if !alone => return Ok(()),
        checked => checked?,
    };
    if json {
        say_line!(
            "{}",
            json!({ "run_id": checked.run_id, "checks": checked.results })
        );
    } else {
        say!("{}", render_checks(&checked.results));
        say_line!("\nrun {} in PostgreSQL is as it should be", checked.run_id);
    }
    Ok(())
}
