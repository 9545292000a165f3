//! Reading some users' rows, as a leaf of a plan. The users may be parameters, whose values come with the execution:
//! so a plan is made once and runs for any user.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{TryStreamExt, stream};

use super::table::ByUser;

/// The longest list of users that is looked up one by one.
const MAX_USERS: usize = 100;

/// A statement's parameters, by position: an extension of its session's configuration.
#[derive(Clone, Debug, Default)]
pub struct Parameters(pub Vec<ScalarValue>);

/// A user id in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Id(i32),
    /// Number of the parameter, from 0.
    Parameter(usize),
    /// No user: null, or beyond the range of ids.
    Nobody,
}

/// A condition on `user_id`: one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted(Vec<User>);

/// What a condition says of `user_id`, when it only says that it is one of a few.
pub(super) fn wanted(filter: &Expr) -> Option<Wanted> {
    let is_user = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == "user_id");
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == Operator::Eq => {
            let value = match (is_user(left), is_user(right)) {
                (true, false) => right,
                (false, true) => left,
                _ => return None,
            };
            Some(Wanted(vec![user(value)?]))
        }
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) if is_user(expr) && list.len() <= MAX_USERS => {
            list.iter().map(user).collect::<Option<_>>().map(Wanted)
        }
        _ => None,
    }
}

fn user(value: &Expr) -> Option<User> {
    match value {
        Expr::Literal(value, _) if value.data_type().is_integer() || value.is_null() => {
            Some(match value.cast_to(&DataType::Int32) {
                Ok(ScalarValue::Int32(Some(id))) => User::Id(id),
                _ => User::Nobody,
            })
        }
        Expr::Placeholder(parameter) => {
            let number: usize = parameter.id.strip_prefix('$')?.parse().ok()?;
            number.checked_sub(1).map(User::Parameter)
        }
        _ => None,
    }
}

/// Reads the rows of users.
#[derive(Debug)]
pub struct LookupExec {
    by_user: Arc<ByUser>,
    /// All of these must hold.
    users: Vec<Wanted>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl LookupExec {
    pub(super) fn new(
        by_user: Arc<ByUser>,
        users: Vec<Wanted>,
        projection: Option<&Vec<usize>>,
    ) -> Result<Self> {
        let schema: SchemaRef = match projection {
            Some(columns) => Arc::new(by_user.schema().project(columns)?),
            None => Arc::clone(by_user.schema()),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            by_user,
            users,
            projection: projection.cloned(),
            properties: Arc::new(properties),
        })
    }

    fn users(&self, parameters: Option<&Parameters>) -> Result<BTreeSet<i32>> {
        let mut all: Option<BTreeSet<i32>> = None;
        for wanted in &self.users {
            let mut ids = BTreeSet::new();
            for user in &wanted.0 {
                match user {
                    User::Id(id) => drop(ids.insert(*id)),
                    User::Nobody => {}
                    User::Parameter(number) => {
                        let value = parameters.and_then(|parameters| parameters.0.get(*number));
                        let value = value.ok_or_else(|| {
                            let text = format!("parameter ${} has no value", number + 1);
                            DataFusionError::Execution(text)
                        })?;
                        if let Ok(ScalarValue::Int32(Some(id))) = value.cast_to(&DataType::Int32) {
                            ids.insert(id);
                        }
                    }
                }
            }
            all = Some(match all {
                Some(before) => before.intersection(&ids).copied().collect(),
                None => ids,
            });
        }
        Ok(all.unwrap_or_default())
    }
}

impl DisplayAs for LookupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupExec: users={:?}", self.users)
    }
}

impl ExecutionPlan for LookupExec {
    fn name(&self) -> &'static str {
        "LookupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parameters = context.session_config().get_extension::<Parameters>();
        let users = self.users(parameters.as_deref())?;
        let by_user = Arc::clone(&self.by_user);
        let projection = self.projection.clone();
        let rows = async move {
            let found = by_user.rows_of(&users).await?;
            let batches: Vec<Result<RecordBatch>> = found
                .into_iter()
                .map(|batch| match &projection {
                    Some(columns) => Ok(batch.project(columns)?),
                    None => Ok(batch),
                })
                .collect();
            Ok::<_, DataFusionError>(stream::iter(batches))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            stream::once(rows).try_flatten(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit, placeholder};

    use super::*;

    #[test]
    fn tells_conditions_on_users_from_others() {
        let one = |user| Some(Wanted(vec![user]));
        assert_eq!(wanted(&col("user_id").eq(lit(7_i64))), one(User::Id(7)));
        assert_eq!(wanted(&lit(7).eq(col("user_id"))), one(User::Id(7)));
        let too_high = col("user_id").eq(lit(i64::MAX));
        assert_eq!(wanted(&too_high), one(User::Nobody));
        let parameter = col("user_id").eq(placeholder("$2"));
        assert_eq!(wanted(&parameter), one(User::Parameter(1)));
        assert_eq!(wanted(&col("user_id").gt(lit(7))), None);
        assert_eq!(wanted(&col("user_id").eq(col("rec_id"))), None);
        assert_eq!(wanted(&col("rec_id").eq(lit(7))), None);
        assert_eq!(wanted(&col("user_id").eq(lit(7.5))), None);
        let none_of = col("user_id").in_list(vec![lit(1), lit(2)], true);
        assert_eq!(wanted(&none_of), None);
        let any_of = col("user_id").in_list(vec![lit(1), lit(2)], false);
        assert_eq!(
            wanted(&any_of),
            Some(Wanted(vec![User::Id(1), User::Id(2)]))
        );
    }
}
