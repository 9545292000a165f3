//! Parquet exports: columns of any type and value, and files with any byte wrong.

use std::sync::Arc;

use datafusion::arrow::array::*;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, TimeUnit, TimestampSecondType,
};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::metadata::ParquetMetaDataReader;
use graph_recs_udfs::records::{parse_engagement, parse_follow};
use graph_recs_udfs::scan::Source;

use super::driver::{fuzz, kind, must};
use super::scan::scan;
use super::watch::tolerate_panics_of;

const NAME: &str = "some.parquet";

/// Files of columns that the input's bytes choose.
#[test]
fn parquet_columns() {
    fuzz("parquet_columns", &[], |input| {
        let mut dice = Dice(input);
        let source = Source::ALL[dice.below(Source::ALL.len())];
        let rows = dice.below(12);
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for name in names(source) {
            if dice.below(24) != 0 {
                let shown = match dice.below(16) {
                    0 => name.to_uppercase(),
                    _ => name.to_string(),
                };
                columns.push((shown, column(name, rows, &mut dice)));
            }
        }
        columns.push(("lang".to_string(), column("lang", rows, &mut dice)));
        let found = match scan(source, None, NAME, &file(&columns), &[]) {
            Ok(found) => found,
            Err(error) => {
                must(error.contains(NAME), || error.clone())?;
                return kind(error.split_whitespace().take(12).collect::<Vec<_>>());
            }
        };
        let told: usize = found.iter().map(RecordBatch::num_rows).sum();
        must(told == rows, || format!("{told} rows of {rows}"))?;
        let mut reasons = Vec::new();
        for (batch, row) in found
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
        {
            let at = reasons.len();
            reasons.push(one_or_the_other(batch, row, Some(at as i64 + 1))?);
            as_its_line(source, &columns, at, batch, row)?;
        }
        kind((source, reasons, columns.len()))
    });
}

/// Files some bytes of which are others.
#[test]
fn parquet_bytes() {
    tolerate_panics_of(&["/parquet-", "/arrow-"]);
    fuzz(
        "parquet_bytes",
        &[
            "PAR1",
            "PARE",
            "user_id",
            "timestamp",
            "links",
            "ARROW:schema",
        ],
        |input| {
            let has = |name: &str| {
                input
                    .windows(name.len())
                    .any(|bytes| bytes == name.as_bytes())
            };
            let source = match (
                has("suspended"),
                has("message_id"),
                has("engaged_with_user_id"),
            ) {
                (true, _, _) => Source::User,
                (_, true, _) => Source::Like,
                (_, _, true) => Source::Follow,
                _ => Source::Message,
            };
            let found = match scan(source, None, NAME, input, &[]) {
                Ok(found) => found,
                Err(error) => {
                    must(error.contains(NAME), || error.clone())?;
                    return kind(error.chars().take(60).collect::<String>());
                }
            };
            let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
            // As many as the footer says, where the library can read all of it.
            let bytes = bytes::Bytes::copy_from_slice(input);
            if input.starts_with(b"PAR1")
                && let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(&bytes)
            {
                let said = metadata.file_metadata().num_rows();
                must(rows as i64 == said, || format!("{rows} rows of {said}"))?;
            }
            let mut reasons = Vec::new();
            for (batch, row) in found
                .iter()
                .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
            {
                reasons.push(one_or_the_other(batch, row, None)?);
            }
            reasons.sort();
            reasons.dedup();
            kind((rows, reasons))
        },
    );
}

/// A row's reason. It has that, file, line and text, or all of its values.
fn one_or_the_other(
    batch: &RecordBatch,
    row: usize,
    line: Option<i64>,
) -> Result<Option<String>, String> {
    let typed = batch.num_columns() - 4;
    let valid = |columns: std::ops::Range<usize>| {
        columns
            .into_iter()
            .filter(|column| batch.column(*column).is_valid(row))
            .count()
    };
    let reason = batch["reason"].as_string::<i32>();
    let counts = (valid(0..typed), valid(typed..typed + 4));
    let unreadable = reason.is_valid(row);
    // A user's id is known even where the rest is not.
    let id = usize::from(unreadable && typed == 2 && batch.column(0).is_valid(row));
    let expected = if unreadable { (id, 4) } else { (typed, 0) };
    must(counts == expected, || {
        format!("a row has {counts:?} values and reasons")
    })?;
    if unreadable && let Some(line) = line {
        let told = batch["line"].as_primitive::<Int64Type>().value(row);
        must(told == line, || format!("line {told} and not {line}"))?;
    }
    Ok(unreadable.then(|| reason.value(row).to_string()))
}

