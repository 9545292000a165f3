//! Finding a day's raw exports.

mod error;
mod listing;
mod names;

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::stream::{StreamExt, TryStreamExt};
use graph_recs_udfs::scan::{Format, FoundUserForm, RecordTable, Source, SourceFile, UserForm};
use graph_recs_udfs::stores::{self, StoreError};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use url::Url;

pub use error::InputError;
use listing::{Listed, Listing, Refused};
use names::{Name, is_beside, table_format};

/// Files whose first bytes are asked for at once.
const LOOKS_AT_ONCE: usize = 16;

/// What a file was when it was read, to tell whether it has changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Path relative to the input folder.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The store's tag of the contents, for a local file made of its inode, size and time of change.
    pub tag: Option<String>,
}

/// A day's input folder and the files of its sources.
#[derive(Clone, Debug)]
pub struct Input {
    folder: String,
    store_url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    root: Path,
    files: Vec<(Source, Vec<SourceFile>)>,
    /// Sources that are there under a name of which it is not known whether it is data.
    unknown: Vec<(Source, String)>,
    /// What of a source cannot be read.
    refused: Vec<(Source, Arc<Refused>)>,
    passed_over: Vec<String>,
    user_form: FoundUserForm,
}

impl Input {
    /// Looks for the sources in `<location>/<YYYYMMDD>/` when `date` is given and that folder is there, otherwise
    /// in `location` itself: a path, or a URL of an object store.
    ///
    /// # Errors
    /// [`InputError`].
    pub async fn open(location: &str, date: Option<NaiveDate>) -> Result<Self, InputError> {
        if stores::is_remote(location) {
            return Self::open_remote(location, date).await;
        }
        let base = stores::local_path(location).map_err(|source| InputError::NoStore {
            folder: location.to_owned(),
            source,
        })?;
        let folder = match date.map(|date| base.join(day_folder(date))) {
            Some(dated) if is_folder(&dated)? => dated,
            Some(dated) if !is_folder(&base)? || !holds_a_source(&base) => {
                return Err(InputError::NoFolder {
                    folder: dated.display().to_string(),
                });
            }
            _ => base,
        };
        let shown = folder.display().to_string();
        if !is_folder(&folder)? {
            return Err(InputError::NoFolder { folder: shown });
        }
        let absolute = folder
            .canonicalize()
            .map_err(|error| unreadable(&shown, error))?;
        let root = Path::from_absolute_path(&absolute)
            .map_err(|error| unreadable(&shown, object_store::Error::from(error)))?;
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let listing = Listing::of_folder(&store, &absolute, &root)
            .await
            .map_err(|error| unreadable(&shown, error))?;
        let url = ObjectStoreUrl::local_filesystem();
        Self::of(shown, url, store, root, listing).await
    }

    /// Stores have no folders: one is there when something is in it.
    async fn open_remote(location: &str, date: Option<NaiveDate>) -> Result<Self, InputError> {
        let location = location.trim_end_matches('/');
        let no_store = |source| InputError::NoStore {
            folder: location.to_string(),
            source,
        };
        let url = Url::parse(location).map_err(|error| {
            no_store(StoreError::Url {
                url: location.to_string(),
                reason: error.to_string(),
            })
        })?;
        let (store, base) = stores::open(&url).map_err(no_store)?;
        let bucket = format!("{}://{}", url.scheme(), url.authority());
        let mut shown = location.to_string();
        let (mut root, mut listing) = (base.clone(), Listing::default());
        if let Some(date) = date {
            root = base.clone().join(day_folder(date));
            shown = format!("{location}/{}", day_folder(date));
            listing = Listing::of_store(&store, &bucket, &root)
                .await
                .map_err(|error| unreadable(&shown, error))?;
        }
        if listing.files.is_empty() && listing.refused.is_empty() {
            let beside = Listing::of_store(&store, &bucket, &base)
                .await
                .map_err(|error| unreadable(location, error))?;
            let is_source = |file: &Listed| {
                let first = file.path.first().map(|first| Name::of(first));
                matches!(first, Some(Name::Data(_) | Name::Unknown(_)))
            };
            if !beside.files.iter().any(is_source) {
                return Err(InputError::NoFolder { folder: shown });
            }
            (root, listing, shown) = (base, beside, location.to_string());
        }
        let store_url = ObjectStoreUrl::parse(format!("{bucket}/")).map_err(|error| {
            no_store(StoreError::Url {
                url: location.to_string(),
                reason: error.to_string(),
            })
        })?;
        Self::of(shown, store_url, store, root, listing).await
    }

