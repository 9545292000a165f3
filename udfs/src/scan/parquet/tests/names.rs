//! Which columns are read, and which are refused.

use datafusion::arrow::array::{
    FixedSizeListArray, Int32Array, LargeListArray, ListArray, MapArray, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::IntervalUnit;

use super::*;

/// The rows' last columns, body and link_description, of messages with more columns.
fn messages_with(more: Vec<Column<'static>>) -> Vec<String> {
    let rows_there = more[0].1.len();
    let rows = rows(
        Source::Message,
        file(&[messages(rows_there), more].concat()),
    );
    let cut = |row: String| match row.split_once("|Hi|") {
        Some((_, description)) => description.to_string(),
        None => row,
    };
    rows.into_iter().map(cut).collect()
}

/// Links of three messages, the second of which has none: items 0 and 1, and item 2.
fn lists(items: ArrayRef) -> ListArray {
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3, 3]));
    let nulls = NullBuffer::from(vec![true, true, true, false]);
    ListArray::new(item, offsets, items, Some(nulls))
}

fn links() -> ArrayRef {
    let urls = texts(&[Some("u"), Some("v"), None]);
    let ids = numbers(&[1, 2, 3]);
    let descriptions = texts(&[Some("market report"), Some("no"), Some("caf\u{e9}")]);
    let images = structs(vec![("url", urls.clone()), ("description", urls.clone())]);
    structs(vec![
        ("id", ids),
        ("image", images),
        ("url", urls),
        ("description", descriptions),
    ])
}

#[test]
fn links_are_read_in_whatever_way_they_are_held() {
    let expected = ["market report", "", "caf\u{e9}", ""];
    let plain = lists(links());
    let item = Arc::new(Field::new("item", plain.value_type(), true));
    assert_eq!(
        messages_with(vec![("links", Arc::new(plain.clone()))]),
        expected
    );
    let large: ArrayRef = cast(&plain, &DataType::LargeList(Arc::clone(&item))).unwrap();
    assert!(large.as_any().is::<LargeListArray>());
    assert_eq!(messages_with(vec![("links", large)]), expected);
    let views = cast(&plain, &DataType::ListView(Arc::clone(&item))).unwrap();
    assert_eq!(messages_with(vec![("links", views)]), expected);
    let fixed = FixedSizeListArray::new(item, 1, links(), None);
    assert_eq!(
        messages_with(vec![("links", Arc::new(fixed))]),
        ["market report", "no", "caf\u{e9}"]
    );
    // Names in another case, as some engines have them.
    let upper = structs(vec![(
        "DESCRIPTION",
        texts(&[Some("market report"), None, Some("caf\u{e9}")]),
    )]);
    assert_eq!(
        messages_with(vec![("LINKS", Arc::new(lists(upper)))]),
        expected
    );
    let json = texts(&[
        Some(r#"[{"url": "u", "description": "market report"}, {"description": "no"}]"#),
        Some(" "),
        Some(r#"[{"description": "caf\u00e9"}]"#),
        None,
    ]);
    assert_eq!(messages_with(vec![("links", json)]), expected);
    // No description at all, as of an export whose links have none; and no link at all.
    let bare = structs(vec![("url", texts(&[Some("u"), Some("v"), None]))]);
    assert_eq!(
        messages_with(vec![("links", Arc::new(lists(bare)))]),
        [""; 4]
    );
    let nothing = datafusion::arrow::array::new_null_array(&DataType::Null, 3);
    assert_eq!(
        messages_with(vec![("links", Arc::new(lists(nothing.clone())))]),
        [""; 4]
    );
    assert_eq!(messages_with(vec![("links", nothing)]), [""; 3]);
}

#[test]
fn links_as_maps() {
    let names = texts(&[
        Some("url"),
        Some("description"),
        Some("description"),
        Some("url"),
    ]);
    let values = texts(&[Some("u"), Some("market report"), Some("no"), None]);
    let fields = vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ];
    let entries = StructArray::new(fields.into(), vec![names, values], None);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 3, 4]));
    let maps = MapArray::new(entry, offsets, entries, None, false);
    assert_eq!(
        messages_with(vec![("links", Arc::new(lists(Arc::new(maps))))]),
        ["market report", "", "", ""]
    );
}

#[test]
fn what_a_link_says_of_itself() {
    // A link that is null, and a description that is none.
    let descriptions = texts(&[None, Some("no"), Some("no")]);
    let field = Field::new("description", DataType::Utf8, true);
    let nulls = NullBuffer::from(vec![true, true, false]);
    let items = StructArray::new(vec![field].into(), vec![descriptions], Some(nulls));
    assert_eq!(
        messages_with(vec![("links", Arc::new(lists(Arc::new(items))))]),
        [""; 4]
    );
    // A description of its own comes first.
    let links: ArrayRef = Arc::new(lists(links()));
    let own = texts(&[Some("own"), Some("own"), None, Some("")]);
    assert_eq!(
        messages_with(vec![("link_description", own), ("links", links)]),
        ["own", "own", "caf\u{e9}", ""]
    );
    assert_eq!(
        messages_with(vec![(
            "links",
            texts(&[Some("[{'description': 'd'}]"), Some("[]")])
        )]),
        [
            "1 not_json 1,Hi,1970-01-01T00:00:05,7,,[{'description': 'd'}]",
            ""
        ]
    );
}

