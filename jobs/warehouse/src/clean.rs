//! Removing what old runs have left: their tables' files, their working folders, their quarantine.
//!
//! Deleting is safe to cut off and to repeat: a run's step records go first, so that a run of the same name is computed
//! anew, under the same paths and with the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::Warehouse;
use super::error::WarehouseError;
use super::publish::is_name;
use super::tables::Table;

/// The folder of the runs' working folders.
const WORK: &str = "_runs";
/// Files of a working folder that stay with a published run: its records, report and scores.
const RECORDS: [&str; 2] = ["json", "csv"];

/// What is to stay.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// So many of the runs published last.
    pub runs: usize,
    /// So many of them with quarantine and working tables; all without it.
    pub work: Option<usize>,
    /// How long readers may go on with a run after it stopped being the current one.
    pub grace: TimeDelta,
}

/// Why something is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Enough runs were published after it.
    Superseded,
    /// It was never published, and nothing was written for as long as readers may take.
    Unpublished,
    /// Only its quarantine and working tables.
    Working,
}

impl Why {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Unpublished => "unpublished",
            Self::Working => "working",
        }
    }

    /// For people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Superseded => "enough later runs are published",
            Self::Unpublished => "it was never published",
            Self::Working => "only its quarantine and working tables",
        }
    }
}

/// What a run has left.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// The run.
    pub run_id: String,
    /// Why it is to go.
    pub why: Why,
    /// Its files, in the order in which they are to go.
    pub files: Vec<ObjectMeta>,
}

impl Leftover {
    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl Warehouse {
    /// What may go at `now`: never what belongs to the current run, nor what a reader may hold.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn leftovers(
        &self,
        keep: Keep,
        now: DateTime<Utc>,
    ) -> Result<Vec<Leftover>, WarehouseError> {
        let publications = self.publications().await?;
        // When a run stopped being current; the last one is it still.
        let mut superseded: BTreeMap<&str, Option<DateTime<Utc>>> = BTreeMap::new();
        for (index, publication) in publications.iter().enumerate() {
            let next = publications.get(index + 1).map(|next| next.published_at);
            superseded.insert(&publication.run_id, next);
        }
        let mut newest: Vec<&str> = Vec::new();
        for publication in publications.iter().rev() {
            if !newest.contains(&publication.run_id.as_str()) {
                newest.push(&publication.run_id);
            }
        }
        let mut leftovers = Vec::new();
        for run_id in self.run_folders().await? {
            let (work, tables) = self.files_of_run(&run_id).await?;
            let place = newest.iter().position(|known| **known == *run_id);
            let may_be_read = match superseded.get(run_id.as_str()) {
                Some(Some(at)) => now - *at < keep.grace,
                Some(None) => true,
                None => {
                    let files = work.iter().chain(&tables);
                    let written = files.map(|file| file.last_modified).max();
                    written.is_some_and(|at| now - at < keep.grace)
                }
            };
            let (why, files) = match place {
                Some(place) if place < keep.runs || may_be_read => {
                    if keep.work.is_none_or(|work| place < work) {
                        continue;
                    }
                    let is_record = |file: &ObjectMeta| {
                        file.location
                            .extension()
                            .is_some_and(|ending| RECORDS.contains(&ending))
                    };
                    let files = work.into_iter().filter(|file| !is_record(file)).collect();
                    (Why::Working, files)
                }
                Some(_) => (Why::Superseded, [work, tables].concat()),
                None if may_be_read => continue,
                None => (Why::Unpublished, [work, tables].concat()),
            };
            if !files.is_empty() {
                leftovers.push(Leftover { run_id, why, files });
            }
        }
        Ok(leftovers)
    }

    /// Removes leftovers. Only for the holder of the lock.
    ///
    /// # Errors
    /// Errors of the store; what was removed by then stays removed.
    pub async fn remove(&self, leftovers: &[Leftover]) -> Result<(), WarehouseError> {
        for leftover in leftovers {
            // Records first, and these before tables.
            let (records, others): (Vec<_>, Vec<_>) = leftover
                .files
                .iter()
                .map(|file| file.location.clone())
                .partition(|path| path.extension() == Some("json"));
            for paths in [records, others] {
                let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
                let removed = self.store.delete_stream(paths);
                removed.try_for_each(|_| std::future::ready(Ok(()))).await?;
            }
            self.remove_empty_folders(&leftover.run_id);
        }
        Ok(())
    }

    /// Names of all runs that have a folder.
    async fn run_folders(&self) -> Result<BTreeSet<String>, WarehouseError> {
        let mut runs = BTreeSet::new();
        let folders = Table::ALL.iter().map(|table| table.name());
        for folder in folders.chain([WORK]) {
            let listed = self
                .store
                .list_with_delimiter(Some(&Path::from(folder)))
                .await?;
            let names = listed.common_prefixes.iter().filter_map(Path::filename);
            // Runs begin with a digit, that of their year: neither a Delta log nor the folder that plans spill to.
            let names = names
                .filter(|name| is_name(name) && name.starts_with(|c: char| c.is_ascii_digit()));
            runs.extend(names.map(str::to_owned));
        }
        Ok(runs)
    }

    /// A run's working files, and those of its tables.
    async fn files_of_run(
        &self,
        run_id: &str,
    ) -> Result<(Vec<ObjectMeta>, Vec<ObjectMeta>), WarehouseError> {
        let list = |folder: &str| {
            let folder = Path::from_iter([folder, run_id]);
            self.store.list(Some(&folder)).try_collect::<Vec<_>>()
        };
        let mut tables = Vec::new();
        for table in Table::ALL {
            tables.extend(list(table.name()).await?);
        }
        Ok((list(WORK).await?, tables))
    }

    /// On a local disk folders stay behind when their files are gone.
    fn remove_empty_folders(&self, run_id: &str) {
        let Ok(root) = self.url.to_file_path() else {
            return;
        };
        let folders = Table::ALL.iter().map(|table| table.name());
        for folder in folders.chain([WORK]) {
            remove_if_empty(&root.join(folder).join(run_id));
        }
    }
}

/// Removes a folder with nothing but empty folders in it.
fn remove_if_empty(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            remove_if_empty(&entry.path());
        }
    }
    // Refused when something is in it.
    let _ = std::fs::remove_dir(folder);
}
