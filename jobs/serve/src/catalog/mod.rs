//! What statements find: the schemas graph_recs, graph_recs_history, ops and raw.
//!
//! All of it is one [`Snapshot`], made anew whenever something is published. A statement keeps the snapshot that it
//! began with, so it sees one run from start to end.

mod history;
mod operations;
mod raw;
mod relations;
mod snapshot;
mod who_to_follow;

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use graph_recs_sql::Input;
use graph_recs_sql::catalog::CatalogModel;

use graph_recs_warehouse::Warehouse;

pub use raw::{RawTables, register as register_raw};
pub use relations::{Column, Relation, texts};
pub use snapshot::{Snapshot, StatementCatalog};
pub use who_to_follow::WhoToFollow;

/// Name of the catalog, PostgreSQL's database.
pub const DATABASE: &str = "graph_recs";
/// The schema in which names without one are looked up.
pub const CURRENT: &str = "graph_recs";

/// The catalog of a running service.
#[derive(Debug)]
pub struct Catalog {
    warehouse: Option<Warehouse>,
    raw: RawTables,
    /// Functions and settings with which views are planned.
    planner: SessionState,
    relations: Arc<[Relation]>,
    model: Arc<CatalogModel>,
    current: RwLock<Arc<Snapshot>>,
}

impl Catalog {
    /// Over a warehouse and a day's exports, either of which may be missing. `context` gives functions and settings;
    /// nothing is registered in it.
    ///
    /// # Errors
    /// When the warehouse or the exports cannot be read.
    pub async fn open(
        warehouse: Option<Warehouse>,
        input: Option<(&Input, chrono::DateTime<chrono::Utc>)>,
        context: &SessionContext,
    ) -> Result<Self> {
        let planner = context.state();
        let model = Arc::new(graph_recs_sql::catalog::model()?);
        let raw = match input {
            Some((input, as_of)) => RawTables::open(input, as_of, &planner).await?,
            None => RawTables::default(),
        };
        let nothing = Snapshot::build(None, Vec::new(), &raw, &planner).await?;
        let relations = relations::describe(&nothing, &model).await?.into();
        let catalog = Self {
            warehouse,
            raw,
            planner,
            relations,
            model,
            current: RwLock::new(Arc::new(nothing)),
        };
        catalog.refresh().await?;
        Ok(catalog)
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All relations, whoever may see them, in the order of their oids.
    pub fn relations(&self) -> &Arc<[Relation]> {
        &self.relations
    }

    /// Descriptions of schemas and functions.
    pub fn model(&self) -> &Arc<CatalogModel> {
        &self.model
    }

    /// Looks for a new publication; whether there was one.
    ///
    /// # Errors
    /// When the warehouse cannot be read.
    pub async fn refresh(&self) -> Result<bool> {
        let Some(warehouse) = &self.warehouse else {
            return Ok(false);
        };
        let publications = warehouse
            .publications()
            .await
            .with_context(|| format!("warehouse {}", warehouse.url()))?;
        let newest = publications.last().map(|publication| publication.number);
        if newest == self.snapshot().number() {
            return Ok(false);
        }
        let snapshot =
            Snapshot::build(Some(warehouse), publications, &self.raw, &self.planner).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(true)
    }
}
