//! The warehouse: what runs publish and everybody reads. Parquet files under Delta Lake.
//!
//! ```text
//! <warehouse>/closest_connections/   a Delta table; the files of a run in <run_id>/
//! <warehouse>/reputation_scores/     likewise
//! <warehouse>/recommendations/       likewise
//! <warehouse>/rec_reasons/           likewise
//! <warehouse>/runs/                  a Delta table: one row a publication, naming table versions
//! <warehouse>/_runs/<run_id>/        working folder of a run, not a table
//! ```
//!
//! A reader takes the last row of `runs` ([`Warehouse::current`]) and reads the tables at the
//! versions named there ([`Warehouse::table_provider`]): always one whole run. A run writes its
//! files with [`write_parquet`], checks them, and is published by [`Warehouse::publish`]. Published
//! files are never changed, so every run stays readable until [`Warehouse::remove`] removes it.

mod clean;
mod delta;
mod error;
mod intermediate;
mod lease;
mod lock;
#[cfg(test)]
mod lock_tests;
mod publish;
pub mod report;
mod runs;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::{DataFrame, SessionConfig, col};
use graph_recs_sql::session;
use graph_recs_udfs::stores;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

pub use clean::{Keep, Leftover, Why};
pub use error::WarehouseError;
pub use intermediate::write_intermediate;
pub use lock::WarehouseLock;
pub use publish::{Candidate, Published};
pub use runs::{Publication, PublicationKind};
pub use tables::{Column, PerTable, Table};
pub use writer::{DataFile, write_parquet};

use delta::DeltaLog;

/// Name of the folder beside the runs' working folders that plans spill to.
pub const SPILL: &str = "spill";

/// A warehouse in a folder or under a prefix of an object store. Opening it writes nothing.
#[derive(Debug, Clone)]
pub struct Warehouse {
    /// Ends with a slash.
    url: Url,
    /// The store that `url` lies in, from its root.
    root_store: Arc<dyn ObjectStore>,
    /// The same from the warehouse on.
    store: Arc<dyn ObjectStore>,
}

impl Warehouse {
    /// The warehouse at a path or URL, there or yet to be filled. Object stores take their settings
    /// from the usual environment variables (`AWS_…`); see [`Self::new`] for others.
    ///
    /// # Errors
    /// [`WarehouseError::Location`] when it is neither, [`WarehouseError::NoFolder`] when it is a file; of a path that
    /// cannot be used or reached, and of making the store, [`WarehouseError::Store`].
    pub fn open(location: &str) -> Result<Self, WarehouseError> {
        let invalid = || WarehouseError::Location {
            location: location.to_owned(),
        };
        let url = if stores::is_remote(location) {
            Url::parse(location).map_err(|_| invalid())?
        } else {
            let path = stores::absolute(&stores::local_path(location)?)?;
            if path.exists() && !path.is_dir() {
                return Err(WarehouseError::NoFolder {
                    path: path.display().to_string(),
                });
            }
            Url::from_directory_path(path).map_err(|()| invalid())?
        };
        let (root_store, _) = stores::open(&url)?;
        Self::new(url, root_store)
    }

