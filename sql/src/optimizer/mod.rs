//! What DataFusion's plans leave to be done better, in one process: rules that exchange an operator for one that does the
//! same rows in less time. Plans that travel to other processes do without.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

mod loose_filters;
mod merge_runs;
mod one_stage;
#[cfg(test)]
mod tests;
mod unnest_in_place;

/// The rules, in the order in which they are to be applied, after DataFusion's own.
pub(crate) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 4] {
    let rule = |name, better| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
        Arc::new(Rule { name, better })
    };
    [
        rule("one_stage", one_stage::better),
        rule("loose_filters", loose_filters::better),
        rule("merge_runs", merge_runs::better),
        rule("unnest_in_place", unnest_in_place::better),
    ]
}

/// Exchanges each operator for which there is a better one, from the leaves up.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    better: fn(&Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>>,
}

impl PhysicalOptimizerRule for Rule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match (self.better)(&plan)? {
                Some(better) => Transformed::yes(better),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}
