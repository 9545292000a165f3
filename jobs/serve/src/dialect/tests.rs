//! Statements in PostgreSQL's words, asked of DataFusion after they were said in its way.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use graph_recs_sql::catalog::CatalogModel;

use super::rewrite;
use crate::describe::{self, Described};

const FRUITS: &str =
    "(VALUES (1, 'fig'), (1, 'apple'), (2, 'pear'), (2, 'fig')) AS fruits (basket, fruit)";

/// What a statement gives, a row a line, columns between bars; or the error.
async fn ask(statement: &str) -> Result<Vec<String>, String> {
    let model = CatalogModel {
        schemas: Vec::new(),
        functions: Vec::new(),
    };
    let described = Arc::new(Described::new(Arc::new([]), Arc::new(model)));
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    let builder = SessionStateBuilder::new().with_default_features();
    let mut state = builder.with_config(config).build();
    describe::register(&mut state, &described).unwrap();
    super::register(&mut state).unwrap();
    let statement = statement.replace("fruits", FRUITS);
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, &statement).unwrap();
    let mut statement = statements.remove(0);
    rewrite(&mut statement, &described, "ana");
    let said = statement.to_string();
    let failed = |error: datafusion::error::DataFusionError| format!("{said}: {error}");
    let statement = Parsed::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    let context = SessionContext::new_with_state(state.clone());
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    let rows = frame.collect().await.map_err(failed)?;
    let shown = pretty_format_batches(&rows).unwrap().to_string();
    let lines = shown.lines().skip(3).filter(|line| line.starts_with('|'));
    Ok(lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join("|")
        })
        .collect())
}

async fn answers(cases: &[(&str, &[&str])]) {
    for (statement, rows) in cases {
        let found = ask(statement).await;
        let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        assert_eq!(found, Ok(rows), "{statement}");
    }
}

#[tokio::test]
async fn a_query_becomes_a_list() {
    answers(&[
        (
            "SELECT ARRAY(SELECT fruit FROM fruits ORDER BY fruit)",
            &["[apple, fig, fig, pear]"],
        ),
        (
            "SELECT ARRAY(SELECT DISTINCT fruit FROM fruits ORDER BY 1 DESC)",
            &["[pear, fig, apple]"],
        ),
        (
            "SELECT ARRAY(SELECT fruit AS f FROM fruits WHERE basket = 1 ORDER BY f)",
            &["[apple, fig]"],
        ),
        (
            "SELECT ARRAY(SELECT fruit FROM fruits WHERE basket = 9)",
            &["[]"],
        ),
        ("SELECT ARRAY(SELECT count(*) FROM fruits)", &["[4]"]),
        (
            "SELECT ARRAY(SELECT basket FROM fruits GROUP BY basket HAVING count(*) > 5)",
            &["[]"],
        ),
        (
            "SELECT b.n, ARRAY(SELECT fruit FROM fruits WHERE basket = b.n ORDER BY fruit) \
             FROM (VALUES (1), (2), (3)) AS b (n) ORDER BY 1",
            &["1|[apple, fig]", "2|[fig, pear]", "3|[]"],
        ),
        // Catalog tables without rows.
        (
            "SELECT ARRAY(SELECT polname FROM pg_catalog.pg_policy)",
            &["[]"],
        ),
    ])
    .await;
    // Its order could not be kept.
    let limited = "SELECT ARRAY(SELECT fruit FROM fruits ORDER BY fruit LIMIT 1)";
    assert!(ask(limited).await.is_err());
}

#[tokio::test]
async fn patterns_escape_by_any_sign() {
    answers(&[
        (
            "SELECT 'a%b' LIKE 'a#%b' ESCAPE '#', 'axb' LIKE 'a#%b' ESCAPE '#'",
            &["true|false"],
        ),
        (
            "SELECT 'a#b' LIKE 'a##b' ESCAPE '#', 'a##b' LIKE 'a##b' ESCAPE '#'",
            &["true|false"],
        ),
        (
            r"SELECT 'a\b' LIKE 'a\b' ESCAPE '#', 'a%' LIKE 'a\%' ESCAPE ''",
            &["true|false"],
        ),
        (
            r"SELECT 'a%' LIKE 'a\%' ESCAPE '\', 'ab' LIKE 'a\%' ESCAPE '\'",
            &["true|false"],
        ),
        (
            "SELECT 'A_' ILIKE 'a!_' ESCAPE '!', 'AB' ILIKE 'a!_' ESCAPE '!'",
            &["true|false"],
        ),
    ])
    .await;
    assert!(ask("SELECT 'a' LIKE 'a' ESCAPE 'xy'").await.is_err());
    assert!(ask("SELECT 'a' LIKE 'a#' ESCAPE '#'").await.is_err());
}

#[tokio::test]
async fn texts_that_look_like_lists_stay_texts() {
    answers(&[
        (
            "SELECT coalesce(fruit, '{}') FROM fruits WHERE basket = 1 ORDER BY 1",
            &["apple", "fig"],
        ),
        (
            "SELECT coalesce(NULLIF(fruit, 'pear'), '{}') FROM fruits WHERE basket = 2 ORDER BY 1",
            &["fig", "{}"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn bounds_of_lists() {
    answers(&[
        (
            "SELECT array_lower(ARRAY[7, 8], 1), array_upper(ARRAY[7, 8], 1)",
            &["1|2"],
        ),
        (
            "SELECT unnest(generate_series(array_lower(l, 1), array_upper(l, 1))) FROM (SELECT ARRAY[7, 8] AS l)",
            &["1", "2"],
        ),
        (
            "SELECT array_lower(l, 1) IS NULL, array_upper(l, 1) IS NULL \
             FROM (SELECT ARRAY(SELECT fruit FROM fruits WHERE basket = 9) AS l)",
            &["true|true"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn tables_without_rows_take_no_more_than_their_own() {
    answers(&[
        (
            "SELECT polname AS name FROM pg_catalog.pg_policy UNION ALL SELECT fruit FROM fruits ORDER BY name DESC",
            &["pear", "fig", "fig", "apple"],
        ),
        ("SELECT polname FROM pg_catalog.pg_policy ORDER BY polrelid", &[]),
        ("SELECT (SELECT coalesce(count(*), 0) + 1 FROM fruits)", &["5"]),
    ])
    .await;
}

#[tokio::test]
async fn intervals_so_many_times() {
    answers(&[
        (
            "SELECT CAST(timestamp 'epoch' + basket * interval '1 second' AS VARCHAR) FROM fruits WHERE fruit = 'pear'",
            &["1970-01-01T00:00:02"],
        ),
        (
            "SELECT CAST(timestamp '2024-01-31' + interval '1 month' * 2 AS VARCHAR), \
                    CAST(timestamp '2024-01-01' - 1.5 * '1 day'::interval AS VARCHAR)",
            &["2024-03-31T00:00:00|2023-12-30T12:00:00"],
        ),
    ])
    .await;
    assert!(ask("SELECT 1e12 * interval '1 month'").await.is_err());
}
