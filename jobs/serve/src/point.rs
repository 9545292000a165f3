//! Look-ups that are planned once: a statement that only reads users' rows, for any user.
//!
//! Planning takes longer than reading one user's rows from memory, so plans whose only leaves are look-ups are kept,
//! by text, and run at once where they are asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;

use super::execution::{Account, Rows};
use super::lookup::{LookupExec, Parameters};
use super::refusal::Refusal;
use super::service::{Caller, Prepared, Service, fit};
use super::users::User;

/// Plans that are kept.
const MAX_PLANS: usize = 1000;

type Key = (BTreeSet<String>, String);

/// The plans that are kept, until something else is published.
#[derive(Debug, Default)]
pub struct Points {
    plans: Mutex<HashMap<Key, Option<Arc<Point>>>>,
}

/// A look-up's plan.
#[derive(Debug)]
pub struct Point {
    number: Option<u64>,
    plan: Arc<dyn ExecutionPlan>,
    prepared: Arc<Prepared>,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
}

impl Points {
    /// Forgets all.
    pub fn clear(&self) {
        self.plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn get(&self, key: &Key) -> Option<Option<Arc<Point>>> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.get(key).cloned()
    }

    fn keep(&self, key: Key, point: Option<Arc<Point>>) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        plans.insert(key, point);
    }
}

impl Service {
    /// The statement's plan when it is a look-up.
    pub async fn point(
        self: &Arc<Self>,
        user: &User,
        prepared: &Arc<Prepared>,
    ) -> Option<Arc<Point>> {
        let key = (user.schemas.clone(), prepared.text.clone());
        if let Some(known) = self.points.get(&key) {
            return known;
        }
        let (service, of, user) = (Arc::clone(self), Arc::clone(prepared), user.clone());
        let planned = self
            .work
            .spawn(async move { service.plan_point(&user, &of).await });
        let point = planned.await.ok().flatten().map(Arc::new);
        self.points.keep(key, point.clone());
        point
    }

    /// What is known of this text: a look-up or not.
    pub fn known_point(&self, user: &User, text: &str) -> Option<Option<Arc<Point>>> {
        self.points.get(&(user.schemas.clone(), text.to_string()))
    }

    async fn plan_point(&self, user: &User, prepared: &Arc<Prepared>) -> Option<Point> {
        let snapshot = self.catalog.snapshot();
        let session = self.session(user, snapshot, &Arc::default()).ok()?;
        let plan = prepared.plan(&session).await.ok()?;
        let mut state = session.state;
        let options = state.config_mut().options_mut();
        // One user's rows are few, and the plan runs many times.
        options.execution.target_partitions = 1;
        options.optimizer.enable_dynamic_filter_pushdown = false;
        let plan = state.create_physical_plan(&plan).await.ok()?;
        only_looks_up(&plan).then(|| Point {
            number: session.snapshot.number(),
            prepared: Arc::clone(prepared),
            config: state.config().clone(),
            runtime: Arc::clone(state.runtime_env()),
            plan,
        })
    }

    /// Runs a look-up, if it is still one of the newest run.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn run_point(
        self: &Arc<Self>,
        caller: &Caller,
        point: &Point,
        text: &str,
        values: Vec<ScalarValue>,
    ) -> Option<Result<Rows, Refusal>> {
        let snapshot = self.catalog.snapshot();
        if snapshot.number() != point.number {
            return None;
        }
        let mut account = Account::new(self, caller, text);
        account.saw(&snapshot);
        let batch = point.run(fit(values, &point.prepared.parameters)).await;
        account.end(&batch);
        Some(batch.map(|batch| {
            let limits = self.limits.of(&caller.user.limits);
            Rows::ready(&point.prepared, Some(batch), limits, account)
        }))
    }
}

impl Point {
    async fn run(&self, values: Vec<ScalarValue>) -> Result<RecordBatch, Refusal> {
        let config = self
            .config
            .clone()
            .with_extension(Arc::new(Parameters(values)));
        let context = TaskContext::new(
            None,
            String::new(),
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(&self.runtime),
        );
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let schema = plan.schema();
        let rows = execute_stream(plan, Arc::new(context))?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        match batches.as_slice() {
            [only] => Ok(only.clone()),
            more => {
                Ok(concat_batches(&schema, more)
                    .map_err(datafusion::error::DataFusionError::from)?)
            }
        }
    }
}

/// Whether all that a plan reads is users' rows.
fn only_looks_up(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let children = plan.children();
    if children.is_empty() {
        return plan.downcast_ref::<LookupExec>().is_some();
    }
    children.into_iter().all(only_looks_up)
}

/// The text with the number that `user_id` is compared with as a parameter, and the number: so that look-ups by
/// text are one statement. Nothing when there is no such comparison, or anything that is not plain.
pub fn with_parameter(text: &str) -> Option<(String, i32)> {
    let text = text.trim_end().trim_end_matches(';');
    if !text.is_ascii()
        || text.contains(['\'', '"', '$', ';'])
        || text.contains("--")
        || text.contains("/*")
    {
        return None;
    }
    let mut places = text.match_indices("user_id");
    places.find_map(|(place, word)| {
        let after = text.get(place + word.len()..)?;
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let end = value
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(value.len());
        let rest = value.get(end..)?;
        if rest.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '.' | '_' | ':'))
        {
            return None;
        }
        let number = value.get(..end)?.parse().ok()?;
        let start = text.len() - value.len();
        Some((format!("{}$1{rest}", text.get(..start)?), number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_users_become_parameters() {
        let plain = "SELECT rec_id FROM recommendations WHERE user_id = 17 AND rank = 1";
        let (text, number) = with_parameter(plain).unwrap();
        assert_eq!(
            text,
            "SELECT rec_id FROM recommendations WHERE user_id = $1 AND rank = 1"
        );
        assert_eq!(number, 17);
        assert_eq!(
            with_parameter("x WHERE user_id=5").unwrap().0,
            "x WHERE user_id=$1"
        );
        for other in [
            "SELECT 1",
            "SELECT 'user_id = 5'",
            "SELECT * FROM r WHERE user_id = 5.5",
            "SELECT * FROM r WHERE user_id = 5e3",
            "SELECT * FROM r WHERE user_id = rec_id",
            "SELECT * FROM r WHERE user_id = 99999999999",
            "SELECT user_id FROM r WHERE user_id = 5; DROP TABLE r",
            "SELECT * FROM r WHERE user_id = 5::text",
        ] {
            assert_eq!(with_parameter(other), None, "{other}");
        }
    }
}
