//! Finding a day's raw exports.

use std::path::Path as FilePath;
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use graph_recs_udfs::scan::Source;
use graph_recs_udfs::stores::{self, StoreError};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use url::Url;

/// Why the input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The folder is not there.
    #[error("there is no input folder {folder}: is the day's export finished, and the date right?")]
    NoFolder {
        /// The folder looked for.
        folder: String,
    },
    /// A source is not there.
    #[error(
        "source {source_name} is missing: neither {stem}.{ending} (or .gz, .zst), nor {stem}.parquet, \
         nor a folder {stem}/ of such files in {folder}"
    )]
    Missing {
        /// Name of the source.
        source_name: &'static str,
        /// File name without its ending.
        stem: &'static str,
        /// Ending of the plain file.
        ending: &'static str,
        /// The folder looked in.
        folder: String,
    },
    /// A source has no record.
    #[error(
        "source {source_name} is empty: {files} in {folder} hold no record; is the export finished?"
    )]
    Empty {
        /// Name of the source.
        source_name: &'static str,
        /// Its files.
        files: String,
        /// The folder they are in.
        folder: String,
    },
    /// A source is there in several forms, which would count it twice.
    #[error(
        "source {source_name} is there more than once, as {forms}, in {folder}: leave one of them"
    )]
    Ambiguous {
        /// Name of the source.
        source_name: &'static str,
        /// The forms found.
        forms: String,
        /// The folder they are in.
        folder: String,
    },
    /// The file that says that the exports are finished is not there yet.
    #[error(
        "input folder {folder} has no {marker} yet (--ready-file): is the day's export finished?"
    )]
    NotReady {
        /// The folder.
        folder: String,
        /// Name of the file.
        marker: String,
    },
    /// The store that the input lies in cannot be set up.
    #[error("input folder {folder}")]
    NoStore {
        /// The folder.
        folder: String,
        /// Why.
        source: StoreError,
    },
    /// The files are others than when the run began.
    #[error(
        "the exports changed while the run read them: nothing was published. Are they still being written? Give the same \
         command again when they are finished"
    )]
    Changed,
    /// The folder cannot be listed.
    #[error("input folder {folder} cannot be read")]
    Unreadable {
        /// The folder.
        folder: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
}

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
    root: Path,
    files: Vec<(Source, Vec<ObjectMeta>)>,
    /// Names of the files that lie directly in the folder.
    names: Vec<String>,
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
        let base = FilePath::new(location.strip_prefix("file://").unwrap_or(location));
        let dated = date.map(|date| base.join(day_folder(date)));
        let folder = match dated {
            Some(dated) if dated.is_dir() => dated,
            Some(dated) if !base.is_dir() || !holds_a_source(base) => {
                return Err(InputError::NoFolder {
                    folder: dated.display().to_string(),
                });
            }
            _ => base.to_path_buf(),
        };
        let shown = folder.display().to_string();
        let absolute = folder.canonicalize().map_err(|_| InputError::NoFolder {
            folder: shown.clone(),
        })?;
        let root = Path::from_absolute_path(&absolute)
            .map_err(|error| unreadable(&shown, error.into()))?;
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let listed = list(&store, &root)
            .await
            .map_err(|error| unreadable(&shown, error))?;
        Self::from_listed(shown, ObjectStoreUrl::local_filesystem(), root, listed)
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
        let mut shown = location.to_string();
        let (mut root, mut listed) = (base.clone(), Vec::new());
        if let Some(date) = date {
            root = base.clone().join(day_folder(date));
            shown = format!("{location}/{}", day_folder(date));
            listed = list(&store, &root)
                .await
                .map_err(|error| unreadable(&shown, error))?;
        }
        if listed.is_empty() {
            let beside = list(&store, &base)
                .await
                .map_err(|error| unreadable(location, error))?;
            let is_source = |file: &ObjectMeta| {
                let first = file
                    .location
                    .prefix_match(&base)
                    .and_then(|mut parts| parts.next());
                first.is_some_and(|first| is_named_as_source(first.as_ref()))
            };
            if !beside.iter().any(is_source) {
                return Err(InputError::NoFolder { folder: shown });
            }
            (root, listed, shown) = (base, beside, location.to_string());
        }
        let store_url = format!("{}://{}/", url.scheme(), url.authority());
        let store_url = ObjectStoreUrl::parse(store_url).map_err(|error| {
            no_store(StoreError::Url {
                url: location.to_string(),
                reason: error.to_string(),
            })
        })?;
        Self::from_listed(shown, store_url, root, listed)
    }

    fn from_listed(
        folder: String,
        store_url: ObjectStoreUrl,
        root: Path,
        listed: Vec<ObjectMeta>,
    ) -> Result<Self, InputError> {
        let mut files = Vec::new();
        for source in Source::ALL {
            let found = files_of(source, &root, &listed, &folder)?;
            if !found.is_empty() {
                files.push((source, found));
            }
        }
        let in_root = |file: &ObjectMeta| {
            let mut parts = file.location.prefix_match(&root)?;
            let name = parts.next()?.as_ref().to_string();
            parts.next().is_none().then_some(name)
        };
        let names = listed.iter().filter_map(in_root).collect();
        Ok(Self {
            folder,
            store_url,
            root,
            files,
            names,
        })
    }

    /// Fails while there is no file `marker` in the folder: whoever writes the exports adds it last.
    pub fn require_marker(&self, marker: &str) -> Result<(), InputError> {
        if self.names.iter().any(|name| name == marker) {
            return Ok(());
        }
        Err(InputError::NotReady {
            folder: self.folder.clone(),
            marker: marker.to_string(),
        })
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
        files.map(|file| file.size).sum()
    }

    /// The files of a source, by name; none when it is missing.
    pub fn files(&self, source: Source) -> Option<&[ObjectMeta]> {
        self.files
            .iter()
            .find(|(found, _)| *found == source)
            .map(|(_, files)| files.as_slice())
    }

    /// Fails when one of `sources` is missing or has no bytes.
    pub fn require(&self, sources: &[Source]) -> Result<(), InputError> {
        for &source in sources {
            match self.files(source) {
                None => {
                    return Err(InputError::Missing {
                        source_name: source.name(),
                        stem: source.file_stem(),
                        ending: source.file_ending(),
                        folder: self.folder.clone(),
                    });
                }
                Some(files) if files.iter().all(|file| file.size == 0) => {
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
            .map(|file| self.relative(&file.location))
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
                file: self.relative(&file.location),
                bytes: file.size,
                tag: file.e_tag.clone(),
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

fn unreadable(folder: &str, cause: object_store::Error) -> InputError {
    InputError::Unreadable {
        folder: folder.to_string(),
        cause,
    }
}

/// The files in a folder and in those of its folders that are named as sources, by name: other days' folders beside
/// them are not looked into.
async fn list(
    store: &Arc<dyn ObjectStore>,
    root: &Path,
) -> Result<Vec<ObjectMeta>, object_store::Error> {
    let top = store.list_with_delimiter(Some(root)).await?;
    let mut listed = top.objects;
    for folder in top.common_prefixes {
        if folder.filename().is_some_and(is_named_as_source) {
            listed.extend(store.list(Some(&folder)).try_collect::<Vec<_>>().await?);
        }
    }
    for file in &mut listed {
        if file.e_tag.is_none() {
            // Some stores do not tell in a listing which contents a file has.
            *file = store.head(&file.location).await?;
        }
    }
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(listed)
}

fn is_named_as_source(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    Source::ALL.iter().any(|source| source.file_stem() == stem)
}

/// Whether a folder has a file or folder named as some source.
fn holds_a_source(folder: &FilePath) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| is_named_as_source(&entry.file_name().to_string_lossy()))
}

/// The files of one source among all that are listed under `root`.
fn files_of(
    source: Source,
    root: &Path,
    listed: &[ObjectMeta],
    folder: &str,
) -> Result<Vec<ObjectMeta>, InputError> {
    let mut singles: Vec<(String, ObjectMeta)> = Vec::new();
    let mut parts: Vec<ObjectMeta> = Vec::new();
    for file in listed {
        let Some(path) = file.location.prefix_match(root) else {
            continue;
        };
        let path: Vec<String> = path.map(|part| part.as_ref().to_string()).collect();
        match path.as_slice() {
            [name] if is_single(source, name) => singles.push((name.clone(), file.clone())),
            [first, inner @ ..] if first == source.file_stem() && !inner.is_empty() => {
                let hidden = inner.iter().any(|name| name.starts_with(['_', '.']));
                if !hidden {
                    parts.push(file.clone());
                }
            }
            _ => {}
        }
    }
    let mut forms: Vec<String> = singles.iter().map(|(name, _)| name.clone()).collect();
    if !parts.is_empty() {
        forms.push(format!("{}/", source.file_stem()));
    }
    if forms.len() > 1 {
        return Err(InputError::Ambiguous {
            source_name: source.name(),
            forms: forms.join(", "),
            folder: folder.to_string(),
        });
    }
    Ok(singles
        .into_iter()
        .map(|(_, file)| file)
        .chain(parts)
        .collect())
}

fn is_single(source: Source, name: &str) -> bool {
    let Some(ending) = name
        .strip_prefix(source.file_stem())
        .and_then(|rest| rest.strip_prefix('.'))
    else {
        return false;
    };
    let plain = source.file_ending();
    ending == "parquet"
        || ending == plain
        || ["gz", "zst", "zstd"]
            .iter()
            .any(|packed| ending == format!("{plain}.{packed}"))
}
