use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int32Type, Int64Type};
use datafusion::arrow;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{Random, asked, context, fail, runtime};

/// Id, weight, standing.
type Candidate = (i32, i64, i32);

/// A connection of a user, and what it passes on.
struct Row<'a> {
    user: i32,
    reason: i32,
    candidates: &'a [Candidate],
    followed: &'a [i32],
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// Id, score, and reasons with their weights.
    recommendations: Vec<(i32, i128, Vec<(i32, i64)>)>,
    tallies: Vec<i64>,
}

/// Users with their connections and whom they follow, and the lists of candidates; null stands for none.
#[derive(Default)]
pub(super) struct People {
    pub(super) users: Vec<(i32, Vec<i32>, Option<Vec<i32>>)>,
    pub(super) lists: Vec<(i32, Option<Vec<Candidate>>)>,
}

const IDS: u64 = 60;

impl People {
    fn random(users: i32, random: &mut Random) -> Self {
        let standings: Vec<i32> = (0..=IDS)
            .map(|_| match random.below(12) {
                0 => -2,
                1 | 2 => -1,
                _ => random.below(4) as i32 * 250_000,
            })
            .collect();
        let mut some_ids = |most: u64| {
            let mut ids: Vec<i32> = (1..=IDS as i32).collect();
            random.shuffle(&mut ids);
            ids.truncate(random.below(most) as usize);
            (ids, random.below(9))
        };
        let mut people = Self::default();
        for user in 1..=users {
            let (connections, dice) = some_ids(12);
            let (followed, _) = some_ids(6);
            // Somebody twice is as good as once.
            let followed = (dice > 6).then(|| [&followed[..], &followed[..]].concat());
            people.users.push((user, connections, followed));
        }
        // Somebody is close to people who have no list at all.
        for user in 1..=IDS as i32 - 5 {
            let (ids, dice) = some_ids(15);
            let weight = |id: i32| 1 + i64::from(id % 3) + i64::from(user % 2);
            let candidates = ids
                .iter()
                .map(|&id| (id, weight(id), standings[id as usize]));
            let candidates = candidates.collect();
            people.lists.push((user, (dice > 0).then_some(candidates)));
        }
        people
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let known: BTreeMap<i32, &[Candidate]> = (self.lists.iter())
            .filter_map(|(user, list)| Some((*user, list.as_deref()?)))
            .collect();
        let mut all = Vec::new();
        for (user, connections, followed) in &self.users {
            let followed = followed.as_deref().unwrap_or_default();
            let row = |reason: i32| Row {
                user: *user,
                reason,
                candidates: known.get(&reason).copied().unwrap_or_default(),
                followed,
            };
            all.extend(connections.iter().map(|&reason| row(reason)));
            if connections.is_empty() {
                all.push(row(0));
            }
        }
        all
    }

    /// The tables `people` and `lists` in so many partitions.
    pub(super) fn register(&self, context: &SessionContext, partitions: usize) {
        let ids = |list: &Option<Vec<i32>>| {
            list.as_ref()
                .map(|ids| ids.iter().copied().map(Some).collect::<Vec<_>>())
        };
        let users = Int32Array::from_iter_values(self.users.iter().map(|user| user.0));
        let followed = ListArray::from_iter_primitive::<Int32Type, _, _>(
            self.users.iter().map(|user| ids(&user.2)),
        );
        let connection = |id: &i32| (*id, 1, 0);
        let connections = self.users.iter().map(|user| {
            let list: Vec<Candidate> = user.1.iter().map(connection).collect();
            Some(list)
        });
        let people = RecordBatch::try_from_iter_with_nullable(vec![
            ("user_id", Arc::new(users) as ArrayRef, false),
            ("connections", candidate_lists(connections), true),
            ("followed", Arc::new(followed), true),
        ]);
        let users = Int32Array::from_iter_values(self.lists.iter().map(|list| list.0));
        let lists = RecordBatch::try_from_iter_with_nullable(vec![
            ("user_id", Arc::new(users) as ArrayRef, false),
            (
                "candidates",
                candidate_lists(self.lists.iter().map(|list| list.1.clone())),
                true,
            ),
        ]);
        for (name, rows) in [("people", people.unwrap()), ("lists", lists.unwrap())] {
            let size = rows.num_rows().div_ceil(partitions).max(1);
            let starts = (0..rows.num_rows()).step_by(size);
            let parts =
                starts.map(|start| vec![rows.slice(start, size.min(rows.num_rows() - start))]);
            let table = MemTable::try_new(rows.schema(), parts.collect()).unwrap();
            context.register_table(name, Arc::new(table)).unwrap();
        }
    }
}