    /// The warehouse at a URL within a store, of which `root_store` is the root.
    ///
    /// # Errors
    /// [`WarehouseError::Location`] when the URL can't hold anything.
    pub fn new(mut url: Url, root_store: Arc<dyn ObjectStore>) -> Result<Self, WarehouseError> {
        if url.cannot_be_a_base() {
            return Err(WarehouseError::Location {
                location: url.to_string(),
            });
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let prefix = Path::from_url_path(url.path()).map_err(object_store::Error::from)?;
        let store = Arc::new(PrefixStore::new(Arc::clone(&root_store), prefix));
        Ok(Self {
            url,
            root_store,
            store,
        })
    }

    /// Where the warehouse is; ends with a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The store, with paths relative to the warehouse.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The store that the warehouse lies in, from its root.
    pub fn root_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root_store)
    }

    /// Path of a part of a run's table, relative to the warehouse.
    ///
    /// # Errors
    /// [`WarehouseError::RunId`] when the run id is not fit for a folder's name.
    pub fn data_path(table: Table, run_id: &str, part: usize) -> Result<Path, WarehouseError> {
        publish::check_run_id(run_id)?;
        let name = format!("part-{part:05}.parquet");
        Ok(Path::from_iter([table.name(), run_id, &name]))
    }

    /// Path of a file in a run's working folder, relative to the warehouse.
    ///
    /// # Errors
    /// [`WarehouseError::RunId`] when the run id is not fit for a folder's name.
    pub fn work_path(run_id: &str, name: &str) -> Result<Path, WarehouseError> {
        publish::check_run_id(run_id)?;
        Ok(Path::from_iter(["_runs", run_id, name]))
    }

    /// Removes what runs that were cut off left: on a local disk, what their plans spilled, and of this run files
    /// under their staging names `<name>#<number>`. Only for the run that holds the lock.
    ///
    /// # Errors
    /// [`WarehouseError::RunId`]; [`WarehouseError::Io`] when a file can't be removed.
    pub fn remove_half_written(&self, run_id: &str) -> Result<(), WarehouseError> {
        publish::check_run_id(run_id)?;
        let Ok(root) = self.url.to_file_path() else {
            return Ok(());
        };
        // Usually there is none.
        let _ = std::fs::remove_dir_all(root.join("_runs").join(SPILL));
        let folders = Table::ALL.iter().map(|table| table.name());
        for folder in folders.chain(["_runs"]) {
            // A folder that is not there has nothing half written.
            let Ok(entries) = std::fs::read_dir(root.join(folder).join(run_id)) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().contains('#') {
                    let path = entry.path();
                    std::fs::remove_file(&path).map_err(lock::io_error(&path))?;
                }
            }
        }
        Ok(())
    }

    /// The files of a version of a table, sorted by path.
    ///
    /// # Errors
    /// Errors of the Delta log, also when there is no such version.
    pub async fn files(&self, table: Table, version: u64) -> Result<Vec<DataFile>, WarehouseError> {
        let log = DeltaLog::new(self, table.name())?;
        match log.load(Some(version)).await? {
            Some(state) => log.files(&state),
            None => Err(deltalake_core::DeltaTableError::NotATable(table.name().to_owned()).into()),
        }
    }

    /// A version of a table for a DataFusion session, whose runtime must know the warehouse's store
    /// (local disk it always does): a listing of exactly the files of that version.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub async fn table_provider(
        &self,
        table: Table,
        version: u64,
    ) -> Result<Arc<dyn TableProvider>, WarehouseError> {
        self.listing(
            table.schema(),
            &self.files(table, version).await?,
            parquet(),
        )
    }

    /// The rows of a version of a table in the order of their users, which is that of the files.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub async fn rows_by_user(
        &self,
        table: Table,
        version: u64,
    ) -> Result<DataFrame, WarehouseError> {
        let by_user = || col("user_id").sort(true, false);
        let files = self.files(table, version).await?;
        let options = parquet().with_file_sort_order(vec![vec![by_user()]]);
        let rows = self.listing(table.schema(), &files, options)?;
        let config = SessionConfig::new().with_target_partitions(1);
        let frame = session::reader(config)?.read_table(rows)?;
        Ok(frame.sort(vec![by_user()])?)
    }

    /// Files of a table that are not published yet, for a DataFusion session that checks them. Its columns may be
    /// null as far as the session knows: else it would take for granted that none is.
    ///
    /// # Errors
    /// Errors of DataFusion.
    pub fn candidate_provider(
        &self,
        table: Table,
        files: &[DataFile],
    ) -> Result<Arc<dyn TableProvider>, WarehouseError> {
        let fields = table.schema().fields().clone();
        let nullable = fields
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true));
        self.listing(
            Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
            files,
            parquet(),
        )
    }

    /// A table of exactly these files.
    fn listing(
        &self,
        schema: SchemaRef,
        files: &[DataFile],
        options: ListingOptions,
    ) -> Result<Arc<dyn TableProvider>, WarehouseError> {
        // A listing of nothing is refused, or worse, lists everything.
        if files.is_empty() {
            return Ok(Arc::new(EmptyTable::new(schema)));
        }
        let mut urls = Vec::with_capacity(files.len());
        for file in files {
            urls.push(ListingTableUrl::try_new(self.url_of(&file.path)?, None)?);
        }
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(schema);
        Ok(Arc::new(ListingTable::try_new(config)?))
    }

    /// URL of a path relative to the warehouse.
    fn url_of(&self, path: &str) -> Result<Url, WarehouseError> {
        self.url.join(path).map_err(|_| WarehouseError::Location {
            location: format!("{}{path}", self.url),
        })
    }
}

/// Tables are Parquet files.
fn parquet() -> ListingOptions {
    ListingOptions::new(Arc::new(ParquetFormat::default()))
}
