//! The golden case, whose expected results an implementation made that shares nothing with this one.

use std::fs;

use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};

use crate::support::{AS_OF, Place, account, csv_rows, golden};

/// Compares rows: all fields exactly but the last, a number that may be off by a millionth.
#[track_caller]
fn assert_rows_match(found: &[Vec<String>], expected: &[Vec<String>]) {
    assert_eq!(found.len(), expected.len(), "number of rows");
    for (found, expected) in found.iter().zip(expected) {
        let (last, ids) = found.split_last().unwrap();
        let (expected_last, expected_ids) = expected.split_last().unwrap();
        assert_eq!(ids, expected_ids);
        let last: f64 = last.parse().unwrap();
        let expected_last: f64 = expected_last.parse().unwrap();
        assert!(
            (last - expected_last).abs() <= 1e-6,
            "{found:?} instead of {expected:?}"
        );
    }
}

fn expected(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(golden("expected").join(name)).unwrap();
    csv_rows(&text)
}

#[test]
fn with_given_scores_the_tables_are_the_golden_ones() {
    let place = Place::golden();
    place.run_with_scores("warehouse", &[]).exits(0);
    for (table, columns) in [
        (
            "closest_connections",
            "user_id, rank, closest_connection, weight",
        ),
        ("recommendations", "user_id, rank, rec_id, score"),
        ("rec_reasons", "user_id, rec_id, reason_id, weight"),
    ] {
        let expected = expected(&format!("{table}.csv"));
        // The keys tell the order that the expected rows are in.
        let sql = format!("SELECT {columns} FROM {table} ORDER BY 1, 2, 3");
        let found = place.sql("warehouse", &sql);
        assert_eq!(found[0], expected[0], "{table}");
        assert_rows_match(&found[1..], &expected[1..]);
    }
}

#[test]
fn weekly_messages_are_the_golden_ones() {
    let place = Place::golden();
    let found = place.sql_of_input(
        AS_OF,
        "SELECT user_id, week, clean_body, clean_link_desc FROM weekly_messages ORDER BY 1, 2",
    );
    let expected = expected("weekly_messages.csv");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }

    // Asked for in part, it is part of that.
    let found = place.sql_of_input(
        AS_OF,
        "SELECT week, user_id FROM weekly_messages WHERE user_id > 1000 AND week = 11 ORDER BY 2",
    );
    let wanted = expected[1..]
        .iter()
        .filter(|row| row[1] == "11" && row[0].parse::<i32>().unwrap() > 1000);
    let wanted: Vec<Vec<String>> = wanted
        .map(|row| vec![row[1].clone(), row[0].clone()])
        .collect();
    assert!(!wanted.is_empty());
    assert_eq!(found[1..], wanted);
    let one = "SELECT count(*) FROM (SELECT week FROM weekly_messages LIMIT 1)";
    assert_eq!(place.sql_of_input(AS_OF, one)[1], ["1"]);
}

#[test]
fn unreadable_records_are_counted_and_kept() {
    let place = Place::golden();
    let run = place.run("warehouse", &[]).exits(0);
    let answer = run.json();
    let unreadable = [
        "not_utf8",
        "not_json",
        "bad_quoting",
        "ragged",
        "missing_field",
        "wrong_type",
        "not_a_number",
        "out_of_range",
        "no_such_date",
        "bad_flag",
        "too_long",
    ];
    for (source, records, expected) in [
        ("follow", 3036, 5),
        ("reply", 7581, 5),
        ("mention", 6066, 5),
        ("like", 13641, 5),
        ("user", 1504, 3),
        ("message", 6007, 7),
    ] {
        let account = account(&answer, source);
        let unreadable: u64 = unreadable
            .iter()
            .filter_map(|name| account.get(*name))
            .sum();
        assert_eq!(unreadable, expected, "{source}: {account:?}");
        assert_eq!(account["read"], records, "{source}: {account:?}");
        let (read, all) = (account["read"], account.values().sum::<u64>());
        assert_eq!(all - read, read, "{source}: {account:?}");
    }
    for (file, records) in [("quarantine-engagements", 23), ("quarantine-messages", 7)] {
        let path = place.work_file("warehouse", &run.run_id(), &format!("{file}.parquet"));
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), records);
    }
    let reasons = place.sql_of_input(
        AS_OF,
        "SELECT source, count(*) FROM quarantine GROUP BY source ORDER BY source",
    );
    let counts: Vec<_> = reasons[1..].iter().map(|row| row.join(" ")).collect();
    assert_eq!(
        counts,
        [
            "follow 5",
            "like 5",
            "mention 5",
            "message 7",
            "reply 5",
            "user 3"
        ]
    );
}

#[test]
fn the_score_file_has_all_scores() {
    let place = Place::golden();
    let run_id = place.run_with_scores("given", &[]).exits(0).run_id();
    let file = place.work_file("given", &run_id, "reputation_score.csv");
    let given: String = csv_rows(&fs::read_to_string(golden("pred.csv")).unwrap())[1..]
        .iter()
        .map(|row| format!("{},{:.6}\n", row[0], row[1].parse::<f64>().unwrap()))
        .collect();
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written, format!("user_id,pred\n{given}"));

    let run_id = place.run("scored", &[]).exits(0).run_id();
    let file = place.work_file("scored", &run_id, "reputation_score.csv");
    let written = csv_rows(&fs::read_to_string(file).unwrap());
    let sql = "SELECT user_id, pred FROM reputation_scores ORDER BY user_id";
    let scores = place.sql("scored", sql);
    assert_eq!(written[0], ["user_id", "pred"]);
    assert_rows_match(&written[1..], &scores[1..]);
    // Everybody with a message in the weeks has a score, and nobody else.
    let authors = place.sql_of_input(AS_OF, "SELECT count(DISTINCT user_id) FROM weekly_messages");
    assert_eq!(authors[1][0], (written.len() - 1).to_string());
}
