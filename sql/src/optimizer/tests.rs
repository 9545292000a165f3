//! The rules change no row and no order.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext, col};

use super::rules;

/// A session with the rules or without them, with a table `t` in the order of `id` and in batches of 100 rows.
async fn session(with_rules: bool, rows: &str, partitions: usize) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(100);
    let builder = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config);
    let builder = match with_rules {
        true => rules()
            .into_iter()
            .fold(builder, SessionStateBuilder::with_physical_optimizer_rule),
        false => builder,
    };
    let context = SessionContext::new_with_state(builder.build());
    let frame = context.sql(&format!("{rows} ORDER BY id")).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    assert!(batches.len() > 3);
    let table = MemTable::try_new(schema, vec![batches]).unwrap();
    let table = table.with_sort_order(vec![vec![col("id").sort(true, false)]]);
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

async fn answered(context: &SessionContext, sql: &str) -> (Arc<dyn ExecutionPlan>, RecordBatch) {
    let plan = context.sql(sql).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx())
        .await
        .unwrap();
    let rows = concat_batches(&plan.schema(), &batches).unwrap();
    (plan, rows)
}

/// What the statement gives with the rules, by way of the operator of that name, is what it gives without them, in that order.
async fn same(rows: &str, sql: &str, operator: &str) {
    let (plan, found) = answered(&session(true, rows, 1).await, sql).await;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(shown.contains(operator), "{shown}");
    let (_, expected) = answered(&session(false, rows, 1).await, sql).await;
    assert!(expected.num_rows() > 1000);
    assert_eq!(found, expected, "{sql}");
}

/// Lists of 0 to 6 elements; `twice` has the same lengths as `once`, `odd` others, `holes` has nulls.
const LISTS: &str = "SELECT id, 'text ' || id AS text,
        CASE WHEN id % 7 = 0 THEN arrow_cast(make_array(), 'List(Int64)') ELSE generate_series(1, id % 7) END AS once,
        CASE WHEN id % 7 = 0 THEN arrow_cast(make_array(), 'List(Int64)') ELSE generate_series(id, id + id % 7 - 1) END AS twice,
        generate_series(1, 1 + id % 3) AS odd,
        CASE WHEN id % 500 <> 4 THEN generate_series(1, 1 + id % 2) END AS holes
    FROM (SELECT value AS id FROM generate_series(1, 1700))";

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_unnested_as_datafusion_does() {
    for sql in [
        "SELECT id, unnest(once) AS one FROM t",
        "SELECT unnest(once) AS one FROM t",
        "SELECT unnest(twice) AS two, id, text, unnest(once) AS one FROM t",
        "SELECT id, unnest(odd) AS odd, unnest(once) AS one FROM t",
        "SELECT id, unnest(holes) AS h, text FROM t",
        "SELECT id, text, unnest(once) AS one FROM t WHERE id % 5 > 0",
        "SELECT id, unnest(once) AS one, unnest(twice) AS two FROM t WHERE id % 7 <> 0",
    ] {
        same(LISTS, sql, "UnnestInPlaceExec").await;
    }
}

#[tokio::test]
async fn batches_end_at_multiples_of_their_size() {
    let context = session(true, LISTS, 1).await;
    let sql = "SELECT id, unnest(once) AS one FROM t";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let mut ends = batches.iter().scan(0, |end, batch| {
        *end += batch.num_rows();
        Some(*end)
    });
    let last: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert!(ends.any(|end| end % 100 == 0));
    let sizes = batches.iter().map(RecordBatch::num_rows);
    assert!(sizes.filter(|&rows| rows == 100).count() > last / 100 / 2);
    assert!(batches.iter().all(|batch| batch.num_rows() <= 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_before_a_division_collect_nothing() {
    // Of the first batches no row, a few, all.
    let sql = "SELECT id, count(*) OVER (PARTITION BY id % 7 ORDER BY id) AS n FROM (
        SELECT * FROM t WHERE id > 190 UNION ALL SELECT id + 1, text, once, twice, odd, holes FROM t WHERE id % 3 = 0
    ) ORDER BY id, n";
    let batch_sizes = |plan: &Arc<dyn ExecutionPlan>| {
        let mut sizes = Vec::new();
        plan.apply(|plan| {
            let filter = plan.downcast_ref::<FilterExec>();
            sizes.extend(filter.map(FilterExec::batch_size));
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        sizes
    };
    let (plan, found) = answered(&session(true, LISTS, 3).await, sql).await;
    assert_eq!(batch_sizes(&plan), [1, 1]);
    let (plan, expected) = answered(&session(false, LISTS, 3).await, sql).await;
    assert!(batch_sizes(&plan).iter().all(|&size| size > 1));
    assert!(expected.num_rows() > 1000);
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn dealt_batches_come_back_in_their_order() {
    let rows = "SELECT value / 3 AS id, value AS x FROM generate_series(1, 5000)";
    for sql in [
        "SELECT id, x * 2 AS y FROM t WHERE x % 10 > 2 ORDER BY id",
        "SELECT t.id, t.x, s.y FROM (SELECT 1 AS one, 5 AS y) AS s RIGHT JOIN (SELECT 1 AS one, id, x FROM t) AS t
         ON s.one = t.one ORDER BY id",
    ] {
        // Equal keys come in any order: the other columns are compared as sets.
        let (plan, found) = answered(&session(true, rows, 3).await, sql).await;
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let dealt = shown.contains("RoundRobinBatch");
        assert_eq!(dealt, shown.contains("MergeRunsExec"), "{shown}");
        let (_, expected) = answered(&session(false, rows, 3).await, sql).await;
        assert_eq!(found.column(0), expected.column(0), "{sql}");
        let sorted = |batch: RecordBatch| async {
            let context = SessionContext::new();
            context.register_batch("b", batch).unwrap();
            answered(&context, "SELECT * FROM b ORDER BY 1, 2").await.1
        };
        assert_eq!(sorted(found).await, sorted(expected).await);
    }
}
