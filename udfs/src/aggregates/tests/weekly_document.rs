use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::arrow;

use crate::text::clean_text_into;

use super::{
    Random, accumulator, asked, check_emission, cut, fail, query, query_with_memory, session,
    setups,
};

#[derive(Clone, Debug)]
struct Row {
    user: i32,
    created_at: i64,
    id: i64,
    body: Option<String>,
    desc: Option<String>,
    superseded: Option<bool>,
}

/// Bodies, descriptions, and how many.
type Answer = (String, String, i64);

fn random_text(random: &mut Random) -> Option<String> {
    const WORDS: [&str; 8] = [
        "",
        "a",
        "A",
        "b b",
        "long word that does not fit into a view",
        "é",
        " ",
        "5",
    ];
    let words = (0..random.below(3)).map(|_| WORDS[random.below(8) as usize]);
    let text: String = words.collect();
    (random.below(8) > 0).then_some(text)
}

fn random_rows(count: usize, users: u64, random: &mut Random) -> Vec<Row> {
    (0..count)
        .map(|_| Row {
            user: random.below(users) as i32,
            created_at: random.below(30) as i64 - 15,
            id: random.below(3) as i64,
            body: random_text(random),
            desc: random_text(random),
            superseded: [None, Some(false), Some(random.below(8) == 0)][random.below(3) as usize],
        })
        .collect()
}

fn batch_of(text: &DataType, rows: &[Row]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("user_id", DataType::Int32, false),
        Field::new("created_at", DataType::Int64, false),
        Field::new("id", DataType::Int64, false),
        Field::new("body", text.clone(), true),
        Field::new("desc", text.clone(), true),
        Field::new("superseded", DataType::Boolean, true),
    ]);
    let column = |of: fn(&Row) -> &Option<String>| -> ArrayRef {
        let texts: StringArray = rows.iter().map(|r| of(r).as_deref()).collect();
        arrow::compute::cast(&texts, text).unwrap()
    };
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.user))),
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|r| r.created_at),
            )),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.id))),
            column(|r| &r.body),
            column(|r| &r.desc),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|r| r.superseded))),
        ],
    )
    .unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    batch_of(&DataType::Utf8View, rows)
}

fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    clean_text_into(text, &mut cleaned);
    cleaned
}

/// By user; users of whom nothing counts are missing.
fn reference(rows: &[Row]) -> BTreeMap<i32, Answer> {
    /// Body, cleaned description; nothing once the message is superseded.
    type Texts = Option<(String, String)>;
    let mut messages: BTreeMap<i32, BTreeMap<(i64, i64), Texts>> = BTreeMap::new();
    for row in rows {
        let texts = (
            row.body.clone().unwrap_or_default(),
            clean(&row.desc.clone().unwrap_or_default()),
        );
        let kept = messages
            .entry(row.user)
            .or_default()
            .entry((row.created_at, row.id))
            .or_insert_with(|| Some(texts.clone()));
        *kept = match kept.take() {
            _ if row.superseded == Some(true) => None,
            Some(before) => Some(before.min(texts)),
            None => None,
        };
    }
    let document = |messages: Vec<(String, String)>| {
        let bodies: Vec<String> = messages.iter().map(|(body, _)| clean(body)).collect();
        let descs: Vec<String> = messages.into_iter().map(|(_, desc)| desc).collect();
        (bodies.join(" "), descs.join(" "), bodies.len() as i64)
    };
    messages
        .into_iter()
        .map(|(user, messages)| (user, messages.into_values().flatten().collect::<Vec<_>>()))
        .filter(|(_, messages)| !messages.is_empty())
        .map(|(user, messages)| (user, document(messages)))
        .collect()
}

fn answers(batches: &[RecordBatch]) -> BTreeMap<i32, Answer> {
    let mut answers = BTreeMap::new();
    for batch in batches {
        let results = batch.column(1).as_struct();
        for row in (0..batch.num_rows()).filter(|row| results.is_valid(*row)) {
            let text = |at: usize| results.column(at).as_string::<i32>().value(row).to_owned();
            let answer = (
                text(0),
                text(1),
                results.column(2).as_primitive::<Int64Type>().value(row),
            );
            assert!(
                answers
                    .insert(
                        batch.column(0).as_primitive::<Int32Type>().value(row),
                        answer
                    )
                    .is_none()
            );
        }
    }
    answers
}

const SQL: &str = "SELECT user_id, weekly_document(created_at, id, body, desc, superseded) FROM rows GROUP BY user_id";

