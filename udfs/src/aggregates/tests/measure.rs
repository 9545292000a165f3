//! Speed and memory of the accumulators by themselves, one thread:
//! `cargo test --release --workspace --lib measure -- --ignored --nocapture --test-threads 1`

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use datafusion::arrow;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::prelude::SessionConfig;

use super::second_degree::{People, answered};
use super::{Random, accumulator, context, grouped, runtime};

const BATCH: usize = 8192;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Times updating and evaluating, and the way over states; the first column is the group.
fn measure(
    what: &str,
    make: impl Fn() -> Box<dyn GroupsAccumulator>,
    batches: &[RecordBatch],
    groups: usize,
) {
    let inputs: Vec<_> = batches.iter().map(grouped).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let timed = |step: &str, start: Instant| {
        println!("{what}: {step} {:.3} s", start.elapsed().as_secs_f64())
    };
    let update = |accumulator: &mut dyn GroupsAccumulator| {
        for (values, indices) in &inputs {
            accumulator
                .update_batch(values, indices, None, groups)
                .unwrap();
        }
    };
    let mut whole = make();
    let start = Instant::now();
    update(whole.as_mut());
    timed("update", start);
    println!(
        "{what}: {rows} rows, {:.1} bytes a row",
        whole.size() as f64 / rows as f64
    );
    let start = Instant::now();
    let result = whole.evaluate(EmitTo::All).unwrap();
    timed("evaluate", start);
    println!(
        "{what}: {} MB of results",
        result.get_array_memory_size() >> 20
    );

    let mut partial = make();
    update(partial.as_mut());
    let start = Instant::now();
    let state = partial.state(EmitTo::All).unwrap();
    timed("state", start);
    let indices: Vec<usize> = (0..groups).collect();
    let start = Instant::now();
    let mut merged = make();
    merged.merge_batch(&state, &indices, groups).unwrap();
    timed("merge", start);
    let start = Instant::now();
    let converted: Vec<_> = inputs
        .iter()
        .map(|(values, _)| merged.convert_to_state(values, None).unwrap())
        .collect();
    timed("convert", start);
    let start = Instant::now();
    let mut merged = make();
    for (state, (_, indices)) in converted.iter().zip(&inputs) {
        merged.merge_batch(state, indices, groups).unwrap();
    }
    timed("merge converted", start);
}

#[test]
#[ignore = "a measurement"]
fn measure_top_connections() {
    const USERS: u64 = 300_000;
    let mut random = Random(1);
    let batches: Vec<RecordBatch> = (0..10_000_000 / BATCH)
        .map(|_| {
            let mut numbers = |below: u64| {
                (0..BATCH)
                    .map(|_| random.below(below) as i64)
                    .collect::<Vec<_>>()
            };
            let small = |numbers: Vec<i64>| numbers.into_iter().map(|n| n as i32);
            batch(vec![
                (
                    "user",
                    Arc::new(Int32Array::from_iter_values(small(numbers(USERS)))),
                ),
                (
                    "other",
                    Arc::new(Int32Array::from_iter_values(small(numbers(USERS)))),
                ),
                (
                    "source",
                    Arc::new(Int8Array::from_iter_values(
                        numbers(4).into_iter().map(|n| n as i8),
                    )),
                ),
                ("message", Arc::new(Int64Array::from(numbers(1 << 40)))),
                (
                    "weight",
                    Arc::new(Int64Array::from_iter_values(
                        numbers(7_776_000).into_iter().map(|n| n + 1),
                    )),
                ),
            ])
        })
        .collect();
    let arguments = batches[0].project(&[1, 2, 3, 4]).unwrap();
    measure(
        "top_connections",
        || accumulator("top_connections", &arguments, &[50]),
        &batches,
        USERS as usize,
    );
}

#[test]
#[ignore = "a measurement"]
fn measure_weekly_document() {
    const GROUPS: u64 = 200_000;
    let mut random = Random(2);
    let text = "bullish on this one and buying more while it is cheap because earnings will beat everything expected http";
    let batches: Vec<RecordBatch> = (0..1_000_000 / BATCH)
        .map(|_| {
            let groups =
                Int32Array::from_iter_values((0..BATCH).map(|_| random.below(GROUPS) as i32));
            let times =
                Int64Array::from_iter_values((0..BATCH).map(|_| random.below(604_800) as i64));
            let ids =
                Int64Array::from_iter_values((0..BATCH).map(|_| random.below(1 << 40) as i64));
            let bodies = StringArray::from_iter_values(
                (0..BATCH).map(|_| &text[..random.below(text.len() as u64) as usize]),
            );
            let descs = StringArray::from_iter_values(
                (0..BATCH).map(|_| &text[..random.below(20) as usize]),
            );
            batch(vec![
                ("group", Arc::new(groups)),
                ("created_at", Arc::new(times)),
                ("id", Arc::new(ids)),
                ("body", Arc::new(bodies)),
                ("desc", Arc::new(descs)),
                (
                    "superseded",
                    Arc::new(BooleanArray::from(vec![false; BATCH])),
                ),
            ])
        })
        .collect();
    let arguments = batches[0].project(&[1, 2, 3, 4, 5]).unwrap();
    measure(
        "weekly_document",
        || accumulator("weekly_document", &arguments, &[]),
        &batches,
        GROUPS as usize,
    );
}

/// 56,000 users with 25 connections of 50 candidates each make 70 million paths.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_second_degree() {
    const LISTS: i32 = 5000;
    let mut random = Random(3);
    let candidate = |id: u64| {
        (
            id as i32,
            1 + (id % 7_776_000) as i64,
            (id % 1_000_001) as i32,
        )
    };
    let mut people = People::default();
    for user in 1..=LISTS {
        let list = (0..50).map(|_| candidate(random.below(300_000))).collect();
        people.lists.push((user, Some(list)));
    }
    for user in 1..=56_000 {
        let connections = (0..25)
            .map(|_| 1 + random.below(LISTS as u64) as i32)
            .collect();
        let followed = (0..80).map(|_| random.below(300_000) as i32).collect();
        people.users.push((user, connections, Some(followed)));
    }
    let config = SessionConfig::new().with_target_partitions(1);
    let context = context(config, runtime(None));
    people.register(&context, 1);
    let start = Instant::now();
    let found = answered(&context, "20, 100000").await;
    let seconds = start.elapsed().as_secs_f64();
    let recommended: usize = found
        .iter()
        .map(|batch| {
            batch
                .column(1)
                .as_struct()
                .column(0)
                .as_list::<i32>()
                .values()
                .len()
        })
        .sum();
    println!("second_degree: 70 million paths {seconds:.3} s, {recommended} recommended");
}
