//! The book of a run's pieces: which are done, in which files, and what was in them.
//!
//! A piece is entered by one put after it was verified, so a driver that is started again goes on from there.

use std::sync::Arc;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use graph_recs_sql::cluster::{PieceFile, Written};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use graph_recs_warehouse::{DataFile, Table, Warehouse};

/// How the run is divided; decided once, so that a driver started again finds the same pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// Buckets of users.
    pub buckets: u32,
    /// Bytes of an export that one piece reads.
    pub piece_bytes: u64,
}

/// A run's book, and the places of its files.
#[derive(Clone)]
pub struct Book {
    store: Arc<dyn ObjectStore>,
    /// The store that executors are told, as a URL.
    store_url: String,
    /// The warehouse's path in it.
    root: Path,
    run: String,
}

impl Book {
    /// The book of a run.
    pub fn new(warehouse: &Warehouse, run: &str) -> Result<Self> {
        let url = warehouse.url();
        let root = Path::from_url_path(url.path())?;
        let base: &url::Url = url;
        let store_url = format!("{}://{}/", base.scheme(), base.authority());
        Ok(Self {
            store: warehouse.object_store(),
            store_url,
            root,
            run: run.to_string(),
        })
    }

    /// The store's URL.
    pub fn store_url(&self) -> &str {
        &self.store_url
    }

    /// Where an attempt at a piece writes: path in the store.
    pub fn place(&self, stage: &str, piece: &str, attempt: &str, ending: &str) -> String {
        self.in_store(&format!(
            "_runs/{}/pieces/{stage}/{piece}.{attempt}.{ending}",
            self.run
        ))
    }

    /// Where an attempt at a part of a published table writes: path in the store.
    pub fn table_place(&self, table: Table, piece: &str, attempt: &str) -> String {
        self.in_store(&format!(
            "{}/{}/part-{piece}-{attempt}.parquet",
            table.name(),
            self.run
        ))
    }

    /// A path in the warehouse as the store knows it.
    pub fn in_store(&self, path: &str) -> String {
        match self.root.as_ref() {
            "" => path.to_string(),
            root => format!("{root}/{path}"),
        }
    }

    /// A path in the store as the warehouse knows it.
    fn in_warehouse(&self, path: &str) -> Result<Path> {
        let relative = path
            .strip_prefix(self.root.as_ref())
            .with_context(|| format!("{path} is not in the warehouse"))?;
        Ok(Path::parse(relative.trim_start_matches('/'))?)
    }

    /// A written part of a published table.
    pub fn data_file(&self, written: &Written) -> Result<DataFile> {
        Ok(DataFile {
            path: self.in_warehouse(&written.path)?.to_string(),
            size: written.size,
            rows: written.digest.rows,
        })
    }

    fn entry(&self, name: &str) -> Path {
        Path::from(format!("_runs/{}/pieces/{name}.json", self.run))
    }

    /// What was entered under a name.
    pub async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.entry(name);
        match self.store.get(&path).await {
            Ok(found) => {
                let bytes = found.bytes().await?;
                let value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{path} is not what this version writes"))?;
                Ok(Some(value))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{path} cannot be read")),
        }
    }

    /// Enters something under a name.
    pub async fn enter<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.entry(name);
        let bytes = serde_json::to_vec(value)?;
        self.store
            .put(&path, PutPayload::from(bytes))
            .await
            .with_context(|| format!("{path} cannot be written"))?;
        Ok(())
    }

    /// Writes a file of the run's work folder.
    pub async fn enter_work<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = Path::from(format!("_runs/{}/{name}.json", self.run));
        let bytes = serde_json::to_vec(value)?;
        self.store.put(&path, PutPayload::from(bytes)).await?;
        Ok(())
    }

    /// The piece under a name, when its file is still there as it was entered.
    pub async fn piece(&self, stage: &str, piece: &str) -> Result<Option<Written>> {
        let Some(written) = self.read::<Written>(&format!("{stage}/{piece}")).await? else {
            return Ok(None);
        };
        let found = self.store.head(&self.in_warehouse(&written.path)?).await;
        Ok(found
            .is_ok_and(|file| file.size == written.size)
            .then_some(written))
    }

    /// Puts a piece's file where people look for it; its bytes don't pass through this process.
    pub async fn publish_file(&self, written: &Written, name: &str) -> Result<()> {
        let to = Path::from(format!("_runs/{}/{name}", self.run));
        self.store
            .copy(&self.in_warehouse(&written.path)?, &to)
            .await?;
        Ok(())
    }

    /// A file of a run's work folder, if it is there.
    pub async fn file_of(&self, run: &str, name: &str) -> Result<Option<PieceFile>> {
        let path = Path::from(format!("_runs/{run}/{name}"));
        match self.store.head(&path).await {
            Ok(found) => Ok(Some(PieceFile {
                path: self.in_store(path.as_ref()),
                size: found.size,
                range: None,
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the pieces, and what failed attempts left in the tables' folders beside `kept`.
    pub async fn tidy(&self, kept: &[DataFile]) -> Result<()> {
        self.remove_under(&format!("_runs/{}/pieces", self.run), &[])
            .await?;
        for table in Table::ALL {
            self.remove_under(&format!("{}/{}", table.name(), self.run), kept)
                .await?;
        }
        Ok(())
    }

    async fn remove_under(&self, folder: &str, kept: &[DataFile]) -> Result<()> {
        let folder = PrefixStore::new(Arc::clone(&self.store), Path::from(folder));
        let found: Vec<Path> = folder
            .list(None)
            .map_ok(|file| file.location)
            .try_collect()
            .await?;
        for path in found {
            if !kept.iter().any(|file| file.path.ends_with(path.as_ref())) {
                folder.delete(&path).await?;
            }
        }
        Ok(())
    }
}
