//! Taking a slot out of the tables and putting it back, without making readers wait.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;

use super::error::DatabaseError;
use super::publish::current;
use super::table::{STORED, Slot, places};
use super::waits::Whom;
use super::{ANSWER, Database, execute, in_time, query};

/// How long a reader can be kept waiting by the wait for the tables' lock, which is needed to take the slot out of
/// them. Readers hold it shared; a wait for it lets no reader pass.
const LOCK_WAIT: Duration = Duration::from_millis(40);
/// The pause after the first try, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long it is tried before readers are named that stay.
const LIMIT: Duration = Duration::from_secs(600);

/// Why a slot is cleared. The mark that a publisher sets on a slot keeps apart publishers that do not know that they
/// have lost their lock: whoever finds another's mark ends.
#[derive(Clone, Copy)]
pub(super) enum Claim<'a> {
    /// To load it under this mark, whoever had it before.
    Take(&'a str),
    /// Because the load under this mark failed; another's is left alone.
    GiveUp(&'a str),
}

impl Database {
    /// Empties a slot.
    ///
    /// # Errors
    /// [`DatabaseError::Busy`] when readers' transactions stay on it; [`DatabaseError::Superseded`] when it is current.
    pub(super) async fn clear(&self, slot: Slot, claim: Claim<'_>) -> Result<(), DatabaseError> {
        self.patiently(async || self.try_to_clear(slot, claim).await)
            .await
    }

    /// Makes a slot that was loaded under a mark part of the tables, where it is of no run yet.
    ///
    /// Attaching as such would keep nobody waiting, but a statement that was planned before would not look there; had it
    /// not begun until the run is current, it would find nothing. With the lock there is no such statement.
    ///
    /// # Errors
    /// As [`Self::clear`].
    pub(super) async fn attach(&self, slot: Slot, claim: &str) -> Result<(), DatabaseError> {
        self.patiently(async || self.try_to_attach(slot, claim).await)
            .await
    }

    /// Tries work for which readers must be gone until it succeeds.
    async fn patiently(
        &self,
        work: impl AsyncFn() -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let started = Instant::now();
        let _wanted = self.waits.for_tables();
        let mut pause = PAUSE;
        loop {
            match work().await {
                Err(error) if error.is_lock_timeout() || error.is_cancelled() => {
                    if started.elapsed() > LIMIT {
                        return Err(DatabaseError::Busy {
                            seconds: LIMIT.as_secs(),
                            holders: match self.waits.told() {
                                Some(told) => told,
                                None => self.named(Whom::Users).await,
                            },
                        });
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                done => return done,
            }
        }
    }

    async fn try_to_attach(&self, slot: Slot, claim: &str) -> Result<(), DatabaseError> {
        let mut connection = self.connect().await?;
        let mut transaction = self.begin(&mut connection).await?;
        hurry(&mut transaction).await?;
        hold_claim(&mut transaction, slot, claim).await?;
        lock_tables(&mut transaction).await?;
        let attach = STORED.map(|stored| {
            let (parent, place) = (stored.parent(), stored.place(slot));
            format!("ALTER TABLE {parent} ATTACH PARTITION {place} FOR VALUES IN ({slot})")
        });
        execute(&mut transaction, attach.join("; ")).await?;
        in_time(ANSWER, transaction.commit()).await
    }

    async fn try_to_clear(&self, slot: Slot, claim: Claim<'_>) -> Result<(), DatabaseError> {
        let mut connection = self.connect().await?;
        let mut transaction = self.begin(&mut connection).await?;
        hurry(&mut transaction).await?;
        let claimed = match claim {
            Claim::Take(mark) => {
                query("UPDATE graph_recs_store.slots SET claim = $1 WHERE slot = $2").bind(mark)
            }
            Claim::GiveUp(mark) => query(
                "UPDATE graph_recs_store.slots SET claim = NULL WHERE claim = $1 AND slot = $2",
            )
            .bind(mark),
        };
        let claimed = claimed.bind(slot.0).execute(&mut *transaction);
        if in_time(ANSWER, claimed).await?.rows_affected() == 0 {
            return Ok(());
        }
        // Nobody makes the slot current as long as its row in slots is locked here.
        if current(&mut transaction)
            .await?
            .is_some_and(|run| run.slot == Some(slot.0))
        {
            return Err(DatabaseError::Superseded);
        }
        let mut statements = String::new();
        if is_attached(&mut transaction, slot).await? {
            lock_tables(&mut transaction).await?;
            for stored in STORED {
                let (parent, place) = (stored.parent(), stored.place(slot));
                statements.push_str(&format!("ALTER TABLE {parent} DETACH PARTITION {place};"));
            }
        }
        for stored in STORED {
            let index = stored.index(slot);
            statements.push_str(&format!("DROP INDEX IF EXISTS graph_recs_store.{index};"));
        }
        statements.push_str(&format!(
            "TRUNCATE {}; UPDATE graph_recs.runs SET slot = NULL WHERE slot = {slot}",
            places(slot)
        ));
        execute(&mut transaction, statements).await?;
        in_time(ANSWER, transaction.commit()).await
    }
}

/// Whether a slot is part of the tables.
async fn is_attached(connection: &mut PgConnection, slot: Slot) -> Result<bool, DatabaseError> {
    let attached = query("SELECT FROM pg_inherits WHERE inhrelid = ANY ($1::regclass[]) LIMIT 1")
        .bind(STORED.map(|stored| stored.place(slot)).to_vec())
        .fetch_optional(connection);
    Ok(in_time(ANSWER, attached).await?.is_some())
}

/// Gives the transaction's waits for locks up at once.
async fn hurry(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let wait = LOCK_WAIT.as_millis();
    execute(connection, format!("SET LOCAL lock_timeout = '{wait}ms'")).await?;
    Ok(())
}

/// Locks the tables against readers.
async fn lock_tables(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let parents = STORED.map(|stored| format!("ONLY {}", stored.parent()));
    let (wait, parents) = (LOCK_WAIT.as_millis(), parents.join(", "));
    // statement_timeout: the limit of the waits for all three together.
    execute(
        connection,
        format!("SET LOCAL statement_timeout = '{wait}ms'"),
    )
    .await?;
    execute(
        connection,
        format!("LOCK TABLE {parents} IN ACCESS EXCLUSIVE MODE"),
    )
    .await?;
    execute(connection, "SET LOCAL statement_timeout = 0".to_owned()).await?;
    Ok(())
}

/// Makes sure that a slot is a publisher's, until the transaction ends.
pub(super) async fn hold_claim(
    connection: &mut PgConnection,
    slot: Slot,
    claim: &str,
) -> Result<(), DatabaseError> {
    let held = query("SELECT FROM graph_recs_store.slots WHERE slot = $1 AND claim = $2 FOR SHARE")
        .bind(slot.0)
        .bind(claim)
        .fetch_optional(connection);
    match in_time(ANSWER, held).await? {
        Some(_) => Ok(()),
        None => Err(DatabaseError::Superseded),
    }
}
