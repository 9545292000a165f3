use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int8Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::arrow;
use datafusion::logical_expr::EmitTo;

use super::{
    Random, Setup, accumulator, check_emission, context, cut, fail, query, query_with_memory,
    runtime, setups,
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    user: i32,
    other: i32,
    source: i8,
    message: i64,
    weight: i64,
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    connections: Vec<(i32, i64)>,
    used: Vec<i64>,
    duplicates: Vec<i64>,
}

fn random_rows(count: usize, users: u64, random: &mut Random) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..count {
        let row = match rows.len() {
            // One in five is a copy of an earlier row.
            n if n > 0 && random.below(5) == 0 => rows[random.below(n as u64) as usize].clone(),
            _ => Row {
                user: random.below(users) as i32,
                other: [random.below(20) as i32 - 5, i32::MIN, i32::MAX]
                    [(random.below(30) / 28) as usize],
                source: random.below(4) as i8,
                message: random.next() as i64 >> (random.below(64) as u32),
                weight: [1 + random.below(5) as i64, i64::from(u32::MAX)]
                    [(random.below(20) / 19) as usize],
            },
        };
        rows.push(row);
    }
    rows
}

fn batch(rows: &[Row]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("user_id", DataType::Int32, false),
        Field::new("other", DataType::Int32, false),
        Field::new("source", DataType::Int8, false),
        Field::new("message_id", DataType::Int64, false),
        Field::new("weight", DataType::Int64, false),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.user))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.other))),
            Arc::new(Int8Array::from_iter_values(rows.iter().map(|r| r.source))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.message))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.weight))),
        ],
    )
    .unwrap()
}

fn reference(rows: &[Row], k: usize) -> BTreeMap<i32, Answer> {
    let mut copies: BTreeMap<&Row, i64> = BTreeMap::new();
    for row in rows {
        *copies.entry(row).or_default() += 1;
    }
    let mut sums: BTreeMap<i32, BTreeMap<i32, i64>> = BTreeMap::new();
    let mut answers: BTreeMap<i32, Answer> = BTreeMap::new();
    for (row, count) in copies {
        *sums
            .entry(row.user)
            .or_default()
            .entry(row.other)
            .or_default() += row.weight;
        let answer = answers.entry(row.user).or_insert_with(|| Answer {
            used: vec![0; 4],
            duplicates: vec![0; 4],
            ..Answer::default()
        });
        answer.used[row.source as usize] += 1;
        answer.duplicates[row.source as usize] += count - 1;
    }
    for (user, sums) in sums {
        let mut connections: Vec<(i32, i64)> = sums.into_iter().collect();
        connections.sort_by_key(|&(id, weight)| (-weight, id));
        connections.truncate(k);
        answers.get_mut(&user).unwrap().connections = connections;
    }
    answers
}