/// Compares an engagement of numbers, texts and times with the line of CSV that writes them.
fn as_its_line(
    source: Source,
    columns: &[(String, ArrayRef)],
    at: usize,
    batch: &RecordBatch,
    row: usize,
) -> Result<(), String> {
    if matches!(source, Source::User | Source::Message) {
        return Ok(());
    }
    let mut texts = Vec::new();
    for name in names(source) {
        let Some((_, column)) = columns
            .iter()
            .find(|(shown, _)| shown.eq_ignore_ascii_case(name))
        else {
            return Ok(());
        };
        let plain = match column.data_type() {
            DataType::Timestamp(unit, _) => {
                cast(column, &DataType::Timestamp(*unit, None)).unwrap()
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::UInt64 => {
                Arc::clone(column)
            }
            DataType::Int8 | DataType::Int32 | DataType::Int64 => Arc::clone(column),
            _ => return Ok(()),
        };
        texts.push(array_value_to_string(&plain, at).unwrap_or_else(|_| "no time".to_string()));
    }
    if texts
        .iter()
        .any(|text| text.contains(['"', ',', '\r', '\n']))
    {
        return Ok(());
    }
    let line = texts.join(",");
    let expected = match source {
        Source::Follow => parse_follow(line.as_bytes()),
        _ => parse_engagement(format!("{line},").as_bytes()),
    };
    let number = |name: &str| batch[name].as_primitive::<Int32Type>().value(row);
    let same = match expected {
        Err(_) => batch["reason"].is_valid(row),
        Ok(engagement) => {
            batch["reason"].is_null(row)
                && number("user_id") == engagement.user_id
                && number("engaged_with_user_id") == engagement.engaged_with_user_id
                && batch["timestamp"]
                    .as_primitive::<TimestampSecondType>()
                    .value(row)
                    == engagement.timestamp
        }
    };
    must(same, || format!("{line:?} is {expected:?} in CSV"))
}

fn names(source: Source) -> &'static [&'static str] {
    match source {
        Source::Follow => &["user_id", "engaged_with_user_id", "timestamp"],
        Source::Reply | Source::Mention | Source::Like => {
            &["user_id", "engaged_with_user_id", "message_id", "timestamp"]
        }
        Source::User => &["user_id", "suspended"],
        Source::Message => &[
            "id",
            "body",
            "created_at",
            "user_id",
            "recommended",
            "link_description",
            "links",
            "user",
        ],
    }
}

/// Bytes as choices; zeros when they are used up.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte as usize % bound
    }

    /// A null sometimes.
    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.below(8) != 7).then_some(value)
    }

    fn number(&mut self) -> i64 {
        const LIKELY: [i64; 12] = [
            1,
            2,
            7,
            0,
            -1,
            127,
            1 << 31,
            i32::MAX as i64,
            i64::MAX,
            i64::MIN,
            1_569_888_000,
            -62_135_596_800,
        ];
        LIKELY[self.below(LIKELY.len())]
    }

    fn text(&mut self) -> &'static str {
        const LIKELY: [&str; 14] = [
            "1",
            "7",
            "",
            "0",
            "-5",
            "5.0",
            "true",
            "2019-10-01 00:00:00",
            "2019-02-30 00:00:00",
            "infinity",
            "\u{e9}",
            "[]",
            r#"[{"description": "d"}]"#,
            "[{'description'",
        ];
        LIKELY[self.below(LIKELY.len())]
    }
}

/// A column that may be meant for that name, or of any other type.
fn column(name: &str, rows: usize, dice: &mut Dice<'_>) -> ArrayRef {
    const NUMBERS: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const TIMES: &[usize] = &[10, 11, 12, 13, 14, 15, 6, 7];
    const FLAGS: &[usize] = &[16, 0, 1, 4, 6];
    const TEXTS: &[usize] = &[6, 7, 8, 9, 17, 18];
    const NESTED: &[usize] = &[19, 20, 21, 6, 22];
    const ALL: &[usize] = &[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    ];
    let likely = match name {
        _ if dice.below(24) == 23 => ALL,
        "timestamp" | "created_at" => TIMES,
        "suspended" | "recommended" => FLAGS,
        "body" | "link_description" => TEXTS,
        "links" | "user" => NESTED,
        "lang" => ALL,
        _ => NUMBERS,
    };
    of_kind(likely[dice.below(likely.len())], rows, dice)
}

