//! How operators share the memory limit.

use std::fmt::{Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// A memory pool that keeps even shares for operators that can spill, but of a part of the memory only; who comes first
/// has the rest.
///
/// Plans have many operators that could spill and one or two that need much memory. DataFusion's `FairSpillPool` gives
/// each the same share, of which most stays unused while the big ones spill; its `GreedyMemoryPool` lets the big ones leave
/// nothing to the others, which then fail.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    /// The part of the limit that is shared evenly.
    shared: usize,
    state: Mutex<State>,
}

/// Less than this is shared evenly as a whole, in bytes.
const LEAST_SHARED: usize = 512 << 20;

#[derive(Debug, Default)]
struct State {
    /// Operators that can spill.
    spillers: usize,
    /// Bytes that they have.
    spillable: usize,
    /// Bytes that the others have.
    fixed: usize,
}

impl State {
    fn reserved(&self) -> usize {
        self.spillable + self.fixed
    }

    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if reservation.consumer().can_spill() {
            &mut self.spillable
        } else {
            &mut self.fixed
        }
    }
}

impl Shares {
    /// For up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            shared: (limit / 4).max(LEAST_SHARED.min(limit)),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPool for Shares {
    fn name(&self) -> &str {
        "shares"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.state().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.state().spillers -= usize::from(consumer.can_spill());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.state().of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.state().of(reservation) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state();
        let free = self.limit.saturating_sub(state.reserved());
        let available = if reservation.consumer().can_spill() {
            let share = self.shared.saturating_sub(state.fixed) / state.spillers.max(1);
            let of_share = share.saturating_sub(reservation.size());
            free.saturating_sub(self.shared).max(of_share.min(free))
        } else {
            free
        };
        if additional > available {
            return Err(resources_datafusion_err!(
                "Failed to allocate additional {additional} bytes for {} with {} bytes already allocated for this \
                 reservation - {available} bytes remain available for the total pool: {self}",
                reservation.consumer().name(),
                reservation.size()
            ));
        }
        *state.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.state().reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl Display for Shares {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}(limit: {} bytes)", self.name(), self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MB: usize = 1 << 20;

    fn pool(limit: usize) -> Arc<dyn MemoryPool> {
        Arc::new(Shares::new(limit))
    }

    fn spiller(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        let consumer = MemoryConsumer::new("spiller").with_can_spill(true);
        consumer.register(pool)
    }

    #[test]
    fn one_operator_may_have_all_but_what_is_shared_and_each_its_share() {
        let pool = pool(4096 * MB);
        let spillers: Vec<_> = (0..8).map(|_| spiller(&pool)).collect();
        spillers[0].try_grow(3072 * MB).unwrap();
        assert!(spillers[0].try_grow(1).is_err());
        for other in &spillers[1..] {
            other.try_grow(128 * MB).unwrap();
            assert!(other.try_grow(1).is_err(), "an eighth of a quarter");
        }
        let fixed = MemoryConsumer::new("fixed").register(&pool);
        fixed.try_grow(128 * MB).unwrap();
        assert!(fixed.try_grow(1).is_err());
        assert_eq!(pool.reserved(), 4096 * MB);
        spillers[0].free();
        fixed.try_grow(1).unwrap();
        spillers[1].try_grow(2000 * MB).unwrap();
    }

    #[test]
    fn little_memory_is_shared_evenly() {
        let pool = pool(64 * MB);
        let spillers: Vec<_> = (0..4).map(|_| spiller(&pool)).collect();
        let fixed = MemoryConsumer::new("fixed").register(&pool);
        fixed.try_grow(16 * MB).unwrap();
        for spiller in &spillers {
            spiller.try_grow(12 * MB).unwrap();
            assert!(spiller.try_grow(1).is_err());
        }
    }
}
