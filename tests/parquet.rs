//! Parquet exports as other engines write them; what each type is read as is tested in `udfs/src/scan/parquet/tests`.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::parquet::data_type::{Int64Type, Int96, Int96Type};
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;

use crate::rewrite::parquet_of;
use crate::support::{AS_OF, account, accounts_of, rows, small_day};

fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    parquet_of(&RecordBatch::try_from_iter_with_nullable(columns).unwrap())
}

fn numbers<const N: usize>(numbers: [i64; N]) -> ArrayRef {
    Arc::new(Int64Array::from(numbers.to_vec()))
}

/// Follows as Spark and Hive write them: the julian day and its nanoseconds in 96 bits.
fn follows_with_int96(follows: &[(i64, i64, u32)]) -> Vec<u8> {
    let schema = "message schema {
        required int64 user_id; required int64 engaged_with_user_id; required int96 timestamp;
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for id in [
        |follow: &(i64, i64, u32)| follow.0,
        |follow: &(i64, i64, u32)| follow.1,
    ] {
        let mut column = group.next_column().unwrap().unwrap();
        let ids: Vec<_> = follows.iter().map(id).collect();
        column
            .typed::<Int64Type>()
            .write_batch(&ids, None, None)
            .unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    let times: Vec<_> = follows
        .iter()
        .map(|follow| Int96::from(vec![0, 0, follow.2]))
        .collect();
    column
        .typed::<Int96Type>()
        .write_batch(&times, None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn a_far_date_in_int96_stays_far() {
    let place = small_day();
    place.remove("follow.csv");
    // 0001-01-01, 2019-05-01, 9999-12-31.
    let days = [(1, 2, 1_721_426), (1, 3, 2_458_605), (2, 3, 5_373_484)];
    place.write("follow.parquet", follows_with_int96(&days));
    assert_eq!(
        place.sql_of_input(AS_OF, r#"SELECT "timestamp" FROM raw.follows ORDER BY 1"#)[1..],
        rows(&[
            &["0001-01-01T00:00:00"],
            &["2019-05-01T00:00:00"],
            &["9999-12-31T00:00:00"]
        ])
    );
    let run = place.run("warehouse", &[]).exits(0);
    assert_eq!(
        account(&run.json(), "follow"),
        accounts_of(&[
            ("read", 3),
            ("used", 0),
            ("after_as_of", 1),
            ("before_window", 2)
        ])
    );
}

#[test]
fn a_time_that_is_none_costs_one_record() {
    let place = small_day();
    place.remove("like.csv");
    let times = [1_569_801_600_000_000, i64::MAX, 1_569_888_000_000_000];
    let likes = vec![
        ("user_id", numbers([1, 1, 2])),
        ("engaged_with_user_id", numbers([2, 3, 3])),
        ("message_id", numbers([13, 14, 15])),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(times.to_vec())) as ArrayRef,
        ),
    ];
    place.write("like.parquet", file(likes));
    let run = place.run("warehouse", &["--max-bad-share", "0.5"]).exits(0);
    assert_eq!(
        account(&run.json(), "like"),
        accounts_of(&[("read", 3), ("used", 2), ("no_such_date", 1)])
    );
    let quarantine = "SELECT source, file, line, reason, raw FROM quarantine";
    assert_eq!(
        place.sql_of_input(AS_OF, quarantine)[1..],
        rows(&[&[
            "like",
            "like.parquet",
            "2",
            "no_such_date",
            "1,3,14,9223372036854775807"
        ]])
    );
}

#[test]
fn messages_of_parquet_are_those_of_json() {
    let place = small_day();
    place.write(
        "st_messages.data",
        br#"{"id": 1, "user": {"id": 7}, "created_at": "2019-09-10T10:00:00Z", "body": "good earnings", "links": [{"url": "u", "description": "market report"}]}
{"id": 2, "user": {"id": 7}, "created_at": "2019-09-10T11:00:00Z", "body": "sold", "links": []}
"#,
    );
    let weekly = "SELECT user_id, week, clean_body, clean_link_desc FROM weekly_messages";
    let quarantine = "SELECT file, line, reason, raw FROM quarantine WHERE source = 'message'";
    let expected = place.sql_of_input(AS_OF, weekly);
    assert_eq!(
        expected[1],
        ["7", "24", "good earnings sold", "market report "]
    );
    place.remove("st_messages.data");

    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let texts = |texts: [&str; 1]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let link = StructArray::from(vec![
        (field("url", DataType::Utf8), texts(["u"])),
        (
            field("description", DataType::Utf8),
            texts(["market report"]),
        ),
    ]);
    let item = field(
        "element",
        datafusion::arrow::array::Array::data_type(&link).clone(),
    );
    let links = ListArray::new(
        item,
        OffsetBuffer::from_lengths([1, 0, 0]),
        Arc::new(link),
        None,
    );
    let user = StructArray::from(vec![(field("id", DataType::Int64), numbers([7, 7, 7]))]);
    let times = [
        1_568_109_600_000_000,
        1_568_113_200_000_000,
        1_568_113_200_000_000,
    ];
    // As Hive writes texts, one of which is none.
    let bodies: [&[u8]; 3] = [b"good earnings", b"sold", b"caf\xE9"];
    let messages = vec![
        ("id", numbers([1, 2, 3])),
        (
            "body",
            Arc::new(BinaryArray::from(bodies.to_vec())) as ArrayRef,
        ),
        (
            "created_at",
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
        ),
        ("user", Arc::new(user)),
        ("links", Arc::new(links)),
    ];
    place.write("st_messages.parquet", file(messages));
    assert_eq!(place.sql_of_input(AS_OF, weekly), expected);
    assert_eq!(
        place.sql_of_input(AS_OF, quarantine)[1..],
        rows(&[&[
            "st_messages.parquet",
            "3",
            "not_utf8",
            "3,caf\\xE9,2019-09-10T11:00:00,7,,"
        ]])
    );
}

#[test]
fn a_column_that_cannot_say_it_stops_the_run_by_name() {
    let place = small_day();
    place.remove("like.csv");
    let likes = |user: ArrayRef, timestamp: ArrayRef| {
        file(vec![
            ("user_id", user),
            ("engaged_with_user_id", numbers([2])),
            ("message_id", numbers([13])),
            ("timestamp", timestamp),
        ])
    };
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_569_801_600_000_000]));
    for (bytes, words) in [
        (
            likes(Arc::clone(&at), Arc::clone(&at)),
            ["user_id", "Timestamp", "whole numbers"],
        ),
        (
            likes(numbers([1]), numbers([1_569_801_600])),
            ["timestamp", "Int64", "TIMESTAMP or DATE"],
        ),
        (
            likes(numbers([1]), at.clone())[..300].to_vec(),
            ["cut off", "Parquet", "export it again"],
        ),
    ] {
        place.write("like/part-0.parquet", bytes);
        place
            .run("warehouse", &[])
            .exits(1)
            .says(&words)
            .says(&["like/part-0.parquet"]);
        assert_eq!(place.publications("warehouse"), [""; 0]);
    }
}
