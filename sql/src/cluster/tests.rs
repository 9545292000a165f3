//! Pieces, executed here: what they write, and how they travel.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int32Type, Schema};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use graph_recs_udfs::model::Model;
use graph_recs_udfs::scan::{Format, FoundUserForm, RecordTable, Source, SourceFile};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tempfile::TempDir;

use super::*;
use crate::Engine;

const BUCKETS: u32 = 5;

/// A folder with likes, two of which can't be read, and a session that knows them as `records`.
async fn likes() -> (TempDir, SessionContext) {
    let folder = TempDir::new().unwrap();
    let mut text = String::from("no like at all\n");
    for like in 0..30_000 {
        let user = 1 + like * 7919 % 1000;
        writeln!(
            text,
            "{user},{},{like},2019-09-01 00:00:00,like",
            2000 + like % 50
        )
        .unwrap();
    }
    text.push_str("1,2,three,2019-09-01 00:00:00,like\n");
    std::fs::write(folder.path().join("like.csv"), text).unwrap();
    let root = Path::from_absolute_path(folder.path()).unwrap();
    let file = root.clone().join("like.csv");
    let meta = object_store::ObjectStoreExt::head(&LocalFileSystem::new(), &file)
        .await
        .unwrap();
    let file = SourceFile {
        meta,
        format: Format::Text,
    };
    let store = ObjectStoreUrl::local_filesystem();
    let table = RecordTable::new(
        Source::Like,
        store,
        root,
        vec![file],
        FoundUserForm::default(),
    );
    let context = context();
    context.register_table("records", Arc::new(table)).unwrap();
    (folder, context)
}

fn context() -> SessionContext {
    let engine = Engine {
        threads: 1,
        ..Engine::default()
    };
    engine.travelling(Model::shipped().unwrap()).unwrap()
}

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

fn piece(plan: Arc<dyn ExecutionPlan>, target: &Target) -> Arc<dyn ExecutionPlan> {
    let spec = PieceSpec {
        name: "graph-recs/run/stage/piece/attempt".into(),
        build: build(),
        target: target.clone(),
        allowance: None,
    };
    Arc::new(PieceExec::new(spec, plan))
}

fn buckets(folder: &TempDir) -> Target {
    let place = |name: &str| {
        let root = Path::from_absolute_path(folder.path()).unwrap();
        root.join(name).to_string()
    };
    Target::Buckets {
        store: "file:///".into(),
        path: place("staged.parquet"),
        quarantine: place("quarantine.parquet"),
        source: "like".into(),
        buckets: BUCKETS,
    }
}

async fn written(plan: Arc<dyn ExecutionPlan>, target: &Target) -> Written {
    let rows = collect(piece(plan, target), Arc::new(TaskContext::default()))
        .await
        .unwrap();
    match Done::read(target, &rows).unwrap().answer {
        Answer::Written(written) => *written,
        Answer::Rows(_) => panic!("rows"),
    }
}

async fn rows_of(files: Vec<PieceFile>) -> Vec<RecordBatch> {
    let schema = Source::Like.schema();
    let typed: Vec<usize> = (0..schema.fields().len() - 4).collect();
    let schema = Arc::new(Schema::clone(&schema).project(&typed).unwrap());
    let table = PieceTable::new(ObjectStoreUrl::local_filesystem(), schema, files, false);
    let context = context();
    context.register_table("staged", Arc::new(table)).unwrap();
    context
        .sql("SELECT * FROM staged")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap()
}

#[tokio::test]
async fn each_bucket_of_a_file_has_its_users_and_no_others() {
    let (folder, context) = likes().await;
    let target = buckets(&folder);
    let written = written(plan(&context, "SELECT * FROM records").await, &target).await;
    assert_eq!(written.digest.rows, 30_000);
    let unreadable = written.unreadable.clone().unwrap();
    assert_eq!(unreadable.reasons.values().sum::<u64>(), 2);
    assert!(
        unreadable
            .first
            .contains("like.csv line 1: ragged: no like at all")
    );
    let mut all = Digest::default();
    for bucket in 0..BUCKETS {
        let files: Vec<PieceFile> = written.bucket(bucket).collect();
        let rows = rows_of(files).await;
        let mut digest = Digest::default();
        for batch in &rows {
            digest.add(batch).unwrap();
            let users = batch.column(0).as_primitive::<Int32Type>().values();
            assert!(users.iter().all(|user| bucket_of(*user, BUCKETS) == bucket));
        }
        let segment = written
            .segments
            .iter()
            .find(|segment| segment.bucket == bucket);
        assert_eq!(digest, segment.unwrap().digest, "bucket {bucket}");
        all.merge(&digest);
    }
    assert_eq!(all, written.digest);
    let whole = rows_of(vec![written.file()]).await;
    assert_eq!(
        whole.iter().map(RecordBatch::num_rows).sum::<usize>(),
        30_000
    );
}