#[test]
fn the_user_of_a_message() {
    let at = times(3);
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![Some(8), None, Some(9)]));
    let users = structs(vec![("name", texts(&[Some("a"); 3])), ("id", ids)]);
    let of = |more: Vec<Column<'static>>| -> Vec<String> {
        let columns = vec![
            ("id", numbers(&[1, 2, 3])),
            ("body", texts(&[Some("Hi"); 3])),
            ("created_at", at.clone()),
        ];
        let rows = rows(Source::Message, file(&[columns, more].concat()));
        rows.into_iter()
            .map(|row| row.split('|').nth(1).map_or(row.clone(), str::to_string))
            .collect()
    };
    let missing = "2 missing_field 2,Hi,1970-01-01T00:00:06,,,";
    assert_eq!(of(vec![("user", users.clone())]), ["8", missing, "9"]);
    let own: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, None]));
    assert_eq!(
        of(vec![("user_id", own), ("user", users.clone())]),
        ["1", missing, "9"]
    );
    // With an id of its own, another column of that name does not matter.
    assert_eq!(
        of(vec![
            ("user_id", numbers(&[4, 5, 6])),
            ("user", texts(&[Some("a"); 3]))
        ]),
        ["4", "5", "6"]
    );
    let mut columns = messages(1);
    columns[3] = ("user", texts(&[Some("a")]));
    refused(Source::Message, file(&columns), &["user_id", "struct user"]);
}

#[test]
fn names_in_another_case() {
    let (one, two, at) = (numbers(&[1]), numbers(&[2]), times(1));
    let columns = [
        ("USER_ID", one.clone()),
        ("Engaged_With_User_Id", two.clone()),
        ("timestamp", at.clone()),
        ("TIMESTAMP", texts(&[None])),
    ];
    assert_eq!(
        rows(Source::Follow, file(&columns)),
        ["1|2|1970-01-01T00:00:05"]
    );
    let columns = [
        ("USER_ID", one.clone()),
        ("User_Id", one.clone()),
        ("engaged_with_user_id", two.clone()),
        ("timestamp", at.clone()),
    ];
    refused(
        Source::Follow,
        file(&columns),
        &["user_id", "more than one"],
    );
    let columns = [("user_id", one), ("engaged_with", two), ("timestamp", at)];
    refused(
        Source::Follow,
        file(&columns),
        &[
            "no column engaged_with_user_id",
            "user_id, engaged_with, timestamp",
        ],
    );
}

#[test]
fn columns_that_cannot_say_it_are_refused() {
    use DataType::*;
    let list = lists(numbers(&[1, 2, 3]));
    let odd: Vec<ArrayRef> = vec![
        Arc::new(list),
        structs(vec![("a", numbers(&[1]))]),
        cast(&numbers(&[1]), &Duration(TimeUnit::Microsecond)).unwrap(),
        cast(&numbers(&[1]), &Time64(TimeUnit::Microsecond)).unwrap(),
        datafusion::arrow::array::new_null_array(&Interval(IntervalUnit::DayTime), 1),
    ];
    for values in odd {
        let rows = values.len();
        let (other, at) = (numbers(&vec![2; rows]), times(rows));
        let kind = values.data_type().to_string();
        let kind = kind.split('(').next().unwrap();
        let columns = [
            ("user_id", values.clone()),
            ("engaged_with_user_id", other.clone()),
            ("timestamp", at),
        ];
        refused(
            Source::Follow,
            file(&columns),
            &["user_id", kind, "whole numbers"],
        );
        let columns = [
            ("user_id", other.clone()),
            ("engaged_with_user_id", other.clone()),
            ("timestamp", values.clone()),
        ];
        refused(
            Source::Follow,
            file(&columns),
            &["timestamp", kind, "TIMESTAMP or DATE"],
        );
        let columns = [("user_id", other), ("suspended", values.clone())];
        refused(
            Source::User,
            file(&columns),
            &["suspended", kind, "BOOLEAN"],
        );
        let mut columns = messages(rows);
        columns[1].1 = values.clone();
        refused(Source::Message, file(&columns), &["body", kind, "STRING"]);
        columns = messages(rows);
        columns.push(("links", values.clone()));
        refused(
            Source::Message,
            file(&columns),
            &["links", "list of structs"],
        );
        columns[4].0 = "recommended";
        refused(Source::Message, file(&columns), &["recommended", kind]);
        // What nobody needs may be of any type.
        columns[4].0 = "entities";
        assert_eq!(super::rows(Source::Message, file(&columns)).len(), rows);
    }
    let columns = [
        ("user_id", numbers(&[1])),
        ("engaged_with_user_id", times(1)),
        ("timestamp", numbers(&[1_569_888_000])),
    ];
    refused(
        Source::Follow,
        file(&columns),
        &["engaged_with_user_id", "Timestamp"],
    );
    let columns = [
        ("user_id", numbers(&[1])),
        ("engaged_with_user_id", numbers(&[1])),
        ("timestamp", numbers(&[1_569_888_000])),
    ];
    refused(
        Source::Follow,
        file(&columns),
        &["timestamp", "Int64", "DATE"],
    );
    let uuid = datafusion::parquet::data_type::FixedLenByteArray::from(vec![b'1'; 16]);
    let bytes = raw_file::<datafusion::parquet::data_type::FixedLenByteArrayType>(
        "fixed_len_byte_array(16)",
        "user_id (UUID)",
        &[uuid],
        &[("suspended", 0)],
    );
    refused(Source::User, bytes, &["user_id", "UUID"]);
}
