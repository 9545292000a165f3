//! Days that are filled in and old runs that go, in a bucket.

use super::{BUCKET, Store};
use crate::support::{Outcome, golden};

#[test]
fn days_are_filled_in_and_cleaned_up() {
    let store = Store::start();
    for day in ["20191001", "20191002", "20191003"] {
        store.copy_day(&golden("input"), &format!("graph_data/{day}"));
    }
    let input = format!("s3://{BUCKET}/graph_data");
    let warehouse = format!("s3://{BUCKET}/warehouse");
    let backfill = |port| {
        let mut command = store.program(port);
        command.args([
            "backfill",
            "--from",
            "2019-10-01",
            "--to",
            "2019-10-03",
            "--json",
        ]);
        command.args(["--input", &input, "--warehouse", &warehouse]);
        command
    };
    let days = Outcome::of(&mut backfill(store.port)).exits(0).json()["days"].clone();
    let ids: Vec<&str> = (0..3)
        .map(|day| days[day]["run_id"].as_str().unwrap())
        .collect();
    assert!(
        days.as_array()
            .unwrap()
            .iter()
            .all(|day| day["outcome"] == "published")
    );
    let again = Outcome::of(&mut backfill(store.port)).exits(0).json()["days"].clone();
    assert!(
        again
            .as_array()
            .unwrap()
            .iter()
            .all(|day| day["outcome"] == "already_published")
    );

    let clean = |options: &[&str]| {
        let mut command = store.program(store.port);
        command
            .args(["clean", "--json", "--warehouse", &warehouse])
            .args(options);
        Outcome::of(&mut command).exits(0).json()
    };
    let removed = clean(&["--keep", "1", "--grace", "0", "--yes"]);
    assert_eq!(removed["runs"].as_array().unwrap().len(), 2);
    assert!(removed["bytes"].as_u64().unwrap() > 100_000);
    assert!(
        !store
            .file(&format!("warehouse/recommendations/{}", ids[0]))
            .join("part-00000.parquet")
            .exists()
    );
    assert!(
        store
            .file(&format!("warehouse/recommendations/{}", ids[2]))
            .join("part-00000.parquet")
            .exists()
    );
    let mut command = store.program(store.port);
    command.args([
        "sql",
        "-c",
        "SELECT count(*) FROM recommendations",
        "--warehouse",
        &warehouse,
    ]);
    Outcome::of(&mut command).exits(0);
}