    async fn of(
        folder: String,
        store_url: ObjectStoreUrl,
        store: Arc<dyn ObjectStore>,
        root: Path,
        mut listing: Listing,
    ) -> Result<Self, InputError> {
        let (mut files, mut unknown, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for source in Source::ALL {
            if let Some(table) = table_of(source, &listing) {
                refused.push((source, table));
                continue;
            }
            let found = files_of(source, &listing, &folder)?;
            if found.is_empty() {
                let named = listing.files.iter().filter_map(|file| file.path.first());
                let named = named.filter(|name| Name::of(name) == Name::Unknown(source));
                unknown.extend(named.map(|name| (source, name.clone())).next());
                continue;
            }
            let looks = found.iter().map(|file| look(&*store, file, source));
            let looks = futures::stream::iter(looks.collect::<Vec<_>>());
            match looks.buffered(LOOKS_AT_ONCE).try_collect().await {
                Ok(looked) => files.push((source, looked)),
                Err(refusal) => refused.push((source, refusal)),
            }
        }
        for refusal in listing.refused {
            match Name::of(&refusal.first) {
                Name::Data(source) => refused.push((source, refusal)),
                // What has an ending that no source has is not data, whatever it is.
                _ => listing.passed_over.push(vec![refusal.file]),
            }
        }
        // Half a source is none.
        files.retain(|(source, _)| !refused.iter().any(|(other, _)| other == source));
        let strange = listing.files.iter().filter_map(|file| file.path.first());
        let strange = strange.filter(|name| matches!(Name::of(name), Name::Unknown(_)));
        let passed_over = listing.passed_over.iter().map(|path| path.join("/"));
        let mut passed_over: Vec<String> = passed_over.chain(strange.cloned()).collect();
        passed_over.sort();
        passed_over.dedup();
        Ok(Self {
            folder,
            store_url,
            store,
            root,
            files,
            unknown,
            refused: refused
                .into_iter()
                .map(|(source, refusal)| (source, Arc::new(refusal)))
                .collect(),
            passed_over,
            user_form: FoundUserForm::default(),
        })
    }

    /// The same input, whose user records should have so many columns, whatever most have.
    #[must_use]
    pub fn with_user_columns(self, columns: Option<usize>) -> Self {
        match columns {
            Some(columns) => Self {
                user_form: FoundUserForm::said(columns),
                ..self
            },
            None => self,
        }
    }

    /// How many columns the records of a CSV source have: most of `user.csv`, unless it was said; of another source most
    /// at the beginning of its first file. `None` when no CSV file tells.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub async fn columns(&self, source: Source) -> datafusion::common::Result<Option<usize>> {
        match self.table(source) {
            Some(table) => table.columns(Arc::clone(&self.store)).await,
            None => Ok(None),
        }
    }

    /// What the records of `user.csv` tell together.
    ///
    /// # Errors
    /// When the users cannot be read.
    pub async fn user_form(&self) -> datafusion::common::Result<UserForm> {
        match self.table(Source::User) {
            Some(table) => table.user_form(Arc::clone(&self.store)).await,
            None => Ok(UserForm::default()),
        }
    }

    /// What lies in the folder under names like those of sources, and is no data.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The table over a source's records; none when the source is missing or cannot be read.
    pub fn table(&self, source: Source) -> Option<RecordTable> {
        let files = self.files(source)?.to_vec();
        let (store, root) = (self.store_url.clone(), self.root.clone());
        let user_form = self.user_form.clone();
        Some(RecordTable::new(source, store, root, files, user_form))
    }

