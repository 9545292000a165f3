//! One run at a time: a lock on a file of the warehouse, held by the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Warehouse;
use super::error::WarehouseError;

/// The right to run in a warehouse, until it is dropped or the process ends, however it ends: the
/// lock belongs to the operating system. Commits to the tables are safe without it; it keeps two
/// runs from doing the same work in the same folders. Only for a warehouse on a local disk.
#[derive(Debug)]
pub struct WarehouseLock {
    /// Holds the lock as long as it is open.
    _file: File,
    /// Says who holds it.
    holder: PathBuf,
}

/// What is known of the process that holds a lock.
#[derive(Serialize, Deserialize)]
struct Holder {
    run_id: String,
    pid: u32,
    host: String,
    since: DateTime<Utc>,
}

impl WarehouseLock {
    /// Takes the lock of a warehouse for a run that begins at `at`; never waits.
    ///
    /// # Errors
    /// [`WarehouseError::LockHeld`] when another run has it, in this process or another;
    /// [`WarehouseError::LockUnsupported`] when the warehouse is not on a local disk.
    pub fn acquire(
        warehouse: &Warehouse,
        run_id: &str,
        at: DateTime<Utc>,
    ) -> Result<Self, WarehouseError> {
        let folder = local_path(warehouse.url())?.join("_runs");
        std::fs::create_dir_all(&folder).map_err(io_error(&folder))?;
        let path = folder.join("lock");
        let holder = folder.join("lock.json");
        // Never removed: a lock on a removed file would not keep the next process out.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(WarehouseError::LockHeld {
                    holder: describe(&holder),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&path)(error)),
        }
        let note = Holder {
            run_id: run_id.to_owned(),
            pid: std::process::id(),
            host: host_name(),
            since: at,
        };
        let note = serde_json::to_vec(&note).unwrap_or_default();
        std::fs::write(&holder, note).map_err(io_error(&holder))?;
        Ok(Self {
            _file: file,
            holder,
        })
    }
}

impl Drop for WarehouseLock {
    fn drop(&mut self) {
        // Still locked here. What stays behind after a kill is replaced by the next holder.
        let _ = std::fs::remove_file(&self.holder);
    }
}

fn describe(path: &Path) -> String {
    let note = std::fs::read(path).ok();
    match note.and_then(|note| serde_json::from_slice::<Holder>(&note).ok()) {
        Some(holder) => format!(
            "run {} in process {} on {}, since {}",
            holder.run_id,
            holder.pid,
            holder.host,
            holder.since.format("%Y-%m-%d %H:%M:%S UTC")
        ),
        None => "it has not said who it is".to_owned(),
    }
}

fn local_path(url: &Url) -> Result<PathBuf, WarehouseError> {
    let path = (url.scheme() == "file").then(|| url.to_file_path().ok());
    path.flatten()
        .ok_or_else(|| WarehouseError::LockUnsupported {
            url: url.to_string(),
        })
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> WarehouseError {
    let path = path.display().to_string();
    move |source| WarehouseError::Io { path, source }
}
