//! Schema raw: a day's exports, and the views over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use graph_recs_sql::{Input, Parameters, session};
use graph_recs_udfs::scan::Source;

/// The views over raw exports, each after those that it uses.
const VIEWS: [&str; 6] = [
    "suspended_users",
    "engagement_records",
    "engagements",
    "message_records",
    "duplicate_messages",
    "weekly_messages",
];

/// Few rows that take a reading of all messages, so they are kept once they were asked for.
const KEPT: &str = "duplicate_messages";

/// The tables and views over one day's exports.
#[derive(Clone, Debug, Default)]
pub struct RawTables {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
}

impl RawTables {
    /// Of a day, with the functions and settings of `planner`. A day need not have all sources.
    ///
    /// # Errors
    /// Errors of DataFusion.
    pub async fn open(input: &Input, as_of: DateTime<Utc>, planner: &SessionState) -> Result<Self> {
        let config = planner.config().clone();
        let config = config
            .with_default_catalog_and_schema("datafusion", "public")
            .with_create_default_catalog_and_schema(true);
        let state = SessionStateBuilder::new_from_existing(planner.clone())
            .with_catalog_list(Arc::new(
                datafusion::catalog::MemoryCatalogProviderList::new(),
            ))
            .with_config(config)
            .build();
        let context = SessionContext::new_with_state(state);
        register(&context, input, as_of).await?;
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for source in Source::ALL {
            if input.files(source).is_some() {
                let table = context
                    .table_provider(format!("raw.{}", source.table_name()))
                    .await?;
                tables.insert(source.table_name().to_string(), table);
            }
        }
        for view in [
            "quarantine",
            "suspended_users",
            "engagements",
            "weekly_messages",
        ] {
            if let Ok(table) = context.table_provider(view).await {
                tables.insert(view.to_string(), table);
            }
        }
        Ok(Self { tables })
    }

    /// By name.
    pub fn tables(&self) -> &BTreeMap<String, Arc<dyn TableProvider>> {
        &self.tables
    }
}

/// Registers the sources as `raw.*`, the views over them, and `quarantine`.
///
/// # Errors
/// Errors of DataFusion.
pub async fn register(context: &SessionContext, input: &Input, as_of: DateTime<Utc>) -> Result<()> {
    session::register_input(context, input)?;
    let parameters = Parameters::new(as_of).values();
    for view in VIEWS {
        // A day need not have all sources to be looked at.
        let defined = match view {
            KEPT => session::define_kept(context, view, &parameters).await,
            _ => session::define(context, view, &parameters).await,
        };
        if let Err(error) = defined {
            tracing::debug!("{view} is not there: {error}");
        }
    }
    let quarantine: Vec<String> = Source::ALL
        .into_iter()
        .filter(|source| input.files(*source).is_some())
        .map(|source| {
            format!(
                "SELECT '{}' AS source, file, line, reason, raw FROM raw.{} WHERE reason IS NOT NULL",
                source.name(),
                source.table_name()
            )
        })
        .collect();
    if !quarantine.is_empty() {
        let view = context
            .sql(&quarantine.join(" UNION ALL "))
            .await?
            .into_view();
        context.register_table("quarantine", view)?;
    }
    Ok(())
}