#[tokio::test]
async fn rows_out_of_order_and_nulls_are_refused() {
    let (folder, context) = likes().await;
    let root = Path::from_absolute_path(folder.path()).unwrap();
    for (sql, form, says) in [
        (
            "SELECT user_id FROM records WHERE reason IS NULL",
            Form::Intermediate,
            "out of order",
        ),
        (
            "SELECT user_id FROM records ORDER BY 1",
            Form::Published,
            "null",
        ),
    ] {
        let target = Target::File {
            store: "file:///".into(),
            path: root.clone().join("table.parquet").to_string(),
            form,
        };
        let piece = piece(plan(&context, sql).await, &target);
        let error = collect(piece, Arc::new(TaskContext::default()))
            .await
            .unwrap_err();
        let (kind, message) = Failure::read(&error.to_string());
        assert_eq!(kind, Failure::Lasting);
        assert!(message.contains(says), "{message}");
        assert!(
            !folder.path().join("table.parquet").exists(),
            "a part of a file is left"
        );
    }
}

/// A plan as another process gets it.
fn sent(plan: Arc<dyn ExecutionPlan>, from: &Codec, to: &Codec) -> Arc<dyn ExecutionPlan> {
    let bytes = from.encode(plan).unwrap();
    let context = context();
    PhysicalPlanNode::try_decode(&bytes)
        .unwrap()
        .try_into_physical_plan(&context.task_ctx(), to)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_travels_unopened_and_gives_the_same() {
    let (_folder, context) = likes().await;
    let sql = "SELECT count(*) AS n, sum(user_id) AS users, max(reputation('buy', '')) AS pred \
               FROM records WHERE reason IS NULL";
    let piece = piece(plan(&context, sql).await, &Target::Rows);
    let here = collect(Arc::clone(&piece), Arc::new(TaskContext::default()))
        .await
        .unwrap();
    let (driver, relay, executor) = (Codec::driver(None), Codec::relay(), Codec::executor());
    let passed_on = sent(piece, &driver, &relay);
    assert!(passed_on.children().is_empty());
    assert!(
        passed_on
            .execute(0, Arc::new(TaskContext::default()))
            .is_err()
    );
    let arrived = sent(passed_on, &relay, &executor);
    let there = collect(arrived, Arc::new(TaskContext::default()))
        .await
        .unwrap();
    let rows = |batches: &[RecordBatch]| match Done::read(&Target::Rows, batches).unwrap().answer {
        Answer::Rows(rows) => rows,
        Answer::Written(_) => panic!("a file"),
    };
    assert_eq!(rows(&here), rows(&there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_another_build_says_so_when_it_is_run() {
    let (_folder, context) = likes().await;
    let plan = plan(&context, "SELECT user_id FROM records").await;
    let other_build = PieceSpec {
        name: String::new(),
        build: "another".into(),
        target: Target::Rows,
        allowance: None,
    };
    let piece = Arc::new(PieceExec::new(other_build, plan));
    let arrived = sent(piece, &Codec::driver(None), &Codec::executor());
    let run = collect(arrived, Arc::new(TaskContext::default())).await;
    let (kind, message) = Failure::read(&run.unwrap_err().to_string());
    assert_eq!(kind, Failure::Lasting);
    assert!(
        message.contains("the run is of graph-recs another"),
        "{message}"
    );
}

#[test]
fn what_may_pass_is_told_from_what_will_not() {
    for (text, kind) in [
        (
            "DataFusion error: graph-recs-lasting: no such thing",
            Failure::Lasting,
        ),
        (
            "Task failed: graph-recs-passing: disk full",
            Failure::Passing,
        ),
        ("transport error", Failure::Passing),
    ] {
        assert_eq!(Failure::read(text).0, kind, "{text}");
    }
    assert_eq!(Failure::read("a graph-recs-lasting: b").1, "b");
}

#[test]
fn buckets_are_all_used_and_about_even() {
    for buckets in [1, 2, 7, 16, 256] {
        let mut counts = vec![0u32; buckets as usize];
        for user in 1..=100_000 {
            counts[bucket_of(user, buckets) as usize] += 1;
        }
        let even = 100_000 / buckets;
        assert!(
            counts
                .iter()
                .all(|count| count.abs_diff(even) < even / 10 + 20),
            "{buckets}: {counts:?}"
        );
    }
}
