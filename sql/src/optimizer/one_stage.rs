//! Aggregates that keep their rows are computed in one stage.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use graph_recs_udfs::aggregates::functions_that_keep_rows;

/// What to do instead of the last stage `plan` of two: rows are divided among the threads before they are aggregated, where
/// DataFusion aggregates on every thread, divides the partial results and aggregates again.
///
/// Two stages pay when the first makes much less of its input. A state that keeps all rows is no less than they are: the
/// first stage would copy them twice, and hold them a second time.
pub(super) fn better(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = of_mode(plan, AggregateMode::FinalPartitioned) else {
        return Ok(None);
    };
    let Some(division) = last.input().downcast_ref::<RepartitionExec>() else {
        return Ok(None);
    };
    let Some(first) = of_mode(division.input(), AggregateMode::Partial) else {
        return Ok(None);
    };
    // Rows that come in the order of their groups are aggregated as they come, and not held.
    let unordered = first.input_order_mode() == &InputOrderMode::Linear;
    let functions = first.aggr_expr();
    if !unordered || functions.is_empty() || !functions.iter().all(|one| keeps_rows(one.fun())) {
        return Ok(None);
    }
    let key = first.group_expr().input_exprs();
    let threads = division.partitioning().partition_count();
    let divided =
        RepartitionExec::try_new(Arc::clone(first.input()), Partitioning::Hash(key, threads))?;
    Ok(Some(Arc::new(AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        first.group_expr().clone(),
        functions.to_vec(),
        first.filter_expr().to_vec(),
        Arc::new(divided),
        first.input_schema(),
    )?)))
}

/// Whether an aggregate's states hold all its rows.
fn keeps_rows(function: &AggregateUDF) -> bool {
    let known = functions_that_keep_rows();
    known.iter().any(|known| known.as_ref() == function)
}

/// The plan, if it is an aggregate of that mode.
fn of_mode(plan: &Arc<dyn ExecutionPlan>, mode: AggregateMode) -> Option<&AggregateExec> {
    plan.downcast_ref::<AggregateExec>()
        .filter(|aggregate| *aggregate.mode() == mode)
}
