//! CSV exports: the same records however they are cut and read.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimestampSecondType};
use graph_recs_udfs::records::{
    Engagement, Framing, Reason, is_blank, next_plain_engagement, next_plain_user, next_record,
    next_record_at_end, parse_engagement, parse_follow, parse_user,
};
use graph_recs_udfs::scan::Source;

use super::driver::{fuzz, kind, must};
use super::scan::scan;

const WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    ",",
    "\"",
    "\"\"",
    "\",\"",
    "\\\"",
    "1",
    "0",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-1",
    "2019-10-02 00:00:00",
    "2019-02-29T00:00:00.5Z",
    "like",
    "true",
    "\u{feff}",
    "\u{e9}",
    "1,2,3,2019-10-02 00:00:00,like\n",
];

#[test]
fn csv_engagements() {
    fuzz("csv_engagements", WORDS, |input| {
        let records = same_however_cut(input, Framing::Line)?;
        let mut seen = Vec::new();
        for (source, parse) in [
            (
                Source::Follow,
                parse_follow as fn(&[u8]) -> Result<Engagement, Reason>,
            ),
            (Source::Like, parse_engagement),
        ] {
            let parsed: Vec<_> = records.iter().map(|(_, record)| parse(record)).collect();
            let mut rest = input;
            for ((_, record), parsed) in records.iter().zip(&parsed) {
                let plain = match source {
                    Source::Follow => next_plain_engagement::<true>(rest),
                    _ => next_plain_engagement::<false>(rest),
                };
                if let Some((engagement, length)) = plain {
                    must(length == record.len() && *parsed == Ok(engagement), || {
                        format!(
                            "the plain way reads {engagement:?} of {length} bytes, the other {parsed:?}"
                        )
                    })?;
                }
                rest = &rest[record.len()..];
            }
            let reasons = parsed.iter().map(|parsed| parsed.err()).collect::<Vec<_>>();
            same_as_scanned(source, None, input, &records, &reasons, |batch, row, at| {
                let Ok(parsed) = parsed[at] else { return false };
                let int = |name: &str| batch[name].as_primitive::<Int32Type>().value(row);
                let message = match source {
                    Source::Follow => 0,
                    _ => batch["message_id"].as_primitive::<Int64Type>().value(row),
                };
                parsed.user_id == int("user_id")
                    && parsed.engaged_with_user_id == int("engaged_with_user_id")
                    && parsed.message_id == message
                    && parsed.timestamp
                        == batch["timestamp"]
                            .as_primitive::<TimestampSecondType>()
                            .value(row)
            })?;
            seen.push(reasons);
        }
        kind(seen)
    });
}

#[test]
fn csv_users() {
    fuzz("csv_users", WORDS, |input| {
        let mut seen = Vec::new();
        for columns in [None, Some(12), Some(13)] {
            let records = same_however_cut(input, Framing::QuotedCsv(columns))?;
            let parsed: Vec<_> = records
                .iter()
                .map(|(_, record)| parse_user(record, columns))
                .collect();
            let mut rest = input;
            for ((_, record), parsed) in records.iter().zip(&parsed) {
                if let Some(plain) = next_plain_user(rest, columns) {
                    let newlines = record.iter().filter(|byte| **byte == b'\n').count() as u64;
                    let same = plain.length == record.len()
                        && plain.lines == newlines
                        && parsed.user == Ok(plain.user)
                        && parsed.columns == Some(plain.columns)
                        && parsed.has_flag == plain.has_flag;
                    must(same, || {
                        format!("the plain way reads {plain:?}, the other {parsed:?}")
                    })?;
                }
                rest = &rest[record.len()..];
            }
            let reasons: Vec<_> = parsed.iter().map(|parsed| parsed.user.err()).collect();
            same_as_scanned(
                Source::User,
                columns,
                input,
                &records,
                &reasons,
                |batch, row, at| {
                    let Ok(user) = parsed[at].user else {
                        return false;
                    };
                    user.user_id == batch["user_id"].as_primitive::<Int32Type>().value(row)
                        && user.suspended == batch["suspended"].as_boolean().value(row)
                },
            )?;
            seen.push(reasons);
        }
        kind(seen)
    });
}

