//! What DataFusion's plans leave to be done better, in one process: rules that exchange an operator for one that does the
//! same rows in less time. Plans that travel to other processes do without.

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;

mod merge_runs;
mod one_stage;
#[cfg(test)]
mod tests;
mod unnest_in_place;

/// The rules, in the order in which they are to be applied, after DataFusion's own.
pub(crate) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 3] {
    [
        Arc::new(one_stage::OneStage),
        Arc::new(merge_runs::MergeRuns),
        Arc::new(unnest_in_place::UnnestInPlace),
    ]
}
