//! One Delta table of the warehouse: its log, not its rows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::Schema;
use deltalake_core::DeltaTableError;
use deltalake_core::TableProperty;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, MetadataExt, Remove, StructType};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use super::Warehouse;
use super::error::WarehouseError;
use super::writer::DataFile;

/// Readers replay at most so many commits on top of a checkpoint.
const CHECKPOINT_INTERVAL: &str = "10";
/// A run stays readable as long as its commits and files stay, so Delta's own housekeeping
/// (30 and 7 days by default), also that of other engines, is put off for a century.
const RETENTION: &str = "interval 36500 days";

/// The log of a Delta table in a folder of the warehouse.
pub(super) struct DeltaLog {
    name: &'static str,
    log_store: LogStoreRef,
}

/// A commit to make.
pub(super) struct Commit<'a> {
    pub actions: Vec<Action>,
    pub mode: SaveMode,
    pub run_id: &'a str,
    pub at: DateTime<Utc>,
}

impl DeltaLog {
    /// The table in the folder `name`.
    pub(super) fn new(warehouse: &Warehouse, name: &'static str) -> Result<Self, WarehouseError> {
        let invalid = || WarehouseError::Location {
            location: name.to_owned(),
        };
        // Delta decodes names in URLs twice, and looks for a file's on the disk. In this one, in a store that begins at the
        // warehouse, there is nothing to decode or to look for, wherever the warehouse lies. The host is named as those of
        // stores that list in any order, as a local disk does: Delta then sorts what it lists.
        let url =
            Url::parse(&format!("warehouse://any-order--x-s3/{name}/")).map_err(|_| invalid())?;
        let root = warehouse.object_store();
        let table_store = Arc::new(PrefixStore::new(Arc::clone(&root), Path::from(name)));
        Ok(Self {
            name,
            log_store: default_logstore(table_store, root, &url, &StorageConfig::default()),
        })
    }

    /// State at a version, or at the newest; `None` when there is no such table yet.
    pub(super) async fn load(
        &self,
        version: Option<u64>,
    ) -> Result<Option<DeltaTableState>, WarehouseError> {
        if !self.log_store.is_delta_table_location().await? {
            return Ok(None);
        }
        Ok(Some(
            DeltaTableState::try_new(self.log_store.as_ref(), version).await?,
        ))
    }

    /// The newest state; creates the table when there is none.
    pub(super) async fn load_or_create(
        &self,
        schema: &Schema,
        comment: &str,
    ) -> Result<DeltaTableState, WarehouseError> {
        if let Some(state) = self.load(None).await? {
            return Ok(state);
        }
        let columns: StructType = schema.try_into_kernel()?;
        let created = CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log_store))
            .with_table_name(self.name)
            .with_comment(comment)
            .with_columns(columns.fields().cloned())
            .with_configuration_property(
                TableProperty::CheckpointInterval,
                Some(CHECKPOINT_INTERVAL),
            )
            .with_configuration_property(TableProperty::EnableExpiredLogCleanup, Some("false"))
            .with_configuration_property(TableProperty::LogRetentionDuration, Some(RETENTION))
            .with_configuration_property(
                TableProperty::DeletedFileRetentionDuration,
                Some(RETENTION),
            )
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .await;
        // Where another writer was faster, it created the same table, whatever this one was told.
        match (self.load(None).await?, created) {
            (Some(state), _) => Ok(state),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Err(DeltaTableError::NotATable(self.name.to_owned()).into()),
        }
    }

    /// Commits on top of `state`, or fails with [`WarehouseError::Conflict`]. Returns the version.
    pub(super) async fn commit(
        &self,
        state: &DeltaTableState,
        commit: Commit<'_>,
    ) -> Result<u64, WarehouseError> {
        let operation = DeltaOperation::Write {
            mode: commit.mode,
            partition_by: None,
            predicate: None,
        };
        let mut info = operation.get_commit_info();
        info.timestamp = Some(commit.at.timestamp_millis());
        let mut actions = vec![Action::CommitInfo(info)];
        actions.extend(commit.actions);
        // No retries: what a commit of ours replaces must be what was read.
        let properties = CommitProperties::default()
            .with_metadata([("runId".to_owned(), commit.run_id.into())])
            .with_max_retries(0);
        let committed = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), Arc::clone(&self.log_store), operation)
            .await
            .map_err(|error| WarehouseError::from_commit(self.name, error))?;
        Ok(committed.version())
    }

    /// The live files of a state, sorted by path.
    pub(super) fn files(&self, state: &DeltaTableState) -> Result<Vec<DataFile>, WarehouseError> {
        let mut files = Vec::new();
        for view in state.log_data() {
            let path = format!("{}/{}", self.name, view.path());
            let (Ok(size), Some(rows)) = (u64::try_from(view.size()), view.num_records()) else {
                return Err(WarehouseError::Damaged(format!(
                    "the log has no size or row count for {path}"
                )));
            };
            files.push(DataFile {
                path,
                size,
                rows: rows as u64,
            });
        }
        files.sort();
        Ok(files)
    }

    /// The action that adds a file of this table.
    pub(super) fn add(&self, file: &DataFile, at: DateTime<Utc>) -> Result<Action, WarehouseError> {
        Ok(Action::Add(Add {
            path: self.relative(&file.path),
            partition_values: HashMap::new(),
            size: self.bigint(file.size)?,
            modification_time: at.timestamp_millis(),
            data_change: true,
            stats: Some(format!(r#"{{"numRecords":{}}}"#, file.rows)),
            ..Add::default()
        }))
    }

    /// The actions that turn `from` into `to`; none when they are the same files.
    pub(super) fn overwrite(
        &self,
        from: &[DataFile],
        to: &[DataFile],
        at: DateTime<Utc>,
    ) -> Result<Vec<Action>, WarehouseError> {
        let kept: BTreeSet<&str> = to.iter().map(|file| file.path.as_str()).collect();
        let mut actions = Vec::new();
        for file in from
            .iter()
            .filter(|file| !kept.contains(file.path.as_str()))
        {
            actions.push(Action::Remove(Remove {
                path: self.relative(&file.path),
                data_change: true,
                deletion_timestamp: Some(at.timestamp_millis()),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::new()),
                size: Some(self.bigint(file.size)?),
                ..Remove::default()
            }));
        }
        // A file of the same name but another size is added again, which replaces its entry.
        let old: BTreeSet<&DataFile> = from.iter().collect();
        for file in to.iter().filter(|file| !old.contains(file)) {
            actions.push(self.add(file, at)?);
        }
        Ok(actions)
    }

    /// The action that gives the table these columns; none when it has them.
    pub(super) fn columns(
        &self,
        state: &DeltaTableState,
        schema: &Schema,
    ) -> Result<Option<Action>, WarehouseError> {
        let columns: StructType = schema.try_into_kernel()?;
        if *state.schema() == columns {
            return Ok(None);
        }
        let metadata = state.metadata().clone().with_schema(&columns);
        let metadata = metadata.map_err(DeltaTableError::from)?;
        Ok(Some(Action::Metadata(metadata)))
    }

    fn relative(&self, path: &str) -> String {
        let path = path.strip_prefix(self.name).unwrap_or(path);
        path.trim_start_matches('/').to_owned()
    }

    fn bigint(&self, number: u64) -> Result<i64, WarehouseError> {
        i64::try_from(number)
            .map_err(|_| WarehouseError::Damaged(format!("{number} bytes in {}", self.name)))
    }
}
