//! Filters before a division hand on each batch that they are given, however few of its rows are left.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

/// Rows that such a filter collects before it hands them on.
const COLLECTED: usize = 1;

/// A division by hash cuts every batch, and makes full ones of the pieces. When a filter below it fills up batches, too,
/// it copies rows for nothing; and where all rows of a batch pass, it need not copy any.
pub(super) fn better(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(division) = plan.downcast_ref::<RepartitionExec>() else {
        return Ok(None);
    };
    if division.preserve_order() || !matches!(division.partitioning(), Partitioning::Hash(..)) {
        return Ok(None);
    }
    let loosened = loosened(division.input())?;
    let divided = |input| replace_children_if_necessary(Arc::clone(plan), vec![input]);
    loosened.map(divided).transpose()
}

/// The plan with its filters collecting nothing, if it has any at its top.
fn loosened(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let collects = filter.fetch().is_none() && filter.batch_size() != COLLECTED;
        let loose = collects.then(|| filter.with_batch_size(COLLECTED));
        return Ok(match loose {
            Some(loose) => Some(Arc::new(loose?)),
            None => None,
        });
    }
    if !plan.is::<ProjectionExec>() && !plan.is::<UnionExec>() {
        return Ok(None);
    }
    let children = plan.children().into_iter();
    let loose: Vec<_> = children.clone().map(loosened).collect::<Result<_>>()?;
    if loose.iter().all(Option::is_none) {
        return Ok(None);
    }
    let children = loose.into_iter().zip(children);
    let children = children.map(|(loose, child)| loose.unwrap_or_else(|| Arc::clone(child)));
    let plan = replace_children_if_necessary(Arc::clone(plan), children.collect())?;
    Ok(Some(plan))
}
