use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use datafusion::arrow;
use std::sync::Arc;

use super::{Random, accumulator, check_emission, cut, query, query_with_memory, setups};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    remainder: i32,
    id: i64,
    created_at: i64,
    user: i32,
}

/// Of seven groups; three of four ids are some row's alone.
fn random_rows(count: usize, random: &mut Random) -> Vec<Row> {
    (0..count)
        .map(|_| {
            let id = match random.below(4) {
                0 => random.below(100) as i64 - 50,
                _ => random.next() as i64,
            };
            Row {
                remainder: (id % 7) as i32,
                id,
                created_at: random.below(3) as i64,
                user: random.below(3) as i32,
            }
        })
        .collect()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
    };
    let small = |of: fn(&Row) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rows.iter().map(of)))
    };
    RecordBatch::try_from_iter([
        ("remainder", small(|row| row.remainder)),
        ("id", numbers(|row| row.id)),
        ("created_at", numbers(|row| row.created_at)),
        ("user_id", small(|row| row.user)),
    ])
    .unwrap()
}

fn reference(rows: &[Row]) -> BTreeMap<i32, Vec<Row>> {
    let mut known: BTreeMap<i64, usize> = BTreeMap::new();
    for row in rows {
        *known.entry(row.id).or_default() += 1;
    }
    let mut answer: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let group = answer.entry(row.remainder).or_default();
        if known[&row.id] > 1 {
            group.push(*row);
        }
    }
    answer.values_mut().for_each(|group| group.sort());
    answer
}

fn answers(batches: &[RecordBatch]) -> BTreeMap<i32, Vec<Row>> {
    let mut answers = BTreeMap::new();
    for batch in batches {
        let remainders = batch.column(0).as_primitive::<Int32Type>();
        let lists = batch.column(1).as_list::<i32>();
        for group in 0..batch.num_rows() {
            let rows = lists.value(group);
            let columns = rows.as_struct().columns();
            let remainder = remainders.value(group);
            let rows = (0..rows.len()).map(|at| Row {
                remainder,
                id: columns[0].as_primitive::<Int64Type>().value(at),
                created_at: columns[1].as_primitive::<Int64Type>().value(at),
                user: columns[2].as_primitive::<Int32Type>().value(at),
            });
            assert!(answers.insert(remainder, rows.collect()).is_none());
        }
    }
    answers
}

const SQL: &str =
    "SELECT remainder, duplicates(id, created_at, user_id) FROM rows GROUP BY remainder";

#[tokio::test]
async fn equals_the_reference_however_it_runs() {
    let rows = random_rows(2000, &mut Random(21));
    let expected = reference(&rows);
    assert!(expected.values().any(|group| group.len() > 10));
    for setup in setups() {
        let key = |row: &Row| i64::from(row.remainder);
        let found = query(SQL, &rows, key, &["remainder"], setup, batch).await;
        assert_eq!(answers(&found), expected, "{setup:?}");
    }
}

#[tokio::test]
async fn spills_and_gives_the_same() {
    let mut random = Random(22);
    let mut rows = random_rows(40_000, &mut random);
    for row in &mut rows {
        row.remainder = (row.id % 1009) as i32;
    }
    let table = cut(&rows, 3, &mut random, batch);
    let (batches, spills) = query_with_memory(SQL, table, 1 << 20).await;
    assert!(spills > 0);
    assert_eq!(answers(&batches), reference(&rows));
}

#[test]
fn emits_first_groups_states_and_converted_rows() {
    let mut random = Random(23);
    let mut rows = random_rows(3000, &mut random);
    for row in &mut rows {
        row.remainder = row.id.rem_euclid(50) as i32;
    }
    let batches: Vec<RecordBatch> = cut(&rows, 1, &mut random, batch).remove(0);
    let arguments = batch(&[]).project(&[1, 2, 3]).unwrap();
    check_emission(|| accumulator("duplicates", &arguments, &[]), &batches, 51);
}
