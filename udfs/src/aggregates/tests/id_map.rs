use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::arrow;

use super::{asked, fail, session};

/// Each id three times with other values; every third id is known.
const KNOWN: &str = "SELECT (x % 5000 * 3 + 1)::int AS id, (x % 5000 + x / 5000)::int AS value
    FROM unnest(generate_series(0, 14999)) AS t(x)";

#[tokio::test]
async fn the_smallest_value_of_each_id_is_found_and_no_other() {
    for partitions in [1, 3] {
        let context = session(partitions);
        let sql = format!(
            "SELECT count(*) AS rows, count(found) AS known,
                    sum(CASE WHEN (id % 3 = 1) = (found IS NOT NULL) AND found IS DISTINCT FROM (id - 1) / 3 + 1 THEN 0 ELSE 1 END) AS wrong
             FROM (
                 SELECT id, mapped(map, id) AS found
                 FROM (SELECT id_map(id, value) AS map FROM ({KNOWN}))
                 CROSS JOIN (SELECT y::int AS id FROM unnest(generate_series(-10, 15000)) AS t(y))
             )"
        );
        let found = asked(&context, &sql).await;
        let number = |at: usize| found[0].column(at).as_primitive::<Int64Type>().value(0);
        assert_eq!((number(0), number(1)), (15_011, 5_000));
        assert_eq!(number(2), 0, "{partitions} partitions");
    }
}

#[tokio::test]
async fn a_scalar_map_and_one_of_nothing_are_maps() {
    let context = session(2);
    let sql = format!(
        "SELECT mapped((SELECT id_map(id, value) FROM ({KNOWN})), 4) AS known,
                mapped((SELECT id_map(id, value) FROM ({KNOWN}) WHERE id < 0), 4) AS empty,
                mapped((SELECT id_map(id, value) FROM ({KNOWN})), NULL) AS of_null"
    );
    let found = asked(&context, &sql).await;
    let value = |at: usize| {
        found[0]
            .column(at)
            .as_primitive::<Int32Type>()
            .iter()
            .next()
            .unwrap()
    };
    assert_eq!((value(0), value(1), value(2)), (Some(1), None, None));
}

#[tokio::test]
async fn standings_are_added_to_lists() {
    let context = session(2);
    let sql = "SELECT user_id, with_standing(connections, map) AS candidates
        FROM (SELECT id_map(id, value) AS map FROM (VALUES (1::int, 700000::int), (2, -2)) t(id, value))
        CROSS JOIN (
            SELECT user_id, array_agg(named_struct('id', id::int, 'weight', 10 * id::bigint) ORDER BY id) AS connections
            FROM (VALUES (7, 1), (7, 2), (8, 3), (8, 1)) t(user_id, id) GROUP BY user_id
            UNION ALL
            SELECT 9, arrow_cast(NULL, 'List(Struct(\"id\": Int32, \"weight\": Int64))')
        )
        ORDER BY user_id";
    let found = asked(&context, sql).await;
    let shown = pretty_format_batches(&found).unwrap().to_string();
    for row in [
        "| 7       | [{id: 1, weight: 10, standing: 700000}, {id: 2, weight: 20, standing: -2}] |",
        "| 8       | [{id: 1, weight: 10, standing: 700000}, {id: 3, weight: 30, standing: -1}] |",
        "| 9       |  ",
    ] {
        assert!(shown.contains(row), "{shown}");
    }
}

#[tokio::test]
async fn bad_arguments_are_errors_that_name_them() {
    let context = session(1);
    let statements = [
        ("SELECT id_map(0, 1)", "an id must be positive, not 0"),
        ("SELECT id_map(NULL::int, 1)", "id must not be null"),
        ("SELECT id_map(1, NULL::int)", "value must not be null"),
        ("SELECT id_map(1)", "takes 2 arguments"),
        ("SELECT mapped(make_array(1), 1)", "must come from id_map"),
        (
            "SELECT with_standing(make_array(1), id_map(1, 1))",
            "connections must be a List of Struct",
        ),
    ];
    fail(&context, statements).await;
}

/// Values that no aggregate made: what is in them is not found, and the statement ends.
#[tokio::test]
async fn made_up_values_are_searched_to_an_end() {
    let context = session(1);
    for number in [1, 4294967297, i64::MIN] {
        let sql =
            format!("SELECT mapped(arrow_cast(array_repeat({number}, 18), 'ListView(Int64)'), 7)");
        let found = asked(&context, &sql).await;
        assert_eq!(found[0].column(0).null_count(), 1, "{number}");
    }
    let short = "SELECT mapped(arrow_cast(make_array(1, 2), 'ListView(Int64)'), 7)";
    let error = context.sql(short).await.unwrap().collect().await;
    assert!(error.unwrap_err().to_string().contains("are no id_map"));
    // One entry for user 7, which tells of candidates that are not there.
    for (count, first) in [(3, 0), (1, -1), (1, i64::MAX)] {
        let entry = (7_i64 << 32) + count;
        let sql = format!(
            "SELECT second_degree(1, make_array(named_struct('id', 7::int)), NULL,
                arrow_cast(make_array({entry}, {first}, 1), 'ListView(Int64)'), 20, 0)['tallies']['paths']"
        );
        let found = asked(&context, &sql).await;
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 0);
    }
}
