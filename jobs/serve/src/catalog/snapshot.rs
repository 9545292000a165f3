//! One state of the catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use graph_recs_sql::catalog::{VIEWS, WHO_TO_FOLLOW};
use tokio::sync::OnceCell;

use super::history::{self, HistoryRun};
use super::{CURRENT, DATABASE, RawTables, operations};
use crate::lookup::{Pages, SortedTable};
use graph_recs_warehouse::{PerTable, Publication, Table, Warehouse};

type Tables = BTreeMap<String, Arc<dyn TableProvider>>;

/// The catalog as it is until something else is published.
pub struct Snapshot {
    publication: Option<Publication>,
    schemas: BTreeMap<&'static str, Tables>,
    who_to_follow: LogicalPlan,
    warehouse: Option<Warehouse>,
    runs: Vec<Publication>,
    history: PerTable<OnceCell<Arc<dyn TableProvider>>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?})", self.number())
    }
}

impl Snapshot {
    /// What the publications say, the last of which is the current run.
    pub(super) async fn build(
        warehouse: Option<&Warehouse>,
        publications: Vec<Publication>,
        raw: &RawTables,
        planner: &SessionState,
    ) -> anyhow::Result<Self> {
        let current = publications.last();
        let previous = current.and_then(|current| {
            let earlier = publications.iter().rev();
            earlier.into_iter().find(|p| p.run_id != current.run_id)
        });
        let pages = Arc::new(Pages::default());
        let mut tables = Tables::new();
        let mut before = Tables::new();
        for table in Table::ALL {
            tables.insert(
                table.name().to_string(),
                match (warehouse, current) {
                    (Some(warehouse), Some(run)) => {
                        let version = *run.versions.get(table);
                        let whole = warehouse.table_provider(table, version).await?;
                        let files = warehouse.files(table, version).await?;
                        let store = warehouse.object_store();
                        let pages = Arc::clone(&pages);
                        let by_user = SortedTable::open(whole, store, files, pages).await?;
                        Arc::new(by_user) as Arc<dyn TableProvider>
                    }
                    _ => Arc::new(EmptyTable::new(table.schema())),
                },
            );
            before.insert(
                table.name().to_string(),
                match (warehouse, previous) {
                    (Some(warehouse), Some(run)) => {
                        let version = *run.versions.get(table);
                        warehouse.table_provider(table, version).await?
                    }
                    _ => Arc::new(EmptyTable::new(table.schema())),
                },
            );
        }
        let context = planning_context(planner, &tables, &before)?;
        for view in VIEWS {
            let frame = context.sql(view.sql).await?;
            tables.insert(view.name.to_string(), frame.into_view());
        }
        let who_to_follow = context
            .state()
            .create_logical_plan(WHO_TO_FOLLOW.sql)
            .await?;
        let schemas = BTreeMap::from([
            (CURRENT, tables),
            ("ops", operations::tables(&publications)?),
            ("raw", raw.tables().clone()),
        ]);
        Ok(Self {
            publication: publications.last().cloned(),
            schemas,
            who_to_follow,
            warehouse: warehouse.cloned(),
            runs: history::last_of_each_run(publications),
            history: PerTable::default(),
        })
    }

    /// Number of the publication that is current.
    pub fn number(&self) -> Option<u64> {
        self.publication
            .as_ref()
            .map(|publication| publication.number)
    }

    /// The current run.
    pub fn run_id(&self) -> Option<&str> {
        self.publication
            .as_ref()
            .map(|publication| publication.run_id.as_str())
    }

    /// The rows of `who_to_follow`, with the parameter `$user`.
    pub(super) fn who_to_follow(&self) -> &LogicalPlan {
        &self.who_to_follow
    }

    /// A schema, to be registered in a session.
    pub fn schema(self: &Arc<Self>, name: &str) -> Arc<dyn SchemaProvider> {
        Arc::new(StatementSchema {
            snapshot: Arc::clone(self),
            name: name.to_string(),
        })
    }

    /// Names of a schema's relations.
    pub fn names(&self, schema: &str) -> Vec<String> {
        match self.schemas.get(schema) {
            Some(tables) => tables.keys().cloned().collect(),
            None if schema == history::SCHEMA => {
                Table::ALL.map(|table| table.name().to_string()).into()
            }
            None => Vec::new(),
        }
    }

    /// A relation.
    ///
    /// # Errors
    /// When the log of its table cannot be read.
    pub async fn table(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if schema != history::SCHEMA {
            let tables = self.schemas.get(schema);
            return Ok(tables.and_then(|tables| tables.get(name)).cloned());
        }
        let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) else {
            return Ok(None);
        };
        let all = self
            .history
            .get(table)
            .get_or_try_init(|| async {
                let mut runs = Vec::new();
                for run in &self.runs {
                    let Some(warehouse) = &self.warehouse else {
                        break;
                    };
                    let version = *run.versions.get(table);
                    let rows = warehouse
                        .table_provider(table, version)
                        .await
                        .map_err(|error| DataFusionError::External(Box::new(error)))?;
                    runs.push(HistoryRun::new(run, rows));
                }
                history::table(table, runs)
            })
            .await?;
        Ok(Some(Arc::clone(all)))
    }
}

/// A session in which the tables of the current run have their plain names, those of the run before it `previous.*`.
fn planning_context(
    planner: &SessionState,
    tables: &Tables,
    before: &Tables,
) -> Result<SessionContext> {
    let catalog = MemoryCatalogProvider::new();
    for (name, tables) in [(CURRENT, tables), ("previous", before)] {
        let schema = MemorySchemaProvider::new();
        for (name, table) in tables {
            schema.register_table(name.clone(), Arc::clone(table))?;
        }
        catalog.register_schema(name, Arc::new(schema))?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(DATABASE.into(), Arc::new(catalog));
    let config = planner
        .config()
        .clone()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(DATABASE, CURRENT);
    Ok(SessionContext::new_with_state(
        SessionStateBuilder::new_from_existing(planner.clone())
            .with_config(config)
            .with_catalog_list(Arc::new(catalogs))
            .build(),
    ))
}

/// The catalog of one statement: what its user may see of a snapshot, and the schemas that describe it.
#[derive(Clone, Debug)]
pub struct StatementCatalog {
    snapshot: Arc<Snapshot>,
    schemas: Arc<BTreeSet<String>>,
    described: Arc<BTreeMap<String, Arc<dyn SchemaProvider>>>,
}

impl StatementCatalog {
    /// `schemas` are those of the user, `described` pg_catalog and information_schema.
    pub fn new(
        snapshot: Arc<Snapshot>,
        schemas: Arc<BTreeSet<String>>,
        described: Arc<BTreeMap<String, Arc<dyn SchemaProvider>>>,
    ) -> Self {
        Self {
            snapshot,
            schemas,
            described,
        }
    }
}

impl CatalogProviderList for StatementCatalog {
    fn register_catalog(
        &self,
        _: String,
        _: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| Arc::new(self.clone()) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for StatementCatalog {
    fn schema_names(&self) -> Vec<String> {
        let own = self.schemas.iter().chain(self.described.keys());
        own.cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if let Some(schema) = self.described.get(name) {
            return Some(Arc::clone(schema));
        }
        self.schemas
            .contains(name)
            .then(|| self.snapshot.schema(name))
    }
}

#[derive(Debug)]
struct StatementSchema {
    snapshot: Arc<Snapshot>,
    name: String,
}

#[async_trait]
impl SchemaProvider for StatementSchema {
    fn table_names(&self) -> Vec<String> {
        self.snapshot.names(&self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.snapshot.table(&self.name, name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
