//! What a file is: told from its first bytes, whatever its name.
//!
//! What is not read is refused by name with what to do. Taken for text, a compressed part would be a few unreadable
//! "lines", and with them thousands of records would be lost without a word.

use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::Source;

/// So many of a file's first bytes are looked at.
const HEAD: u64 = 4096;

/// A form in which a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// No byte, hence no record.
    Empty,
    /// Lines of text, as they are.
    Text,
    /// gzip, in one or more members.
    Gzip,
    /// Zstandard, in one or more frames.
    Zstd,
    /// bzip2, in one or more streams.
    Bzip2,
    /// xz, in one or more streams.
    Xz,
    /// Parquet.
    Parquet,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is of a form that is not read.
    #[error("is {what}, which is not read: {advice}")]
    Foreign {
        /// The form.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The store does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] object_store::Error),
}

/// A file of a source, and what it is.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it lies, its size and its version.
    pub meta: ObjectMeta,
    /// What it is.
    pub format: Format,
}

impl Format {
    /// Whether it holds lines, be it compressed.
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Empty | Self::Parquet)
    }

    /// Looks at a file's first bytes.
    ///
    /// # Errors
    /// [`FormatError`].
    pub async fn look(
        store: &dyn ObjectStore,
        file: &ObjectMeta,
        source: Source,
    ) -> Result<Self, FormatError> {
        if file.size == 0 {
            return Ok(Self::Empty);
        }
        let head = store
            .get_range(&file.location, 0..file.size.min(HEAD))
            .await;
        Self::of(&head.map_err(FormatError::Unreadable)?, source)
    }

    /// The form of a file of `source` that begins with `head`.
    ///
    /// # Errors
    /// [`FormatError::Foreign`].
    pub(crate) fn of(head: &[u8], source: Source) -> Result<Self, FormatError> {
        const READ: [(&[u8], Format); 6] = [
            (b"\x1f\x8b", Format::Gzip),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
            (b"BZh", Format::Bzip2),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"PAR1", Format::Parquet),
            (b"PARE", Format::Parquet),
        ];
        if head.is_empty() {
            return Ok(Self::Empty);
        }
        if is_skippable_frame(head) {
            return Ok(Self::Zstd);
        }
        let known = READ.iter().find(|(magic, _)| head.starts_with(magic));
        match known {
            // A CSV field could begin so.
            Some((_, Format::Bzip2)) if !is_bzip2(head) => {}
            Some((_, format)) => return Ok(*format),
            None => {}
        }
        let foreign = FOREIGN
            .iter()
            .find(|foreign| {
                let at = head.get(foreign.at..).unwrap_or_default();
                foreign.magic.iter().any(|magic| at.starts_with(magic))
            })
            .map(|foreign| (foreign.what, foreign.advice))
            .or_else(|| not_text(head, source));
        match foreign {
            Some((what, advice)) => Err(FormatError::Foreign { what, advice }),
            None => Ok(Self::Text),
        }
    }
}

/// Zstandard's frames of user data, as parallel compressors put them first. LZ4 has the same, then a frame of its own.
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn is_bzip2(head: &[u8]) -> bool {
    let block: &[u8] = b"\x31\x41\x59\x26\x53\x59";
    let end: &[u8] = b"\x17\x72\x45\x38\x50\x90";
    matches!(head.get(3), Some(b'1'..=b'9'))
        && head
            .get(4..10)
            .is_some_and(|magic| magic == block || magic == end)
}

/// A form that is not read.
struct Foreign {
    /// Where its magic bytes are.
    at: usize,
    magic: &'static [&'static [u8]],
    what: &'static str,
    advice: &'static str,
}

const fn foreign(
    magic: &'static [&'static [u8]],
    what: &'static str,
    advice: &'static str,
) -> Foreign {
    Foreign {
        at: 0,
        magic,
        what,
        advice,
    }
}

const COMPRESS: &str = "decompress it, or compress it with gzip, zstd, bzip2 or xz";
const UNPACK: &str = "unpack it, and give the file that is in it";
const EXPORT: &str = "export it as CSV, as JSON lines for messages, or as Parquet";

