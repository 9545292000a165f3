//! Records that cannot be read are kept apart, one by one and with the place they stand at.

use std::fs;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::rewrite;
use crate::support::{AS_OF, Place, account, message, small_day};

/// Lines that cannot be read in reply, mention and like, with the reason.
const BAD_ENGAGEMENTS: [(&[u8], &str); 18] = [
    (b"1", "ragged"),
    (b"1,2,3,2019-09-30 00:00:00", "ragged"),
    (b"1,2,3,2019-09-30 00:00:00,like,more", "ragged"),
    (b"one,2,3,2019-09-30 00:00:00,like", "not_a_number"),
    (b"1,-2,3,2019-09-30 00:00:00,like", "not_a_number"),
    (b"1,2,3.5,2019-09-30 00:00:00,like", "not_a_number"),
    (b" 1,2,3,2019-09-30 00:00:00,like", "not_a_number"),
    (b",2,3,2019-09-30 00:00:00,like", "missing_field"),
    (b"1,2,,2019-09-30 00:00:00,like", "missing_field"),
    (b"1,2,3,,like", "missing_field"),
    (b"0,2,3,2019-09-30 00:00:00,like", "out_of_range"),
    (b"1,2147483648,3,2019-09-30 00:00:00,like", "out_of_range"),
    (
        b"1,2,9223372036854775808,2019-09-30 00:00:00,like",
        "out_of_range",
    ),
    (b"1,2,3,2019-02-30 00:00:00,like", "no_such_date"),
    (b"1,2,3,2019-09-30,like", "no_such_date"),
    (b"1,2,3,2019-09-30 24:00:00,like", "no_such_date"),
    (b"1,2,3,2019-09-30 00:00:00,\"like", "bad_quoting"),
    (b"1,2,3,2019-09-30 00:00:00,\xFF\xFE", "not_utf8"),
];
const BAD_FOLLOWS: [(&[u8], &str); 7] = [
    (b"1,2", "ragged"),
    (b"1;2;2019-09-30 00:00:00", "ragged"),
    (b"1,x,2019-09-30 00:00:00", "not_a_number"),
    (b"1,,2019-09-30 00:00:00", "missing_field"),
    (
        b"99999999999999999999,2,2019-09-30 00:00:00",
        "out_of_range",
    ),
    (b"1,2,3,2019-09-30 00:00:00,follow", "no_such_date"),
    (b"1,2,2019-09-30 00:00:00,\xC3", "not_utf8"),
];
const BAD_USERS: [(&[u8], &str); 8] = [
    (b"8,a,,,,,,,,,0", "ragged"),
    (b"8,\"a,b\",,,,,,,,,0", "ragged"),
    (b"user_id,,,,,,,,,,,suspended", "not_a_number"),
    (b",,,,,,,,,,,0", "missing_field"),
    (b"2147483648,,,,,,,,,,,0", "out_of_range"),
    (b"8,,,,,,,,,,,2", "bad_flag"),
    (b"8,,,,,,,,,,,yes", "bad_flag"),
    (b"8,\xE9,,,,,,,,,,0", "not_utf8"),
];
const BAD_MESSAGES: [(&[u8], &str); 19] = [
    (b"not json", "not_json"),
    (b"{\"id\":1,", "not_json"),
    (b"{\"id\":1} {\"id\":2}", "not_json"),
    (b"[1, 2]", "wrong_type"),
    (b"5", "wrong_type"),
    (
        br#"{"body":"b","created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "missing_field",
    ),
    (
        br#"{"id":null,"body":"b","created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "missing_field",
    ),
    (
        br#"{"id":1,"created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "missing_field",
    ),
    (
        br#"{"id":1,"body":null,"created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "missing_field",
    ),
    (br#"{"id":1,"body":"b","user_id":5}"#, "missing_field"),
    (
        br#"{"id":1,"body":"b","created_at":"2019-09-30T00:00:00Z","user":{}}"#,
        "missing_field",
    ),
    (
        br#"{"id":"1","body":"b","created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "wrong_type",
    ),
    (
        br#"{"id":1.5,"body":"b","created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "wrong_type",
    ),
    (
        br#"{"id":1,"body":7,"created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "wrong_type",
    ),
    (
        br#"{"id":1,"body":"b","created_at":1569801600,"user_id":5}"#,
        "wrong_type",
    ),
    (
        br#"{"id":9223372036854775808,"body":"b","created_at":"2019-09-30T00:00:00Z","user_id":5}"#,
        "out_of_range",
    ),
    (
        br#"{"id":1,"body":"b","created_at":"2019-09-30T00:00:00Z","user_id":0}"#,
        "out_of_range",
    ),
    (
        br#"{"id":1,"body":"b","created_at":"yesterday","user_id":5}"#,
        "no_such_date",
    ),
    (
        b"{\"id\":1,\"body\":\"\xFF\",\"created_at\":\"2019-09-30T00:00:00Z\",\"user_id\":5}",
        "not_utf8",
    ),
];

/// The quarantine of a run, sorted: source, file, line, reason, raw.
fn quarantine(place: &Place, warehouse: &str, run_id: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for part in ["quarantine-engagements", "quarantine-messages"] {
        let path = place.work_file(warehouse, run_id, &format!("{part}.parquet"));
        let Ok(file) = fs::File::open(path) else {
            continue;
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap() {
            rows.extend(texts(&batch.unwrap()));
        }
    }
    rows.sort();
    rows
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns = batch.columns().iter();
    let columns: Vec<_> = columns
        .map(|column| cast(column, &DataType::Utf8).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let fields = columns.iter().map(|column| column.as_string::<i32>());
            fields
                .map(|column| {
                    assert!(column.is_valid(row), "a null in the quarantine");
                    column.value(row).to_string()
                })
                .collect()
        })
        .collect()
}

/// Raw text as the quarantine shows it: bytes that are no UTF-8 as escapes.
fn shown(raw: &[u8]) -> String {
    let text = raw.utf8_chunks().map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}"));
        chunk.valid().to_string() + &invalid.collect::<String>()
    });
    text.collect()
}

