//! Publishing a run: loaded where nobody reads, checked as readers will see it, made current by one row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::checks::{Origin, failed, keep, run_checks};
use super::copy::micros;
use super::error::DatabaseError;
use super::load::{Load, Totals};
use super::migrate::require_version;
use super::slots::Claim;
use super::table::{STORED, Slot, Stored};
use super::waits::{Whom, Whose};
use super::{ANSWER, Database, in_time, query};
use crate::progress::StepBar;
use graph_recs_warehouse::report::CheckResult;
use graph_recs_warehouse::{Publication, PublicationKind, Warehouse};

/// The advisory lock that a publisher holds, "grphrecs" in ASCII.
pub(super) const LOCK: i64 = 0x6772_7068_7265_6373;
/// How long the lock is waited for: a publisher that was killed a moment ago may still have it.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// How often what may pass is tried again, and the pause before the first time; each further one is twice as long.
const RETRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that a publisher that failed takes to clear what it loaded.
const CLEARING: Duration = Duration::from_secs(30);

/// What publishing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The run is current now.
    Now,
    /// It was current before; nothing changed.
    Already,
    /// It was published before, and the named run took its place since; nothing changed.
    Before(String),
}

/// A run that is in the database.
#[derive(Debug)]
pub struct Loaded {
    /// What was done.
    pub outcome: Outcome,
    /// Rows that were loaded.
    pub rows: u64,
    /// What the checks found before the run became current.
    pub checks: Vec<CheckResult>,
}

/// The run that readers see.
pub(super) struct Current {
    pub run_id: String,
    pub as_of: DateTime<Utc>,
    pub slot: Option<i16>,
}

/// A run to publish.
struct Candidate<'a> {
    warehouse: &'a Arc<Warehouse>,
    publication: &'a Publication,
    kind: PublicationKind,
    at: DateTime<Utc>,
    bar: &'a StepBar,
}

