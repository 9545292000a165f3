//! What is kept between calls: tokens, and plans under handles.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::common::ScalarValue;
use uuid::Uuid;

use crate::service::Prepared;

/// How long a token is good.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Tokens, and statements, that are kept; the oldest go first.
const MOST: usize = 10_000;

/// Tokens and whose they are.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<Kept<(String, Instant)>>);

impl Tokens {
    /// A new token of a user.
    pub fn give(&self, user: &str) -> String {
        // Two of them: 244 random bits.
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        lock(&self.0).keep(token.clone(), (user.to_string(), Instant::now()));
        token
    }

    /// Whose token it is.
    pub fn user(&self, token: &str) -> Option<String> {
        let kept = lock(&self.0);
        let (user, since) = kept.values.get(token)?;
        (since.elapsed() < LIFE).then(|| user.clone())
    }
}

/// A statement that waits for its rows to be fetched.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Whose it is.
    pub user: String,
    /// Its plan.
    pub prepared: Arc<Prepared>,
    /// Values of its parameters.
    pub values: Vec<ScalarValue>,
}

/// Statements by handle.
#[derive(Debug, Default)]
pub struct Statements(Mutex<Kept<Statement>>);

impl Statements {
    /// Keeps one; its handle.
    pub fn keep(&self, statement: Statement) -> String {
        let handle = Uuid::new_v4().simple().to_string();
        lock(&self.0).keep(handle.clone(), statement);
        handle
    }

    /// A user's statement.
    pub fn get(&self, handle: &[u8], user: &str) -> Option<Statement> {
        let handle = std::str::from_utf8(handle).ok()?;
        let kept = lock(&self.0);
        kept.values
            .get(handle)
            .filter(|kept| kept.user == user)
            .cloned()
    }

    /// Binds values to a statement's parameters.
    pub fn bind(&self, handle: &[u8], values: Vec<ScalarValue>) {
        if let Ok(handle) = std::str::from_utf8(handle)
            && let Some(kept) = lock(&self.0).values.get_mut(handle)
        {
            kept.values = values;
        }
    }

    /// Forgets one.
    pub fn forget(&self, handle: &[u8]) {
        if let Ok(handle) = std::str::from_utf8(handle) {
            lock(&self.0).values.remove(handle);
        }
    }
}

#[derive(Debug)]
struct Kept<T> {
    values: HashMap<String, T>,
    ages: VecDeque<String>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            ages: VecDeque::new(),
        }
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, key: String, value: T) {
        self.ages.push_back(key.clone());
        self.values.insert(key, value);
        while self.ages.len() > MOST {
            if let Some(oldest) = self.ages.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }
}

fn lock<T>(kept: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_of_their_users() {
        let tokens = Tokens::default();
        let token = tokens.give("ana");
        assert_eq!(tokens.user(&token).as_deref(), Some("ana"));
        assert_eq!(tokens.user("x"), None);
        (0..MOST).for_each(|_| drop(tokens.give("bob")));
        assert_eq!(tokens.user(&token), None);
    }
}
