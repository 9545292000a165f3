//! Making the tables, and taking them back.

use graph_recs_sql::models;
use graph_recs_sql::postgres::MIGRATIONS;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row, SqlSafeStr};

use super::error::DatabaseError;
use super::table::STORED;
use super::{ANSWER, Database, begin, execute, in_time, query};

/// Says which migrations were made.
const TABLE: &str = "graph_recs_store.migrations";
const SCHEMA: &str = "graph_recs_store";

/// The version of the tables that this program works with.
pub fn newest() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

impl Database {
    /// Brings the tables to a version: the newest, an earlier one, or 0, which leaves none. Says from which version.
    ///
    /// # Errors
    /// When a statement of a migration fails: it is rolled back then.
    pub async fn migrate(&self, target: i64) -> Result<i64, DatabaseError> {
        let mut connection = self.connect().await?;
        let found = version(&mut connection).await?;
        if found > newest() {
            return Err(DatabaseError::Version {
                found,
                needed: newest(),
            });
        }
        let migrator = migrator();
        let migrated = if target < found {
            migrator.undo(&mut connection, target).await
        } else {
            migrator.run_to(target, &mut connection).await
        };
        migrated.map_err(server_error)?;
        if target == newest() {
            describe(&mut connection).await?;
        }
        in_time(ANSWER, connection.close()).await?;
        Ok(found)
    }

    /// Fails unless the tables are of the version that this program works with.
    pub(super) async fn require_version(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), DatabaseError> {
        let (found, needed) = (version(connection).await?, newest());
        if found == needed {
            return Ok(());
        }
        Err(DatabaseError::Version { found, needed })
    }
}

/// The version of the tables, 0 when there are none.
async fn version(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    let sql = format!("SELECT coalesce(max(version), 0) FROM {TABLE} WHERE success");
    let row = in_time(
        ANSWER,
        query(sqlx::AssertSqlSafe(sql)).fetch_one(connection),
    );
    match row.await {
        Ok(row) => Ok(row.try_get(0)?),
        Err(error) if error.is_missing_table() => Ok(0),
        Err(error) => Err(error),
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().flat_map(|migration| {
        [
            (MigrationType::ReversibleUp, migration.up),
            (MigrationType::ReversibleDown, migration.down),
        ]
        .map(|(kind, sql)| {
            Migration::new(
                migration.version,
                migration.name.into(),
                kind,
                sql.into_sql_str(),
                false,
            )
        })
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// Describes the views as `models.yml` does.
async fn describe(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let written = models::written_columns().map_err(unreadable)?;
    let mut statements = String::new();
    for table in models::tables().map_err(unreadable)? {
        if !STORED.iter().any(|stored| stored.name() == table.name) {
            continue;
        }
        for (suffix, of) in [("", ""), ("_by_run", ", of each run that is still there")] {
            let view = format!("graph_recs.{}{suffix}", table.name);
            let text = quoted(&format!("{}{of}", table.description));
            statements.push_str(&format!("COMMENT ON VIEW {view} IS {text};\n"));
            for column in table.columns.iter().chain(&written) {
                let (name, text) = (&column.name, quoted(&column.description));
                statements.push_str(&format!("COMMENT ON COLUMN {view}.{name} IS {text};\n"));
            }
        }
    }
    let mut transaction = begin(connection).await?;
    execute(&mut transaction, statements).await?;
    in_time(ANSWER, transaction.commit()).await
}

fn unreadable(error: impl ToString) -> DatabaseError {
    DatabaseError::Models(error.to_string())
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The server's own error, where there is one.
fn server_error(error: MigrateError) -> DatabaseError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => DatabaseError::Migration(Box::new(other)),
    }
}
