//! The lock of a warehouse in an object store: a small object that its holder writes anew as long as it lives.
//!
//! A store knows nothing of processes, so a lock whose holder was killed has to be told from one that is held: by the
//! signs of life that a holder gives. No clock of another machine is trusted for that: who wants a lock that looks
//! abandoned watches it for longer than a holder may be silent, and takes it over by a conditional write that fails
//! when the holder has written meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;
use tracing::warn;
use uuid::Uuid;

use super::error::WarehouseError;
use super::lock::Holder;

/// How often a holder writes, and how long one may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Between two signs of life.
    pub beat: Duration,
    /// Since its last write, by the store's clock and ours, a lock seems abandoned.
    pub silent: Duration,
    /// A lock that seems abandoned is watched so long before it is taken over.
    pub watch: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(10),
            silent: Duration::from_secs(60),
            watch: Duration::from_secs(25),
        }
    }
}

/// What stands in the lock.
#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    holder: Holder,
    /// Who holds it: one word for each time it is taken.
    token: String,
    /// Machine, boot and process namespace: where the holder's process number means something.
    place: String,
    /// Signs of life given.
    beats: u64,
}

/// A lock that is held, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    store: Arc<dyn ObjectStore>,
    path: Path,
    beating: JoinHandle<()>,
    lost: Arc<AtomicBool>,
}

impl Lease {
    /// Takes the lock at `path`; waits only for one that its holder seems to have left behind.
    pub(super) async fn take(
        store: Arc<dyn ObjectStore>,
        path: Path,
        holder: Holder,
        terms: Terms,
    ) -> Result<Self, WarehouseError> {
        let note = Note {
            holder,
            token: Uuid::new_v4().to_string(),
            place: place(),
            beats: 0,
        };
        let version = match write(store.as_ref(), &path, &note, PutMode::Create).await {
            Ok(version) => version,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                take_over(store.as_ref(), &path, &note, terms).await?
            }
            Err(error) => return Err(error.into()),
        };
        let lost = Arc::new(AtomicBool::new(false));
        let beating = tokio::spawn(beat(
            Arc::clone(&store),
            path.clone(),
            note,
            version,
            terms,
            Arc::clone(&lost),
        ));
        Ok(Self {
            store,
            path,
            beating,
            lost,
        })
    }

    /// Fails when another one holds the lock at `path`; removes one that its holder has left behind.
    pub(super) async fn require_free(
        store: Arc<dyn ObjectStore>,
        path: Path,
        terms: Terms,
    ) -> Result<(), WarehouseError> {
        let Some((found, written, version)) = read(store.as_ref(), &path).await? else {
            return Ok(());
        };
        let silent = (Utc::now() - written).to_std().unwrap_or_default();
        if !is_dead(&found) {
            if silent < terms.silent {
                return Err(held(&found, written));
            }
            tokio::time::sleep(terms.watch).await;
        }
        match read(store.as_ref(), &path).await? {
            Some((found, written, now)) if now.e_tag != version.e_tag => Err(held(&found, written)),
            Some(_) => Ok(store.delete(&path).await?),
            None => Ok(()),
        }
    }

    /// Whether another one took it over because we were silent for too long.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
        let many = Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        if self.is_lost() || !many {
            return;
        }
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let removal = self.store.delete(&self.path);
                // What cannot be removed now is taken over once it has been silent for long enough.
                let _ = tokio::time::timeout(Duration::from_secs(10), removal).await;
            });
        });
    }
}

async fn beat(
    store: Arc<dyn ObjectStore>,
    path: Path,
    mut note: Note,
    mut version: UpdateVersion,
    terms: Terms,
    lost: Arc<AtomicBool>,
) {
    loop {
        tokio::time::sleep(terms.beat).await;
        note.beats += 1;
        match write(
            store.as_ref(),
            &path,
            &note,
            PutMode::Update(version.clone()),
        )
        .await
        {
            Ok(written) => version = written,
            Err(Error::Precondition { .. } | Error::NotFound { .. }) => {
                // A write whose answer went astray may have been ours.
                match read(store.as_ref(), &path).await {
                    Ok(Some((found, _, at))) if found.token == note.token => version = at,
                    Ok(_) => {
                        warn!(
                            "another run took the warehouse's lock over: nothing will be published"
                        );
                        lost.store(true, Ordering::SeqCst);
                        return;
                    }
                    Err(error) => warn!("the warehouse's lock cannot be read: {error}"),
                }
            }
            Err(error) => warn!("the warehouse's lock cannot be renewed: {error}"),
        }
    }
}

