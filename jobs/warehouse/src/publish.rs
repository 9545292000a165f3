//! Write, audit, publish.
//!
//! A run's files lie in the folders of the tables, where no reader of Delta sees them, until
//! [`Warehouse::publish`] commits them. The four tables can't be committed together, so none of
//! their commits counts: the row in `runs`, which names the four versions, does. Every step before
//! that one can be repeated, so a publication that was cut off is mended by publishing again.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Warehouse;
use super::delta::{Commit, DeltaLog};
use super::error::WarehouseError;
use super::runs::{self, Publication, PublicationKind};
use super::tables::{PerTable, Table};
use super::writer::{DataFile, write_parquet};

/// Requests in flight at once.
const CONCURRENCY: usize = 16;

/// A run that is ready to be published: its files are written and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The run. Also the name of its folders: letters, digits, `-`, `_`, `.`.
    pub run_id: String,
    /// The run's as-of.
    pub as_of: DateTime<Utc>,
    /// Hash of the reputation model, when the run used one.
    pub model_hash: Option<String>,
    /// The run's report, JSON.
    pub report: String,
    /// Files of each table, each in the run's folder of the table (see [`Warehouse::data_path`]).
    pub files: PerTable<Vec<DataFile>>,
}

/// What [`Warehouse::publish`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The run is current now.
    New(Publication),
    /// The run was current already; nothing changed.
    AlreadyCurrent(Publication),
}

impl Published {
    /// The publication by which the run is current.
    pub fn publication(&self) -> &Publication {
        match self {
            Self::New(publication) | Self::AlreadyCurrent(publication) => publication,
        }
    }
}

/// The `runs` table as read when a publication begins.
pub(super) struct Runs {
    state: DeltaTableState,
    publications: Vec<Publication>,
}

impl Warehouse {
    /// Makes a run the current one, all four tables at once for readers that go by `runs`.
    ///
    /// To roll back, publish [`Self::candidate_of`] an earlier publication with
    /// [`PublicationKind::Rollback`]. Publishing again what is current changes nothing.
    ///
    /// # Errors
    /// [`WarehouseError::Conflict`] when another publication came in between: nothing was
    /// published, and the call can be repeated. [`WarehouseError::RunChanged`] when the run was
    /// published before with other files; [`WarehouseError::NeverPublished`] for a roll-back to an
    /// unknown run; [`WarehouseError::FileMismatch`] when a file is not there as written.
    pub async fn publish(
        &self,
        candidate: &Candidate,
        kind: PublicationKind,
        at: DateTime<Utc>,
    ) -> Result<Published, WarehouseError> {
        candidate.check()?;
        self.check_files(candidate).await?;
        // Read first and committed to last, `runs` guards all that lies between.
        let runs = self.load_runs().await?;
        let earlier = runs
            .publications
            .iter()
            .rfind(|publication| publication.run_id == candidate.run_id);
        match earlier {
            Some(publication) => self.check_unchanged(publication, candidate).await?,
            None if kind == PublicationKind::Rollback => {
                return Err(WarehouseError::NeverPublished {
                    run_id: candidate.run_id.clone(),
                });
            }
            None => {}
        }
        if let Some(current) = runs.publications.last()
            && current.run_id == candidate.run_id
        {
            return Ok(Published::AlreadyCurrent(current.clone()));
        }
        let versions = self.commit_tables(candidate, at).await?;
        self.append_run(runs, candidate, kind, versions, at)
            .await
            .map(Published::New)
    }

