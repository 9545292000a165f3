//! The SQL functions and scans of graph-recs.
//!
//! What SQL cannot say fast or exactly is a function here that the plans in `sql/` call. Every function works on
//! whole Arrow arrays, and each is usable alone in any DataFusion session.

pub mod aggregates;
pub mod arithmetic;
mod lists;
pub mod model;
mod prefetch;
pub mod records;
pub mod scan;
pub mod stores;
pub mod text;

pub use lists::{Ranks, Trimmed};

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

/// All scalar functions; `reputation` scores with `model`.
pub fn scalar_functions(model: model::LazyModel) -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(text::CleanText::new())),
        Arc::new(ScalarUDF::from(arithmetic::WeekOf::new())),
        Arc::new(ScalarUDF::from(arithmetic::Pair::new())),
        Arc::new(ScalarUDF::from(arithmetic::Ratio::new())),
        Arc::new(ScalarUDF::from(Ranks::default())),
        Arc::new(ScalarUDF::from(Trimmed::default())),
        Arc::new(ScalarUDF::from(aggregates::Mapped::default())),
        Arc::new(ScalarUDF::from(aggregates::ItemsOf::default())),
        Arc::new(ScalarUDF::from(aggregates::WithStanding::default())),
        Arc::new(ScalarUDF::from(aggregates::SecondDegree::default())),
        Arc::new(ScalarUDF::from(model::Reputation::new(model))),
    ]
}

/// All aggregate functions.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    aggregates::aggregate_functions()
}