/// The records of a file, each with the number of its first line: the same in one piece and in pieces of any size, and
/// together the whole file.
pub fn same_however_cut(input: &[u8], framing: Framing) -> Result<Vec<(u64, &[u8])>, String> {
    let whole = cut(input, framing, input.len().max(1));
    for step in [1, 7, 64] {
        must(cut(input, framing, step) == whole, || {
            format!("cut otherwise in pieces of {step}")
        })?;
    }
    let length: usize = whole.iter().map(|record| record.len()).sum();
    must(length == input.len(), || {
        format!("records of {length} of {} bytes", input.len())
    })?;
    must(whole.iter().all(|record| !record.is_empty()), || {
        "an empty record".to_string()
    })?;
    let mut line = 1;
    let numbered = whole.into_iter().map(|record| {
        let first = line;
        line += record.iter().filter(|byte| **byte == b'\n').count() as u64;
        (first, record)
    });
    Ok(numbered.collect())
}

/// Cuts like a reader that gets so many bytes at a time.
fn cut(input: &[u8], framing: Framing, step: usize) -> Vec<&[u8]> {
    let (mut records, mut from, mut held) = (Vec::new(), 0, 0);
    loop {
        let buffer = &input[from..held];
        let length = match next_record(buffer, framing) {
            None if held < input.len() => {
                held = input.len().min(held + step);
                continue;
            }
            None => next_record_at_end(buffer, framing),
            found => found,
        };
        let Some(length) = length else {
            return records;
        };
        records.push(&buffer[..length]);
        from += length;
    }
}

/// Compares what a scan gives with the records as they were parsed one by one, in order: each is a row with its values,
/// or with its reason, line and text.
pub fn same_as_scanned(
    source: Source,
    columns: Option<usize>,
    input: &[u8],
    records: &[(u64, &[u8])],
    reasons: &[Option<Reason>],
    same: impl Fn(&RecordBatch, usize, usize) -> bool,
) -> Result<(), String> {
    // The reader passes over a byte order mark, and judges files as a whole by their first bytes and line ends.
    if !input.first().is_some_and(|byte| byte.is_ascii_graphic()) || input.contains(&b'\r') {
        return Ok(());
    }
    let there: Vec<_> = (0..records.len())
        .filter(|at| !is_blank(records[*at].1))
        .collect();
    let half = input.len() as u64 / 2;
    let ends: &[&[u64]] = match source {
        Source::User => &[&[]],
        _ => &[&[], &[half], &[half / 2, half]],
    };
    for ends in ends {
        let batches = match scan(source, columns, "some.csv", input, ends) {
            Ok(batches) => batches,
            // What begins like another kind of file is refused.
            Err(error) => return must(error.contains("some.csv"), || error.clone()),
        };
        let rows = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        let rows: Vec<_> = rows.collect();
        must(rows.len() == there.len(), || {
            format!(
                "{} rows of {} records, in ranges that end at {ends:?}",
                rows.len(),
                there.len()
            )
        })?;
        for ((batch, row), at) in rows.into_iter().zip(&there) {
            let text = |name: &str| {
                let column = batch[name].as_string::<i32>();
                column.is_valid(row).then(|| column.value(row))
            };
            let (line, record) = records[*at];
            let as_parsed = match text("reason") {
                Some(reason) => {
                    let told = batch["line"].as_primitive::<Int64Type>().value(row) as u64;
                    reasons[*at].is_some_and(|expected| expected.as_str() == reason)
                        && told == line
                        && text("file") == Some("some.csv")
                        && text("raw").is_some()
                }
                None => same(batch, row, *at),
            };
            must(as_parsed, || {
                format!(
                    "line {line}, in ranges that end at {ends:?}: the scan says {:?}, the parser {:?} of {:?}",
                    text("reason"),
                    reasons[*at],
                    String::from_utf8_lossy(record)
                )
            })?;
        }
    }
    Ok(())
}
