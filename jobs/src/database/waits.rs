//! Whom the work waits for: found out while it waits, told, and said in the error when it gives up. Nothing of work
//! that was given up stays on the server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use graph_recs_sql::postgres::{END_WORK, HOLDERS};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::error::DatabaseError;
use super::{ANSWER, Database, execute, in_time, query};
use crate::progress::StepBar;

/// How often it is asked who is in the way.
const PERIOD: Duration = Duration::from_secs(2);
/// The longest that the ending of given-up work may take.
const ENDING: Duration = Duration::from_secs(5);

/// Sessions are the user's own, whose role the work may have changed.
const AS_SELF: &str = "SET LOCAL ROLE NONE";

/// Databases at which work is under way.
static AT_WORK: Mutex<Vec<Database>> = Mutex::new(Vec::new());

/// Transactions in the way: under a key, what is known of each.
type Holders = BTreeMap<String, String>;

/// Who is looked for.
#[derive(Clone, Copy)]
pub(super) enum Whom {
    /// Who blocks a statement of this value.
    Blockers,
    /// Also who uses the tables at all: the lock on them is tried for moments only.
    Users,
    /// Also who publishes.
    Publisher,
}

/// Whose work is ended.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// That of this value.
    Own,
    /// That of publishers that lost their lock to this value, which has it.
    Superseded,
}

/// Who is in the way.
#[derive(Default)]
pub(super) struct Waits {
    /// The lock on the tables is wanted.
    tables: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// Who was there when it was last asked.
    last: Holders,
    /// Who was there twice in a row.
    staying: Holders,
}

impl Waits {
    /// That the tables' lock is wanted, for as long as the value is there.
    pub(super) fn for_tables(&self) -> ForTables<'_> {
        self.tables.store(true, Ordering::Relaxed);
        ForTables(self)
    }

    /// Who stays in the way, in words.
    pub(super) fn told(&self) -> Option<String> {
        let found = self.found();
        let told: Vec<&str> = found.staying.values().map(String::as_str).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Takes note of who is in the way now; says whether those who stay are others than before.
    fn note(&self, now: Holders) -> bool {
        let mut found = self.found();
        let last = std::mem::replace(&mut found.last, now);
        let mut staying = found.last.clone();
        staying.retain(|key, _| last.contains_key(key));
        let changed = !staying.keys().eq(found.staying.keys());
        found.staying = staying;
        changed
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Waits::for_tables`].
pub(super) struct ForTables<'a>(&'a Waits);

impl Drop for ForTables<'_> {
    fn drop(&mut self) {
        self.0.tables.store(false, Ordering::Relaxed);
    }
}

impl Database {
    /// Does work, and says meanwhile whom it waits for. Of work that fails or is given up nothing goes on at the server.
    ///
    /// # Errors
    /// Those of the work; [`DatabaseError::Busy`] when it waited for somebody in vain.
    pub(super) async fn watched<T>(
        &self,
        bar: Option<&StepBar>,
        work: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let at_work = AtWork::begin(self);
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.watch(bar) => match never {},
        };
        let done = done.map_err(|error| self.named_wait(error));
        self.waits.note(Holders::new());
        if matches!(done, Err(DatabaseError::Busy { .. })) {
            self.end_work(Whose::Own).await;
        }
        at_work.end();
        done
    }

    /// The error, with the names of those who were waited for in vain.
    pub(super) fn named_wait(&self, error: DatabaseError) -> DatabaseError {
        match (error, self.waits.told()) {
            (DatabaseError::Silent { seconds }, Some(holders)) => {
                DatabaseError::Busy { seconds, holders }
            }
            (error, holders) if error.is_lock_timeout() => DatabaseError::Busy {
                seconds: ANSWER.as_secs(),
                holders: holders.unwrap_or_else(|| "nobody who could be named".to_owned()),
            },
            (error, _) => error,
        }
    }

    /// Tells who stays in the way.
    async fn watch(&self, bar: Option<&StepBar>) -> Infallible {
        let mut connection = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            let whom = match self.waits.tables.load(Ordering::Relaxed) {
                true => Whom::Users,
                false => Whom::Blockers,
            };
            // Not to be told who it is, is no reason to stop.
            let now = self.holders(&mut connection, whom).await;
            let now = now.unwrap_or_else(|error| {
                tracing::debug!("who is in the way could not be asked: {error}");
                connection = None;
                Holders::new()
            });
            let changed = self.waits.note(now);
            if let Some(told) = self.waits.told() {
                if changed {
                    tracing::warn!("PostgreSQL: waits for {told}");
                }
                if let Some(bar) = bar {
                    bar.says(&format!("waits for {told}"));
                }
            }
        }
    }

    /// Who is in the way at the moment, asked through a connection that is made when it is not there.
    async fn holders(
        &self,
        connection: &mut Option<PgConnection>,
        whom: Whom,
    ) -> Result<Holders, DatabaseError> {
        let connection = match connection {
            Some(there) => there,
            none => none.insert(self.connect().await?),
        };
        let mut transaction = self.begin(connection).await?;
        execute(&mut transaction, AS_SELF.to_owned()).await?;
        let asked = query(HOLDERS)
            .bind(self.mark)
            .bind(matches!(whom, Whom::Users))
            .bind(matches!(whom, Whom::Publisher))
            .fetch_all(&mut *transaction);
        let rows = in_time(ANSWER, asked).await?;
        in_time(ANSWER, transaction.rollback()).await?;
        let rows = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(rows.collect::<Result<Holders, sqlx::Error>>()?)
    }

    /// Who is in the way at the moment, in words.
    pub(super) async fn named(&self, whom: Whom) -> String {
        let holders = self.holders(&mut None, whom).await.unwrap_or_default();
        if holders.is_empty() {
            return "somebody who is gone by now, or could not be named".to_owned();
        }
        let told: Vec<String> = holders.into_values().collect();
        told.join("; ")
    }

    /// Ends what transactions still do that were given up: those of this value, or of publishers that lost their lock.
    /// Servers notice by themselves that nobody waits for an answer any more, but not soon, and not all of it.
    pub(super) async fn end_work(&self, whose: Whose) {
        let ended = async {
            let mut connection = self.connect().await?;
            let mut transaction = self.begin(&mut connection).await?;
            execute(&mut transaction, AS_SELF.to_owned()).await?;
            let end = query(END_WORK)
                .bind(self.mark)
                .bind(matches!(whose, Whose::Superseded))
                .fetch_all(&mut *transaction);
            in_time(ENDING, end).await?;
            in_time(ENDING, transaction.rollback()).await?;
            in_time(ENDING, connection.close()).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(ENDING, ended).await {
            tracing::debug!("what was given up is left to the server: {error}");
        }
    }
}

/// Ends, within `limit`, at the servers what work of this process was given up.
pub async fn settle(limit: Duration) {
    let given_up = std::mem::take(&mut *at_work());
    let ended = futures::future::join_all(
        given_up
            .iter()
            .map(|database| database.end_work(Whose::Own)),
    );
    // Servers that do not answer do it themselves, later.
    let _ = tokio::time::timeout(limit, ended).await;
}

fn at_work() -> MutexGuard<'static, Vec<Database>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work that is under way. Where it is dropped before its end, [`settle`] ends it at the server.
struct AtWork(i32);

impl AtWork {
    fn begin(database: &Database) -> Self {
        at_work().push(database.clone());
        Self(database.mark)
    }

    fn end(self) {
        let Self(mark) = self;
        at_work().retain(|database| database.mark != mark);
    }
}
