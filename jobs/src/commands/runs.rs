//! `runs` and `rollback`.

use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::Utc;
use serde_json::json;

use super::database;
use crate::cli::{RollbackOptions, WarehouseOptions};
use crate::progress::Progress;
use graph_recs_warehouse::{PublicationKind, Published, Table, Warehouse, WarehouseLock};

/// Lists the publications, oldest first.
pub async fn list(options: WarehouseOptions) -> Result<()> {
    let publications = Warehouse::open(&options.warehouse)?.publications().await?;
    if options.json {
        let rows: Vec<_> = publications
            .iter()
            .map(|publication| {
                let tables = Table::ALL.map(|table| {
                    let (version, rows) =
                        (publication.versions.get(table), publication.rows.get(table));
                    (
                        table.name().to_string(),
                        json!({ "version": version, "rows": rows }),
                    )
                });
                json!({
                    "number": publication.number,
                    "run_id": publication.run_id,
                    "as_of": publication.as_of,
                    "published_at": publication.published_at,
                    "kind": publication.kind,
                    "tables": tables.into_iter().collect::<serde_json::Map<_, _>>(),
                })
            })
            .collect();
        say_line!("{}", json!({ "publications": rows }));
        return Ok(());
    }
    if publications.is_empty() {
        say_line!("nothing is published in {} yet", options.warehouse);
        return Ok(());
    }
    say_line!(
        "   no  {:<28}{:<22}{:<22}{:<10}{:>14}{:>17}",
        "run",
        "as of",
        "published (UTC)",
        "kind",
        "connections",
        "recommendations"
    );
    let last = publications.len();
    for (index, publication) in publications.iter().enumerate() {
        say_line!(
            "{} {:>3}  {:<28}{:<22}{:<22}{:<10}{:>14}{:>17}",
            if index + 1 == last { "*" } else { " " },
            publication.number,
            publication.run_id,
            publication.as_of.format("%Y-%m-%d %H:%M:%S"),
            publication.published_at.format("%Y-%m-%d %H:%M:%S"),
            format!("{:?}", publication.kind).to_lowercase(),
            publication.rows.get(Table::ClosestConnections),
            publication.rows.get(Table::Recommendations),
        );
    }
    say_line!("\n* is the current run");
    Ok(())
}

/// Makes an earlier run the current one again.
pub async fn rollback(options: RollbackOptions) -> Result<()> {
    let database = database::open(&options.database)?;
    let warehouse = Arc::new(Warehouse::open(&options.warehouse.warehouse)?);
    let _lock = WarehouseLock::acquire(&warehouse, &options.to, Utc::now()).await?;
    let publications = warehouse.publications().await?;
    let earlier = publications
        .iter()
        .rfind(|publication| publication.run_id == options.to)
        .with_context(|| {
            format!(
                "run {} was never published in {}: `graph-recs runs` lists those that were",
                options.to, options.warehouse.warehouse
            )
        })?;
    let candidate = warehouse.candidate_of(earlier).await?;
    let published = warehouse
        .publish(&candidate, PublicationKind::Rollback, Utc::now())
        .await?;
    let already = matches!(published, Published::AlreadyCurrent(_));
    let loaded = match database {
        Some(database) => {
            let (kind, progress) = (PublicationKind::Rollback, Progress::new());
            Some(database::publish(&database, &warehouse, &options.to, kind, &progress).await?)
        }
        None => None,
    };
    if options.warehouse.json {
        say_line!(
            "{}",
            json!({ "run_id": options.to, "already_current": already,
                    "database": loaded.map(|loaded| loaded.json()) })
        );
        return Ok(());
    }
    if already {
        say_line!(
            "run {} is the current one already: nothing changed",
            options.to
        );
    } else {
        say_line!("run {} is the current one again", options.to);
    }
    if let Some(loaded) = loaded {
        loaded.print(&options.to);
    }
    Ok(())
}
