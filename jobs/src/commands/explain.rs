//! `explain`: what the current run says of one user, for people.

use anyhow::{Result, bail};
use datafusion::arrow::array::{Array, AsArray, Decimal128Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Float64Type, Int32Type};
use datafusion::prelude::{SessionConfig, SessionContext};
use graph_recs_sql::session;

use crate::cli::ExplainOptions;
use graph_recs_warehouse::{Publication, Table, Warehouse};

/// Shows a user's closest connections, recommendations, and the reasons for each.
pub async fn run(options: ExplainOptions) -> Result<()> {
    let warehouse = Warehouse::open(&options.warehouse)?;
    let Some(current) = warehouse.current().await? else {
        bail!(
            "nothing is published in {} yet: `graph-recs run` does it",
            options.warehouse
        );
    };
    say!(
        "{}",
        page(&warehouse, &current, options.user, options.closest).await?
    );
    Ok(())
}

/// The page about one user.
pub async fn page(
    warehouse: &Warehouse,
    run: &Publication,
    user: i32,
    closest: usize,
) -> Result<String> {
    let context = session::reader(SessionConfig::new().with_target_partitions(2))?;
    for table in Table::ALL {
        let provider = warehouse
            .table_provider(table, *run.versions.get(table))
            .await?;
        context.register_table(table.name(), provider)?;
    }
    let mut page = format!(
        "user {user}, run {} as of {}\n",
        run.run_id,
        run.as_of.format("%Y-%m-%d %H:%M:%S UTC")
    );

    let scores = rows(
        &context,
        &format!("SELECT pred, weeks FROM reputation_scores WHERE user_id = {user}"),
    )
    .await?;
    if scores.num_rows() > 0 {
        let pred = scores.column(0).as_primitive::<Float64Type>().value(0);
        let weeks = scores.column(1).as_primitive::<Int32Type>().value(0);
        let from = if weeks > 0 {
            format!(", from {weeks} weekly documents")
        } else {
            String::new()
        };
        page.push_str(&format!("own reputation {pred:.6}{from}\n"));
    }

    let sql = format!(
        "SELECT rank, closest_connection, weight FROM closest_connections WHERE user_id = {user} ORDER BY rank"
    );
    let connections = rows(&context, &sql).await?;
    let count = connections.num_rows();
    page.push_str(&format!(
        "\n{count} closest connections{}\n",
        if count > closest {
            format!(", the first {closest}:")
        } else {
            String::from(if count > 0 { ":" } else { "" })
        }
    ));
    for row in 0..count.min(closest) {
        page.push_str(&format!(
            "  {:>2}. user {:<12} weight {}\n",
            connections.column(0).as_primitive::<Int32Type>().value(row),
            connections.column(1).as_primitive::<Int32Type>().value(row),
            decimal(&connections, 2, row),
        ));
    }

    let sql = format!(
        "SELECT recommendations.rank, recommendations.rec_id, recommendations.score, reputation_scores.pred, \
         rec_reasons.reason_id, rec_reasons.weight \
         FROM recommendations \
         JOIN rec_reasons ON recommendations.user_id = rec_reasons.user_id AND recommendations.rec_id = rec_reasons.rec_id \
         LEFT JOIN reputation_scores ON recommendations.rec_id = reputation_scores.user_id \
         WHERE recommendations.user_id = {user} \
         ORDER BY recommendations.rank, rec_reasons.weight DESC, rec_reasons.reason_id"
    );
    let reasons = rows(&context, &sql).await?;
    if reasons.num_rows() == 0 && count == 0 && scores.num_rows() == 0 {
        bail!(
            "run {} knows no user {user}: they neither engaged with anybody nor wrote anything in its time",
            run.run_id
        );
    }
    if reasons.num_rows() == 0 {
        page.push_str("\nno recommendations\n");
        return Ok(page);
    }
    page.push_str("\nrecommendations:\n");
    let mut rank = 0;
    for row in 0..reasons.num_rows() {
        let this = reasons.column(0).as_primitive::<Int32Type>().value(row);
        if this != rank {
            rank = this;
            page.push_str(&format!(
                "  {rank:>2}. follow user {}   score {} = reputation {:.6} x the weights of\n",
                reasons.column(1).as_primitive::<Int32Type>().value(row),
                decimal(&reasons, 2, row),
                reasons.column(3).as_primitive::<Float64Type>().value(row),
            ));
        }
        page.push_str(&format!(
            "        {} for user {}, whom you are close to\n",
            decimal(&reasons, 5, row),
            reasons.column(4).as_primitive::<Int32Type>().value(row),
        ));
    }
    Ok(page)
}

async fn rows(context: &SessionContext, sql: &str) -> Result<RecordBatch> {
    let frame = context.sql(sql).await?;
    let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

fn decimal(batch: &RecordBatch, column: usize, row: usize) -> String {
    let found = batch
        .column(column)
        .as_any()
        .downcast_ref::<Decimal128Array>();
    found
        .filter(|values| values.is_valid(row))
        .map_or_else(String::new, |values| values.value_as_string(row))
}
