//! Listing the input folder, on the local disk or in an object store.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use graph_recs_udfs::scan::Source;
use graph_recs_udfs::stores;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::names::{Name, is_beside};

/// What lies in an input folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files that are named as a source's, or lie in a folder that is, by path.
    pub(super) files: Vec<Listed>,
    /// What could be data of a source if it could be read, and why it cannot be.
    pub(super) refused: Vec<Refused>,
    /// Paths of what was passed over.
    pub(super) passed_over: Vec<Vec<String>>,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// The parts of its path below the input folder.
    pub(super) path: Vec<String>,
    pub(super) meta: ObjectMeta,
}

/// What cannot be read.
#[derive(Debug)]
pub(super) struct Refused {
    /// The first part of its path below the input folder.
    pub(super) first: String,
    /// Path below the input folder.
    pub(super) file: String,
    /// What is wrong, and what to do.
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(path: &[String], why: String) -> Self {
        Self {
            first: path.first().cloned().unwrap_or_default(),
            file: path.join("/"),
            why,
        }
    }
}

impl Listing {
    /// The files of a folder of a store, and of those of its folders that are named as sources: other days' folders
    /// beside them are not looked into.
    pub(super) async fn of_store(
        store: &Arc<dyn ObjectStore>,
        url: &str,
        root: &Path,
    ) -> Result<Self, object_store::Error> {
        let mut listing = Self::default();
        let top = match store.list_with_delimiter(Some(root)).await {
            // Some key is no path: those of sources alone are asked for.
            Err(error @ object_store::Error::InvalidPath { .. }) => {
                listing.passed_over.push(vec![error.to_string()]);
                match named_as_sources(url, root).await {
                    Some(named) => named?,
                    None => return Err(error),
                }
            }
            top => top?,
        };
        let mut found = top.objects;
        for folder in top.common_prefixes {
            let Some(name) = folder.filename() else {
                continue;
            };
            if !matches!(Name::of(name), Name::Data(_) | Name::Unknown(_)) {
                continue;
            }
            match store.list(Some(&folder)).try_collect::<Vec<_>>().await {
                Err(object_store::Error::InvalidPath { source }) => {
                    let why = format!("holds an object whose key is no path ({source}): rename it");
                    listing.refuse(&[name.to_owned()], why);
                }
                files => found.extend(files?),
            }
        }
        for mut meta in found {
            let Some(parts) = meta.location.prefix_match(root) else {
                continue;
            };
            let path: Vec<String> = parts.map(|part| part.as_ref().to_string()).collect();
            if meta.e_tag.is_none() {
                // Some stores do not tell in a listing which contents a file has.
                meta = store.head(&meta.location).await?;
            }
            listing.files.push(Listed { path, meta });
        }
        listing.sort();
        Ok(listing)
    }

    /// The files of a local folder, likewise; `root` is its path in `store`.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub(super) async fn of_folder(
        store: &Arc<dyn ObjectStore>,
        folder: &FilePath,
        root: &Path,
    ) -> io::Result<Self> {
        let mut walk = Walk::default();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            let shown = name.to_string_lossy().into_owned();
            let known = name.to_str().map(Name::of);
            match known {
                Some(Name::Data(_) | Name::Unknown(_)) => {
                    walk.enter(folder.join(&name), vec![shown], &mut Vec::new());
                }
                Some(Name::Beside) | None => walk.listing.passed_over.push(vec![shown]),
                Some(Name::Other) => {}
            }
        }
        let Walk { mut listing, files } = walk;
        for path in files {
            let location = path.iter().try_fold(root.clone(), |location, part| {
                Path::parse(format!("{location}/{part}"))
            });
            let refusal = match location {
                Ok(location) => match store.head(&location).await {
                    Ok(meta) => {
                        listing.files.push(Listed { path, meta });
                        continue;
                    }
                    Err(error) => format!("cannot be read: {error}"),
                },
                Err(_) => "has a name that object stores do not allow: rename it".to_owned(),
            };
            listing.refuse(&path, refusal);
        }
        listing.sort();
        Ok(listing)
    }

    fn refuse(&mut self, path: &[String], why: String) {
        self.refused.push(Refused::new(path, why));
    }

    fn sort(&mut self) {
        self.files
            .sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        self.refused.sort_by(|a, b| a.file.cmp(&b.file));
        self.passed_over.sort();
    }
}

/// The files and folders of a store's folder that are named as sources, in the usual cases; `None` where the store cannot
/// list them alone.
async fn named_as_sources(
    url: &str,
    root: &Path,
) -> Option<Result<ListResult, object_store::Error>> {
    let mut all = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
    };
    let folder = match root.as_ref() {
        "" => String::new(),
        root => format!("{root}/"),
    };
    for source in Source::ALL {
        let stem = source.file_stem();
        let (first, rest) = stem.split_at(1);
        let title = first.to_ascii_uppercase() + rest;
        for name in [stem.to_owned(), stem.to_ascii_uppercase(), title] {
            match stores::list_beginning(url, &format!("{folder}{name}")).await? {
                Ok(named) => {
                    all.objects.extend(named.objects);
                    all.common_prefixes.extend(named.common_prefixes);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
    Some(Ok(all))
}

/// A walk through local folders.
#[derive(Default)]
struct Walk {
    listing: Listing,
    /// Paths of the files found.
    files: Vec<Vec<String>>,
}

impl Walk {
    /// Takes a file, or what is in a folder. `above`: the folders that are being walked through.
    fn enter(&mut self, at: PathBuf, path: Vec<String>, above: &mut Vec<(u64, u64)>) {
        let metadata = match std::fs::metadata(&at) {
            Ok(metadata) => metadata,
            Err(error) => {
                let why = match (std::fs::read_link(&at), error.kind()) {
                    (Ok(target), io::ErrorKind::NotFound) => format!(
                        "is a link to {}, which is not there: fetch or mount it, or remove the link",
                        target.display()
                    ),
                    _ => format!("cannot be read: {error}"),
                };
                return self.listing.refuse(&path, why);
            }
        };
        if metadata.is_file() {
            self.files.push(path);
        } else if metadata.is_dir() {
            self.walk(&at, &path, &metadata, above);
        } else {
            let why = "is neither a file nor a folder (a pipe, a socket or a device): give a file";
            self.listing.refuse(&path, why.to_owned());
        }
    }

    fn walk(
        &mut self,
        folder: &FilePath,
        path: &[String],
        metadata: &Metadata,
        above: &mut Vec<(u64, u64)>,
    ) {
        let id = (metadata.dev(), metadata.ino());
        if above.contains(&id) {
            let why = "is a link to a folder that it lies in: remove it";
            return self.listing.refuse(path, why.to_owned());
        }
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                return self
                    .listing
                    .refuse(path, format!("cannot be read: {error}"));
            }
        };
        above.push(id);
        for entry in entries {
            let name = entry.file_name();
            let shown = name.to_string_lossy().into_owned();
            let inner: Vec<String> = path.iter().cloned().chain([shown.clone()]).collect();
            if is_beside(&shown) {
                self.listing.passed_over.push(inner);
            } else if name.to_str().is_none() {
                let why = "has a name that is not UTF-8: rename it";
                self.listing.refuse(&inner, why.to_owned());
            } else {
                self.enter(entry.path(), inner, above);
            }
        }
        above.pop();
    }
}