    /// Fails while there is no file `marker` in the folder: whoever writes the exports adds it last.
    pub async fn require_marker(&self, marker: &str) -> Result<(), InputError> {
        match self.store.head(&self.root.clone().join(marker)).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => Err(InputError::NotReady {
                folder: self.folder.clone(),
                marker: marker.to_string(),
            }),
            Err(error) => Err(unreadable(&self.folder, error)),
        }
    }

    /// The folder as it was given.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The store that the files are in.
    pub fn store_url(&self) -> &ObjectStoreUrl {
        &self.store_url
    }

    /// The folder's path in its store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes of all sources' files.
    pub fn bytes(&self) -> u64 {
        let files = self.files.iter().flat_map(|(_, files)| files);
        files.map(|file| file.meta.size).sum()
    }

    /// The files of a source, by name; none when it is missing.
    pub fn files(&self, source: Source) -> Option<&[SourceFile]> {
        self.files
            .iter()
            .find(|(found, _)| *found == source)
            .map(|(_, files)| files.as_slice())
    }

    /// Sources that are there and cannot be read, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (Source, InputError)> {
        self.refused
            .iter()
            .map(|(source, refused)| (*source, unusable(&refused.file, &self.folder, &refused.why)))
    }

    /// Fails when one of `sources` is missing, has no bytes or cannot be read.
    pub fn require(&self, sources: &[Source]) -> Result<(), InputError> {
        for &source in sources {
            if let Some((_, refusal)) = self.refused().find(|(refused, _)| *refused == source) {
                return Err(refusal);
            }
            match self.files(source) {
                None => {
                    let named = self.unknown.iter().find(|(unknown, _)| *unknown == source);
                    if let Some((_, name)) = named {
                        let why = format!(
                            "has an ending that graph-recs does not know, and nothing else is there for source {}: name \
                             it {}.{}, or .parquet, or after its compression",
                            source.name(),
                            source.file_stem(),
                            source.file_ending()
                        );
                        return Err(unusable(name, &self.folder, &why));
                    }
                    return Err(InputError::Missing {
                        source_name: source.name(),
                        stem: source.file_stem(),
                        ending: source.file_ending(),
                        folder: self.folder.clone(),
                    });
                }
                Some(files) if files.iter().all(|file| file.format == Format::Empty) => {
                    return Err(self.empty(source));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The error of a source that turns out to hold no record.
    pub fn empty(&self, source: Source) -> InputError {
        let names: Vec<String> = self
            .files(source)
            .unwrap_or_default()
            .iter()
            .map(|file| self.relative(&file.meta.location))
            .collect();
        InputError::Empty {
            source_name: source.name(),
            files: names.join(", "),
            folder: self.folder.clone(),
        }
    }

    /// The fingerprints of all files of `sources`, by source and name.
    pub fn fingerprints(&self, sources: &[Source]) -> Vec<Fingerprint> {
        self.files
            .iter()
            .filter(|(source, _)| sources.contains(source))
            .flat_map(|(_, files)| files)
            .map(|file| Fingerprint {
                file: self.relative(&file.meta.location),
                bytes: file.meta.size,
                tag: file.meta.e_tag.clone(),
            })
            .collect()
    }

    fn relative(&self, location: &Path) -> String {
        match location.prefix_match(&self.root) {
            Some(parts) => parts
                .map(|part| part.as_ref().to_string())
                .collect::<Vec<_>>()
                .join("/"),
            None => location.to_string(),
        }
    }
}

/// The name of a day's folder.
fn day_folder(date: NaiveDate) -> String {
    date.format("%Y%m%d").to_string()
}

fn unreadable(folder: &str, cause: impl std::error::Error + Send + Sync + 'static) -> InputError {
    InputError::Unreadable {
        folder: folder.to_string(),
        cause: Box::new(cause),
    }
}

fn unusable(file: &str, folder: &str, why: &str) -> InputError {
    InputError::Unusable {
        file: file.to_owned(),
        folder: folder.to_owned(),
        why: why.to_owned(),
    }
}

/// Whether a folder is there.
///
/// # Errors
/// When that cannot be told, or it is something else than a folder.
fn is_folder(path: &FilePath) -> Result<bool, InputError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(unreadable(
            &path.display().to_string(),
            io::Error::from(io::ErrorKind::NotADirectory),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(&path.display().to_string(), error)),
    }
}

/// Whether a folder has a file or folder named as some source.
fn holds_a_source(folder: &FilePath) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = Name::of(&entry.file_name().to_string_lossy());
        matches!(name, Name::Data(_) | Name::Unknown(_))
    })
}

/// Whether a path below the input folder is of a source.
fn is_of(source: Source, path: &[String]) -> bool {
    let first = path.first().map(|first| Name::of(first));
    first == Some(Name::Data(source))
}

/// The folder of a source that is a table of some table format, if there is one.
fn table_of(source: Source, listing: &Listing) -> Option<Refused> {
    let paths = listing.files.iter().map(|file| &file.path);
    let mut paths = paths.chain(&listing.passed_over);
    paths.find_map(|path| {
        let [first, inner @ ..] = path.as_slice() else {
            return None;
        };
        let format = table_format(inner).filter(|_| is_of(source, path))?;
        let why = format!(
            "is a table of {format}, not a folder of part files: files of replaced versions lie in it, too. Export its \
             current rows as Parquet or CSV"
        );
        Some(Refused::new(std::slice::from_ref(first), why))
    })
}

/// The files of one source among all that are listed.
fn files_of(source: Source, listing: &Listing, folder: &str) -> Result<Vec<Listed>, InputError> {
    let is_folder = |name: &str| {
        let mut paths = listing.files.iter().map(|file| &file.path);
        paths.any(|path| path.len() > 1 && path.first().is_some_and(|first| first == name))
    };
    let mut found: Vec<Listed> = Vec::new();
    let mut forms: Vec<String> = Vec::new();
    for file in &listing.files {
        let (form, is_data) = match file.path.as_slice() {
            _ if !is_of(source, &file.path) => continue,
            // Some programs mark a folder of a store by an empty object.
            [name] => (name.clone(), file.meta.size > 0 || !is_folder(name)),
            [first, inner @ ..] => (
                format!("{first}/"),
                !inner.iter().any(|name| is_beside(name)),
            ),
            [] => continue,
        };
        if is_data {
            found.push(file.clone());
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    if forms.len() > 1 {
        return Err(InputError::Ambiguous {
            source_name: source.name(),
            forms: forms.join(", "),
            folder: folder.to_string(),
        });
    }
    Ok(found)
}

/// Tells what a file is.
async fn look(
    store: &dyn ObjectStore,
    file: &Listed,
    source: Source,
) -> Result<SourceFile, Refused> {
    let meta = file.meta.clone();
    match Format::look(store, &meta, source).await {
        Ok(format) => Ok(SourceFile { meta, format }),
        Err(error) => Err(Refused::new(&file.path, error.to_string())),
    }
}
