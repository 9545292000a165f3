//! The session of the shell: what there is, by name.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;
use graph_recs_sql::{Input, Parameters, weekly_messages};
use graph_recs_udfs::model::LazyModel;

use crate::cli::SqlOptions;
use graph_recs_serve::catalog::{CURRENT, Catalog, WhoToFollow, register_raw};
use graph_recs_warehouse::{Publication, Table, Warehouse};

/// A session with all that the options name.
pub async fn build(options: &SqlOptions) -> Result<SessionContext> {
    let model = LazyModel::open(options.catalog.model.as_deref()).await?;
    let context = options.engine.engine().session(model)?;
    let state = context.state_ref();
    state
        .write()
        .config_mut()
        .options_mut()
        .sql_parser
        .collect_spans = true;
    if let Some(location) = &options.catalog.warehouse {
        let warehouse = Warehouse::open(location)?;
        let publications = warehouse.publications().await?;
        if publications.is_empty() {
            tracing::warn!("nothing is published in {location} yet: its tables are not there");
        } else {
            register_current(&context, &warehouse).await?;
        }
        context.register_catalog(
            "runs",
            Arc::new(PastRuns {
                warehouse: Arc::new(warehouse),
                publications,
            }),
        );
    }
    if let Some(location) = &options.catalog.input {
        let as_of = options.catalog.moment()?;
        let input = Input::open(location, options.catalog.date).await?;
        register_raw(&context, &input, as_of).await?;
        if context.deregister_table("weekly_messages")?.is_some() {
            weekly_messages::define(&context, &Parameters::new(as_of).values()).await?;
        }
    }
    Ok(context)
}

/// The current run's tables and views by name, and the schemas that the service for analysts has.
async fn register_current(context: &SessionContext, warehouse: &Warehouse) -> Result<()> {
    let catalog = Catalog::open(Some(warehouse.clone()), None, context).await?;
    let snapshot = catalog.snapshot();
    for name in snapshot.names(CURRENT) {
        if let Some(table) = snapshot.table(CURRENT, &name).await? {
            context.register_table(name, table)?;
        }
    }
    if let Some(own) = context.catalog("datafusion") {
        for schema in [CURRENT, "graph_recs_history", "ops"] {
            own.register_schema(schema, snapshot.schema(schema))?;
        }
    }
    context.register_udtf("who_to_follow", Arc::new(WhoToFollow));
    let state = context.state_ref();
    state.write().config_mut().set_extension(snapshot);
    Ok(())
}

/// Catalog `runs`: a schema for every published run, named after it.
#[derive(Debug)]
struct PastRuns {
    warehouse: Arc<Warehouse>,
    publications: Vec<Publication>,
}

impl CatalogProvider for PastRuns {
    fn schema_names(&self) -> Vec<String> {
        self.publications
            .iter()
            .map(|publication| publication.run_id.clone())
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let publication = self
            .publications
            .iter()
            .rfind(|publication| publication.run_id == name)?;
        Some(Arc::new(PastRun {
            warehouse: Arc::clone(&self.warehouse),
            publication: publication.clone(),
        }))
    }
}

#[derive(Debug)]
struct PastRun {
    warehouse: Arc<Warehouse>,
    publication: Publication,
}

#[async_trait]
impl SchemaProvider for PastRun {
    fn table_names(&self) -> Vec<String> {
        Table::ALL
            .iter()
            .map(|table| table.name().to_string())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) else {
            return Ok(None);
        };
        let version = *self.publication.versions.get(table);
        let provider = self.warehouse.table_provider(table, version).await;
        provider
            .map(Some)
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        Table::ALL.iter().any(|table| table.name() == name)
    }
}