fn of_kind(kind: usize, rows: usize, dice: &mut Dice<'_>) -> ArrayRef {
    use DataType::*;
    let numbers = |dice: &mut Dice<'_>| -> Int64Array {
        (0..rows)
            .map(|_| {
                let number = dice.number();
                dice.maybe(number)
            })
            .collect()
    };
    let texts = |dice: &mut Dice<'_>| -> ArrayRef {
        let values = (0..rows).map(|_| {
            let text = dice.text();
            dice.maybe(text)
        });
        Arc::new(values.collect::<StringArray>())
    };
    // What does not fit is null.
    let fitting = |dice: &mut Dice<'_>, kind: DataType| cast(&numbers(dice), &kind).unwrap();
    let times = |dice: &mut Dice<'_>, unit: TimeUnit| {
        let zone = [None, Some("UTC"), Some("+02:00")][dice.below(3)];
        let kind = Timestamp(unit, zone.map(Into::into));
        make_array(
            numbers(dice)
                .into_data()
                .into_builder()
                .data_type(kind)
                .build()
                .unwrap(),
        )
    };
    match kind {
        0 => fitting(dice, Int32),
        1 => Arc::new(numbers(dice)),
        2 => fitting(dice, UInt64),
        3 => fitting(dice, Int8),
        4 => fitting(dice, Float64),
        5 => {
            let scale = [0, 2, 18][dice.below(3)];
            fitting(dice, Decimal128(38, scale))
        }
        6 => texts(dice),
        7 => cast(&texts(dice), &Binary).unwrap(),
        8 => cast(&texts(dice), &LargeUtf8).unwrap(),
        9 => cast(&texts(dice), &Dictionary(Box::new(Int32), Box::new(Utf8))).unwrap(),
        10 => times(dice, TimeUnit::Second),
        11 => times(dice, TimeUnit::Millisecond),
        12 => times(dice, TimeUnit::Microsecond),
        13 => times(dice, TimeUnit::Nanosecond),
        14 => cast(&fitting(dice, Int32), &Date32).unwrap(),
        15 => make_array(
            numbers(dice)
                .into_data()
                .into_builder()
                .data_type(Date64)
                .build()
                .unwrap(),
        ),
        16 => Arc::new(
            (0..rows)
                .map(|_| {
                    let flag = dice.below(2) == 1;
                    dice.maybe(flag)
                })
                .collect::<BooleanArray>(),
        ),
        17 => {
            let values = (0..rows).map(|_| {
                let bytes: &[u8] = [&b"caf\xE9"[..], b"a", b"\xFF\x00"][dice.below(3)];
                dice.maybe(bytes)
            });
            Arc::new(values.collect::<BinaryArray>())
        }
        18 => cast(&texts(dice), &Utf8View).unwrap(),
        19 => lists(structs("description", texts(dice)), dice),
        20 => lists(structs("url", texts(dice)), dice),
        21 => structs("id", of_kind([0, 1, 4, 6, 19][dice.below(4)], rows, dice)),
        22 => new_null_array(&Null, rows),
        23 => lists(Arc::new(numbers(dice)), dice),
        _ => cast(&numbers(dice), &Duration(TimeUnit::Microsecond)).unwrap(),
    }
}

fn structs(name: &str, values: ArrayRef) -> ArrayRef {
    let field = Field::new(name, values.data_type().clone(), true);
    Arc::new(StructArray::new(vec![field].into(), vec![values], None))
}

/// As many lists as there are items, each with some of these that are left.
fn lists(items: ArrayRef, dice: &mut Dice<'_>) -> ArrayRef {
    let rows = items.len();
    let mut ends = vec![0];
    for _ in 0..rows {
        let last = ends[ends.len() - 1];
        ends.push((last + dice.below(3) as i32).min(rows as i32));
    }
    let nulls: Vec<bool> = (0..rows).map(|_| dice.below(8) != 7).collect();
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = datafusion::arrow::buffer::OffsetBuffer::new(ends.into());
    Arc::new(ListArray::new(field, offsets, items, Some(nulls.into())))
}

fn file(columns: &[(String, ArrayRef)]) -> Vec<u8> {
    let field =
        |(name, values): &(String, ArrayRef)| Field::new(name, values.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns
        .iter()
        .map(|(_, values)| Arc::clone(values))
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}
