//! One run at a time: the lock of a warehouse, held by a process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Warehouse;
use super::error::WarehouseError;
use super::lease::{Lease, Terms};

/// The right to run in a warehouse, until it is dropped or the process ends, however it ends. On a local disk the
/// lock belongs to the operating system; in an object store see [`lease`](super::lease). Commits to the tables are safe
/// without it; it keeps two runs from doing the same work in the same folders.
#[derive(Debug)]
pub struct WarehouseLock {
    held: Held,
    shared: bool,
}

#[derive(Debug)]
enum Held {
    Files {
        /// Hold the lock as long as they are open.
        _files: Vec<File>,
        /// Says who holds it.
        holder: PathBuf,
    },
    Leases(Vec<Lease>),
}

/// Steps that may be at work at the same time, each in a process of its own: they write different files.
const SIDE_BY_SIDE: [&str; 2] = ["closest_connections", "reputation_scores"];

/// Name of the file that says who holds the lock, or a step's part of it.
fn note_name(step: Option<&str>) -> String {
    match step {
        Some(step) => format!("lock-{step}.json"),
        None => "lock.json".to_owned(),
    }
}

/// What is known of the process that holds a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) run_id: String,
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) since: DateTime<Utc>,
}

impl Holder {
    /// This process, for a run that begins at `since`.
    pub(super) fn new(run_id: &str, since: DateTime<Utc>) -> Self {
        Self {
            run_id: run_id.to_owned(),
            pid: std::process::id(),
            host: host_name(),
            since,
        }
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "run {} in process {} on {}, since {}",
            self.run_id,
            self.pid,
            self.host,
            self.since.format("%Y-%m-%d %H:%M:%S UTC")
        )
    }
}

impl WarehouseLock {
    /// Takes the lock of a warehouse for a run that begins at `at`. Waits only, and half a minute at most, for a lock
    /// in an object store that a killed run seems to have left behind.
    ///
    /// # Errors
    /// [`WarehouseError::LockHeld`] when another run has it, in this process or another.
    pub async fn acquire(
        warehouse: &Warehouse,
        run_id: &str,
        at: DateTime<Utc>,
    ) -> Result<Self, WarehouseError> {
        Self::take(warehouse, run_id, at, None).await
    }

    /// As [`Self::acquire`], for one step of a run: other steps that may be at work beside it can be; nothing else can.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub async fn acquire_for_step(
        warehouse: &Warehouse,
        run_id: &str,
        at: DateTime<Utc>,
        step: &str,
    ) -> Result<Self, WarehouseError> {
        let step = SIDE_BY_SIDE.into_iter().find(|known| *known == step);
        Self::take(warehouse, run_id, at, step).await
    }

    /// Whether it is held for a step that others may be at work beside.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    async fn take(
        warehouse: &Warehouse,
        run_id: &str,
        at: DateTime<Utc>,
        step: Option<&'static str>,
    ) -> Result<Self, WarehouseError> {
        let note = Holder::new(run_id, at);
        let held = match local_path(warehouse.url()) {
            Some(folder) => Self::take_file(&folder.join("_runs"), &note, step)?,
            None => Held::Leases(Self::take_leases(warehouse, &note, step).await?),
        };
        let shared = step.is_some();
        Ok(Self { held, shared })
    }

    /// A step holds its own object while there is none for a whole run; a whole run holds all of them. Each takes its
    /// own first and looks for the others' then, so that of two at the same time at most one goes on.
    async fn take_leases(
        warehouse: &Warehouse,
        note: &Holder,
        step: Option<&'static str>,
    ) -> Result<Vec<Lease>, WarehouseError> {
        let path = |step| ObjectPath::from_iter(["_runs", &note_name(step)]);
        let take = |step| {
            let store = warehouse.object_store();
            Lease::take(store, path(step), note.clone(), Terms::default())
        };
        let mut leases = vec![take(step).await?];
        match step {
            Some(_) => {
                Lease::require_free(warehouse.object_store(), path(None), Terms::default()).await?;
            }
            None => {
                for step in SIDE_BY_SIDE {
                    leases.push(take(Some(step)).await?);
                }
            }
        }
        Ok(leases)
    }

    /// Fails when the lock was lost: when another run took it over because this process was silent for too long.
    ///
    /// # Errors
    /// [`WarehouseError::LockLost`].
    pub fn check(&self) -> Result<(), WarehouseError> {
        match &self.held {
            Held::Leases(leases) if leases.iter().any(Lease::is_lost) => {
                Err(WarehouseError::LockLost)
            }
            _ => Ok(()),
        }
    }

    fn take_file(
        folder: &Path,
        note: &Holder,
        step: Option<&'static str>,
    ) -> Result<Held, WarehouseError> {
        std::fs::create_dir_all(folder).map_err(io_error(folder))?;
        let holder = folder.join(note_name(step));
        let mut files = vec![lock_file(folder, "lock", step.is_some())?];
        if let Some(step) = step {
            files.push(lock_file(folder, &format!("lock-{step}"), false)?);
        }
        let note = serde_json::to_vec(note).unwrap_or_default();
        std::fs::write(&holder, note).map_err(io_error(&holder))?;
        Ok(Held::Files {
            _files: files,
            holder,
        })
    }
}

/// Opens a file and locks it, for ourselves or as one of several.
fn lock_file(folder: &Path, name: &str, shared: bool) -> Result<File, WarehouseError> {
    let path = folder.join(name);
    // Never removed: a lock on a removed file would not keep the next process out.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error(&path))?;
    let locked = match shared {
        true => file.try_lock_shared(),
        false => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WarehouseError::LockHeld {
            holder: describe(folder),
        }),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

impl Drop for WarehouseLock {
    fn drop(&mut self) {
        if let Held::Files { holder, .. } = &self.held {
            // Still locked here. What stays behind after a kill is replaced by the next holder.
            let _ = std::fs::remove_file(holder);
        }
    }
}

/// Who holds a lock, or the parts of it, as far as they say.
fn describe(folder: &Path) -> String {
    let steps = SIDE_BY_SIDE.into_iter().map(Some);
    let notes = steps.chain([None]).filter_map(|step| {
        let note = std::fs::read(folder.join(note_name(step))).ok()?;
        let holder: Holder = serde_json::from_slice(&note).ok()?;
        // A process that was killed leaves its note behind.
        let here = holder.host == host_name();
        let lives = !here || Path::new(&format!("/proc/{}", holder.pid)).exists();
        lives.then(|| holder.describe())
    });
    let holders: Vec<String> = notes.collect();
    match holders.is_empty() {
        true => "it has not said who it is".to_owned(),
        false => holders.join("; "),
    }
}

/// The folder of a warehouse on a local disk.
fn local_path(url: &Url) -> Option<PathBuf> {
    (url.scheme() == "file")
        .then(|| url.to_file_path().ok())
        .flatten()
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
