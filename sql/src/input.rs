//! Finding a day's raw exports.

use std::path::Path as FilePath;
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use graph_recs_udfs::scan::Source;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};

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
}

impl Input {
    /// Looks for the sources in `<location>/<YYYYMMDD>/` when `date` is given and that folder is there, otherwise
    /// in `location` itself.
    pub async fn open(location: &str, date: Option<NaiveDate>) -> Result<Self, InputError> {
        let base = FilePath::new(location);
        let dated = date.map(|date| base.join(date.format("%Y%m%d").to_string()));
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
        let unreadable = |cause| InputError::Unreadable {
            folder: shown.clone(),
            cause,
        };
        let root = Path::from_absolute_path(&absolute).map_err(|error| unreadable(error.into()))?;
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        let mut listed: Vec<ObjectMeta> = store
            .list(Some(&root))
            .try_collect()
            .await
            .map_err(unreadable)?;
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        let mut files = Vec::new();
        for source in Source::ALL {
            let found = files_of(source, &root, &listed, &shown)?;
            if !found.is_empty() {
                files.push((source, found));
            }
        }
        Ok(Self {
            folder: shown,
            store_url: ObjectStoreUrl::local_filesystem(),
            root,
            files,
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

/// Whether a folder has a file or folder named as some source.
fn holds_a_source(folder: &FilePath) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let stem = name
            .to_string_lossy()
            .split('.')
            .next()
            .unwrap_or_default()
            .to_string();
        Source::ALL.iter().any(|source| source.file_stem() == stem)
    })
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
