//! What a name in the input folder says: of which source it is, if of any, and whether data is expected under it.
//!
//! Names only say where to look. What a file is, its bytes say ([`Format`](graph_recs_udfs::scan::Format)).

use graph_recs_udfs::scan::Source;

/// Endings under which data comes, compressed or not; several may follow one another.
const DATA: &str = "csv tsv txt text data json ndjson jsonl jsonlines parquet pq avro orc arrow feather gz gzip zst zstd \
    bz2 bzip2 xz lz4 lzma lzo br snappy deflate zip 7z";
/// Endings of what lies beside data: not finished yet, kept from before, or telling about it.
const BESIDE: &str = "tmp temp part partial filepart crdownload inprogress writing _copying_ bak backup old orig swp swo \
    lock crc md5 sha1 sha256 sha512 asc sig log err ctl md";

/// What a name in the input folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// That of a source's file or folder.
    Data(Source),
    /// A source's, with an ending that is not known.
    Unknown(Source),
    /// Of something that lies beside a source's data.
    Beside,
    /// Of something else.
    Other,
}

impl Name {
    /// What `name` is, a file's or a folder's directly in the input folder. Case does not matter.
    pub(super) fn of(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let (stem, endings) = lower.split_once('.').unwrap_or((&lower, ""));
        let source = Source::ALL
            .into_iter()
            .find(|source| source.file_stem() == stem.trim_end_matches('~'));
        match source {
            None => Self::Other,
            Some(_) if is_beside(name) => Self::Beside,
            Some(source) if endings.is_empty() => Self::Data(source),
            Some(source) if endings.split('.').all(|ending| is_in(DATA, ending)) => {
                Self::Data(source)
            }
            Some(source) => Self::Unknown(source),
        }
    }
}

/// Whether a file or folder of this name, in a folder of part files, is no part: hidden, temporary, or a checksum.
pub(super) fn is_beside(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ending = lower.rsplit_once('.').map(|(_, ending)| ending);
    name.starts_with(['_', '.'])
        || name.ends_with('~')
        || ending.is_some_and(|ending| is_in(BESIDE, ending))
}

/// Whether a word is among others.
fn is_in(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// The table format that a folder is of if this path is in it: there, not all files are data.
pub(super) fn table_format(path: &[String]) -> Option<&'static str> {
    let any = |name: &str| path.iter().any(|part| part == name);
    let last = path.last().map(String::as_str).unwrap_or_default();
    match () {
        () if any("_delta_log") => Some("Delta Lake"),
        () if any(".hoodie") => Some("Apache Hudi"),
        () if any("metadata") && last.ends_with(".metadata.json") => Some("Apache Iceberg"),
        () if any("snapshot") && matches!(last, "LATEST" | "EARLIEST") => Some("Apache Paimon"),
        () if any("_versions") => Some("Lance"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sources() {
        for name in [
            "like",
            "like.csv",
            "LIKE.CSV",
            "Like.csv.gz",
            "like.parquet",
            "like.snappy.parquet",
            "like.csv.bz2",
            "like.avro",
            "like.zip",
            "like.json",
        ] {
            assert_eq!(Name::of(name), Name::Data(Source::Like), "{name}");
        }
        for name in [
            "st_messages.data",
            "st_messages.ndjson.zst",
            "ST_MESSAGES.jsonl",
            "st_messages",
        ] {
            assert_eq!(Name::of(name), Name::Data(Source::Message), "{name}");
        }
        for name in ["like.dvc", "like.20191001.csv", "like.csv.enc"] {
            assert_eq!(Name::of(name), Name::Unknown(Source::Like), "{name}");
        }
        for name in [
            "like.csv~",
            "like.csv.tmp",
            "like.csv._COPYING_",
            "like.csv.md5",
            "like~",
            "like.csv.TMP",
        ] {
            assert_eq!(Name::of(name), Name::Beside, "{name}");
        }
        for name in [
            "likes.csv",
            "_SUCCESS",
            "like_old.csv",
            ".like.csv",
            "20191001",
            "",
        ] {
            assert_eq!(Name::of(name), Name::Other, "{name}");
        }
    }

    #[test]
    fn parts_have_any_name_but_some() {
        for name in [
            "part-00000",
            "000000_0",
            "a.csv",
            "part-0.c000.snappy.parquet",
            "dt=2019-10-01",
        ] {
            assert!(!is_beside(name), "{name}");
        }
        for name in [
            "_SUCCESS",
            ".part-0.crc",
            "_temporary",
            "p.csv.tmp",
            "p.csv~",
            "p._COPYING_",
            "p.crc",
        ] {
            assert!(is_beside(name), "{name}");
        }
    }
}
