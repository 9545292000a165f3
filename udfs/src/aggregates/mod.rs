//! The aggregate functions that turn rows into the project's results.
//!
//! | function | one group | one row | gives |
//! |---|---|---|---|
//! | [`TopConnections`] | a user | an engagement with another user | the closest connections |
//! | [`Duplicates`] | some ids | a message | the messages whose id is not their own |
//! | [`WeeklyDocument`] | a user's week | a message | the document that the reputation model reads |
//!
//! [`IdMap`], [`IdLists`] and [`CandidatesByUser`] make one value of all rows, in which the functions [`Mapped`],
//! [`WithStanding`], [`ItemsOf`] and [`SecondDegree`] look ids up. The others are [`GroupsAccumulator`](datafusion::logical_expr::GroupsAccumulator)s that log the rows of all groups in
//! one place, compactly and tagged with their group, and do the work when the groups are emitted: arranged by group, one
//! group at a time, with scratch memory that is reused. So there is no allocation per group, [`size`] is a matter of
//! adding up a few capacities (DataFusion spills by it), and a partial state is simply the logged rows as nested lists.
//! What is computed depends on the set of rows alone, not on their order, batches or partitions.
//!
//! [`size`]: datafusion::logical_expr::GroupsAccumulator::size

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

mod arena;
mod arguments;
mod duplicates;
mod id_lists;
mod id_map;
mod log;
mod second_degree;
mod single_group;
mod top_connections;
mod weekly_document;
mod with_standing;
mod words;

#[cfg(test)]
mod tests;

pub use duplicates::Duplicates;
pub use id_lists::{IdLists, ItemsOf};
pub use id_map::{IdMap, Mapped};
pub use second_degree::{CandidatesByUser, SecondDegree};
pub use top_connections::TopConnections;
pub use weekly_document::WeeklyDocument;
pub use with_standing::WithStanding;

/// Every aggregate function of this crate, to be registered by name.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = functions_that_keep_rows();
    functions.push(Arc::new(AggregateUDF::from(IdMap::default())));
    functions.push(Arc::new(AggregateUDF::from(IdLists::default())));
    functions.push(Arc::new(AggregateUDF::from(CandidatesByUser::default())));
    functions
}

/// Those whose states hold all rows of their groups.
pub fn functions_that_keep_rows() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::from(TopConnections::default())),
        Arc::new(AggregateUDF::from(Duplicates::default())),
        Arc::new(AggregateUDF::from(WeeklyDocument::default())),
    ]
}
