use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Fields, Int32Type, Int64Type, Schema, UInt32Type,
};
use datafusion::arrow;
use datafusion::logical_expr::EmitTo;

use super::{
    Random, accumulator, check_emission, context, cut, query, query_with_memory, runtime, setups,
};

/// Id, weight, standing.
type Candidate = (i32, i64, i32);

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub user: i32,
    pub reason: i32,
    pub candidates: Option<Vec<Candidate>>,
    pub followed: Option<Vec<i32>>,
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// Id, score, and reasons with their weights.
    recommendations: Vec<(i32, i128, Vec<(i32, i64)>)>,
    tallies: Vec<i64>,
}

const IDS: u64 = 60;

fn random_rows(users: i32, random: &mut Random) -> Vec<Row> {
    let people: Vec<i32> = (0..IDS)
        .map(|_| match random.below(12) {
            0 => -2,
            1 | 2 => -1,
            _ => random.below(4) as i32 * 250_000,
        })
        .collect();
    let mut rows = Vec::new();
    for user in 0..users {
        let mut reasons: Vec<i32> = (0..random.below(12) as i32 + 1).collect();
        random.shuffle(&mut reasons);
        for reason in reasons {
            let mut ids: Vec<i32> = (0..IDS as i32).collect();
            random.shuffle(&mut ids);
            ids.truncate(random.below(15) as usize);
            let weight = |id: i32| 1 + i64::from(id % 3) + i64::from(reason % 2);
            let candidate = |&id: &i32| (id, weight(id), people[id as usize]);
            rows.push(Row {
                user,
                reason,
                candidates: (random.below(9) > 0).then(|| ids.iter().map(candidate).collect()),
                followed: (random.below(4) == 0).then(|| {
                    (0..random.below(6))
                        .map(|_| random.below(IDS) as i32)
                        .collect()
                }),
            });
        }
    }
    rows
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let candidates: Vec<Candidate> = rows
        .iter()
        .flat_map(|r| r.candidates.iter().flatten())
        .copied()
        .collect();
    let fields = Fields::from(vec![
        Field::new("c0", DataType::Int32, false),
        Field::new("c1", DataType::Int64, false),
        Field::new("c2", DataType::Int32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(candidates.iter().map(|c| c.0))),
        Arc::new(Int64Array::from_iter_values(candidates.iter().map(|c| c.1))),
        Arc::new(Int32Array::from_iter_values(candidates.iter().map(|c| c.2))),
    ];
    let candidates = ListArray::new(
        Arc::new(Field::new(
            "element",
            DataType::Struct(fields.clone()),
            false,
        )),
        OffsetBuffer::from_lengths(
            rows.iter()
                .map(|r| r.candidates.as_ref().map_or(0, Vec::len)),
        ),
        Arc::new(StructArray::new(fields, columns, None)),
        Some(NullBuffer::from_iter(
            rows.iter().map(|r| r.candidates.is_some()),
        )),
    );
    let followed = rows
        .iter()
        .map(|r| r.followed.as_ref().map(|ids| ids.iter().copied().map(Some)));
    RecordBatch::try_from_iter_with_nullable(vec![
        (
            "user_id",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.user))) as ArrayRef,
            false,
        ),
        (
            "reason_id",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.reason))),
            false,
        ),
        ("candidates", Arc::new(candidates), true),
        (
            "followed",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(followed)),
            true,
        ),
    ])
    .unwrap()
}

fn reference(rows: &[Row], k: usize, min_pred: i64) -> BTreeMap<i32, Answer> {
    let mut users: BTreeMap<i32, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        users.entry(row.user).or_default().push(row);
    }
    let answer = |user: i32, rows: Vec<&Row>| {
        let followed: BTreeSet<i32> = rows
            .iter()
            .flat_map(|r| r.followed.iter().flatten())
            .copied()
            .collect();
        let mut paths: BTreeMap<i32, Vec<(i64, i32, i32)>> = BTreeMap::new();
        for row in rows {
            for &(id, weight, standing) in row.candidates.iter().flatten() {
                let path = (-weight, row.reason, standing);
                paths.entry(id).or_default().push(path);
            }
        }
        let mut tallies = vec![0; 9];
        tallies[0] = paths.len() as i64;
        tallies[8] = paths.values().map(Vec::len).sum::<usize>() as i64;
        let mut ranked = Vec::new();
        for (id, mut paths) in paths {
            let standing = paths[0].2;
            if id == user {
                tallies[1] += 1;
            } else if followed.contains(&id) {
                tallies[2] += 1;
            } else if standing == -2 {
                tallies[3] += 1;
            } else if standing == -1 {
                tallies[4] += 1;
            } else if i64::from(standing) < min_pred {
                tallies[5] += 1;
            } else {
                paths.sort();
                let weight: i128 = paths.iter().map(|p| -i128::from(p.0)).sum();
                let reasons = paths.iter().map(|p| (p.1, -p.0)).collect();
                ranked.push((id, weight * i128::from(standing), reasons));
            }
        }
        ranked.sort_by_key(|&(id, score, _)| (-score, id));
        tallies[6] = ranked.len().saturating_sub(k) as i64;
        ranked.truncate(k);
        tallies[7] = ranked.len() as i64;
        Answer {
            recommendations: ranked,
            tallies,
        }
    };
    users
        .into_iter()
        .map(|(user, rows)| (user, answer(user, rows)))
        .collect()
}