fn answers(batches: &[RecordBatch]) -> BTreeMap<i32, Answer> {
    let mut answers = BTreeMap::new();
    for batch in batches {
        let results = batch.column(1).as_struct();
        for row in 0..batch.num_rows() {
            let connections = results.column(0).as_list::<i32>().value(row);
            let (ids, weights) = (
                connections.as_struct().column(0),
                connections.as_struct().column(1),
            );
            let ids = ids.as_primitive::<Int32Type>().values().iter().copied();
            let weights = weights.as_primitive::<Int64Type>().values().iter().copied();
            let counts = |at: usize| {
                results
                    .column(at)
                    .as_list::<i32>()
                    .value(row)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            let answer = Answer {
                connections: ids.zip(weights).collect(),
                used: counts(1),
                duplicates: counts(2),
            };
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

const SQL: &str = "SELECT user_id, top_connections(other, source, message_id, weight, 3) FROM rows GROUP BY user_id";

#[tokio::test]
async fn equals_the_reference_however_it_runs() {
    let mut random = Random(1);
    let rows = random_rows(2000, 40, &mut random);
    let expected = reference(&rows, 3);
    for setup in setups() {
        let found = query(
            SQL,
            &rows,
            |r| i64::from(r.user),
            &["user_id"],
            setup,
            batch,
        )
        .await;
        assert_eq!(answers(&found), expected, "{setup:?}");
    }
}

#[tokio::test]
async fn keeps_all_connections_when_k_is_large_and_every_k_is_a_prefix() {
    let mut random = Random(2);
    let rows = random_rows(500, 3, &mut random);
    let all = reference(&rows, usize::MAX);
    let setup = Setup {
        target_partitions: 1,
        batch_size: 8192,
        partitions: 1,
        sorted: false,
        skip_partial: false,
    };
    for k in [1, 2, 7, 20, 21, 22, 23, 1000] {
        let sql = SQL.replace("3)", &format!("{k})"));
        let found = answers(&query(&sql, &rows, |_| 0, &[], setup, batch).await);
        for (user, answer) in &all {
            assert_eq!(
                found[user].connections,
                answer.connections[..k.min(answer.connections.len())]
            );
        }
    }
}

#[tokio::test]
async fn spills_and_gives_the_same() {
    let mut random = Random(3);
    let rows = random_rows(60_000, 5_000, &mut random);
    let (batches, spills) =
        query_with_memory(SQL, cut(&rows, 3, &mut random, batch), 1 << 20).await;
    assert!(spills > 0);
    assert_eq!(answers(&batches), reference(&rows, 3));
}

#[test]
fn emits_first_groups_states_and_converted_rows() {
    let mut random = Random(4);
    let rows = random_rows(3000, 50, &mut random);
    let batches: Vec<RecordBatch> = cut(&rows, 1, &mut random, batch).remove(0);
    let arguments = batch(&[]).project(&[1, 2, 3, 4]).unwrap();
    // One group more than has rows: it is null.
    check_emission(
        || accumulator("top_connections", &arguments, &[3]),
        &batches,
        51,
    );
}

#[test]
fn holds_18_bytes_a_row() {
    let rows = random_rows(200_000, 50, &mut Random(5));
    let batch = batch(&rows);
    let (values, groups) = super::grouped(&batch);
    let mut accumulator = accumulator(
        "top_connections",
        &batch.project(&[1, 2, 3, 4]).unwrap(),
        &[3],
    );
    accumulator
        .update_batch(&values, &groups, None, 50)
        .unwrap();
    assert!(
        (18..21).contains(&(accumulator.size() / rows.len())),
        "{}",
        accumulator.size()
    );
    // What stays after an emission is counted, and no more.
    accumulator.evaluate(EmitTo::First(49)).unwrap();
    assert!(
        accumulator.size() < 24 * rows.len() / 20,
        "{}",
        accumulator.size()
    );
}

#[tokio::test]
async fn works_without_group_by_and_in_windows() {
    let context = context(Default::default(), runtime(None));
    let rows = "(VALUES (1, 5, 0, 1, 10), (1, 5, 0, 1, 10), (1, 6, 3, 2, 30), (2, 6, 1, 3, 1)) t(u, o, s, m, w)";
    let one = async |sql: String| {
        let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches)
            .unwrap()
            .to_string()
    };
    let table = one(format!(
        "SELECT top_connections(o, s, m, w, 2) a FROM {rows}"
    ))
    .await;
    assert!(
        table.contains(
            "{connections: [{id: 6, weight: 31}, {id: 5, weight: 10}], used: [1, 1, 0, 1], duplicates: [1, 0, 0, 0]}"
        ),
        "{table}"
    );
    let nothing = one(format!(
        "SELECT top_connections(o, s, m, w, 2) IS NULL a FROM {rows} WHERE u = 3"
    ))
    .await;
    assert!(nothing.contains("true"), "{nothing}");
    let window = one(format!(
        "SELECT m, (top_connections(o, s, m, w, 1) OVER (ORDER BY m))['connections'][1]['weight'] w FROM {rows} ORDER BY m"
    ))
    .await;
    for row in ["| 1 | 10 |", "| 2 | 30 |", "| 3 | 31 |"] {
        assert!(window.contains(row), "{window}");
    }
    let filtered =
        one(format!("SELECT u, top_connections(o, s, m, w, 1) FILTER (WHERE w > 1) a FROM {rows} GROUP BY u ORDER BY u")).await;
    assert!(
        filtered.contains("| 2 |      ") || filtered.contains("| 2 |  "),
        "{filtered}"
    );
}

#[tokio::test]
async fn bad_arguments_are_errors_that_name_them() {
    let context = context(Default::default(), runtime(None));
    let statements = [
        ("NULL::int, 0, 1, 1, 5", "other must not be null"),
        ("1, NULL::tinyint, 1, 1, 5", "source must not be null"),
        ("1, 0, NULL::bigint, 1, 5", "message_id must not be null"),
        ("1, 0, 1, NULL::bigint, 5", "weight must not be null"),
        (
            "1, 0, 1, 0, 5",
            "weight must be from 1 to 4294967295, not 0",
        ),
        (
            "1, 0, 1, 4294967296, 5",
            "weight must be from 1 to 4294967295, not 4294967296",
        ),
        ("1, 4, 1, 1, 5", "source must be 0, 1, 2 or 3, not 4"),
        ("1, -1, 1, 1, 5", "source must be 0, 1, 2 or 3, not -1"),
        ("1, 0, 1, 1, 0", "k must be at least 1"),
        ("1, 0, 1, 1, x", "k must be a constant"),
        ("1, 0, 1, 1", "takes 5 arguments"),
        ("1, 0, 1, 'w', 5", "weight must be a whole number"),
    ]
    .map(|(arguments, message)| {
        let sql = format!("SELECT top_connections({arguments}) FROM (VALUES (1), (2)) t(x)");
        (sql, message)
    });
    fail(&context, statements).await;
    let filtered = "SELECT top_connections(x, 0, 1, 1, 5) FILTER (WHERE x IS NOT NULL) FROM (VALUES (1), (NULL)) t(x)";
    context
        .sql(filtered)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
}
