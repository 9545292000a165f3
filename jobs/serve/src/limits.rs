//! What a statement may take, who may run how many at once, and the memory they share.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{Kind, Refusal};

/// What one statement may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its arrival to its last row.
    pub statement_timeout: Duration,
    /// Rows returned.
    pub max_rows: u64,
    /// Bytes returned, as Arrow holds them.
    pub max_bytes: u64,
    /// Bytes read from files.
    pub max_scan: u64,
    /// Bytes that its operators hold.
    pub max_memory: u64,
    /// Statements of one user at once.
    pub max_statements: u64,
}

/// Limits of one user; what is not there is as for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct UserLimits {
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<u64>,
    /// See [`Limits::max_rows`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// See [`Limits::max_bytes`].
    #[serde(
        default,
        deserialize_with = "size",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_bytes: Option<u64>,
    /// See [`Limits::max_scan`].
    #[serde(
        default,
        deserialize_with = "size",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_scan: Option<u64>,
    /// See [`Limits::max_memory`].
    #[serde(
        default,
        deserialize_with = "size",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_memory: Option<u64>,
    /// See [`Limits::max_statements`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_statements: Option<u64>,
}

/// Bytes, or a text like 4GB.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(Some(bytes)),
        Size::Text(text) => crate::values::parse_any_size(&text)
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

impl Limits {
    /// These, where the user has no others.
    pub fn of(&self, user: &UserLimits) -> Self {
        Self {
            statement_timeout: user
                .statement_timeout
                .map_or(self.statement_timeout, Duration::from_secs),
            max_rows: user.max_rows.unwrap_or(self.max_rows),
            max_bytes: user.max_bytes.unwrap_or(self.max_bytes),
            max_scan: user.max_scan.unwrap_or(self.max_scan),
            max_memory: user.max_memory.unwrap_or(self.max_memory),
            max_statements: user.max_statements.unwrap_or(self.max_statements),
        }
    }
}

/// Lets so many statements in at once; the others wait, not for ever.
#[derive(Debug)]
pub struct Gate {
    all: Arc<Semaphore>,
    users: Mutex<HashMap<String, Arc<Semaphore>>>,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// A statement's place among those that run.
#[derive(Debug)]
pub struct Place {
    _user: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Gate {
    /// For `statements` at once; `max_waiting` more wait up to `patience`.
    pub fn new(statements: usize, max_waiting: usize, patience: Duration) -> Self {
        Self {
            all: Arc::new(Semaphore::new(statements)),
            users: Mutex::default(),
            waiting: AtomicUsize::new(0),
            max_waiting,
            patience,
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Kind::Busy`] when too many wait already, or it took too long.
    pub async fn enter(&self, user: &str, statements: u64) -> Result<Place, Refusal> {
        let own = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            let places = usize::try_from(statements).unwrap_or(Semaphore::MAX_PERMITS);
            let semaphore = || Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
            Arc::clone(users.entry(user.to_string()).or_insert_with(semaphore))
        };
        let busy = |what: &str| {
            let text = format!("too many statements at once: {what}; ask again later");
            Refusal::new(Kind::Busy, text)
        };
        let queued = Queued(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            return Err(busy(&format!("{} wait already", self.max_waiting)));
        }
        let both = async {
            // The user's own place first, so that who waits for it keeps nobody else out.
            let user = own.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Place {
                _user: user,
                _all: all,
            })
        };
        let place = tokio::time::timeout(self.patience, both).await;
        drop(queued);
        match place {
            Ok(Some(place)) => Ok(place),
            _ => Err(busy(&format!(
                "no place within {} s",
                self.patience.as_secs()
            ))),
        }
    }
}

struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a statement has taken so far.
#[derive(Debug, Default)]
pub struct Usage {
    /// Rows returned.
    pub rows: AtomicU64,
    /// Bytes returned.
    pub bytes: AtomicU64,
    /// Bytes read from files.
    pub scanned: AtomicU64,
}

/// One statement's part of the memory that all share.
#[derive(Debug)]
pub struct Quota {
    shared: Arc<dyn MemoryPool>,
    limit: usize,
    used: AtomicUsize,
}

impl Quota {
    /// At most `limit` bytes of `shared`.
    pub fn new(shared: Arc<dyn MemoryPool>, limit: u64) -> Self {
        Self {
            shared,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            used: AtomicUsize::new(0),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quota of {} bytes", self.limit)
    }
}

impl MemoryPool for Quota {
    fn name(&self) -> &str {
        "quota"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let before = self.used.fetch_add(additional, Ordering::Relaxed);
        let grown = if before.saturating_add(additional) > self.limit {
            Err(DataFusionError::ResourcesExhausted(format!(
                "the statement needs more than the {} MiB that one may hold: select less, or aggregate first",
                self.limit >> 20
            )))
        } else {
            self.shared.try_grow(reservation, additional)
        };
        if grown.is_err() {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[tokio::test]
    async fn a_user_does_not_keep_others_out() {
        let gate = Gate::new(2, 1, Duration::from_millis(50));
        let first = gate.enter("ana", 1).await.unwrap();
        assert_eq!(gate.enter("ana", 1).await.unwrap_err().kind, Kind::Busy);
        let second = gate.enter("bob", 1).await.unwrap();
        assert_eq!(gate.enter("eve", 1).await.unwrap_err().kind, Kind::Busy);
        drop(first);
        gate.enter("eve", 1).await.unwrap();
        drop(second);
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_statement_keeps_to_its_part() {
        let shared: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let pool =
            |limit| -> Arc<dyn MemoryPool> { Arc::new(Quota::new(Arc::clone(&shared), limit)) };
        let (one, other) = (pool(60), pool(60));
        let first = MemoryConsumer::new("a").register(&one);
        first.try_grow(50).unwrap();
        assert!(first.try_grow(20).is_err());
        let second = MemoryConsumer::new("b").register(&other);
        assert!(second.try_grow(60).is_err());
        drop(first);
        second.try_grow(60).unwrap();
        assert_eq!((one.reserved(), other.reserved()), (0, 60));
    }
}