/// Lists of structs whose fields have other names than ours: they count by position.
fn candidate_lists(lists: impl Iterator<Item = Option<Vec<Candidate>>>) -> ArrayRef {
    let lists: Vec<_> = lists.collect();
    let all: Vec<Candidate> = lists.iter().flatten().flatten().copied().collect();
    let fields = Fields::from(vec![
        Field::new("c0", DataType::Int32, false),
        Field::new("c1", DataType::Int64, false),
        Field::new("c2", DataType::Int32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(all.iter().map(|c| c.0))),
        Arc::new(Int64Array::from_iter_values(all.iter().map(|c| c.1))),
        Arc::new(Int32Array::from_iter_values(all.iter().map(|c| c.2))),
    ];
    let item = Field::new("element", DataType::Struct(fields.clone()), false);
    Arc::new(ListArray::new(
        Arc::new(item),
        OffsetBuffer::from_lengths(lists.iter().map(|list| list.as_ref().map_or(0, Vec::len))),
        Arc::new(StructArray::new(fields, columns, None)),
        Some(NullBuffer::from_iter(lists.iter().map(Option::is_some))),
    ))
}

fn reference(people: &People, k: usize, min_pred: i64) -> BTreeMap<i32, Answer> {
    let mut users: BTreeMap<i32, Vec<&Row<'_>>> = BTreeMap::new();
    let rows = people.rows();
    for row in &rows {
        users.entry(row.user).or_default().push(row);
    }
    let answer = |user: i32, rows: Vec<&Row<'_>>| {
        let followed: BTreeSet<i32> = rows.iter().flat_map(|row| row.followed).copied().collect();
        let mut paths: BTreeMap<i32, Vec<(i64, i32, i32)>> = BTreeMap::new();
        for row in rows {
            for &(id, weight, standing) in row.candidates {
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

/// All candidates as one value, shared by the people's rows.
fn sql(connections: &str, followed: &str, arguments: &str) -> String {
    format!(
        "SELECT people.user_id, second_degree(people.user_id, {connections}, {followed}, lists.by_user, {arguments}) AS result
         FROM (SELECT 0 AS everybody, candidates_by_user(user_id, candidates) AS by_user FROM lists) AS lists
         RIGHT JOIN (SELECT 0 AS everybody, * FROM people) AS people ON lists.everybody = people.everybody"
    )
}

/// The answers to everybody, with `k` and `min_pred`.
pub(super) async fn answered(context: &SessionContext, arguments: &str) -> Vec<RecordBatch> {
    asked(context, &sql("connections", "followed", arguments)).await
}

#[tokio::test]
async fn equals_the_reference_however_it_runs() {
    let people = People::random(400, &mut Random(21));
    let expected = reference(&people, 4, 500_000);
    // Every fate occurs.
    for fate in 0..9 {
        assert!(
            expected.values().any(|answer| answer.tallies[fate] > 0),
            "{fate}"
        );
    }
    for (partitions, batch_size) in [(1, 8192), (1, 1), (3, 7), (4, 64)] {
        let config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(batch_size);
        let context = context(config, runtime(None));
        people.register(&context, partitions);
        let found = answers(&answered(&context, "4, 500000").await);
        assert_eq!(found, expected, "{partitions} partitions");
    }
}

#[tokio::test]
async fn one_value_is_as_good_as_one_in_each_row() {
    let people = People::random(50, &mut Random(22));
    let context = context(SessionConfig::new(), runtime(None));
    people.register(&context, 2);
    let constant = "SELECT user_id, second_degree(user_id, connections, followed,
            (SELECT candidates_by_user(user_id, candidates) FROM lists), 4, 500000) FROM people";
    let found = answers(&asked(&context, constant).await);
    assert_eq!(found, reference(&people, 4, 500_000));
}

#[tokio::test]
async fn scores_are_exact_beyond_64_bits() {
    let (weight, standing) = (i64::MAX / 2, i32::MAX);
    let list = Some(vec![(9, weight, standing)]);
    let people = People {
        users: vec![(1, vec![2, 3], None)],
        lists: vec![(2, list.clone()), (3, list)],
    };
    let context = context(SessionConfig::new(), runtime(None));
    people.register(&context, 1);
    let found = answers(&answered(&context, "1, 0").await);
    let score = i128::from(standing) * i128::from(2 * weight);
    assert_eq!(found[&1].recommendations[0].1, score);
}

#[tokio::test]
async fn bad_arguments_are_errors_that_name_them() {
    let context = context(SessionConfig::new(), runtime(None));
    People::random(3, &mut Random(23)).register(&context, 1);
    let null_id = "make_array(named_struct('id', NULL::int))";
    let candidate = "named_struct('id', 1::int, 'weight', 1::bigint, 'standing', 1::int)";
    let value = |user: &str, candidate: &str| {
        format!(
            "SELECT candidates_by_user({user}, make_array({candidate})) FROM (VALUES (1), (2)) t(x)"
        )
    };
    let statements = [
        (
            sql(null_id, "followed", "4, 0"),
            "connection's id must not be null",
        ),
        (
            sql("make_array(1)", "followed", "4, 0"),
            "connections must be a List of Struct",
        ),
        (
            sql("connections", "make_array(NULL::int)", "4, 0"),
            "followed id must not be null",
        ),
        (sql("connections", "7", "4, 0"), "followed must be a List"),
        (
            sql("connections", "followed", "0, 0"),
            "k must be at least 1",
        ),
        (
            sql("connections", "followed", "4, people.user_id"),
            "min_pred must be a constant",
        ),
        (sql("connections", "followed", "4"), "takes 6 arguments"),
        (
            "SELECT second_degree(user_id, connections, followed, connections, 4, 0) FROM people"
                .to_owned(),
            "must come from candidates_by_user",
        ),
        (
            value("x", &candidate.replace("1::bigint", "NULL::bigint")),
            "must not be null",
        ),
        (
            value("x", &candidate.replace("1::int)", "NULL::int)")),
            "must not be null",
        ),
        (value("NULL::int", candidate), "user_id must not be null"),
        (value("-x", candidate), "must be positive, not -1"),
        (value("5", candidate), "user 5 occurs twice"),
        (value("x", "1"), "candidates must be a List of Struct"),
    ];
    fail(&context, statements).await;
    // Followed ids of another integer type are cast.
    let casts = sql("connections", "make_array(1)", "4, 0");
    asked(&context, &casts).await;
}