const FOREIGN: &[Foreign] = &[
    foreign(
        &[b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"],
        "compressed with LZ4",
        COMPRESS,
    ),
    foreign(
        &[b"\xff\x06\0\0sNaPpY", b"\x82SNAPPY\0"],
        "compressed with Snappy",
        COMPRESS,
    ),
    foreign(&[b"\x1f\x9d"], "compressed with compress (.Z)", COMPRESS),
    foreign(&[b"\x89LZO\0\r\n"], "compressed with lzop", COMPRESS),
    foreign(&[b"LZIP"], "compressed with lzip", COMPRESS),
    foreign(&[b"\x5d\0\0"], "compressed with LZMA", COMPRESS),
    foreign(
        &[b"\x78\x01", b"\x78\x9c", b"\x78\xda"],
        "compressed with zlib (deflate)",
        COMPRESS,
    ),
    foreign(
        &[b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"],
        "a zip archive (or an Excel sheet)",
        UNPACK,
    ),
    foreign(&[b"7z\xbc\xaf\x27\x1c"], "a 7z archive", UNPACK),
    foreign(&[b"Rar!\x1a\x07"], "a rar archive", UNPACK),
    Foreign {
        at: 257,
        magic: &[b"ustar"],
        what: "a tar archive",
        advice: UNPACK,
    },
    foreign(&[b"Obj\x01"], "Avro", EXPORT),
    foreign(&[b"ORC"], "ORC", EXPORT),
    foreign(&[b"ARROW1", b"\xff\xff\xff\xff"], "Arrow IPC", EXPORT),
    foreign(&[b"FEA1"], "Feather", EXPORT),
    foreign(
        &[b"SEQ\x04", b"SEQ\x05", b"SEQ\x06"],
        "a Hadoop sequence file",
        EXPORT,
    ),
    foreign(&[b"RCF\x01"], "an RCFile", EXPORT),
    foreign(&[b"SQLite format 3\0"], "an SQLite database", EXPORT),
    foreign(&[b"\x89HDF\r\n"], "HDF5", EXPORT),
    foreign(&[b"\xd0\xcf\x11\xe0"], "an Excel sheet", EXPORT),
    foreign(&[b"PGCOPY\n"], "PostgreSQL's binary COPY", EXPORT),
    foreign(&[b"PGDMP"], "a dump of pg_dump", EXPORT),
    foreign(&[b"%PDF"], "PDF", EXPORT),
    foreign(&[b"\x7fELF"], "a program", EXPORT),
    foreign(
        &[b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"],
        "text in UTF-16 or UTF-32",
        "convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    ),
    foreign(
        &[b"version https://git-lfs"],
        "a pointer of Git LFS, not the data",
        "fetch the data with git lfs pull",
    ),
    foreign(
        &[b"/annex/objects/"],
        "a pointer of git-annex, not the data",
        "fetch the data with git annex get",
    ),
];

/// Why bytes without known magic are no text of a source, and what to do.
fn not_text(head: &[u8], source: Source) -> Option<(&'static str, &'static str)> {
    if is_binary(head) {
        return Some((
            "binary data of a form that graph-recs does not know",
            EXPORT,
        ));
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let text = text.trim_ascii_start();
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    if ["<!doctype", "<html", "<?xml", "<error"]
        .into_iter()
        .any(begins)
    {
        return Some((
            "an HTML or XML page",
            "it may be the error that a server gave in place of the export: export it again",
        ));
    }
    match (text.first(), source) {
        (Some(b'['), Source::Message) => {
            return Some((
                "one JSON array",
                "write one object a line (jq -c '.[]' does it)",
            ));
        }
        (Some(b'{' | b'['), source) if source != Source::Message => {
            return Some(("JSON", "export this source as CSV or Parquet"));
        }
        _ => {}
    }
    if ends_lines_with_returns(text) {
        return Some((
            "text whose lines end with a carriage return alone",
            "end them with a line feed (tr '\\r' '\\n' does it)",
        ));
    }
    None
}

/// Whether many bytes are such as no text has: control characters, or no UTF-8.
fn is_binary(head: &[u8]) -> bool {
    let mut strange = 0;
    let mut chunks = head.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let controls = chunk.valid().bytes();
        strange += controls
            .filter(|byte| byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r' | 0x1b))
            .count();
        // The last character may be cut off.
        if chunks.peek().is_some() {
            strange += chunk.invalid().len();
        }
    }
    strange > head.len() / 4
}

/// Whether there is no line feed, but a carriage return outside of quotes with something behind it.
fn ends_lines_with_returns(head: &[u8]) -> bool {
    let mut quoted = false;
    let mut returns = false;
    for (byte, next) in head.iter().zip(head.iter().skip(1)) {
        match byte {
            b'\n' => return false,
            b'"' => quoted = !quoted,
            b'\r' if !quoted && *next != b'\n' => returns = true,
            _ => {}
        }
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &[u8]) -> Result<Format, &'static str> {
        Format::of(head, Source::User).map_err(what)
    }

    fn what(error: FormatError) -> &'static str {
        match error {
            FormatError::Foreign { what, .. } => what,
            FormatError::Unreadable(_) => "unreadable",
        }
    }

    #[test]
    fn forms_are_told_from_bytes() {
        for (head, expected) in [
            (&b""[..], Ok(Format::Empty)),
            (b"1,2\n", Ok(Format::Text)),
            (b"\n", Ok(Format::Text)),
            (b"\xEF\xBB\xBF1,2\n", Ok(Format::Text)),
            (b"1,\xff\xfe\xfd,,,,,,,,,,,,,,,,,,,,,,,\n", Ok(Format::Text)),
            (b"BZh9,2\n", Ok(Format::Text)),
            (b"\x1f\x8b\x08", Ok(Format::Gzip)),
            (b"BZh91AY&SY", Ok(Format::Bzip2)),
            (b"\x28\xb5\x2f\xfd", Ok(Format::Zstd)),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Ok(Format::Zstd)),
            (b"\xfd7zXZ\0\0", Ok(Format::Xz)),
            (b"PAR1\x15", Ok(Format::Parquet)),
            (b"\x04\x22\x4d\x18", Err("compressed with LZ4")),
            (b"PK\x03\x04", Err("a zip archive (or an Excel sheet)")),
            (b"Obj\x01\x04", Err("Avro")),
            (b"ORC\x0a", Err("ORC")),
            (b"\xff\xfe1\0", Err("text in UTF-16 or UTF-32")),
            (b"{\"id\": 1}\n", Err("JSON")),
            (b"<Error><Code>NoSuchKey", Err("an HTML or XML page")),
        ] {
            assert_eq!(of(head), expected, "{head:?}");
        }
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        assert_eq!(of(&tar), Err("a tar archive"));
    }

    #[test]
    fn unknown_binary_data_is_no_text() {
        let noise: Vec<u8> = (0..400_u32).map(|i| (i * i * 31 + i * 7) as u8).collect();
        assert!(of(&noise).unwrap_err().starts_with("binary data"));
        let utf16: Vec<u8> = "12,34\n".bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(of(&utf16).unwrap_err().starts_with("binary data"));
    }

    #[test]
    fn lines_that_end_with_carriage_returns_alone_are_refused() {
        let told = Err("text whose lines end with a carriage return alone");
        assert_eq!(of(b"1,2\r3,4\r"), told);
        assert_eq!(of(b"1,\"a\rb\"\r3,4"), told);
        for head in [&b"1,2\r\n3\r"[..], b"1,2\r", b"1,\"a\rb", b"1,2\n3\r4\r"] {
            assert_eq!(of(head), Ok(Format::Text), "{head:?}");
        }
    }

    #[test]
    fn messages_are_json_lines() {
        let of = |head: &[u8]| Format::of(head, Source::Message).map_err(what);
        assert_eq!(of(b"{\"id\": 1}\n"), Ok(Format::Text));
        assert_eq!(of(b"not json\n"), Ok(Format::Text));
        assert_eq!(of(b" [\n{\"id\": 1}]"), Err("one JSON array"));
    }
}