    /// Publishes a run among those of earlier and later as-ofs: current unless a later one is, which then stays the
    /// current one. Readers never see the earlier run in between: one commit to `runs` has both rows.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_in_its_place(
        &self,
        candidate: &Candidate,
        at: DateTime<Utc>,
    ) -> Result<Published, WarehouseError> {
        let runs = self.load_runs().await?;
        let known = |publication: &Publication| publication.run_id == candidate.run_id;
        let later = match runs.publications.last() {
            Some(last) if last.as_of > candidate.as_of => last.clone(),
            _ => return self.publish(candidate, PublicationKind::Publish, at).await,
        };
        if runs.publications.iter().any(known) {
            return Ok(Published::AlreadyCurrent(later));
        }
        candidate.check()?;
        self.check_files(candidate).await?;
        let current = self.candidate_of(&later).await?;
        let versions = self.commit_tables(candidate, at).await?;
        let number = later.number + 1;
        let kind = PublicationKind::Publish;
        let published = candidate.publication(number, kind, versions, at);
        let versions = self.commit_tables(&current, at).await?;
        let kind = PublicationKind::Rollback;
        let restored = current.publication(number + 1, kind, versions, at);
        self.append_runs(runs, &[published.clone(), restored], at)
            .await?;
        Ok(Published::New(published))
    }

    /// All publications, oldest first; none in a new warehouse.
    ///
    /// # Errors
    /// Errors of the store, and [`WarehouseError::Damaged`].
    pub async fn publications(&self) -> Result<Vec<Publication>, WarehouseError> {
        let log = DeltaLog::new(self, runs::NAME)?;
        match log.load(None).await? {
            Some(state) => self.read_runs(&log, &state).await,
            None => Ok(Vec::new()),
        }
    }

    /// The publication by which a run is current, if any was ever published.
    ///
    /// # Errors
    /// As [`Self::publications`].
    pub async fn current(&self) -> Result<Option<Publication>, WarehouseError> {
        Ok(self.publications().await?.pop())
    }

    /// The candidate that a publication published: what to publish again in order to roll back.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub async fn candidate_of(
        &self,
        publication: &Publication,
    ) -> Result<Candidate, WarehouseError> {
        let mut files = PerTable::default();
        for table in Table::ALL {
            *files.get_mut(table) = self.files(table, *publication.versions.get(table)).await?;
        }
        Ok(Candidate {
            run_id: publication.run_id.clone(),
            as_of: publication.as_of,
            model_hash: publication.model_hash.clone(),
            report: publication.report.clone(),
            files,
        })
    }

    /// The `runs` table, created when there is none.
    pub(super) async fn load_runs(&self) -> Result<Runs, WarehouseError> {
        let log = DeltaLog::new(self, runs::NAME)?;
        let state = log.load_or_create(&runs::schema(), runs::COMMENT).await?;
        let publications = self.read_runs(&log, &state).await?;
        Ok(Runs {
            state,
            publications,
        })
    }

    /// Makes the head of each table consist of the candidate's files. Returns the heads' versions.
    pub(super) async fn commit_tables(
        &self,
        candidate: &Candidate,
        at: DateTime<Utc>,
    ) -> Result<PerTable<u64>, WarehouseError> {
        let mut versions = PerTable::default();
        for table in Table::ALL {
            let log = DeltaLog::new(self, table.name())?;
            let schema = table.described_schema();
            let head = log.load_or_create(&schema, table.comment()).await?;
            let files = log.overwrite(&log.files(&head)?, candidate.files.get(table), at)?;
            // Tables that an earlier version made may have other types.
            let actions: Vec<_> = log
                .columns(&head, &schema)?
                .into_iter()
                .chain(files)
                .collect();
            *versions.get_mut(table) = if actions.is_empty() {
                head.version()
            } else {
                let commit = Commit {
                    actions,
                    mode: SaveMode::Overwrite,
                    run_id: &candidate.run_id,
                    at,
                };
                log.commit(&head, commit).await?
            };
        }
        Ok(versions)
    }

    /// Appends the publication to `runs` as it was read: the moment of publishing.
    pub(super) async fn append_run(
        &self,
        runs: Runs,
        candidate: &Candidate,
        kind: PublicationKind,
        versions: PerTable<u64>,
        at: DateTime<Utc>,
    ) -> Result<Publication, WarehouseError> {
        let number = runs.publications.last().map_or(0, |last| last.number) + 1;
        let publication = candidate.publication(number, kind, versions, at);
        self.append_runs(runs, std::slice::from_ref(&publication), at)
            .await?;
        Ok(publication)
    }

    /// Appends publications, all at once, to `runs` as it was read.
    async fn append_runs(
        &self,
        runs: Runs,
        publications: &[Publication],
        at: DateTime<Utc>,
    ) -> Result<(), WarehouseError> {
        let Some(first) = publications.first() else {
            return Ok(());
        };
        // A name of its own: the file of an attempt that lost must not replace the winner's.
        let name = format!("{:08}-{}.parquet", first.number, Uuid::new_v4());
        let path = Path::from_iter([runs::NAME, &name]);
        let rows: Result<Vec<_>, _> = publications.iter().map(runs::encode).collect();
        let rows = rows?.into_iter().map(Ok);
        let rows = RecordBatchStreamAdapter::new(runs::schema(), stream::iter(rows));
        let store = Arc::clone(&self.store);
        let file = write_parquet(store, &path, runs::schema(), Box::pin(rows)).await?;
        let log = DeltaLog::new(self, runs::NAME)?;
        let commit = Commit {
            actions: vec![log.add(&file, at)?],
            mode: SaveMode::Append,
            run_id: &first.run_id,
            at,
        };
        log.commit(&runs.state, commit).await?;
        Ok(())
    }

    async fn read_runs(
        &self,
        log: &DeltaLog,
        state: &DeltaTableState,
    ) -> Result<Vec<Publication>, WarehouseError> {
        let files = log.files(state)?;
        let read = |file: DataFile| async move {
            let path = parse_path(&file.path)?;
            runs::decode(self.store.get(&path).await?.bytes().await?)
        };
        let rows: Vec<Vec<Publication>> = stream::iter(files)
            .map(read)
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut publications: Vec<Publication> = rows.into_iter().flatten().collect();
        publications.sort_by_key(|publication| publication.number);
        let numbers = publications.iter().map(|publication| publication.number);
        if !numbers.eq(1..=publications.len() as u64) {
            let what = "the publications in runs are not numbered 1, 2, 3, …";
            return Err(WarehouseError::Damaged(what.to_owned()));
        }
        Ok(publications)
    }

    /// Every file is there with the size that it had when it was written.
    async fn check_files(&self, candidate: &Candidate) -> Result<(), WarehouseError> {
        let files = Table::ALL.map(|table| candidate.files.get(table).iter());
        stream::iter(files.into_iter().flatten().cloned())
            .map(|file| async move {
                let found = match self.store.head(&parse_path(&file.path)?).await {
                    Ok(object) => Some(object.size),
                    Err(object_store::Error::NotFound { .. }) => None,
                    Err(error) => return Err(error.into()),
                };
                if found == Some(file.size) {
                    return Ok(());
                }
                Err(WarehouseError::FileMismatch {
                    path: file.path,
                    expected: file.size,
                    found,
                })
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// A run once published keeps its files.
    async fn check_unchanged(
        &self,
        publication: &Publication,
        candidate: &Candidate,
    ) -> Result<(), WarehouseError> {
        for table in Table::ALL {
            let mut files = candidate.files.get(table).clone();
            files.sort();
            if files != self.files(table, *publication.versions.get(table)).await? {
                return Err(WarehouseError::RunChanged {
                    run_id: candidate.run_id.clone(),
                });
            }
        }
        Ok(())
    }
}

impl Candidate {
    /// Rows of each table.
    pub fn rows(&self) -> PerTable<u64> {
        let mut rows = PerTable::default();
        for table in Table::ALL {
            *rows.get_mut(table) = self.files.get(table).iter().map(|file| file.rows).sum();
        }
        rows
    }

    /// The row of `runs` by which it is published.
    fn publication(
        &self,
        number: u64,
        kind: PublicationKind,
        versions: PerTable<u64>,
        at: DateTime<Utc>,
    ) -> Publication {
        Publication {
            number,
            run_id: self.run_id.clone(),
            as_of: self.as_of.trunc_subsecs(6),
            published_at: at.trunc_subsecs(6),
            kind,
            versions,
            rows: self.rows(),
            model_hash: self.model_hash.clone(),
            report: self.report.clone(),
        }
    }

    fn check(&self) -> Result<(), WarehouseError> {
        check_run_id(&self.run_id)?;
        for table in Table::ALL {
            let mut names = std::collections::BTreeSet::new();
            for file in self.files.get(table) {
                let name = file
                    .path
                    .strip_prefix(&format!("{table}/{}/", self.run_id))
                    .filter(|name| is_name(name) && names.insert(*name));
                if name.is_none() {
                    return Err(WarehouseError::ForeignFile {
                        run_id: self.run_id.clone(),
                        table: table.name(),
                        path: file.path.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Run ids and file names: also fit for a shell, a URL and every object store.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

pub(super) fn check_run_id(run_id: &str) -> Result<(), WarehouseError> {
    if is_name(run_id) {
        return Ok(());
    }
    Err(WarehouseError::RunId {
        run_id: run_id.to_owned(),
    })
}

fn parse_path(path: &str) -> Result<Path, WarehouseError> {
    Ok(Path::parse(path).map_err(object_store::Error::from)?)
}