/// Takes over a lock whose holder is gone.
async fn take_over(
    store: &dyn ObjectStore,
    path: &Path,
    note: &Note,
    terms: Terms,
) -> Result<UpdateVersion, WarehouseError> {
    let Some((found, written, version)) = read(store, path).await? else {
        // Released this moment.
        let created = write(store, path, note, PutMode::Create).await;
        return created.map_err(|_| WarehouseError::LockHeld {
            holder: "another one was faster".to_owned(),
        });
    };
    let silent = (Utc::now() - written).to_std().unwrap_or_default();
    if !is_dead(&found) {
        if silent < terms.silent {
            return Err(held(&found, written));
        }
        warn!(
            "the warehouse's lock seems to be left behind by {}: taking it over in {} s unless it is renewed",
            found.holder.describe(),
            terms.watch.as_secs()
        );
        tokio::time::sleep(terms.watch).await;
    }
    match write(store, path, note, PutMode::Update(version)).await {
        Ok(version) => Ok(version),
        Err(Error::Precondition { .. } | Error::NotFound { .. }) => {
            Err(match read(store, path).await? {
                Some((found, written, _)) => held(&found, written),
                None => WarehouseError::LockHeld {
                    holder: "another one was faster".to_owned(),
                },
            })
        }
        Err(error) => Err(error.into()),
    }
}

fn held(found: &Note, written: DateTime<Utc>) -> WarehouseError {
    WarehouseError::LockHeld {
        holder: format!(
            "{}, its last sign of life at {}",
            found.holder.describe(),
            written.format("%Y-%m-%d %H:%M:%S UTC")
        ),
    }
}

/// Whether the holder was a process of this machine that is there no more.
fn is_dead(note: &Note) -> bool {
    let process = std::path::PathBuf::from(format!("/proc/{}", note.holder.pid));
    !note.place.is_empty() && note.place == place() && !process.exists()
}

/// Where process numbers mean the same; empty when that cannot be told.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

async fn write(
    store: &dyn ObjectStore,
    path: &Path,
    note: &Note,
    mode: PutMode,
) -> Result<UpdateVersion, Error> {
    let text = serde_json::to_vec(note).unwrap_or_default();
    let options = PutOptions {
        mode,
        ..PutOptions::default()
    };
    let written = store.put_opts(path, PutPayload::from(text), options).await;
    written.map(UpdateVersion::from)
}

/// The lock, when it was written, and its version; `None` when nobody has it.
async fn read(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(Note, DateTime<Utc>, UpdateVersion)>, WarehouseError> {
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let written = found.meta.last_modified;
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let note = serde_json::from_slice(&found.bytes().await?)
        .map_err(|_| WarehouseError::Damaged(format!("{path} is no lock of ours")))?;
    Ok(Some((note, written, version)))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const SHORT: Terms = Terms {
        beat: Duration::from_millis(50),
        silent: Duration::from_millis(300),
        watch: Duration::from_millis(300),
    };

    fn holder(run_id: &str) -> Holder {
        Holder::new(run_id, DateTime::UNIX_EPOCH)
    }

    async fn take(store: &Arc<dyn ObjectStore>, run_id: &str) -> Result<Lease, WarehouseError> {
        let path = Path::from("_runs/lock.json");
        Lease::take(Arc::clone(store), path, holder(run_id), SHORT).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_is_held_as_long_as_its_holder_lives() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let first = take(&store, "a").await.unwrap();
        // Longer than one may be silent.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let Err(WarehouseError::LockHeld { holder }) = take(&store, "b").await else {
            panic!("two hold it");
        };
        assert!(holder.contains("run a in process"), "{holder}");
        drop(first);
        take(&store, "b").await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_holders_lock_is_taken_over_and_its_holder_knows() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let first = take(&store, "a").await.unwrap();
        first.beating.abort();
        tokio::time::sleep(Duration::from_millis(400)).await;
        let second = take(&store, "b").await.unwrap();
        assert!(!second.is_lost());

        // One that only seemed silent goes on beating.
        let (note, _, version) = read(store.as_ref(), &second.path).await.unwrap().unwrap();
        let stolen = Note {
            token: "another".to_owned(),
            ..note
        };
        write(
            store.as_ref(),
            &second.path,
            &stolen,
            PutMode::Update(version),
        )
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(second.is_lost());
        drop(second);
        assert!(store.head(&Path::from("_runs/lock.json")).await.is_ok());
    }
}
