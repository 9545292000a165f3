//! Approved physical plans: what DataFusion makes of every statement, as it runs in one process with two threads.
//!
//! A change of a statement, a setting or an engine's version shows as a difference of the files in `sql/approved/`.
//! After judging it by measuring, `APPROVE_PLANS=1 cargo test --release --workspace plans` writes them anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeZone, Utc};
use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::catalog::MemTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{DataFrame, SessionContext, col};
use graph_recs_udfs::model::Model;

use super::{CHECKS, PLANS, Plan};
use crate::{Engine, Input, Parameters, session};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What a run keeps in the order of users.
const KEPT: [&str; 3] = [
    "user_connections",
    "user_reputations",
    "user_recommendations",
];
/// What only reshapes one of these, in its order.
const RESHAPING: [&str; 4] = [
    "closest_connections",
    "reputation_scores",
    "recommendations",
    "rec_reasons",
];
/// What it keeps in memory.
const HELD: [&str; 4] = [
    "suspended_users",
    "duplicate_messages",
    "followed",
    "all_candidates",
];

/// A plan in words, its files named from the repository's root: clones lie anywhere.
async fn text(frame: DataFrame) -> String {
    let plan = frame.create_physical_plan().await.unwrap();
    let root = folder("..").canonicalize().unwrap();
    let root = object_store::path::Path::from_absolute_path(root).unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    shown.replace(&format!("{root}/"), "")
}

/// A table as intermediate ones are, in the order of users.
async fn keep(context: &SessionContext, name: &str, frame: DataFrame) {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let rows = frame.collect().await.unwrap();
    let table = MemTable::try_new(schema, vec![rows]).unwrap();
    let table = table.with_sort_order(vec![vec![col("user_id").sort(true, false)]]);
    context.register_table(name, Arc::new(table)).unwrap();
}

fn of_the_driver(context: &SessionContext) {
    let names =
        |values: &[&'static str]| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
    let tables = ["closest_connections"];
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let means: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let batch = |columns| RecordBatch::try_from_iter(columns).unwrap();
    let written = batch(vec![("name", names(&tables)), ("rows", Arc::clone(&rows))]);
    let accounts = batch(vec![
        ("source", names(&["follow"])),
        ("fate", names(&["read"])),
        ("reason", names(&[""])),
        ("records", rows),
    ]);
    let means = batch(vec![("name", names(&tables)), ("mean", means)]);
    context.register_batch("written", written.clone()).unwrap();
    context.register_batch("previous_rows", written).unwrap();
    context.register_batch("accounts", accounts).unwrap();
    context.register_batch("previous_means", means).unwrap();
    let counts = batch(vec![
        ("name", names(&tables)),
        ("rows", Arc::new(Int64Array::from(vec![1]))),
    ]);
    context.register_batch("counts", counts.clone()).unwrap();
    context.register_batch("previous_counts", counts).unwrap();
    let users: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let suspended = batch(vec![("user_id", users)]);
    context
        .register_batch("previous_suspended_users", suspended)
        .unwrap();
}

#[tokio::test]
async fn plans_are_as_approved() {
    let engine = Engine {
        threads: 2,
        ..Engine::default()
    };
    let context = engine.session(Model::shipped().unwrap()).unwrap();
    let golden = folder("../tests/golden/input");
    let input = Input::open(golden.to_str().unwrap(), None).await.unwrap();
    session::register_input(&context, &input).unwrap();
    let as_of = Utc.with_ymd_and_hms(2019, 10, 1, 0, 0, 0).unwrap();
    let parameters = Parameters::new(as_of).values();
    let mut found: Vec<(&Plan, String)> = Vec::new();
    for plan in PLANS {
        // Its table is a file that somebody gives.
        if plan.name == "given_reputations" {
            continue;
        }
        let reshaping = RESHAPING.contains(&plan.name);
        let place = match plan.name {
            "seed" => session::whole_files(&context),
            _ if reshaping => session::in_file_order(&context),
            _ => context.clone(),
        };
        let frame = session::query_plan(&place, plan, &parameters)
            .await
            .unwrap();
        found.push((plan, text(frame.clone()).await));
        let table = match plan.name {
            "seed" => "user_recommendations",
            name => name,
        };
        if reshaping || KEPT.contains(&table) {
            keep(&context, table, frame).await;
        } else if HELD.contains(&table) {
            session::hold(&context, table, &parameters).await.unwrap();
        } else {
            context.register_table(table, frame.into_view()).unwrap();
        }
    }
    of_the_driver(&context);
    session::join_in_partitions(&context);
    for check in CHECKS {
        let frame = session::query_plan(&context, check, &parameters)
            .await
            .unwrap();
        found.push((check, text(frame).await));
    }

    let approved = folder("approved");
    let approve = std::env::var_os("APPROVE_PLANS").is_some();
    let mut files = BTreeSet::new();
    let mut changed = Vec::new();
    for (plan, text) in found {
        let file = approved.join(Path::new(plan.path).with_extension("txt"));
        if approve {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        if before != text {
            changed.push(format!("{}\nwas\n{before}\nis\n{text}", plan.path));
        }
        files.insert(file);
    }
    assert!(
        changed.is_empty(),
        "plans differ from sql/approved (judge them by measuring, then APPROVE_PLANS=1):\n{}",
        changed.join("\n")
    );
    for folder in std::fs::read_dir(&approved).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            assert!(files.contains(&file), "{} is of no plan", file.display());
        }
    }
}