#[tokio::test]
async fn equals_the_reference_however_it_runs() {
    let mut random = Random(11);
    let rows = random_rows(2000, 40, &mut random);
    let expected = reference(&rows);
    for (at, setup) in setups().into_iter().enumerate() {
        let text = [DataType::Utf8, DataType::Utf8View, DataType::LargeUtf8][at % 3].clone();
        let found = query(
            SQL,
            &rows,
            |r| i64::from(r.user),
            &["user_id"],
            setup,
            |rows| batch_of(&text, rows),
        )
        .await;
        assert_eq!(answers(&found), expected, "{setup:?}");
    }
}

#[tokio::test]
async fn spills_and_gives_the_same() {
    let mut random = Random(13);
    let rows = random_rows(40_000, 5_000, &mut random);
    let (batches, spills) =
        query_with_memory(SQL, cut(&rows, 3, &mut random, batch), 2 << 20).await;
    assert!(spills > 0);
    assert_eq!(answers(&batches), reference(&rows));
}

#[test]
fn emits_first_groups_states_and_converted_rows() {
    let mut random = Random(14);
    let rows = random_rows(3000, 50, &mut random);
    let batches: Vec<RecordBatch> = cut(&rows, 1, &mut random, batch).remove(0);
    let arguments = batch(&[]).project(&[1, 2, 3, 4, 5]).unwrap();
    check_emission(
        || accumulator("weekly_document", &arguments, &[]),
        &batches,
        51,
    );
}

#[test]
fn memory_follows_the_texts_that_are_left() {
    let rows: Vec<Row> = (0..40)
        .map(|user| Row {
            user,
            created_at: 0,
            id: 0,
            body: Some("x".repeat(1 << 20)),
            desc: None,
            superseded: None,
        })
        .collect();
    // A batch is kept until its last text is gone.
    let batches = rows.chunks(10).map(|rows| batch_of(&DataType::Utf8, rows));
    let batches: Vec<_> = batches.collect();
    let arguments = batches[0].project(&[1, 2, 3, 4, 5]).unwrap();
    let mut accumulator = accumulator("weekly_document", &arguments, &[]);
    for (number, batch) in batches.iter().enumerate() {
        let (values, groups) = super::grouped(batch);
        let total = 10 * (number + 1);
        accumulator
            .update_batch(&values, &groups, None, total)
            .unwrap();
    }
    assert!(
        (40 << 20..41 << 20).contains(&accumulator.size()),
        "{}",
        accumulator.size()
    );
    accumulator
        .evaluate(datafusion::logical_expr::EmitTo::First(30))
        .unwrap();
    assert!(
        (10 << 20..11 << 20).contains(&accumulator.size()),
        "{}",
        accumulator.size()
    );
}

#[tokio::test]
async fn empty_texts_count_and_bad_arguments_are_errors() {
    let context = session(1);
    let joined = asked(
        &context,
        "SELECT weekly_document(t, i, b, NULL, NULL) FROM (VALUES (2, 1, ''), (1, 9, 'A1')) r(t, i, b)",
    )
    .await;
    let joined = arrow::util::pretty::pretty_format_batches(&joined).unwrap();
    let joined = joined.to_string();
    assert!(
        joined.contains("{clean_body: a , clean_link_desc:  , messages: 2}"),
        "{joined}"
    );
    let statements = [
        (
            "NULL::bigint, 1, 'a', 'b', false",
            "created_at must not be null",
        ),
        ("1, NULL::bigint, 'a', 'b', false", "id must not be null"),
        ("1, 1, 2, 'b', false", "body must be text"),
        (
            "now(), 1, 'a', 'b', false",
            "created_at must be a whole number",
        ),
        ("1, 1, 'a', 'b', 0", "superseded must be true or false"),
        ("1, 1, 'a', 'b'", "takes 5 arguments"),
    ]
    .map(|(arguments, message)| (format!("SELECT weekly_document({arguments})"), message));
    fail(&context, statements).await;
}

/// Takes 5 GB of memory and some seconds.
#[test]
#[ignore = "needs 5 GB"]
fn documents_beyond_2_gib_are_an_error() {
    let rows: Vec<Row> = (0..2)
        .map(|user| Row {
            user,
            created_at: 0,
            id: 0,
            body: Some("x".repeat(1 << 30)),
            desc: None,
            superseded: None,
        })
        .collect();
    let mut accumulator = accumulator(
        "weekly_document",
        &batch(&[]).project(&[1, 2, 3, 4, 5]).unwrap(),
        &[],
    );
    for row in rows.chunks(1) {
        let batch = batch(row);
        let (values, groups) = super::grouped(&batch);
        accumulator.update_batch(&values, &groups, None, 2).unwrap();
    }
    let error = accumulator
        .evaluate(datafusion::logical_expr::EmitTo::All)
        .unwrap_err();
    assert!(
        error.to_string().contains("a batch would hold more than"),
        "{error}"
    );
}
