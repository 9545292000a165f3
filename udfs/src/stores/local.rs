//! Places on the local disk, as people write them.

use std::io;
use std::path::{Path, PathBuf};

use url::Url;

use super::StoreError;

/// Whether a location is that of another machine's store, not of the local disk.
pub fn is_remote(location: &str) -> bool {
    location.contains("://") && !is_file_url(location)
}

fn is_file_url(location: &str) -> bool {
    let scheme = location.get(..7).unwrap_or_default();
    scheme.eq_ignore_ascii_case("file://")
}

/// The path that a location on the local disk names. A path is taken letter by letter, whatever it looks like: `%20`,
/// a backslash, `#` and `~` are what they are. A URL, `file:///a%20b`, is decoded once.
///
/// # Errors
/// [`StoreError::Path`] when it is no path, or one that no store can write down.
pub fn local_path(location: &str) -> Result<PathBuf, StoreError> {
    let refuse = |reason: &'static str| StoreError::Path {
        location: location.to_owned(),
        reason,
    };
    let path = match is_file_url(location) {
        true => of_url(location).map_err(refuse)?,
        false => PathBuf::from(location),
    };
    if path.as_os_str().is_empty() {
        return Err(refuse("it is empty"));
    }
    let path = writable_down(path)?;
    // The shell puts the home folder in place of it, but only where it stands alone at the beginning of a word.
    let first = path.components().next();
    if first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~"))
        && !first.is_some_and(|first| Path::new(&first).exists())
    {
        return Err(refuse(
            "nobody put the home folder in the place of ~ there: write it out",
        ));
    }
    Ok(path)
}

/// Stores write names in UTF-8 and without control characters.
fn writable_down(path: PathBuf) -> Result<PathBuf, StoreError> {
    let reason = match path.to_str() {
        None => "a name in it is not UTF-8",
        Some(text) if text.contains(|sign: char| sign.is_ascii_control()) => {
            "a line break or another control character is in it; rename the folder"
        }
        Some(_) => return Ok(path),
    };
    Err(StoreError::Path {
        location: path.display().to_string(),
        reason,
    })
}

/// Whether a path is neither a file nor a folder: what comes out of it comes once.
pub fn is_pipe(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn of_url(location: &str) -> Result<PathBuf, &'static str> {
    let url = Url::parse(location).map_err(|_| "it is no URL like file:///folder")?;
    if url.host_str().is_some_and(|host| host != "localhost") {
        return Err("it names a host: a URL of a folder has three slashes, file:///folder");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("in a URL ? is written %3F and # is written %23");
    }
    url.to_file_path()
        .map_err(|()| "it is no URL like file:///folder")
}

/// The absolute path without links, `.` and `..`, of a folder that may not be there yet.
///
/// # Errors
/// [`StoreError::Local`], naming what cannot be reached and why: above all no permission for a folder above it; and
/// as [`local_path`] of the folders above.
pub fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    let absolute = resolved(path).map_err(|source| StoreError::Local {
        path: path.display().to_string(),
        source,
    })?;
    writable_down(absolute)
}

fn resolved(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if path.is_symlink() {
                let what = "it is a link to something that is not there";
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            let parent = match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            };
            Ok(resolved(parent)?.join(name))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_letter_by_letter_and_a_url_is_decoded_once() {
        for (location, path) in [
            ("a%20b", "a%20b"),
            (r"C:\x", r"C:\x"),
            ("../a b/#?+ü/", "../a b/#?+ü/"),
            ("file:///a%20b/%23", "/a b/#"),
            ("FILE:///a%2520b", "/a%20b"),
            ("file://localhost/a", "/a"),
            ("a~b", "a~b"),
        ] {
            assert_eq!(local_path(location).unwrap(), Path::new(path), "{location}");
            assert!(!is_remote(location));
        }
        for (location, why) in [
            ("", "empty"),
            ("a\nb", "line break"),
            ("file:///a%0Ab", "line break"),
            ("file:///a%FFb", "UTF-8"),
            ("file:///a?b", "%3F"),
            ("file:///a#b", "%23"),
            ("file://folder/a", "three slashes"),
            ("~/exports", "home folder"),
            ("~ana/exports", "home folder"),
        ] {
            let told = local_path(location).unwrap_err().to_string();
            assert!(told.contains(why), "{location}: {told}");
        }
    }

    #[test]
    fn what_is_not_there_yet_lies_in_what_is() {
        let folder = std::env::temp_dir().canonicalize().unwrap();
        let wanted = folder.join("graph-recs-none/w");
        assert_eq!(
            absolute(&folder.join("graph-recs-none/w/")).unwrap(),
            wanted
        );
        let link = folder.join(format!("graph-recs-link-{}", std::process::id()));
        std::os::unix::fs::symlink(folder.join("graph-recs-none"), &link).unwrap();
        let told = absolute(&link).unwrap_err();
        std::fs::remove_file(&link).unwrap();
        assert!(told.to_string().contains("graph-recs-link"), "{told}");
    }
}
