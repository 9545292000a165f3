//! `clean`: removes what old runs have left.

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::cli::CleanOptions;
use graph_recs_warehouse::{Keep, Warehouse, WarehouseLock};

/// Lists what is to go, and removes it when that is asked for.
pub async fn run(options: CleanOptions) -> Result<()> {
    let warehouse = Warehouse::open(&options.warehouse.warehouse)?;
    let now = Utc::now();
    let keep = Keep {
        runs: options.keep as usize,
        work: options.keep_work.map(|runs| runs as usize),
        grace: TimeDelta::hours(i64::from(options.grace)),
    };
    // A run at work is not to lose its files, and what is current is not to change meanwhile.
    let _lock = match options.yes {
        true => Some(WarehouseLock::acquire(&warehouse, "clean", now).await?),
        false => None,
    };
    let leftovers = warehouse.leftovers(keep, now).await?;
    if options.yes {
        warehouse.remove(&leftovers).await?;
    }
    let bytes: u64 = leftovers.iter().map(|leftover| leftover.bytes()).sum();
    if options.warehouse.json {
        let runs: Vec<_> = leftovers
            .iter()
            .map(|leftover| {
                json!({ "run_id": leftover.run_id, "why": leftover.why.name(), "files": leftover.files.len(),
                        "bytes": leftover.bytes() })
            })
            .collect();
        say_line!(
            "{}",
            json!({ "removed": options.yes, "bytes": bytes, "runs": runs })
        );
        return Ok(());
    }
    if leftovers.is_empty() {
        say_line!("there is nothing to remove");
        return Ok(());
    }
    say_line!("{:<28}{:>8}{:>10}  why", "run", "files", "MiB");
    for leftover in &leftovers {
        say_line!(
            "{:<28}{:>8}{:>10}  {}",
            leftover.run_id,
            leftover.files.len(),
            leftover.bytes() >> 20,
            leftover.why.told()
        );
    }
    match options.yes {
        true => say_line!("\nremoved: {} MiB", bytes >> 20),
        false => say_line!("\nnothing was removed: with --yes {} MiB are", bytes >> 20),
    }
    Ok(())
}
