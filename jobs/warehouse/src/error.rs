//! What can go wrong in the warehouse.

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;

/// An error of the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The location is neither a path nor a URL of a known store.
    #[error("not a location of a warehouse: {location:?}")]
    Location {
        /// As given.
        location: String,
    },
    /// There is a file where the warehouse is to be.
    #[error("the warehouse {path} is a file: a folder is needed, there or yet to be made")]
    NoFolder {
        /// The path.
        path: String,
    },
    /// Another writer committed to the table in the meantime. Nothing was lost: try again.
    #[error("another writer committed to {table} at the same time")]
    Conflict {
        /// Name of the Delta table.
        table: &'static str,
    },
    /// Run ids become folder names.
    #[error(
        "{run_id:?} is not a run id: use letters, digits, '-', '_' and '.', starting with a letter or digit"
    )]
    RunId {
        /// As given.
        run_id: String,
    },
    /// A candidate names a file that is not in its run's folder of the table.
    #[error("{path} is not a file of run {run_id} in {table}")]
    ForeignFile {
        /// The run.
        run_id: String,
        /// Name of the Delta table.
        table: &'static str,
        /// Path in the warehouse.
        path: String,
    },
    /// A file to publish is not there, or not the one that was written.
    #[error("{path} should have {expected} bytes but {}", found.map_or("is not there".to_owned(), |n| format!("has {n}")))]
    FileMismatch {
        /// Path in the warehouse.
        path: String,
        /// Bytes when it was written.
        expected: u64,
        /// Bytes now, if it is there at all.
        found: Option<u64>,
    },
    /// A run id was published with other files before: runs never change.
    #[error("run {run_id} was already published with other files")]
    RunChanged {
        /// The run.
        run_id: String,
    },
    /// A roll-back to a run that was never published.
    #[error("run {run_id} was never published")]
    NeverPublished {
        /// The run.
        run_id: String,
    },
    /// The warehouse holds something that this program never writes.
    #[error("the warehouse is damaged: {0}")]
    Damaged(String),
    /// Rows to write don't fit the table.
    #[error("rows of {path} don't fit its table: {reason}")]
    Schema {
        /// Path in the warehouse.
        path: String,
        /// How they differ.
        reason: String,
    },
    /// Another run holds the lock.
    #[error("another run holds the lock of the warehouse: {holder}")]
    LockHeld {
        /// Who holds it, as far as known.
        holder: String,
    },
    /// The lock in an object store was taken over by another run.
    #[error(
        "another run took over the lock of the warehouse, because this one gave no sign of life for too long; nothing \
         was published: give the same command again"
    )]
    LockLost,
    /// The store that the warehouse lies in cannot be set up.
    #[error("warehouse")]
    Store(#[from] graph_recs_udfs::stores::StoreError),
    /// From the Delta log.
    #[error("Delta Lake")]
    Delta(#[source] Box<DeltaTableError>),
    /// From the object store.
    #[error("object store")]
    ObjectStore(#[from] object_store::Error),
    /// From reading or writing Parquet.
    #[error("Parquet")]
    Parquet(#[from] ParquetError),
    /// From Arrow.
    #[error("Arrow")]
    Arrow(#[from] ArrowError),
    /// From the query whose rows are written, or from planning a scan.
    #[error("query")]
    Query(#[source] Box<DataFusionError>),
    /// From the file system.
    #[error("{path}")]
    Io {
        /// Path of the file.
        path: String,
        /// What happened.
        source: std::io::Error,
    },
}

impl WarehouseError {
    /// An error of a commit to `table`, with conflicts told apart.
    pub(super) fn from_commit(table: &'static str, error: DeltaTableError) -> Self {
        match error {
            DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source:
                    TransactionError::VersionAlreadyExists(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::CommitConflict(_),
            } => Self::Conflict { table },
            other => other.into(),
        }
    }
}

impl From<DeltaTableError> for WarehouseError {
    fn from(error: DeltaTableError) -> Self {
        Self::Delta(Box::new(error))
    }
}

impl From<DataFusionError> for WarehouseError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}
