use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use datafusion::arrow;

use super::{asked, fail, session};

/// Every id that 3 divides has as many items as its remainder by 7, each twice, in no order.
const PAIRS: &str = "SELECT (id * 3)::int AS id, (item - 3)::int AS item
    FROM (SELECT x % 997 AS id, x % 7 AS item, x FROM unnest(generate_series(0, 13957)) AS t(x)) WHERE item < (id * 3) % 7";

#[tokio::test]
async fn the_items_of_each_id_are_found_in_any_order_and_no_others() {
    for (partitions, order) in [(1, "y"), (3, "y"), (2, "y DESC"), (2, "y * 7919 % 3001")] {
        let context = session(partitions);
        let sql = format!(
            "SELECT count(*) AS rows, sum(CASE WHEN found = CASE WHEN id % 3 = 0 AND id BETWEEN 1 AND 2988 AND id % 7 > 0
                        THEN arrow_cast(generate_series(-3, id % 7 - 4), 'List(Int32)')
                        ELSE arrow_cast(make_array(), 'List(Int32)') END THEN 0 ELSE 1 END) AS wrong
             FROM (
                 SELECT id, array_sort(items_of(lists, id)) AS found
                 FROM (SELECT id_lists(id, item) AS lists FROM ({PAIRS}))
                 CROSS JOIN (SELECT y::int AS id FROM unnest(generate_series(-10, 3000)) AS t(y) ORDER BY {order})
             )"
        );
        let found = asked(&context, &sql).await;
        let number = |at: usize| found[0].column(at).as_primitive::<Int64Type>().value(0);
        assert_eq!((number(0), number(1)), (3_011, 0), "{partitions} {order}");
    }
}

#[tokio::test]
async fn scalars_nothing_and_nulls() {
    let context = session(2);
    let sql = "SELECT items_of((SELECT id_lists(a, b) FROM (VALUES (1, 5), (1, 4), (2, 9)) t(a, b)), 1) AS known,
                      items_of((SELECT id_lists(a, b) FROM (VALUES (1, 5)) t(a, b) WHERE a > 1), 1) AS empty,
                      items_of((SELECT id_lists(1, 1)), NULL) AS of_null";
    let shown = pretty_format_batches(&asked(&context, sql).await).unwrap();
    assert!(
        shown.to_string().contains("| [4, 5] | []    | []      |"),
        "{shown}"
    );
}

#[tokio::test]
async fn bad_arguments_are_errors_that_name_them() {
    let context = session(1);
    let statements = [
        ("SELECT id_lists(NULL::int, 1)", "id must not be null"),
        ("SELECT id_lists(1, NULL::int)", "item must not be null"),
        ("SELECT id_lists(1)", "takes 2 arguments"),
        (
            "SELECT items_of(make_array(1), 1)",
            "must come from id_lists",
        ),
    ];
    fail(&context, statements).await;
}
