//! The plan that `second_degree` is made for, and the SQL and settings that lead to it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::arrow;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::second_degree::{Row, batch};
use super::{Random, context, runtime};

/// Three things make the plan:
/// - The count over each user has no other purpose than to have the edges, which are small, partitioned by user and
///   sorted by user. `n > 0` keeps it from being optimised away.
/// - A hash join builds its left side and keeps the order of its right side: the edges stay on the right.
/// - The lists are attached last, so they are copied once, and `followed` only to one row per user.
const SQL: &str = "
    SELECT e.user_id, second_degree(e.user_id, e.closest_connection, l.candidates, e.followed, 20, 500000) AS result
    FROM lists l
    JOIN (
        SELECT e.user_id, e.closest_connection, f.followed
        FROM follows f
        RIGHT JOIN (
            SELECT user_id, closest_connection, rank, count(*) OVER (PARTITION BY user_id) AS n FROM edges
        ) e ON f.user_id = e.user_id AND e.rank = 1
        WHERE e.n > 0
    ) e ON l.user_id = e.closest_connection
    GROUP BY e.user_id";

/// Left remains left; whatever is on the left is collected, not partitioned by the join key; and what is partitioned by
/// user stays so however few partitions there are.
const SETTINGS: [(&str, &str); 4] = [
    ("datafusion.optimizer.join_reordering", "false"),
    (
        "datafusion.optimizer.hash_join_single_partition_threshold",
        "1000000000000",
    ),
    (
        "datafusion.optimizer.hash_join_single_partition_threshold_rows",
        "1000000000000",
    ),
    ("datafusion.optimizer.subset_repartition_threshold", "1"),
];

fn tables(context: &SessionContext) {
    let mut random = Random(31);
    let mut edges: Vec<(i32, i32, i32)> = (0..200)
        .flat_map(|user| {
            let connections = (0..user % 9).map(|rank| ((user * 31 + rank * 7) % 200, rank + 1));
            connections
                .map(move |(connection, rank)| (user, connection, rank))
                .collect::<Vec<_>>()
        })
        .collect();
    random.shuffle(&mut edges);
    let column = |of: fn(&(i32, i32, i32)) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(edges.iter().map(of)))
    };
    let edges = RecordBatch::try_from_iter([
        ("user_id", column(|edge| edge.0)),
        ("closest_connection", column(|edge| edge.1)),
        ("rank", column(|edge| edge.2)),
    ])
    .unwrap();
    let users: Vec<Row> = (0..200)
        .map(|user| Row {
            user,
            reason: 0,
            candidates: Some(
                (0..5)
                    .map(|i| ((user * 17 + i * 29) % 200, 1 + i64::from(i), 500_000))
                    .collect(),
            ),
            followed: Some(vec![(user * 17 + 29) % 200]),
        })
        .collect();
    let users = batch(&users);
    for (name, table) in [
        ("edges", edges),
        ("lists", users.project(&[0, 2]).unwrap()),
        ("follows", users.project(&[0, 3]).unwrap()),
    ] {
        let half = table.num_rows() / 2;
        let partitions = vec![
            vec![table.slice(0, half)],
            vec![table.slice(half, table.num_rows() - half)],
        ];
        let table = MemTable::try_new(table.schema(), partitions).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
}

async fn plan_and_rows(settings: &[(&str, &str)]) -> (String, String) {
    let mut config = SessionConfig::new()
        .with_target_partitions(2)
        .with_batch_size(64);
    for (key, value) in settings {
        config.options_mut().set(key, value).unwrap();
    }
    let context = context(config, runtime(None));
    tables(&context);
    let plan = context
        .sql(SQL)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let plan = displayable(plan.as_ref()).indent(false).to_string();
    let rows = context
        .sql(&format!("{SQL} ORDER BY user_id"))
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    (plan, pretty_format_batches(&rows).unwrap().to_string())
}

/// ```text
/// ProjectionExec: expr=[user_id, second_degree(...) as result]
///   AggregateExec: mode=SinglePartitioned, gby=[user_id], aggr=[second_degree(...)], ordering_mode=Sorted
///     HashJoinExec: mode=CollectLeft, join_type=Inner, on=[(user_id, closest_connection)]
///       CoalescePartitionsExec
///         DataSourceExec: lists
///       HashJoinExec: mode=CollectLeft, join_type=Right, on=[(user_id, user_id)], filter=rank = 1
///         CoalescePartitionsExec
///           DataSourceExec: follows
///         FilterExec: n > 0
///           WindowAggExec: count(*) OVER (PARTITION BY user_id)
///             SortExec: expr=[user_id], preserve_partitioning=[true]
///               RepartitionExec: partitioning=Hash([user_id], 2)
///                 DataSourceExec: edges
/// ```
#[tokio::test]
async fn second_degree_runs_sorted_and_in_one_stage() {
    let (plan, rows) = plan_and_rows(&SETTINGS).await;
    let operators: Vec<&str> = plan
        .lines()
        .map(|line| line.trim().split(':').next().unwrap_or_default())
        .collect();
    let expected = [
        "ProjectionExec",
        "AggregateExec",
        "HashJoinExec",
        "CoalescePartitionsExec",
        "DataSourceExec",
        "HashJoinExec",
        "CoalescePartitionsExec",
        "DataSourceExec",
        "FilterExec",
        "WindowAggExec",
        "SortExec",
        "RepartitionExec",
        "DataSourceExec",
    ];
    assert_eq!(operators, expected, "{plan}");
    let aggregate = plan.lines().nth(1).unwrap();
    assert!(
        aggregate.contains("mode=SinglePartitioned") && aggregate.ends_with("ordering_mode=Sorted"),
        "{plan}"
    );
    for detail in [
        "mode=CollectLeft, join_type=Inner",
        "mode=CollectLeft, join_type=Right",
        "SortExec: expr=[user_id@0 ASC NULLS LAST], preserve_partitioning=[true]",
        "RepartitionExec: partitioning=Hash([user_id@0], 2)",
    ] {
        assert_eq!(plan.matches(detail).count(), 1, "{detail} in {plan}");
    }
    // Any other plan gives the same rows.
    let (other_plan, other_rows) = plan_and_rows(&[
        (
            "datafusion.optimizer.hash_join_single_partition_threshold",
            "0",
        ),
        (
            "datafusion.optimizer.hash_join_single_partition_threshold_rows",
            "0",
        ),
    ])
    .await;
    assert!(other_plan.contains("mode=FinalPartitioned"), "{other_plan}");
    assert!(rows.contains("followed: 1"), "{rows}");
    assert_eq!(rows, other_rows);
}
