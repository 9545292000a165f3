//! Making the tables, and taking them back.

use graph_recs_sql::models;
use graph_recs_sql::postgres::MIGRATIONS;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row, SqlSafeStr};

use super::error::DatabaseError;
use super::publish::LOCK;
use super::table::STORED;
use super::{ANSWER, Database, execute, in_time, query};

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
    /// When a statement of a migration fails: all of it is rolled back then.
    pub async fn migrate(&self, target: i64) -> Result<i64, DatabaseError> {
        self.watched(None, self.migrate_as_it_is(target)).await
    }

    async fn migrate_as_it_is(&self, target: i64) -> Result<i64, DatabaseError> {
        let mut connection = self.connect().await?;
        let mut transaction = self.begin(&mut connection).await?;
        // Neither two migrations at once, nor one while somebody publishes.
        let alone = query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *transaction);
        in_time(ANSWER, alone).await?;
        let found = version(&mut transaction).await?;
        if found > newest() {
            return Err(DatabaseError::Version {
                found,
                needed: newest(),
            });
        }
        let migrator = migrator(!exists(&mut transaction, "regnamespace", SCHEMA).await?);
        let migrated = if target < found {
            migrator.undo(&mut *transaction, target).await
        } else {
            migrator.run_to(target, &mut *transaction).await
        };
        migrated.map_err(server_error)?;
        if target == newest() {
            describe(&mut transaction).await?;
        }
        in_time(ANSWER, transaction.commit()).await?;
        in_time(ANSWER, connection.close()).await?;
        Ok(found)
    }
}

/// Fails unless the tables are of the version that this program works with.
pub(super) async fn require_version(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let (found, needed) = (version(connection).await?, newest());
    if found == needed {
        return Ok(());
    }
    Err(DatabaseError::Version { found, needed })
}

/// The version of the tables, 0 when there are none.
pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    if !exists(connection, "regclass", TABLE).await? {
        return Ok(0);
    }
    let sql = format!("SELECT coalesce(max(version), 0) FROM {TABLE} WHERE success");
    let row = query(sqlx::AssertSqlSafe(sql)).fetch_one(connection);
    Ok(in_time(ANSWER, row).await?.try_get(0)?)
}

/// Whether a table (`regclass`) or schema (`regnamespace`) is there.
async fn exists(
    connection: &mut PgConnection,
    kind: &str,
    name: &str,
) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT to_{kind}('{name}') IS NOT NULL");
    let row = query(sqlx::AssertSqlSafe(sql)).fetch_one(connection);
    Ok(in_time(ANSWER, row).await?.try_get(0)?)
}

/// Makes its schema, too, where that is not there: whoever has one need not be allowed to make another.
fn migrator(with_schema: bool) -> Migrator {
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
    if with_schema {
        migrator.create_schema(SCHEMA);
    }
    // Our own lock is held: sqlx's would stay with the session, which a pooler may give to somebody else.
    migrator.set_locking(false);
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
    execute(connection, statements).await?;
    Ok(())
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