/// Puts each bad line between two copies of the good text that is there, and tells what the quarantine should say.
fn spoil(
    place: &Place,
    source: &str,
    file: &str,
    bad: &[(&[u8], &str)],
    expected: &mut Vec<Vec<String>>,
) {
    let good = place.read(file);
    let mut text = good.clone();
    for (number, (raw, reason)) in bad.iter().enumerate() {
        let line = text.split(|byte| *byte == b'\n').count().to_string();
        expected.push(vec![
            source.into(),
            file.into(),
            line,
            reason.to_string(),
            shown(raw),
        ]);
        text.extend_from_slice(raw);
        // A blank line counts as a line, and is no record.
        text.extend_from_slice(["\n", "\r\n", "\n\n"][number % 3].as_bytes());
        text.extend_from_slice(&good);
    }
    place.write(file, text);
}

#[test]
fn every_unreadable_record_is_kept_with_its_place_and_reason() {
    let place = small_day();
    let mut expected = Vec::new();
    for source in ["reply", "mention", "like"] {
        spoil(
            &place,
            source,
            &format!("{source}.csv"),
            &BAD_ENGAGEMENTS,
            &mut expected,
        );
    }
    spoil(&place, "follow", "follow.csv", &BAD_FOLLOWS, &mut expected);
    // Lines are those of the file, also after a record of two.
    let users = [
        b"5,\"of\ntwo lines\",,,,,,,,,,1\n".to_vec(),
        place.read("user.csv"),
    ]
    .concat();
    place.write("user.csv", users);
    spoil(&place, "user", "user.csv", &BAD_USERS, &mut expected);
    spoil(
        &place,
        "message",
        "st_messages.data",
        &BAD_MESSAGES,
        &mut expected,
    );
    expected.sort();

    let run = place.run("warehouse", &["--max-bad-share", "1"]).exits(0);
    let found = quarantine(&place, "warehouse", &run.run_id());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());

    // The report counts them, and `sql` shows the same.
    let answer = run.json();
    for source in ["follow", "reply", "mention", "like", "user", "message"] {
        let account = account(&answer, source);
        let mine: Vec<_> = expected.iter().filter(|row| row[0] == source).collect();
        for row in &mine {
            let same = mine.iter().filter(|other| other[3] == row[3]).count();
            assert_eq!(
                account[&row[3]], same as u64,
                "{source} {}: {account:?}",
                row[3]
            );
        }
    }
    let sql = "SELECT source, file, line, reason, raw FROM quarantine";
    let mut shown = place.sql_of_input(AS_OF, sql).split_off(1);
    shown.sort();
    assert_eq!(shown, expected);
}