fn answers(batches: &[RecordBatch]) -> BTreeMap<i32, Answer> {
    let mut answers = BTreeMap::new();
    for batch in batches {
        let results = batch.column(1).as_struct();
        for row in 0..batch.num_rows() {
            let list = results.column(0).as_list::<i32>().value(row);
            let list = list.as_struct();
            let reasons = results.column(1).as_list::<i32>().value(row);
            let reasons = reasons.as_struct();
            let ids = |list: &StructArray, at: usize| -> Vec<i32> {
                list.column(at)
                    .as_primitive::<Int32Type>()
                    .values()
                    .to_vec()
            };
            let weights = reasons.column(2).as_primitive::<Int64Type>();
            let (recommended, reason_ids) = (ids(reasons, 0), ids(reasons, 1));
            let scores = list.column(1).as_primitive::<Decimal128Type>();
            let rec_ids = ids(list, 0);
            let mut in_order = recommended.clone();
            in_order.dedup();
            assert_eq!(
                in_order, rec_ids,
                "reasons are in the order of the recommended"
            );
            let recommendation = |at: usize| {
                let of = |&reason: &usize| recommended[reason] == rec_ids[at];
                let reasons = (0..reasons.len()).filter(of);
                let reasons = reasons.map(|reason| (reason_ids[reason], weights.value(reason)));
                (rec_ids[at], scores.value(at), reasons.collect())
            };
            let tallies = results.column(2).as_struct().columns();
            let answer = Answer {
                recommendations: (0..list.len()).map(recommendation).collect(),
                tallies: tallies
                    .iter()
                    .map(|tally| tally.as_primitive::<Int64Type>().value(row))
                    .collect(),
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

const SQL: &str = "SELECT user_id, second_degree(user_id, reason_id, candidates, followed, 4, 500000) FROM rows GROUP BY user_id";

#[tokio::test]
async fn equals_the_reference_however_it_runs() {
    let mut random = Random(21);
    let rows = random_rows(60, &mut random);
    let expected = reference(&rows, 4, 500_000);
    // Every fate occurs.
    for fate in 0..9 {
        assert!(
            expected.values().any(|answer| answer.tallies[fate] > 0),
            "{fate}"
        );
    }
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
async fn spills_and_gives_the_same() {
    let mut random = Random(23);
    let rows = random_rows(3000, &mut random);
    let (batches, spills) =
        query_with_memory(SQL, cut(&rows, 3, &mut random, batch), 3 << 20).await;
    assert!(spills > 0);
    assert_eq!(answers(&batches), reference(&rows, 4, 500_000));
}

/// The user is also the group here, so the argument columns are the group column and all others.
fn with_group(batch: &RecordBatch) -> RecordBatch {
    let group = Arc::clone(batch.column(0));
    let mut fields = vec![Arc::new(Field::new("group", DataType::Int32, false))];
    fields.extend(batch.schema().fields().iter().cloned());
    let columns = [&[group], batch.columns()].concat();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn emits_first_groups_states_and_converted_rows() {
    let mut random = Random(24);
    let mut rows = random_rows(50, &mut random);
    random.shuffle(&mut rows);
    let batches = cut(&rows, 1, &mut random, |rows| with_group(&batch(rows))).remove(0);
    check_emission(
        || accumulator("second_degree", &batch(&[]), &[4, 500_000]),
        &batches,
        51,
    );
}

/// The batch with its lists of candidates in the opposite order, and references to them.
fn by_reference(batch: &RecordBatch) -> RecordBatch {
    let rows = batch.num_rows() as u32;
    let backwards = UInt32Array::from_iter_values((0..rows).rev());
    let at = batch.schema().index_of("candidates").unwrap();
    let lists = take(batch.column(at), &backwards, None).unwrap();
    let keys = backwards.values().iter();
    let keys = keys.map(|&key| lists.is_valid(key as usize).then_some(key));
    let referred = DictionaryArray::<UInt32Type>::new(keys.collect(), lists);
    let mut columns: Vec<(String, ArrayRef)> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .zip(batch.columns().iter().cloned())
        .collect();
    columns[at].1 = Arc::new(referred);
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn references_to_lists_are_as_good_as_lists() {
    let mut random = Random(25);
    let rows = random_rows(50, &mut random);
    let lists = with_group(&batch(&rows));
    let referred = by_reference(&lists);
    let evaluated = |batch: &RecordBatch| {
        let (values, groups) = super::grouped(batch);
        let mut accumulator = accumulator(
            "second_degree",
            &batch.project(&[1, 2, 3, 4]).unwrap(),
            &[4, 500_000],
        );
        accumulator
            .update_batch(&values, &groups, None, 51)
            .unwrap();
        accumulator.evaluate(EmitTo::All).unwrap()
    };
    assert_eq!(&evaluated(&lists), &evaluated(&referred));
    let batches = cut(&rows, 3, &mut random, |rows| {
        by_reference(&with_group(&batch(rows)))
    })
    .remove(0);
    check_emission(
        || accumulator("second_degree", &by_reference(&batch(&[])), &[4, 500_000]),
        &batches,
        51,
    );
}

#[test]
fn scores_are_exact_beyond_64_bits() {
    let weight = i64::MAX / 2;
    let standing = i32::MAX;
    let row = |reason| Row {
        user: 1,
        reason,
        candidates: Some(vec![(9, weight, standing)]),
        followed: None,
    };
    let batch = with_group(&batch(&[row(2), row(3)]));
    let (values, _) = super::grouped(&batch);
    let mut accumulator = accumulator(
        "second_degree",
        &batch.project(&[1, 2, 3, 4]).unwrap(),
        &[1, 0],
    );
    accumulator.update_batch(&values, &[0, 0], None, 1).unwrap();
    let result = accumulator.evaluate(EmitTo::All).unwrap();
    let list = result.as_struct().column(0).as_list::<i32>().value(0);
    let score = list
        .as_struct()
        .column(1)
        .as_primitive::<Decimal128Type>()
        .value(0);
    assert_eq!(score, i128::from(standing) * i128::from(2 * weight));
}

#[test]
fn sorted_input_is_held_no_longer_than_needed_and_counted_by_its_share() {
    let mut random = Random(25);
    let rows = random_rows(500, &mut random);
    let whole = with_group(&batch(&rows));
    let mut accumulator = accumulator("second_degree", &batch(&[]), &[4, 0]);
    let (mut most, mut first) = (0, 0);
    for start in (0..whole.num_rows()).step_by(100) {
        // Slices of one large batch, as an aggregate or a join may emit them.
        let slice = whole.slice(start, 100.min(whole.num_rows() - start));
        let (values, users) = super::grouped(&slice);
        let groups: Vec<usize> = users.iter().map(|user| user - first).collect();
        let last = *users.last().unwrap();
        accumulator
            .update_batch(&values, &groups, None, last + 1 - first)
            .unwrap();
        most = most.max(accumulator.size());
        if last > first {
            assert_eq!(
                accumulator
                    .evaluate(EmitTo::First(last - first))
                    .unwrap()
                    .len(),
                last - first
            );
            first = last;
        }
    }
    assert!(
        most < whole.get_array_memory_size() / 3,
        "{most} of {}",
        whole.get_array_memory_size()
    );
    accumulator.evaluate(EmitTo::All).unwrap();
}

#[tokio::test]
async fn bad_arguments_are_errors_that_name_them() {
    let context = context(Default::default(), runtime(None));
    let candidate = "named_struct('id', 1::int, 'weight', 1::bigint, 'standing', 1::int)";
    let list = format!("make_array({candidate})");
    let null_weight = list.replace("1::bigint, ", "NULL::bigint, ");
    let null_standing = list.replace("1::int)", "NULL::int)");
    for (arguments, message) in [
        (
            format!("NULL::int, 1, {list}, NULL, 5, 0"),
            "user_id must not be null",
        ),
        (
            format!("1, NULL::int, {list}, NULL, 5, 0"),
            "reason_id must not be null",
        ),
        (
            format!("1, 1, {null_weight}, NULL, 5, 0"),
            "id, weight and standing must not be null",
        ),
        (
            format!("1, 1, {null_standing}, NULL, 5, 0"),
            "id, weight and standing must not be null",
        ),
        (
            format!("1, 1, {list}, make_array(NULL::int), 5, 0"),
            "followed id must not be null",
        ),
        (
            format!(
                "1, 1, arrow_cast({list}, 'LargeList(Struct(\"id\": Int32, \"weight\": Int64, \"standing\": Int32))'), NULL, 5, 0"
            ),
            "candidates must be a List of Struct",
        ),
        (
            "1, 1, make_array(1), NULL, 5, 0".to_owned(),
            "candidates must be a List of Struct",
        ),
        (format!("1, 1, {list}, 7, 5, 0"), "followed must be a List"),
        (format!("1, 1, {list}, NULL, 0, 0"), "k must be at least 1"),
        (
            format!("1, 1, {list}, NULL, 5, x"),
            "min_pred must be a constant",
        ),
        (
            format!("x, 1, {list}, NULL, 5, 0"),
            "needs GROUP BY user_id",
        ),
        (format!("1, 1, {list}"), "takes 6 arguments"),
    ] {
        let sql = format!("SELECT second_degree({arguments}) FROM (VALUES (1), (2)) t(x)");
        let error = match context.sql(&sql).await {
            Ok(frame) => frame.collect().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(message), "{arguments}: {error}");
    }
    // Followed ids of another integer type are cast.
    let sql = format!(
        "SELECT second_degree(x, 5, {list}, make_array(1), 5, 0)['tallies']['followed'] f FROM (VALUES (2)) t(x)"
    );
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 1);
}