impl Database {
    /// Makes a run of the warehouse the one that readers of the database see, at `at`. What may pass (the connection
    /// is cut, the server restarts) is tried again.
    ///
    /// # Errors
    /// [`DatabaseError::LockHeld`], [`DatabaseError::Older`] unless it is a roll-back,
    /// [`DatabaseError::ChecksFailed`]: readers see what they saw before.
    pub async fn publish(
        &self,
        warehouse: &Arc<Warehouse>,
        publication: &Publication,
        kind: PublicationKind,
        at: DateTime<Utc>,
        bar: &StepBar,
    ) -> Result<Loaded, DatabaseError> {
        let candidate = Candidate {
            warehouse,
            publication,
            kind,
            at,
            bar,
        };
        let mut pause = FIRST_PAUSE;
        let mut retries = 0;
        loop {
            match self.watched(Some(bar), self.attempt(&candidate)).await {
                Err(error)
                    if retries < RETRIES
                        && (error.is_transient() || retries > 0 && error.passes_after_a_cut()) =>
                {
                    retries += 1;
                    tracing::warn!(
                        "publishing to PostgreSQL was cut off ({}); try {retries} of {RETRIES} follows in {:.1} s",
                        cause(&error),
                        pause.as_secs_f64()
                    );
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
    }

    async fn attempt(&self, candidate: &Candidate<'_>) -> Result<Loaded, DatabaseError> {
        candidate.bar.says("waits for its turn");
        let mut connection = self.connect().await?;
        // The one transaction: it begins with the lock, and its commit is the moment of publishing. It sees nothing
        // and holds back nothing while the rows are loaded by others.
        let mut transaction = self.begin(&mut connection).await?;
        require_version(&mut transaction).await?;
        if !lock(&mut transaction).await? {
            let holder = self.named(Whom::Publisher).await;
            return Err(DatabaseError::LockHeld { holder });
        }
        let current = current(&mut transaction).await?;
        if let Some(outcome) = candidate
            .settled(&mut transaction, current.as_ref())
            .await?
        {
            return Ok(Loaded {
                outcome,
                rows: 0,
                checks: Vec::new(),
            });
        }
        let occupied = current.and_then(|run| run.slot).map(Slot);
        let slot = occupied.map_or(Slot(0), Slot::other);
        let claim = Uuid::new_v4().to_string();
        let loaded = async {
            candidate.bar.says("clears the place for the run");
            self.end_work(Whose::Superseded).await;
            self.clear(slot, Claim::Take(&claim)).await?;
            let totals = self.load(candidate, slot, occupied, &claim).await?;
            self.attach(slot, &claim).await?;
            candidate.bar.says("checks what was loaded");
            make_current(&mut transaction, candidate, slot, &claim, &totals).await?;
            let checks = run_checks(&mut transaction).await?;
            if let Some(failed) = failed(&checks) {
                return Err((Some(checks), candidate.refused(failed)));
            }
            let (run_id, at) = (&candidate.publication.run_id, candidate.at);
            keep(
                &mut transaction,
                run_id,
                at,
                Origin::Warehouse,
                &candidate.checks(),
            )
            .await?;
            keep(&mut transaction, run_id, at, Origin::Database, &checks).await?;
            Ok(Loaded {
                outcome: Outcome::Now,
                rows: totals.iter().map(|(_, totals)| totals.rows).sum(),
                checks,
            })
        };
        let loaded: Result<Loaded, (Option<Vec<CheckResult>>, DatabaseError)> = loaded.await;
        let error = match loaded.map_err(|(checks, error)| (checks, self.named_wait(error))) {
            Ok(loaded) => match in_time(ANSWER, transaction.commit()).await {
                Ok(()) => return Ok(loaded),
                Err(error) => self.named_wait(error),
            },
            Err((checks, error)) => {
                // Fails when the connection is gone; the server rolls back then, too.
                let _ = in_time(CLEARING, transaction.rollback()).await;
                if let Some(checks) = checks {
                    let kept = self.keep_failed(&mut connection, candidate, &checks);
                    if let Err(lost) = kept.await {
                        tracing::warn!("the checks' results could not be kept: {}", cause(&lost));
                    }
                }
                error
            }
        };
        self.end_work(Whose::Own).await;
        // The room is given back at once where that can be done; else the next publisher does it.
        let clearing = self.clear(slot, Claim::GiveUp(&claim));
        if let Ok(Err(left)) = tokio::time::timeout(CLEARING, clearing).await {
            tracing::debug!("what was loaded is left for the next publisher: {left}");
        }
        Err(error)
    }

    /// Keeps what the checks found in a run that was refused.
    async fn keep_failed(
        &self,
        connection: &mut PgConnection,
        candidate: &Candidate<'_>,
        checks: &[CheckResult],
    ) -> Result<(), DatabaseError> {
        let mut transaction = self.begin(connection).await?;
        let (run_id, at) = (&candidate.publication.run_id, candidate.at);
        keep(&mut transaction, run_id, at, Origin::Database, checks).await?;
        in_time(ANSWER, transaction.commit()).await
    }

    /// Loads the tables into a slot, at the same time.
    async fn load(
        &self,
        candidate: &Candidate<'_>,
        slot: Slot,
        current: Option<Slot>,
        claim: &str,
    ) -> Result<Vec<(Stored, Totals)>, DatabaseError> {
        let publication = candidate.publication;
        let sent = Arc::new(AtomicU64::new(0));
        let expected: u64 = STORED
            .iter()
            .map(|stored| publication.rows.get(stored.table))
            .sum();
        // Dropped with an error, it ends the other loads, too.
        let mut loads = JoinSet::new();
        let mut tables = Vec::new();
        for stored in STORED {
            let rows = *publication.rows.get(stored.table);
            let load = Load {
                database: self.clone(),
                warehouse: Arc::clone(candidate.warehouse),
                version: *publication.versions.get(stored.table),
                stored,
                users: (i32::MIN, i32::MAX),
                slot,
                current,
                claim: claim.to_owned(),
                as_of: micros(publication.as_of),
                sent: Arc::clone(&sent),
            };
            tables.push(load.clone());
            loads.spawn(async move { load.run(rows).await.map(|totals| (stored, totals)) });
        }
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let mut done = Vec::new();
        loop {
            tokio::select! {
                load = loads.join_next() => match load {
                    None => break,
                    Some(load) => done.push(load??),
                },
                _ = tick.tick() => {
                    let sent = sent.load(Ordering::Relaxed);
                    let waits = self.waits.told().map(|told| format!(", waits for {told}"));
                    let waits = waits.unwrap_or_default();
                    candidate.bar.says(&format!("{sent} of {expected} rows{waits}"));
                }
            }
        }
        candidate.bar.says("makes the indexes");
        let mut indexes = JoinSet::new();
        for table in tables {
            indexes.spawn(table.index());
        }
        while let Some(index) = indexes.join_next().await {
            index??;
        }
        Ok(done)
    }
}

impl Candidate<'_> {
    /// Whether there is nothing to do.
    async fn settled(
        &self,
        connection: &mut PgConnection,
        current: Option<&Current>,
    ) -> Result<Option<Outcome>, DatabaseError> {
        let Some(current) = current else {
            return Ok(None);
        };
        let run_id = &self.publication.run_id;
        if current.run_id == *run_id {
            return Ok(Some(Outcome::Already));
        }
        if self.kind == PublicationKind::Rollback {
            return Ok(None);
        }
        let before = query("SELECT FROM graph_recs.runs WHERE run_id = $1 LIMIT 1")
            .bind(run_id)
            .fetch_optional(connection);
        if in_time(ANSWER, before).await?.is_some() {
            return Ok(Some(Outcome::Before(current.run_id.clone())));
        }
        if self.publication.as_of < current.as_of {
            return Err(DatabaseError::Older {
                run_id: run_id.clone(),
                as_of: self.publication.as_of,
                current: current.run_id.clone(),
                current_as_of: current.as_of,
            });
        }
        Ok(None)
    }

    /// What the checks found in the run's files.
    fn checks(&self) -> Vec<CheckResult> {
        let report = self.publication.report();
        report.map_or_else(Vec::new, |report| report.checks)
    }

    fn refused(&self, failed: String) -> DatabaseError {
        DatabaseError::ChecksFailed {
            run_id: self.publication.run_id.clone(),
            failed,
            consequence: "Nothing was published there: readers have the run they had",
        }
    }
}

/// Errors on the way to being current; results come along where checks were made.
impl From<DatabaseError> for (Option<Vec<CheckResult>>, DatabaseError) {
    fn from(error: DatabaseError) -> Self {
        (None, error)
    }
}

/// The run that is current for this connection.
pub(super) async fn current(
    connection: &mut PgConnection,
) -> Result<Option<Current>, DatabaseError> {
    let last =
        query("SELECT run_id, as_of, slot FROM graph_recs.runs ORDER BY publication DESC LIMIT 1")
            .fetch_optional(connection);
    let Some(row) = in_time(ANSWER, last).await? else {
        return Ok(None);
    };
    Ok(Some(Current {
        run_id: row.try_get(0)?,
        as_of: row.try_get(1)?,
        slot: row.try_get(2)?,
    }))
}

/// Takes the publishers' lock, until the transaction ends; says whether it was to be had.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<bool, DatabaseError> {
    for _ in 0..LOCK_TRIES {
        let locked = query("SELECT pg_try_advisory_xact_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection);
        if in_time(ANSWER, locked).await?.try_get(0)? {
            return Ok(true);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(false)
}

/// Makes a loaded slot the current run, for this transaction and, once it commits, for all.
async fn make_current(
    connection: &mut PgConnection,
    candidate: &Candidate<'_>,
    slot: Slot,
    claim: &str,
    totals: &[(Stored, Totals)],
) -> Result<(), DatabaseError> {
    let ours =
        query("UPDATE graph_recs_store.slots SET claim = NULL WHERE slot = $1 AND claim = $2")
            .bind(slot.0)
            .bind(claim)
            .execute(&mut *connection);
    if in_time(ANSWER, ours).await?.rows_affected() != 1 {
        return Err(DatabaseError::Superseded);
    }
    let publication = candidate.publication;
    let insert = query(
        "INSERT INTO graph_recs.runs (publication, run_id, as_of, published_at, kind, slot, totals) \
         SELECT coalesce(max(publication), 0) + 1, $1, $2, $3, $4, $5, $6::text::jsonb FROM graph_recs.runs",
    )
    .bind(&publication.run_id)
    .bind(publication.as_of)
    .bind(candidate.at)
    .bind(candidate.kind.name())
    .bind(slot.0)
    .bind(totals_json(publication, totals)?)
    .execute(connection);
    in_time(ANSWER, insert).await?;
    Ok(())
}

/// What the tables hold by the warehouse: `{"recommendations": {"rows": 2, "user_id": 3, …, "score": 1.50000000}, …}`.
fn totals_json(
    publication: &Publication,
    totals: &[(Stored, Totals)],
) -> Result<String, DatabaseError> {
    let mut tables = Vec::new();
    for (stored, totals) in totals {
        let expected = *publication.rows.get(stored.table);
        if totals.rows != expected {
            return Err(DatabaseError::Rows(format!(
                "{} has {} rows in the warehouse's files, and {expected} by its log",
                stored.name(),
                totals.rows
            )));
        }
        let columns = stored.table.columns().iter().zip(totals.sums);
        let sums: Vec<String> = columns
            .map(|(column, sum)| {
                let sum = match Stored::is_decimal(&column.data_type) {
                    true => format!("{}.{:08}", sum / 100_000_000, sum % 100_000_000),
                    false => sum.to_string(),
                };
                format!("\"{}\": {sum}", column.name)
            })
            .collect();
        let (name, rows) = (stored.name(), totals.rows);
        tables.push(format!(
            "\"{name}\": {{\"rows\": {rows}, {}}}",
            sums.join(", ")
        ));
    }
    Ok(format!("{{{}}}", tables.join(", ")))
}

/// The innermost cause of an error, in one line.
fn cause(error: &DatabaseError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