#[test]
fn an_open_quote_costs_one_user_and_not_the_rest() {
    let place = small_day();
    let mut expected = Vec::new();
    place.write(
        "user.csv",
        "4,\"x,,,,,,,,,,0\n2,b,,,,,,,,,,1\n3,c,,,,,,,,,,0\n",
    );
    expected.push(["user", "user.csv", "1", "bad_quoting", "4,\"x,,,,,,,,,,0"]);
    let run = place.run("warehouse", &["--max-bad-share", "0.4"]).exits(0);
    assert_eq!(quarantine(&place, "warehouse", &run.run_id()), expected);
    // The second line was read: user 2 is suspended.
    assert_eq!(account(&run.json(), "like")["suspended"], 2);
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let place = small_day();
    let good = place.read("st_messages.data");
    let endless = vec![b'x'; 80 << 20];
    place.write(
        "st_messages.data",
        [&good[..], &endless, b"\n", b"bad\n", &good].concat(),
    );
    let run = place.run("warehouse", &["--max-bad-share", "0.5"]).exits(0);
    let found = quarantine(&place, "warehouse", &run.run_id());
    assert_eq!(
        found[0][..4],
        ["message", "st_messages.data", "4", "too_long"]
    );
    assert!(found[0][4].len() <= 4096, "{}", found[0][4].len());
    assert_eq!(
        found[1],
        ["message", "st_messages.data", "5", "not_json", "bad"]
    );
    assert_eq!(found.len(), 2);
    assert_eq!(account(&run.json(), "message")["read"], 8);
}

#[test]
fn lines_are_right_in_files_that_are_read_in_ranges() {
    let place = small_day();
    let (mut likes, mut messages) = (String::new(), String::new());
    let mut expected = Vec::new();
    for line in 1..=130_000 {
        if line % 1777 == 0 {
            let raw = format!("bad like of line {line}");
            likes.push_str(&format!("{raw}\n"));
            let fields = ["like", "like.csv", &line.to_string(), "ragged", &raw];
            expected.push(fields.map(String::from).to_vec());
        } else if line % 1001 == 0 {
            likes.push_str("\r\n");
        } else {
            let (user, other) = (line % 900 + 1, line % 7 + 1000);
            likes.push_str(&format!("{user},{other},{line},2019-09-30 00:00:00,like\n"));
        }
        if line % 3001 == 0 {
            let raw = format!("bad message of line {line}");
            messages.push_str(&format!("{raw}\n"));
            let fields = [
                "message",
                "st_messages.data",
                &line.to_string(),
                "not_json",
                &raw,
            ];
            expected.push(fields.map(String::from).to_vec());
        } else if line < 60_000 {
            messages.push_str(&message(line, 1, "2019-09-10T10:00:00Z", "good earnings"));
        } else {
            messages.push('\n');
        }
    }
    assert!(likes.len() > 4 << 20 && messages.len() > 4 << 20);
    place.write("like.csv", likes);
    place.write("st_messages.data", messages);
    expected.sort();
    for (number, threads) in ["1", "3", "4", "8"].into_iter().enumerate() {
        let warehouse = format!("warehouse-{number}");
        let run = place.run(&warehouse, &["--threads", threads]).exits(0);
        let found = quarantine(&place, &warehouse, &run.run_id());
        assert_eq!(found, expected, "{threads} threads");
        let account = account(&run.json(), "like");
        let copies = account["read"] - account["used"] - account["ragged"];
        assert_eq!(copies, 0, "{account:?}");
    }
}

#[test]
fn the_quarantine_names_the_part_file() {
    let place = small_day();
    let good = place.read("like.csv");
    place.remove("like.csv");
    place.write("like/part-0.csv", &good);
    place.write(
        "like/part-1.csv.gz",
        rewrite::gzip(&[&good[..], b"bad\n"].concat()),
    );
    let sub = [b"worse\n", &good[..]].concat();
    place.write("like/2/part-2.csv.zst", rewrite::zstd(&sub));
    let texts: [(&str, &[Option<&str>]); 4] = [
        (
            "timestamp",
            &[Some("2019-09-30T00:00:00Z"), Some("soon"), None],
        ),
        ("message_id", &[Some("1"), Some("2"), Some("3")]),
        ("user_id", &[Some("1"), Some("1"), Some("1")]),
        ("engaged_with_user_id", &[Some("2"), Some("3"), Some("2")]),
    ];
    place.write("like/part-3.parquet", rewrite::parquet_of_texts(&texts));
    let run = place.run("warehouse", &["--max-bad-share", "0.5"]).exits(0);
    assert_eq!(
        quarantine(&place, "warehouse", &run.run_id()),
        [
            ["like", "like/2/part-2.csv.zst", "1", "ragged", "worse"],
            ["like", "like/part-1.csv.gz", "3", "ragged", "bad"],
            [
                "like",
                "like/part-3.parquet",
                "2",
                "no_such_date",
                "1,3,2,soon"
            ],
            [
                "like",
                "like/part-3.parquet",
                "3",
                "missing_field",
                "1,2,3,"
            ],
        ]
    );
    assert_eq!(account(&run.json(), "like")["read"], 11);
}
