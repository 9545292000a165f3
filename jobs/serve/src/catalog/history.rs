//! Schema graph_recs_history: every published run's rows, with the run's name, day and as-of.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{TableProvider, default_table_source::provider_as_source};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast, col, lit};

use graph_recs_warehouse::{Publication, Table};

/// Its name.
pub const SCHEMA: &str = "graph_recs_history";
/// The columns before the table's own, with their descriptions.
pub const COLUMNS: [(&str, &str); 3] = [
    ("run_id", "The run"),
    ("run_date", "Day of the run's as-of"),
    ("as_of", "The moment as of which the run knows the world"),
];

/// A run's rows of one table.
pub struct HistoryRun {
    literals: [Expr; 3],
    rows: Arc<dyn TableProvider>,
}

impl HistoryRun {
    /// Of a publication.
    pub fn new(publication: &Publication, rows: Arc<dyn TableProvider>) -> Self {
        let as_of = publication.as_of.timestamp_micros();
        let as_of = lit(ScalarValue::TimestampMicrosecond(
            Some(as_of),
            Some("UTC".into()),
        ));
        Self {
            literals: [
                lit(publication.run_id.clone()),
                cast(as_of.clone(), DataType::Date32),
                as_of,
            ],
            rows,
        }
    }
}

/// The last publication of each run, in the order of publication.
pub fn last_of_each_run(publications: Vec<Publication>) -> Vec<Publication> {
    let mut seen = BTreeSet::new();
    let mut runs: Vec<Publication> = publications
        .into_iter()
        .rev()
        .filter(|publication| seen.insert(publication.run_id.clone()))
        .collect();
    runs.reverse();
    runs
}

/// All runs' rows. The run's columns are literals, so that a condition on them leaves out files before they are read.
pub fn table(table: Table, runs: Vec<HistoryRun>) -> Result<Arc<dyn TableProvider>> {
    let mut parts = Vec::new();
    for run in runs {
        parts.push(Arc::new(part(table, run)?));
    }
    let plan = match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Arc::unwrap_or_clone(only),
        (Some(last), false) => {
            parts.push(last);
            LogicalPlan::Union(Union::try_new_with_loose_types(parts)?)
        }
        (None, _) => {
            let nothing = datafusion::datasource::empty::EmptyTable::new(table.schema());
            let null = HistoryRun {
                literals: [
                    lit(""),
                    lit(ScalarValue::Date32(Some(0))),
                    lit(ScalarValue::TimestampMicrosecond(
                        Some(0),
                        Some("UTC".into()),
                    )),
                ],
                rows: Arc::new(nothing),
            };
            part(table, null)?
        }
    };
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn part(table: Table, run: HistoryRun) -> Result<LogicalPlan> {
    let literals = run.literals.into_iter().zip(COLUMNS);
    let own = table.columns().iter().map(|column| col(column.name));
    LogicalPlanBuilder::scan(table.name(), provider_as_source(run.rows), None)?
        .project(
            literals
                .map(|(literal, (name, _))| literal.alias(name))
                .chain(own),
        )?
        .build()
}
