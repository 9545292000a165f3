//! The same records in other forms.

use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::parquet::arrow::ArrowWriter;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::support::{AS_OF, Place, csv_rows, program};

/// The records of a source's file, each with its line end. In `user.csv` one of them has two lines.
pub fn records<'a>(text: &'a [u8], file: &str) -> Vec<&'a [u8]> {
    let mut records: Vec<&[u8]> = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' if file == "user.csv" => quoted = !quoted,
            b'\n' if !quoted => {
                records.push(&text[start..=at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    assert_eq!(start, text.len(), "{file} does not end with a line end");
    records
}

/// The records in another order.
pub fn shuffled(text: &[u8], file: &str, seed: u64) -> Vec<u8> {
    let mut records = records(text, file);
    records.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
    records.concat()
}

/// Compressed with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compressed with bzip2.
pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Compressed with xz.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Compressed with zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The readable records of a file as Parquet with typed columns, and its unreadable ones as rows without values.
pub fn parquet(place: &Place, file: &str) -> Vec<u8> {
    let table = match file {
        "follow.csv" => "follows",
        "reply.csv" => "replies",
        "mention.csv" => "mentions",
        "like.csv" => "likes",
        "user.csv" => "users",
        _ => "messages",
    };
    let output = program()
        .args(["sql", "--format", "parquet", "--as-of", AS_OF, "-c"])
        .arg(format!(
            "SELECT * EXCLUDE (reason, file, line, raw) FROM raw.{table}"
        ))
        .arg("--input")
        .arg(place.input())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Columns of text as Parquet.
pub fn parquet_of_texts(columns: &[(&str, &[Option<&str>])]) -> Vec<u8> {
    let columns = columns.iter().map(|(name, values)| {
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        assert_eq!(values.data_type(), &DataType::Utf8);
        (*name, values, true)
    });
    parquet_of(&RecordBatch::try_from_iter_with_nullable(columns).unwrap())
}

/// A batch as Parquet.
pub fn parquet_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// The same records as another program might write them: with a byte order mark, line ends of two characters, blank
/// lines, quotes, times in other forms; messages with their members in another order, and escaped.
pub fn restyled(text: &[u8], file: &str) -> Vec<u8> {
    let mut styled = Vec::from(b"\xEF\xBB\xBF");
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap();
        let restyled = match std::str::from_utf8(line) {
            Ok(line) if file == "st_messages.data" => restyled_message(line),
            Ok(line) => restyled_row(line, number, file == "follow.csv"),
            Err(_) => None,
        };
        match restyled {
            Some(line) => styled.extend(line.as_bytes()),
            None => styled.extend(line),
        }
        styled.extend_from_slice(["\n", "\r\n", "\n\n", "\r\n \t\r\n"][number % 4].as_bytes());
    }
    // The last line needs no end.
    while styled.last().is_some_and(u8::is_ascii_whitespace) {
        styled.pop();
    }
    styled
}

fn restyled_row(line: &str, number: usize, more_columns: bool) -> Option<String> {
    if line.is_empty() {
        return None;
    }
    let mut fields = csv_rows(&format!("{line}\n")).remove(0);
    for field in &mut fields {
        let is_time = field.len() == 19 && field.as_bytes()[10] == b' ';
        match number % 5 {
            1 if is_time => *field = field.replace(' ', "T"),
            2 if is_time => field.push('Z'),
            3 if is_time => *field = field.replace(' ', "T") + ".999999Z",
            4 if is_time => field.push_str(".5"),
            _ => {}
        }
        if number % 3 == 1 {
            *field = format!("\"{field}\"");
        }
    }
    if more_columns && fields.len() > 2 {
        fields.extend(["more".into(), "\"and, more\"".into()]);
    }
    Some(fields.join(","))
}

fn restyled_message(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    // serde_json sorts the members.
    let text = serde_json::to_string(value.as_object()?).unwrap();
    let escaped: String = text.chars().map(escaped).collect();
    Some(escaped.replace("\":", "\" :\t"))
}

/// Characters beyond ASCII, and some others, as JSON escapes.
fn escaped(character: char) -> String {
    if character.is_ascii() && character != 'q' {
        return character.into();
    }
    let mut units = [0; 2];
    let units = character.encode_utf16(&mut units).iter();
    units.map(|unit| format!("\\u{unit:04x}")).collect()
}
